variable "alarms" {
  description = "The alarms by the end of their names; what a name begins with is the value of the alarm's one dimension."
  type = map(object({
    description         = string
    namespace           = string
    metric_name         = string
    dimensions          = map(string)
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
