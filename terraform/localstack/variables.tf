variable "endpoint" {
  description = "Where LocalStack, the appliance's embedded emulator or another AWS-compatible endpoint answers."
  type        = string
  default     = "http://localhost:4566"
  nullable    = false

  validation {
    condition     = can(regex("^https?://[^/\\s]+$", var.endpoint))
    error_message = "Give a URL without a path, such as http://localhost:4566."
  }
}

variable "region" {
  description = "The region that is asked for."
  type        = string
  default     = "us-east-1"
  nullable    = false
}

variable "delivery" {
  description = "`kinesis`: stream and function, each line exactly once. `firehose`: delivery stream with transform, at least once; LocalStack does not file by the hour of the lines, MiniStack does. `s3`: the producer appends by itself, each line exactly once; only the bucket is made."
  type        = string
  default     = "kinesis"
  nullable    = false

  validation {
    condition     = contains(["kinesis", "firehose", "s3"], var.delivery)
    error_message = "Choose kinesis, firehose or s3."
  }
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

variable "bucket_name" {
  description = "The bucket; `terraform destroy` deletes it with its contents."
  type        = string
  default     = "my-bucket"
  nullable    = false
}

variable "key_prefix" {
  description = "The prefix of every key, such as `logs/`."
  type        = string
  default     = ""
  nullable    = false
}

variable "access_log_format" {
  description = "The format of the log: `combined`, `main`, `common`, `vhost_combined`, `json`, `json:` with a map of keys to variables, or the string of nginx's log_format."
  type        = string
  default     = "combined"
  nullable    = false
}

variable "fields" {
  description = "What an entry has behind its seven keys, such as bytes, referer, requestTime."
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

variable "stream_name" {
  description = "The data stream, with delivery = \"kinesis\"."
  type        = string
  default     = "web-log-stream"
  nullable    = false
}

variable "shard_count" {
  description = "Shards of the data stream."
  type        = number
  default     = 1
  nullable    = false
}

variable "batch_size" {
  description = "Records per invocation, at most."
  type        = number
  default     = 100
  nullable    = false
}

variable "starting_position" {
  description = "Where the mapping starts reading: `TRIM_HORIZON` or `LATEST`."
  type        = string
  default     = "TRIM_HORIZON"
  nullable    = false
}

variable "delivery_stream_name" {
  description = "The delivery stream, with delivery = \"firehose\"."
  type        = string
  default     = "web-log-delivery"
  nullable    = false
}

variable "firehose_role_name" {
  description = "The delivery stream's role, with delivery = \"firehose\"."
  type        = string
  default     = "firehose-ex"
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

variable "alarms" {
  description = "Whether alarms are made. The appliance's embedded emulator has no CloudWatch: false there."
  type        = bool
  default     = true
  nullable    = false
}

variable "credentials" {
  description = "The file with the access key of the appliance's embedded emulator, DATA_DIR/emulator/credentials. Empty: test and test, which any other emulator takes."
  type        = string
  default     = ""
  nullable    = false
}
