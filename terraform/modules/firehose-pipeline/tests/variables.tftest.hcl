# What is refused, and what a plan holds. Without AWS: terraform test -var package=../../../dist/stream-transformation.zip

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  bucket_name = "some-bucket"
}

run "refused_patterns" {
  command = plan

  variables {
    bucket_name = "some-*"
    key_prefix  = "*/"
  }

  expect_failures = [
    var.bucket_name,
    var.key_prefix,
  ]
}

run "refused_too_small" {
  command = plan

  variables {
    key_prefix              = "/logs/"
    delivery_stream_name    = ""
    firehose_role_name      = ""
    buffering_mib           = 63
    buffering_seconds       = 59
    freshness_alarm_minutes = 15
    kms_key_arn             = "some-key"
  }

  expect_failures = [
    var.key_prefix,
    var.delivery_stream_name,
    var.firehose_role_name,
    var.buffering_mib,
    var.buffering_seconds,
    var.freshness_alarm_minutes,
    var.kms_key_arn,
  ]
}

run "refused_too_large" {
  command = plan

  variables {
    delivery_stream_name = "a stream"
    firehose_role_name   = "a/role"
    buffering_mib        = 129
    buffering_seconds    = 901
  }

  expect_failures = [
    var.delivery_stream_name,
    var.firehose_role_name,
    var.buffering_mib,
    var.buffering_seconds,
  ]
}

run "filed_by_the_lines_own_hour" {
  command = plan

  variables {
    key_prefix = "logs/"
  }

  assert {
    condition     = aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].prefix == "logs/!{partitionKeyFromLambda:year}/!{partitionKeyFromLambda:month}/!{partitionKeyFromLambda:day}/!{partitionKeyFromLambda:hour}/"
    error_message = "The transform names the hour."
  }

  assert {
    condition     = startswith(aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].error_output_prefix, "logs/rejected/")
    error_message = "What cannot be filed is kept apart."
  }

  assert {
    condition = [
      for each in aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].processing_configuration[0].processors[0].parameters :
      each.parameter_value if each.parameter_name == "BufferSizeInMBs"
    ] == ["0.2"]
    error_message = "More in one invocation, and the transform's answer would be longer than Lambda allows."
  }

  assert {
    condition     = aws_kinesis_firehose_delivery_stream.this.server_side_encryption[0].enabled
    error_message = "The delivery stream is encrypted."
  }

  assert {
    condition     = length(output.alarm_names) == 6
    error_message = "Errors, throttles, rejected lines, freshness, delivery and transform failures."
  }
}

run "lines" {
  command = plan

  variables {
    line_settings = { ACCESS_LOG_FORMAT = "common" }
  }

  assert {
    condition     = local.environment.ACCESS_LOG_FORMAT == "common" && local.environment.S3_BUCKET == "some-bucket"
    error_message = "The function is told what the lines are."
  }
}
