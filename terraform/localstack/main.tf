# The pipeline at LocalStack or another emulator: see docs/terraform.md.
# Producer and web server run elsewhere; `terraform output -json settings` is their environment.

provider "aws" {
  region = var.region

  # an emulator has one host name: a bucket's name in it would not resolve
  access_key                  = var.credentials == "" ? "test" : null
  secret_key                  = var.credentials == "" ? "test" : null
  shared_credentials_files    = var.credentials == "" ? null : [var.credentials]
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true

  endpoints {
    cloudwatch     = var.endpoint
    cloudwatchlogs = var.endpoint
    firehose       = var.endpoint
    iam            = var.endpoint
    kinesis        = var.endpoint
    lambda         = var.endpoint
    s3             = var.endpoint
    sts            = var.endpoint
  }
}

locals {
  settings = {
    kinesis  = one(module.stream_pipeline[*].settings)
    firehose = one(module.firehose_pipeline[*].settings)
    s3       = module.direct_delivery.settings
  }[var.delivery]
}

module "bucket" {
  source = "../modules/log-bucket"

  name          = var.bucket_name
  force_destroy = true
  key_prefix    = var.key_prefix
  # Firehose writes an object once; each append of the function would keep the whole object once more
  versioning = var.delivery == "firehose"
}

module "log_lines" {
  source = "../modules/log-lines"

  access_log_format = var.access_log_format
  fields            = var.fields
  trusted_proxies   = var.trusted_proxies
  anonymize_ip      = var.anonymize_ip
  drop_query        = var.drop_query
  log_skip          = var.log_skip
  firehose          = var.delivery == "firehose"
}

module "stream_pipeline" {
  source = "../modules/stream-pipeline"
  count  = var.delivery == "kinesis" ? 1 : 0

  bucket_name   = module.bucket.name
  key_prefix    = var.key_prefix
  line_settings = module.log_lines.settings
  package       = var.package
  runtime       = var.runtime
  stream_name   = var.stream_name
  shard_count   = var.shard_count
  # as the appliance sets it: free here, and an emulator may lose its position when records expire
  retention_hours   = 8760
  function_name     = var.function_name
  role_name         = var.role_name
  batch_size        = var.batch_size
  starting_position = var.starting_position
  alarms            = var.alarms
}

module "firehose_pipeline" {
  source = "../modules/firehose-pipeline"
  count  = var.delivery == "firehose" ? 1 : 0

  bucket_name          = module.bucket.name
  key_prefix           = var.key_prefix
  line_settings        = module.log_lines.settings
  package              = var.package
  runtime              = var.runtime
  delivery_stream_name = var.delivery_stream_name
  firehose_role_name   = var.firehose_role_name
  function_name        = var.function_name
  role_name            = var.role_name
  alarms               = var.alarms
}

# No resource of its own: with delivery = "s3" the producer writes to the bucket.
module "direct_delivery" {
  source = "../modules/direct-delivery"

  bucket_name = module.bucket.name
  key_prefix  = var.key_prefix
}
