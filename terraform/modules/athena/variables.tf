variable "database_name" {
  description = "The Glue database."
  type        = string
  default     = "web_log"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_]{1,255}$", var.database_name))
    error_message = "Athena takes names of lower-case letters, digits and underscores."
  }
}

variable "table_name" {
  description = "The table."
  type        = string
  default     = "web_access_log"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_]{1,255}$", var.table_name))
    error_message = "Athena takes names of lower-case letters, digits and underscores."
  }
}

variable "workgroup_name" {
  description = "The workgroup that the queries run in."
  type        = string
  default     = "web-log"
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9._-]{1,128}$", var.workgroup_name))
    error_message = "A workgroup name has 1 to 128 letters, digits, dots, hyphens and underscores."
  }
}

variable "bucket_name" {
  description = "The bucket of the hourly objects."
  type        = string
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

variable "fields" {
  description = "Columns behind the seven, with their types: the output `columns` of modules/log-lines."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "results_bucket_name" {
  description = "The bucket of query results; null: the bucket of the hourly objects."
  type        = string
  default     = null
}

variable "results_prefix" {
  description = "The folder of the results."
  type        = string
  default     = "athena/"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][^/]*/$", var.results_prefix))
    error_message = "Give one folder that begins with a lower-case letter and ends with /, such as athena/: folders of hours begin with a digit."
  }
}

variable "first_hour" {
  description = "The oldest hour in the archive, yyyy/MM/dd/HH. A query that names no hour reads every folder from there to now."
  type        = string
  default     = "2026/01/01/00"
  nullable    = false

  validation {
    condition     = can(regex("^20[0-9]{2}/(0[1-9]|1[0-2])/(0[1-9]|[12][0-9]|3[01])/([01][0-9]|2[0-3])$", var.first_hour))
    error_message = "Give an hour as yyyy/MM/dd/HH, such as 2026/01/01/00."
  }
}

variable "bytes_scanned_limit" {
  description = "Bytes one query may read before Athena ends it. Athena's price is per byte read."
  type        = number
  default     = 10737418240
  nullable    = false

  validation {
    condition     = var.bytes_scanned_limit >= 10485760
    error_message = "Athena takes no limit below 10 MiB (10485760 bytes)."
  }
}

variable "kms_key_arn" {
  description = "A KMS key for the results; null: SSE-S3."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes a workgroup in which other queries were saved."
  type        = bool
  default     = false
  nullable    = false
}
