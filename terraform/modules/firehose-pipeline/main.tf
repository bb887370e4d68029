# nginx's lines -> Firehose -> transform -> objects in S3 below the lines' own hour, each line at least once.
# The entrypoint makes the same at an emulator with DELIVERY=firehose (entrypoint/provision.py); AWS needs more, which is here.

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}"
  log_group  = "/aws/kinesisfirehose/${var.delivery_stream_name}"
  log_stream = "DestinationDelivery"
  environment = merge(
    { S3_BUCKET = var.bucket_name },
    var.key_prefix == "" ? {} : { S3_PREFIX = var.key_prefix },
    var.line_settings,
  )
  hour = join("/", [for part in ["year", "month", "day", "hour"] : "!{partitionKeyFromLambda:${part}}"])
}

# Firehose writes the transform's answers. The transform itself writes only lines that cannot be parsed: if it answered such a line
# as failed, Firehose would put the whole record into the error output.
data "aws_iam_policy_document" "transform" {
  statement {
    sid     = "KeepRejectedLines"
    actions = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = [
      "${local.bucket_arn}/${var.key_prefix}rejected/*",
      "${local.bucket_arn}/${var.key_prefix}ledger/*",
    ]
  }

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
  handler     = "index.firehose_handler"
  runtime     = var.runtime
  timeout     = var.timeout
  memory_size = var.memory_size
  environment = local.environment
  policies = merge(
    { "keep-rejected-lines" = data.aws_iam_policy_document.transform.json },
    var.kms_key_arn == null ? {} : { "use-key" = data.aws_iam_policy_document.key[0].json },
  )
  log_retention_days = var.log_retention_days
  kms_key_arn        = var.log_kms_key_arn
  alarms             = var.alarms
  alarm_topic_arn    = var.alarm_topic_arn
}

resource "aws_cloudwatch_log_group" "delivery" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts every group; a KMS key is used if log_kms_key_arn is given
  #checkov:skip=CKV_AWS_338:The log holds delivery errors, no log line of the web server: a month is enough to find a fault
  name              = local.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
}

resource "aws_cloudwatch_log_stream" "delivery" {
  name           = local.log_stream
  log_group_name = aws_cloudwatch_log_group.delivery.name
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["firehose.amazonaws.com"]
    }

    # Firehose gives the account it acts for as the external id
    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [split(":", aws_cloudwatch_log_group.delivery.arn)[4]]
    }
  }
}

resource "aws_iam_role" "delivery" {
  name               = var.firehose_role_name
  description        = "Lets Firehose transform access log lines and write them to S3"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

# The same policy as in entrypoint/policies.py: a test compares the two in IAM.
data "aws_iam_policy_document" "delivery" {
  statement {
    sid       = "WriteObjects"
    actions   = ["s3:AbortMultipartUpload", "s3:PutObject"]
    resources = ["${local.bucket_arn}/${var.key_prefix}*"]
  }

  statement {
    sid       = "SeeBucket"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "InvokeTransform"
    actions   = ["lambda:GetFunctionConfiguration", "lambda:InvokeFunction"]
    resources = [module.function.arn, "${module.function.arn}:$LATEST"]
  }

  statement {
    sid       = "WriteLog"
    actions   = ["logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.delivery.arn}:log-stream:*"]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "UseKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "delivery" {
  name   = "write-objects-invoke-transform"
  role   = aws_iam_role.delivery.id
  policy = data.aws_iam_policy_document.delivery.json
}

resource "aws_kinesis_firehose_delivery_stream" "this" {
  # without these permissions Firehose accepts the first records and then fails to deliver them
  depends_on = [aws_iam_role_policy.delivery]

  name        = var.delivery_stream_name
  destination = "extended_s3"

  server_side_encryption {
    enabled  = true
    key_type = var.kms_key_arn == null ? "AWS_OWNED_CMK" : "CUSTOMER_MANAGED_CMK"
    key_arn  = var.kms_key_arn
  }

  extended_s3_configuration {
    role_arn            = aws_iam_role.delivery.arn
    bucket_arn          = local.bucket_arn
    prefix              = "${var.key_prefix}${local.hour}/"
    error_output_prefix = "${var.key_prefix}rejected/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/"
    buffering_size      = var.buffering_mib
    buffering_interval  = var.buffering_seconds
    compression_format  = "UNCOMPRESSED"
    kms_key_arn         = var.kms_key_arn

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.delivery.name
      log_stream_name = aws_cloudwatch_log_stream.delivery.name
    }

    dynamic_partitioning_configuration {
      enabled        = true
      retry_duration = 300
    }

    processing_configuration {
      enabled = true

      # The rest is AWS's defaults: 3 retries, 60 seconds. The provider would plan a change for a default that is named here.
      processors {
        type = "Lambda"

        parameters {
          parameter_name  = "LambdaArn"
          parameter_value = "${module.function.arn}:$LATEST"
        }

        # the transform unpacks gzip'd lines to about ten times their size, and its answer must stay below 6 MB
        parameters {
          parameter_name  = "BufferSizeInMBs"
          parameter_value = "0.2"
        }
      }
    }
  }
}

module "alarms" {
  source = "../alarms"
  count  = var.alarms ? 1 : 0

  topic_arn = var.alarm_topic_arn
  alarms = {
    freshness = {
      description        = "The oldest record waits longer than ${var.freshness_alarm_minutes} minutes for its delivery: see the log group ${local.log_group}."
      namespace          = "AWS/Firehose"
      metric_name        = "DeliveryToS3.DataFreshness"
      dimensions         = { DeliveryStreamName = aws_kinesis_firehose_delivery_stream.this.name }
      statistic          = "Maximum"
      period             = 300
      evaluation_periods = 2
      threshold          = var.freshness_alarm_minutes * 60
    }
    delivery-failed = {
      description         = "Objects cannot be written: see the log group ${local.log_group}. Firehose tries for 24 hours."
      namespace           = "AWS/Firehose"
      metric_name         = "DeliveryToS3.Success"
      dimensions          = { DeliveryStreamName = aws_kinesis_firehose_delivery_stream.this.name }
      statistic           = "Average"
      period              = 300
      evaluation_periods  = 2
      comparison_operator = "LessThanThreshold"
      threshold           = 1
    }
    transform-failed = {
      description         = "The transform cannot be invoked or answers wrongly: its records go below rejected/processing-failed/ of the bucket."
      namespace           = "AWS/Firehose"
      metric_name         = "ExecuteProcessing.Success"
      dimensions          = { DeliveryStreamName = aws_kinesis_firehose_delivery_stream.this.name }
      statistic           = "Average"
      period              = 300
      evaluation_periods  = 2
      comparison_operator = "LessThanThreshold"
      threshold           = 1
    }
  }
}

# For a producer.
data "aws_iam_policy_document" "producer" {
  statement {
    sid       = "WriteStream"
    actions   = ["firehose:PutRecordBatch"]
    resources = [aws_kinesis_firehose_delivery_stream.this.arn]
  }
}
