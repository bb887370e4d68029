variable "bucket_name" {
  description = "The bucket of the hourly objects, which is there already (modules/log-bucket makes one)."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "key_prefix" {
  description = "The prefix of every key, such as `logs/`."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.key_prefix == "" || can(regex("^[^/*?$][^*?$]*/$", var.key_prefix))
    error_message = "A prefix does not start with /, ends with /, such as logs/, and has none of *?$, which policies read as patterns."
  }
}

variable "package" {
  description = "Path of the function's zip, made by `script/bundle`."
  type        = string
  nullable    = false
}

variable "line_settings" {
  description = "Environment variables of the function that say what the lines are: the output `settings` of modules/log-lines."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "function_name" {
  description = "The function's name."
  type        = string
  default     = "stream-transformation"
  nullable    = false
}

variable "role_name" {
  description = "The name of the function's role."
  type        = string
  default     = "lambda-ex"
  nullable    = false
}

variable "runtime" {
  description = "The function's Python: `python3.13`, `python3.14` with a provider from 6.20 on, or `python3.12` for one from before November 2024, which knows no newer one."
  type        = string
  default     = "python3.13"
  nullable    = false
}

variable "timeout" {
  description = "Seconds one invocation may take."
  type        = number
  default     = 60
  nullable    = false
}

variable "memory_size" {
  description = "The function's memory in MiB."
  type        = number
  default     = 256
  nullable    = false
}

variable "log_retention_days" {
  description = "Days CloudWatch keeps the logs of the pipeline itself."
  type        = number
  default     = 30
  nullable    = false
}

variable "kms_key_arn" {
  description = "A KMS key for objects and delivery stream; null: keys of AWS."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "Give the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "log_kms_key_arn" {
  description = "A KMS key for the log groups; its policy must let CloudWatch Logs use it. Null: CloudWatch's own."
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

variable "delivery_stream_name" {
  description = "The delivery stream's name."
  type        = string
  default     = "web-log-delivery"
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_.-]{1,64}$", var.delivery_stream_name))
    error_message = "A delivery stream name has 1 to 64 letters, digits and ._-."
  }
}

variable "firehose_role_name" {
  description = "The name of the delivery stream's role."
  type        = string
  default     = "firehose-ex"
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_+=,.@-]{1,64}$", var.firehose_role_name))
    error_message = "A role name has 1 to 64 letters, digits and +=,.@-_."
  }
}

variable "buffering_mib" {
  description = "MiB that Firehose gathers for an object, at least 64."
  type        = number
  default     = 64
  nullable    = false

  validation {
    condition     = var.buffering_mib >= 64 && var.buffering_mib <= 128 && floor(var.buffering_mib) == var.buffering_mib
    error_message = "With dynamic partitioning Firehose gathers 64 to 128 MiB."
  }
}

variable "buffering_seconds" {
  description = "Seconds that Firehose gathers for an object, unless buffering_mib is reached first. Longer means fewer, larger objects."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.buffering_seconds >= 60 && var.buffering_seconds <= 900 && floor(var.buffering_seconds) == var.buffering_seconds
    error_message = "With dynamic partitioning Firehose gathers for 60 to 900 seconds."
  }
}

variable "freshness_alarm_minutes" {
  description = "Minutes a record may wait for its delivery before the alarm."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.freshness_alarm_minutes > 15
    error_message = "Give more than 15 minutes: records may wait that long by design."
  }
}
