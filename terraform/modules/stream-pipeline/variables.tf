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
  description = "A KMS key for objects and stream; null: keys of AWS."
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

variable "stream_name" {
  description = "The data stream's name."
  type        = string
  default     = "web-log-stream"
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_.-]{1,128}$", var.stream_name))
    error_message = "A stream name has 1 to 128 letters, digits, dots, hyphens and underscores."
  }
}

variable "stream_mode" {
  description = "`PROVISIONED`: shard_count shards at a fixed price; `ON_DEMAND`: grows by itself, priced by volume."
  type        = string
  default     = "PROVISIONED"
  nullable    = false

  validation {
    condition     = contains(["PROVISIONED", "ON_DEMAND"], var.stream_mode)
    error_message = "Choose PROVISIONED or ON_DEMAND."
  }
}

variable "shard_count" {
  description = "Shards of a PROVISIONED stream: each takes 1,000 records/s and 1 MB/s."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.shard_count >= 1 && var.shard_count <= 1000 && floor(var.shard_count) == var.shard_count
    error_message = "Give a whole number of shards from 1 to 1000."
  }
}

variable "retention_hours" {
  description = "Hours the stream keeps its records. It drops a batch that fails for longer, and a producer run by cron sends nothing a second time: a week leaves time to mend the fault."
  type        = number
  default     = 168
  nullable    = false

  validation {
    condition     = var.retention_hours >= 24 && var.retention_hours <= 8760 && floor(var.retention_hours) == var.retention_hours
    error_message = "Kinesis keeps records for 24 to 8760 hours."
  }
}

variable "batch_size" {
  description = "Records per invocation, at most."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= 10000 && floor(var.batch_size) == var.batch_size
    error_message = "Give a whole number of records from 1 to 10000."
  }
}

variable "batching_window_seconds" {
  description = "Seconds Lambda waits for a batch to fill; 0: none, as a poll's records arrive together. Longer means fewer, larger appends, and lines that are later in S3."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.batching_window_seconds >= 0 && var.batching_window_seconds <= 300
    error_message = "Give 0 to 300 seconds."
  }
}

variable "parallelization_factor" {
  description = "Batches of one shard that are processed at the same time. They append to the same hourly object one after the other."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.parallelization_factor >= 1 && var.parallelization_factor <= 10 && floor(var.parallelization_factor) == var.parallelization_factor
    error_message = "Give a whole number from 1 to 10."
  }
}

variable "starting_position" {
  description = "Where the mapping starts reading: `TRIM_HORIZON`, the oldest record, or `LATEST`."
  type        = string
  default     = "TRIM_HORIZON"
  nullable    = false

  validation {
    condition     = contains(["TRIM_HORIZON", "LATEST"], var.starting_position)
    error_message = "Choose TRIM_HORIZON or LATEST."
  }
}

variable "maximum_record_age_seconds" {
  description = "Age at which a record that still fails is discarded into the destination, so that its shard goes on; -1: never, the shard waits until the fault is mended. Exactly once needs -1."
  type        = number
  default     = -1
  nullable    = false

  validation {
    condition     = var.maximum_record_age_seconds == -1 || (var.maximum_record_age_seconds >= 60 && var.maximum_record_age_seconds <= 604800)
    error_message = "Give -1, or 60 to 604800 seconds."
  }
}

variable "failure_destination_arn" {
  description = "Where a discarded batch goes: an S3 bucket (with the records themselves), an SQS queue or an SNS topic (with their sequence numbers only). Null: the pipeline's bucket, below `aws/lambda/`."
  type        = string
  default     = null

  validation {
    condition     = var.failure_destination_arn == null || can(regex("^arn:[a-z-]+:(s3:::|(sqs|sns):[a-z0-9-]+:[0-9]{12}:).+$", var.failure_destination_arn))
    error_message = "Give the ARN of an S3 bucket, an SQS queue or an SNS topic."
  }
}

variable "iterator_age_alarm_minutes" {
  description = "Minutes a record may wait in the stream before the alarm."
  type        = number
  default     = 15
  nullable    = false

  validation {
    condition     = var.iterator_age_alarm_minutes >= 1
    error_message = "Give at least 1 minute."
  }
}
