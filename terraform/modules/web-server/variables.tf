variable "name" {
  description = "The names of all resources begin with it."
  type        = string
  default     = "web-log"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "A name has 2 to 31 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "ami_id" {
  description = "The image: Debian 12 or later (its nginx, logrotate and group adm are expected)."
  type        = string

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.ami_id))
    error_message = "An AMI's id is ami- and 8 to 17 hexadecimal digits."
  }
}

variable "instance_type" {
  description = "The instance's type, for the processor of the image."
  type        = string
  default     = "t3.micro"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "An instance type is a name such as t3.micro."
  }
}

variable "vpc_id" {
  description = "The VPC of the security group, that of the subnet; null: the default VPC."
  type        = string
  default     = null

  validation {
    condition     = var.vpc_id == null || can(regex("^vpc-[0-9a-f]+$", var.vpc_id))
    error_message = "A VPC's id is vpc- and hexadecimal digits."
  }
}

variable "subnet_id" {
  description = "The instance's subnet. It needs a route to the internet (packages of Debian and Python, AWS's services). Null: one of the default VPC's."
  type        = string
  default     = null

  validation {
    condition     = var.subnet_id == null || can(regex("^subnet-[0-9a-f]+$", var.subnet_id))
    error_message = "A subnet's id is subnet- and hexadecimal digits."
  }
}

variable "public_ip" {
  description = "Whether the instance gets a public address."
  type        = bool
  default     = true
}

variable "allowed_cidrs" {
  description = "IPv4 networks that reach port 80; 0.0.0.0/0 is the whole internet."
  type        = list(string)

  validation {
    condition     = length(var.allowed_cidrs) > 0 && alltrue([for cidr in var.allowed_cidrs : can(cidrnetmask(cidr))])
    error_message = "At least one IPv4 network such as 203.0.113.0/24 is needed."
  }
}

variable "artefact_bucket" {
  description = "An existing bucket for the archive that the instance is set up from."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.artefact_bucket))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "artefact_prefix" {
  description = "The prefix of the archive's key, which ends in its hash."
  type        = string
  default     = "artefacts/"

  validation {
    condition     = can(regex("^([A-Za-z0-9_.-]+/)*$", var.artefact_prefix))
    error_message = "A prefix does not start with / and ends with /, e.g. artefacts/."
  }
}

variable "kms_key_arn" {
  description = "The KMS key of the objects in both buckets; null: a key of AWS."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "Give the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "host_archive" {
  description = "Path of `web-log-producer.tar`, made by `script/bundle`."
  type        = string

  validation {
    condition     = fileexists(var.host_archive)
    error_message = "There is no such file. Make it with: script/bundle"
  }
}

variable "settings" {
  description = "The producer's settings, a pipeline's output `settings`: AWS_DEFAULT_REGION, DELIVERY, its stream, S3_BUCKET, S3_PREFIX …"
  type        = map(string)

  validation {
    condition     = alltrue([for name in ["AWS_DEFAULT_REGION", "DELIVERY", "S3_BUCKET"] : contains(keys(var.settings), name)])
    error_message = "AWS_DEFAULT_REGION, DELIVERY and S3_BUCKET are needed."
  }

  validation {
    condition     = alltrue([for name, value in var.settings : can(regex("^([A-Z][A-Z0-9_]*=[][A-Za-z0-9_./:@%+=,-]*|LOG_SKIP=[^'\\\\\n]*)$", "${name}=${value}"))])
    error_message = "A setting's name has capitals, digits and _; its value letters, digits and _./:@%+=,-[], that of LOG_SKIP anything but quotes and backslashes."
  }
}

variable "record_key" {
  description = "What the producer signs records with, a pipeline's output `record_key`; empty: it does not. It is part of the user data."
  type        = string
  default     = ""
  sensitive   = true

  validation {
    condition     = can(regex("^([0-9]{8}T[0-9]{6}Z-[0-9a-f]{64})?$", var.record_key))
    error_message = "A key is a pipeline's output record_key."
  }
}

variable "producer_policy_json" {
  description = "The IAM policy that allows writing to the stream, or with DELIVERY=s3 to the bucket: a pipeline's output `producer_policy_json`."
  type        = string

  validation {
    condition     = can(jsondecode(var.producer_policy_json).Statement)
    error_message = "A policy is a JSON document with statements."
  }
}

variable "schedule" {
  description = "`cron`: the producer runs each minute, sends, and ends. `systemd`: it runs all the time and ships the last lines at shutdown; unless DELIVERY=firehose it also sends again what was lost; with DELIVERY=kinesis it may read the hourly objects for that."
  type        = string
  default     = "cron"

  validation {
    condition     = contains(["cron", "systemd"], var.schedule)
    error_message = "A schedule is cron or systemd."
  }
}

variable "endpoint_url" {
  description = "The URL of an emulator, seen from the instance; empty: AWS."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(https?://[A-Za-z0-9.-]+(:[0-9]+)?)?$", var.endpoint_url))
    error_message = "An endpoint is http(s)://host:port."
  }
}

variable "session_manager" {
  description = "Whether AWS Systems Manager may open a shell. The image needs its agent, which Debian's has not. No port for SSH is open in any case."
  type        = bool
  default     = false
}

variable "root_volume_gb" {
  description = "Size of the root volume in GB. It also holds 14 days of logs."
  type        = number
  default     = 8

  validation {
    condition     = var.root_volume_gb >= 8 && var.root_volume_gb <= 16384 && floor(var.root_volume_gb) == var.root_volume_gb
    error_message = "The root volume has 8 to 16384 GB."
  }
}
