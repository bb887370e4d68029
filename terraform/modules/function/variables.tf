variable "name" {
  description = "The function's name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,64}$", var.name))
    error_message = "A function name has 1 to 64 letters, digits, hyphens and underscores."
  }
}

variable "role_name" {
  description = "The name of the function's role."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_+=,.@-]{1,64}$", var.role_name))
    error_message = "A role name has 1 to 64 letters, digits and +=,.@-_."
  }
}

variable "description" {
  description = "What function and role are for."
  type        = string
  nullable    = false
}

variable "package" {
  description = "Path of the function's zip, made by `script/bundle`."
  type        = string
  nullable    = false

  validation {
    condition     = endswith(var.package, ".zip") && fileexists(var.package)
    error_message = "There is no such zip. Make it with: script/bundle"
  }
}

variable "handler" {
  description = "`index.handler` reads a Kinesis stream, `index.firehose_handler` transforms for Firehose."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["index.handler", "index.firehose_handler"], var.handler)
    error_message = "The zip has the handlers index.handler and index.firehose_handler."
  }
}

variable "runtime" {
  description = "The function's Python: `python3.13`, `python3.14` with a provider from 6.20 on, or `python3.12` for one from before November 2024, which knows no newer one."
  type        = string
  default     = "python3.13"
  nullable    = false

  validation {
    condition     = contains(["python3.12", "python3.13", "python3.14"], var.runtime)
    error_message = "Choose python3.12, python3.13 or python3.14."
  }
}

variable "timeout" {
  description = "Seconds one invocation may take."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.timeout >= 10 && var.timeout <= 900
    error_message = "Give 10 to 900 seconds: the function stops 8 seconds before its time-out, and Lambda allows 900."
  }
}

variable "memory_size" {
  description = "The function's memory in MiB. The SDK needs about 80; an hourly object below 5 MiB is held twice, an event of 6 MB about three times."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = var.memory_size >= 192 && var.memory_size <= 10240
    error_message = "Give 192 to 10240 MiB: less does not hold a full event, and Lambda has no more."
  }
}

variable "environment" {
  description = "The function's environment variables."
  type        = map(string)
  nullable    = false
}

variable "policies" {
  description = "Inline policies of the role: name to JSON document."
  type        = map(string)
  nullable    = false
}

variable "log_retention_days" {
  description = "Days CloudWatch keeps the function's log."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch keeps logs 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "kms_key_arn" {
  description = "A KMS key for the log group; its policy must let CloudWatch Logs use it. Null: CloudWatch's own."
  type        = string
  default     = null
}

variable "alarms" {
  description = "Whether alarms are made."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_topic_arn" {
  description = "The SNS topic that alarms notify; null: they only show their state."
  type        = string
  default     = null
}
