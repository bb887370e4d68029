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
    key_prefix                 = "/logs/"
    stream_name                = ""
    stream_mode                = "SOMETIMES"
    shard_count                = 0
    retention_hours            = 23
    batch_size                 = 0
    batching_window_seconds    = -1
    parallelization_factor     = 0
    starting_position          = "MIDDLE"
    maximum_record_age_seconds = 59
    failure_destination_arn    = "arn:aws:lambda:us-east-1:123456789012:function:x"
    iterator_age_alarm_minutes = 0
    kms_key_arn                = "some-key"
  }

  expect_failures = [
    var.key_prefix,
    var.stream_name,
    var.stream_mode,
    var.shard_count,
    var.retention_hours,
    var.batch_size,
    var.batching_window_seconds,
    var.parallelization_factor,
    var.starting_position,
    var.maximum_record_age_seconds,
    var.failure_destination_arn,
    var.iterator_age_alarm_minutes,
    var.kms_key_arn,
  ]
}

run "refused_too_large" {
  command = plan

  variables {
    key_prefix                 = "logs"
    stream_name                = "a stream"
    shard_count                = 1001
    retention_hours            = 8761
    batch_size                 = 10001
    batching_window_seconds    = 301
    parallelization_factor     = 11
    maximum_record_age_seconds = 604801
  }

  expect_failures = [
    var.key_prefix,
    var.stream_name,
    var.shard_count,
    var.retention_hours,
    var.batch_size,
    var.batching_window_seconds,
    var.parallelization_factor,
    var.maximum_record_age_seconds,
  ]
}

run "records_must_not_outlive_the_stream" {
  command = plan

  variables {
    retention_hours            = 24
    maximum_record_age_seconds = 86400
  }

  expect_failures = [aws_lambda_event_source_mapping.this]
}

run "default_loses_nothing" {
  command = plan

  assert {
    condition     = aws_lambda_event_source_mapping.this.maximum_retry_attempts == -1
    error_message = "A batch that fails must come again."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.bisect_batch_on_function_error
    error_message = "A batch that is too much for one invocation must become smaller."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.maximum_record_age_in_seconds == -1
    error_message = "A batch that fails must come again until it is archived."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.destination_config[0].on_failure[0].destination_arn == "arn:aws:s3:::some-bucket"
    error_message = "A batch that is discarded all the same must be kept."
  }

  assert {
    condition     = aws_kinesis_stream.this.encryption_type == "KMS" && aws_kinesis_stream.this.shard_count == 1
    error_message = "The stream is encrypted and has one shard."
  }

  assert {
    condition     = length(output.alarm_names) == 6
    error_message = "Errors, throttles, rejected lines, iterator age, discarded and write throttled."
  }
}

run "on_demand_has_no_shards_to_count" {
  command = plan

  variables {
    stream_mode     = "ON_DEMAND"
    shard_count     = 7
    alarms          = false
    key_prefix      = "logs/"
    alarm_topic_arn = null
  }

  assert {
    condition     = aws_kinesis_stream.this.stream_mode_details[0].stream_mode == "ON_DEMAND"
    error_message = "The mode is the one asked for."
  }

  assert {
    condition     = length(output.alarm_names) == 0
    error_message = "No alarm was asked for."
  }

  assert {
    condition     = output.settings.S3_PREFIX == "logs/"
    error_message = "The producer is told the prefix."
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
