# A pipeline on AWS, a web server that feeds it if allowed_cidrs are given, and Athena: see docs/terraform.md.

provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ Project = "kinesis-lambda-logging" }, var.tags)
  }
}

locals {
  results_prefix = "athena/"
  # where a producer is to write, and what it need not send again
  settings = merge(
    {
      kinesis  = one(module.stream_pipeline[*].settings)
      firehose = one(module.firehose_pipeline[*].settings)
      s3       = module.direct_delivery.settings
    }[var.delivery],
    var.expire_after_days == null ? {} : { S3_EXPIRE_DAYS = tostring(var.expire_after_days) },
    module.log_lines.settings,
  )
  producer_policy_json = {
    kinesis  = one(module.stream_pipeline[*].producer_policy_json)
    firehose = one(module.firehose_pipeline[*].producer_policy_json)
    s3       = module.direct_delivery.producer_policy_json
  }[var.delivery]
  # only a data stream's records have a place to sign
  record_key = var.delivery == "kinesis" ? one(module.stream_pipeline[*].record_key) : ""
}

module "log_lines" {
  source = "../modules/log-lines"

  access_log_format = var.access_log_format
  fields            = var.fields
  trusted_proxies   = var.trusted_proxies
  anonymize_ip      = var.anonymize_ip
  drop_query        = var.drop_query
  log_skip          = var.log_skip
  web_server        = length(var.allowed_cidrs) > 0
  firehose          = var.delivery == "firehose"
}

# Outside the pipelines, so that a change of delivery does not touch the archive.
module "bucket" {
  source = "../modules/log-bucket"

  name               = var.bucket_name
  create             = var.create_bucket
  key_prefix         = var.key_prefix
  kms_key_arn        = var.kms_key_arn
  versioning         = var.versioning
  expire_after_days  = var.expire_after_days
  transition         = var.transition
  temporary_prefixes = [local.results_prefix]
}

module "stream_pipeline" {
  source = "../modules/stream-pipeline"
  count  = var.delivery == "kinesis" || var.keep_both ? 1 : 0

  bucket_name                = module.bucket.name
  key_prefix                 = var.key_prefix
  kms_key_arn                = var.kms_key_arn
  line_settings              = module.log_lines.settings
  package                    = var.package
  runtime                    = var.runtime
  function_name              = "${var.name}-transformation"
  role_name                  = "${var.name}-transformation"
  stream_name                = "${var.name}-stream"
  stream_mode                = var.stream_mode
  shard_count                = var.shard_count
  retention_hours            = var.retention_hours
  batch_size                 = var.batch_size
  batching_window_seconds    = var.batching_window_seconds
  parallelization_factor     = var.parallelization_factor
  maximum_record_age_seconds = var.maximum_record_age_seconds
  failure_destination_arn    = var.failure_destination_arn
  log_retention_days         = var.log_retention_days
  alarm_topic_arn            = var.alarm_topic_arn
}

module "firehose_pipeline" {
  source = "../modules/firehose-pipeline"
  count  = var.delivery == "firehose" || var.keep_both ? 1 : 0

  bucket_name          = module.bucket.name
  key_prefix           = var.key_prefix
  kms_key_arn          = var.kms_key_arn
  line_settings        = { for name, value in module.log_lines.settings : name => value if name != "FIELDS" }
  package              = var.package
  runtime              = var.runtime
  function_name        = "${var.name}-delivery-transform"
  role_name            = "${var.name}-delivery-transform"
  delivery_stream_name = "${var.name}-delivery"
  firehose_role_name   = "${var.name}-delivery"
  buffering_seconds    = var.buffering_seconds
  log_retention_days   = var.log_retention_days
  alarm_topic_arn      = var.alarm_topic_arn
}

# No resource of its own: with delivery = "s3" the producer writes to the bucket.
module "direct_delivery" {
  source = "../modules/direct-delivery"

  bucket_name = module.bucket.name
  key_prefix  = var.key_prefix
  kms_key_arn = var.kms_key_arn
}

# Debian publishes the ids of its images there, in every region
data "aws_ssm_parameter" "debian" {
  count = length(var.allowed_cidrs) > 0 && var.ami_id == null ? 1 : 0

  name = "/aws/service/debian/release/13/latest/amd64"
}

# The image that was the newest at the first apply. A newer one would replace the instance, and its disk with the log, so it is
# taken on request only: terraform apply -replace 'terraform_data.image[0]'
resource "terraform_data" "image" {
  count = length(data.aws_ssm_parameter.debian)

  input = nonsensitive(data.aws_ssm_parameter.debian[0].value)

  lifecycle {
    ignore_changes = [input]
  }
}

module "web_server" {
  source = "../modules/web-server"
  count  = length(var.allowed_cidrs) > 0 ? 1 : 0

  name                 = var.name
  settings             = local.settings
  record_key           = local.record_key
  producer_policy_json = local.producer_policy_json
  ami_id               = var.ami_id == null ? terraform_data.image[0].output : var.ami_id
  instance_type        = var.instance_type
  vpc_id               = var.vpc_id
  subnet_id            = var.subnet_id
  allowed_cidrs        = var.allowed_cidrs
  artefact_bucket      = module.bucket.name
  kms_key_arn          = var.kms_key_arn
  host_archive         = var.host_archive
  schedule             = var.schedule
}

module "athena" {
  source = "../modules/athena"
  count  = var.athena ? 1 : 0

  database_name       = replace(var.name, "-", "_")
  workgroup_name      = var.name
  bucket_name         = module.bucket.name
  key_prefix          = var.key_prefix
  results_prefix      = local.results_prefix
  fields              = module.log_lines.columns
  first_hour          = var.first_hour
  bytes_scanned_limit = var.bytes_scanned_limit
  kms_key_arn         = var.kms_key_arn
}
