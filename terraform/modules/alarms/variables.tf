variable "alarms" {
  description = "The alarms by the end of their names; a name begins with the subject, which is the value of the one dimension unless it is given."
  type = map(object({
    description         = string
    namespace           = string
    metric_name         = string
    dimensions          = optional(map(string), {})
    subject             = optional(string)
    statistic           = optional(string, "Sum")
    period              = optional(number, 60)
    evaluation_periods  = optional(number, 5)
    datapoints_to_alarm = optional(number)
    comparison_operator = optional(string, "GreaterThanThreshold")
    threshold           = optional(number, 0)
  }))
  nullable = false
}

variable "topic_arn" {
  description = "The SNS topic that alarms notify; null: they only show their state."
  type        = string
  default     = null

  validation {
    condition     = var.topic_arn == null || can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:.+$", var.topic_arn))
    error_message = "Give the ARN of an SNS topic: arn:aws:sns:REGION:ACCOUNT:NAME."
  }
}
