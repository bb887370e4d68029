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

variable "kms_key_arn" {
  description = "The bucket's KMS key; null: a key of AWS."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "Give the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}
