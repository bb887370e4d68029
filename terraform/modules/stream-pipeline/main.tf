# nginx's lines -> Kinesis -> function -> hourly objects in S3, each line exactly once.
# The entrypoint makes the same at an emulator (entrypoint/provision.py); AWS needs more, which is here.

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  bucket_arn          = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}"
  failures_arn        = coalesce(var.failure_destination_arn, local.bucket_arn)
  failures_service    = split(":", local.failures_arn)[2]
  failures_in_objects = local.failures_service == "s3"
  environment = merge(
    { S3_BUCKET = var.bucket_name, RECORD_KEY = local.record_key },
    var.key_prefix == "" ? {} : { S3_PREFIX = var.key_prefix },
    var.line_settings,
  )
  record_key = sensitive(terraform_data.record_key.output)
}

# What signs the place of each record, so that nothing else that may put records can claim a part of a log. Made once: records
# that it has signed may still be in the stream. It begins with the time from which on the function takes no unsigned place:
# until then the producers have to be given it. Two uuids have 244 random bits.
resource "terraform_data" "record_key" {
  input = sensitive("${formatdate("YYYYMMDD'T'hhmmss'Z'", timeadd(timestamp(), "24h"))}-${sha256(join("", [uuid(), uuid()]))}")

  lifecycle {
    ignore_changes = [input]
  }
}

resource "aws_kinesis_stream" "this" {
  name             = var.stream_name
  shard_count      = var.stream_mode == "PROVISIONED" ? var.shard_count : null
  retention_period = var.retention_hours
  encryption_type  = "KMS"
  kms_key_id       = coalesce(var.kms_key_arn, "alias/aws/kinesis")

  stream_mode_details {
    stream_mode = var.stream_mode
  }
}

# The same policy as inline_policy in entrypoint/policies.py: a test compares the two in IAM.
data "aws_iam_policy_document" "function" {
  statement {
    sid = "ReadStream"
    actions = [
      "kinesis:DescribeStream",
      "kinesis:DescribeStreamSummary",
      "kinesis:GetRecords",
      "kinesis:GetShardIterator",
      "kinesis:ListShards",
      "kinesis:SubscribeToShard",
    ]
    resources = [aws_kinesis_stream.this.arn]
  }

  statement {
    sid       = "ReadAndWriteObjects"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arn}/${var.key_prefix}*"]
  }

  # Superseded ledgers may be deleted, log lines may not, whatever the function's code does.
  statement {
    sid       = "DeleteOldLedgers"
    actions   = ["s3:DeleteObject"]
    resources = ["${local.bucket_arn}/${var.key_prefix}ledger/*"]
  }

  # Without it S3 answers 403 instead of 404 for an hour that has no object yet.
  statement {
    sid       = "TellMissingFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }
}

# Lambda writes discarded batches with the function's role.
data "aws_iam_policy_document" "failures" {
  dynamic "statement" {
    for_each = local.failures_in_objects ? [1] : []

    content {
      sid       = "KeepDiscardedBatches"
      actions   = ["s3:PutObject"]
      resources = ["${local.failures_arn}/aws/lambda/*"]
    }
  }

  dynamic "statement" {
    for_each = local.failures_in_objects ? [1] : []

    content {
      sid       = "FindDestination"
      actions   = ["s3:ListBucket"]
      resources = [local.failures_arn]
    }
  }

  dynamic "statement" {
    for_each = local.failures_in_objects ? [] : [{ sqs = "sqs:SendMessage", sns = "sns:Publish" }[local.failures_service]]

    content {
      sid       = "TellOfDiscardedBatches"
      actions   = [statement.value]
      resources = [local.failures_arn]
    }
  }
}

data "aws_iam_policy_document" "key" {
  count = var.kms_key_arn == null ? 0 : 1

  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }
}

module "function" {
  source = "../function"

  name        = var.function_name
  role_name   = var.role_name
  description = "Turns access log lines into JSON lines, each to go to its own hour in S3"
  package     = var.package
  handler     = "index.handler"
  runtime     = var.runtime
  timeout     = var.timeout
  memory_size = var.memory_size
  environment = local.environment
  policies = merge(
    {
      "read-stream-write-objects" = data.aws_iam_policy_document.function.json
      "keep-discarded-batches"    = data.aws_iam_policy_document.failures.json
    },
    var.kms_key_arn == null ? {} : { "use-key" = data.aws_iam_policy_document.key[0].json },
  )
  log_retention_days = var.log_retention_days
  kms_key_arn        = var.log_kms_key_arn
  alarms             = var.alarms
  alarm_topic_arn    = var.alarm_topic_arn
}

resource "aws_lambda_event_source_mapping" "this" {
  event_source_arn                   = aws_kinesis_stream.this.arn
  function_name                      = module.function.arn
  starting_position                  = var.starting_position
  batch_size                         = var.batch_size
  parallelization_factor             = var.parallelization_factor
  maximum_batching_window_in_seconds = var.batching_window_seconds
  # halves of a batch that fails have a time-out each; the ledgers keep lines from being doubled
  bisect_batch_on_function_error = true

  # Endless retries: a batch that fails stops its shard instead of being lost, and the alarms below say so. Only a batch whose
  # records grow older than maximum_record_age_seconds is discarded, into the destination.
  maximum_retry_attempts        = -1
  maximum_record_age_in_seconds = var.maximum_record_age_seconds

  destination_config {
    on_failure {
      destination_arn = local.failures_arn
    }
  }

  lifecycle {
    precondition {
      condition     = var.maximum_record_age_seconds < var.retention_hours * 3600
      error_message = "maximum_record_age_seconds must be below retention_hours: the stream would drop records before they can be kept."
    }
  }
}

module "alarms" {
  source = "../alarms"
  count  = var.alarms ? 1 : 0

  topic_arn = var.alarm_topic_arn
  alarms = {
    iterator-age = {
      description = "Lines reach S3 more than ${var.iterator_age_alarm_minutes} minutes late: the function fails, or needs more shards or a larger parallelization factor."
      namespace   = "AWS/Lambda"
      metric_name = "IteratorAge"
      dimensions  = { FunctionName = module.function.name }
      statistic   = "Maximum"
      threshold   = var.iterator_age_alarm_minutes * 60 * 1000
    }
    discarded = {
      description        = "A batch grew too old and could not even be written to the destination: its lines are in the web server's log only."
      namespace          = "AWS/Lambda"
      metric_name        = "DestinationDeliveryFailures"
      dimensions         = { FunctionName = module.function.name }
      period             = 300
      evaluation_periods = 1
    }
    write-throttled = {
      description         = "The stream refuses records: it needs more shards, or ON_DEMAND. The producer sends them again."
      namespace           = "AWS/Kinesis"
      metric_name         = "WriteProvisionedThroughputExceeded"
      dimensions          = { StreamName = aws_kinesis_stream.this.name }
      evaluation_periods  = 15
      datapoints_to_alarm = 10
    }
  }
}

# For a producer.
data "aws_iam_policy_document" "producer" {
  statement {
    sid       = "WriteStream"
    actions   = ["kinesis:PutRecords"]
    resources = [aws_kinesis_stream.this.arn]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "UseKey"
      actions   = ["kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}
