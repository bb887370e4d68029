variable "region" {
  description = "The region of everything."
  type        = string
  default     = "us-east-1"
  nullable    = false
}

variable "name" {
  description = "All names but the bucket's begin with it."
  type        = string
  default     = "web-log"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "A name has 2 to 31 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "delivery" {
  description = "`kinesis`: stream and function, each line exactly once, one object an hour. `firehose`: delivery stream with transform, at least once, no shards to count. `s3`: the producer appends to the objects by itself, each line exactly once; no stream, no function."
  type        = string
  default     = "kinesis"
  nullable    = false

  validation {
    condition     = contains(["kinesis", "firehose", "s3"], var.delivery)
    error_message = "Choose kinesis, firehose or s3."
  }
}

variable "keep_both" {
  description = "Whether the pipelines of the other deliveries exist too. It is needed after a change of delivery, until the old pipeline has delivered what it holds."
  type        = bool
  default     = false
  nullable    = false
}

variable "bucket_name" {
  description = "The bucket of the hourly objects; its name must be free in all of AWS, unless create_bucket is false."
  type        = string
  nullable    = false
}

variable "create_bucket" {
  description = "Whether the bucket is made here. If false, it is there already, and nothing of its configuration is touched."
  type        = bool
  default     = true
  nullable    = false
}

variable "key_prefix" {
  description = "The prefix of every key, such as `logs/`."
  type        = string
  default     = ""
  nullable    = false
}

variable "kms_key_arn" {
  description = "A KMS key for objects, streams and query results; null: keys of AWS."
  type        = string
  default     = null
}

variable "versioning" {
  description = "Whether replaced and deleted objects are kept for a week. Cheap with Firehose, which writes an object once; else each append keeps the whole object once more. A bucket cannot go back to having no versions."
  type        = bool
  default     = false
  nullable    = false
}

variable "expire_after_days" {
  description = "Days after which hourly and rejected objects are deleted; null: never."
  type        = number
  default     = null
}

variable "transition" {
  description = "When hourly and rejected objects move to STANDARD_IA, GLACIER_IR or INTELLIGENT_TIERING; null: never."
  type = object({
    days          = number
    storage_class = string
  })
  default = null
}

variable "package" {
  description = "Path of the function's zip, made by `script/bundle`."
  type        = string
  default     = "../../dist/stream-transformation.zip"
  nullable    = false
}

variable "runtime" {
  description = "The function's Python: `python3.13`, `python3.14` with a provider from 6.20 on, or `python3.12` for one from before November 2024, which knows no newer one."
  type        = string
  default     = "python3.13"
  nullable    = false
}

variable "host_archive" {
  description = "Path of what the web server is set up from, made by `script/bundle`."
  type        = string
  default     = "../../dist/web-log-producer.tar"
  nullable    = false
}

variable "access_log_format" {
  description = "The format of the log: `combined`, `main`, `common`, `vhost_combined`, `json`, `json:` with a map of keys to variables, or the string of nginx's log_format."
  type        = string
  default     = "combined"
  nullable    = false
}

variable "fields" {
  description = "What an entry has behind its seven keys, such as bytes, referer, requestTime; a web server that is made here logs what they need."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "trusted_proxies" {
  description = "Proxies in front whose X-Forwarded-For names the client: addresses, networks, `docker` or `private`."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "anonymize_ip" {
  description = "Whether addresses are kept without their last octet (IPv4) or their last 80 bits (IPv6)."
  type        = bool
  default     = false
  nullable    = false
}

variable "drop_query" {
  description = "`[\"all\"]`: requests and Referers are kept without their queries. Or the names of parameters whose values are left out."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "log_skip" {
  description = "Requests without a line, such as health checks: paths, and `agent:` with the beginning of a user agent."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "stream_mode" {
  description = "With delivery = \"kinesis\": `PROVISIONED` or `ON_DEMAND`."
  type        = string
  default     = "PROVISIONED"
  nullable    = false
}

variable "shard_count" {
  description = "Shards of a PROVISIONED stream: each takes 1,000 records/s and 1 MB/s."
  type        = number
  default     = 1
  nullable    = false
}

variable "retention_hours" {
  description = "With delivery = \"kinesis\": hours the stream keeps its records. Beyond 24 a shard costs more than twice as much; a batch that fails for longer is lost."
  type        = number
  default     = 168
  nullable    = false
}

variable "batch_size" {
  description = "With delivery = \"kinesis\": records per invocation, at most."
  type        = number
  default     = 100
  nullable    = false
}

variable "batching_window_seconds" {
  description = "With delivery = \"kinesis\": seconds Lambda waits for a batch to fill. Each batch costs a read and a write of the hourly object."
  type        = number
  default     = 10
  nullable    = false
}

variable "parallelization_factor" {
  description = "With delivery = \"kinesis\": batches of one shard that are processed at the same time."
  type        = number
  default     = 1
  nullable    = false
}

variable "maximum_record_age_seconds" {
  description = "With delivery = \"kinesis\": age at which a record that still fails is discarded into the destination; -1: never, which exactly once needs."
  type        = number
  default     = -1
  nullable    = false
}

variable "failure_destination_arn" {
  description = "With delivery = \"kinesis\": an S3 bucket, SQS queue or SNS topic for discarded batches; null: the pipeline's bucket."
  type        = string
  default     = null
}

variable "buffering_seconds" {
  description = "With delivery = \"firehose\": seconds that Firehose gathers for an object."
  type        = number
  default     = 60
  nullable    = false
}

variable "log_retention_days" {
  description = "Days CloudWatch keeps the logs of the pipeline itself."
  type        = number
  default     = 30
  nullable    = false
}

variable "alarm_topic_arn" {
  description = "The SNS topic that alarms notify; null: they only show their state."
  type        = string
  default     = null
}

variable "allowed_cidrs" {
  description = "IPv4 networks that reach the web server's port 80. Empty: no web server is made; the producer runs elsewhere."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "ami_id" {
  description = "The web server's image; null: Debian 13, the newest at the first apply."
  type        = string
  default     = null
}

variable "instance_type" {
  description = "The web server's type, amd64 unless ami_id says otherwise."
  type        = string
  default     = "t3.micro"
  nullable    = false
}

variable "vpc_id" {
  description = "The web server's VPC; null: the default VPC."
  type        = string
  default     = null
}

variable "subnet_id" {
  description = "The web server's subnet; null: one of the default VPC's."
  type        = string
  default     = null
}

variable "schedule" {
  description = "How the web server's producer runs: `cron`, once a minute, or `systemd`, all the time and with repair."
  type        = string
  default     = "cron"
  nullable    = false
}

variable "athena" {
  description = "Whether the archive becomes a table in Athena."
  type        = bool
  default     = true
  nullable    = false
}

variable "first_hour" {
  description = "The oldest hour in the archive, yyyy/MM/dd/HH."
  type        = string
  default     = "2026/01/01/00"
  nullable    = false
}

variable "bytes_scanned_limit" {
  description = "Bytes one query may read before Athena ends it."
  type        = number
  default     = 10737418240
  nullable    = false
}

variable "tags" {
  description = "Tags of everything, besides Project."
  type        = map(string)
  default     = {}
  nullable    = false
}
