variable "name" {
  description = "Name of the bucket: 3 to 63 lower-case letters, digits, dots and hyphens."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.name)) && !strcontains(var.name, "..") && !can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+$", var.name))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits, dots and hyphens, and is no IP address."
  }
}

variable "create" {
  description = "Whether the bucket is made here. If false, it is there already, and nothing of its configuration is touched."
  type        = bool
  default     = true
  nullable    = false
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes the bucket with everything that is archived in it."
  type        = bool
  default     = false
  nullable    = false
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
  description = "A KMS key for the objects (SSE-KMS); null: SSE-S3."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "Give the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "versioning" {
  description = "Whether replaced and deleted objects are kept as old versions for `noncurrent_days`. Each append to an hourly object then keeps the whole object once more: an object extended each minute costs about thirty times its size. Firehose writes an object once."
  type        = bool
  default     = false
  nullable    = false
}

variable "noncurrent_days" {
  description = "Days an old version is kept, with versioning."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "Give a whole number of days, at least 1."
  }
}

variable "expire_after_days" {
  description = "Days after which hourly and rejected objects are deleted; null: never. Ledgers are never deleted."
  type        = number
  default     = null

  validation {
    condition     = var.expire_after_days == null ? true : var.expire_after_days >= 1 && floor(var.expire_after_days) == var.expire_after_days
    error_message = "Give a whole number of days, at least 1."
  }
}

variable "transition" {
  description = "When hourly and rejected objects move to STANDARD_IA, GLACIER_IR or INTELLIGENT_TIERING; null: never. A late line is appended to them, so they must stay readable at once."
  type = object({
    days          = number
    storage_class = string
  })
  default = null

  validation {
    condition     = var.transition == null ? true : contains(["STANDARD_IA", "GLACIER_IR", "INTELLIGENT_TIERING"], var.transition.storage_class)
    error_message = "Choose STANDARD_IA, GLACIER_IR or INTELLIGENT_TIERING: other classes cannot be read at once, so a late line could not be appended."
  }

  validation {
    condition     = var.transition == null ? true : var.transition.days >= (var.transition.storage_class == "STANDARD_IA" ? 30 : 1)
    error_message = "S3 moves objects to STANDARD_IA after 30 days at the earliest, to the others after 1."
  }
}

variable "temporary_prefixes" {
  description = "Folders whose objects are deleted after 30 days, such as `athena/` with query results."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for prefix in var.temporary_prefixes : can(regex("^[a-z][a-z0-9-]*/$", prefix)) && !contains(["ledger/", "rejected/"], prefix)])
    error_message = "Give folders that begin with a lower-case letter and end with /, but neither ledger/ nor rejected/: those belong to the archive."
  }
}
