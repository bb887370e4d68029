# Without AWS: script/bundle; terraform test

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

run "refused" {
  command = plan

  variables {
    name     = "Web Log"
    delivery = "pigeon"
  }

  expect_failures = [
    var.name,
    var.delivery,
  ]
}

run "no_web_server_unless_a_network_may_reach_it" {
  command = plan

  variables {
    athena = false
  }

  assert {
    condition     = length(module.web_server) + length(module.athena) + length(data.aws_ssm_parameter.debian) == 0
    error_message = "Nothing that was not asked for."
  }
}

run "format_and_fields" {
  command = plan

  variables {
    access_log_format = "common"
    fields            = ["bytes"]
    anonymize_ip      = true
    log_skip          = ["/health"]
  }

  assert {
    condition     = output.settings.ACCESS_LOG_FORMAT == "common" && output.settings.FIELDS == "bytes" && output.settings.ANONYMIZE_IP == "1" && output.settings.LOG_SKIP == "/health"
    error_message = "A producer is told what the function is told."
  }
}

run "newest_image" {
  command = plan

  variables {
    allowed_cidrs = ["203.0.113.0/24"]
  }

  override_data {
    target = data.aws_ssm_parameter.debian[0]
    values = {
      value = "ami-0123456789abcdef0"
    }
  }

  assert {
    condition     = terraform_data.image[0].input == "ami-0123456789abcdef0"
    error_message = "The newest image is taken, and kept."
  }
}

run "from_stream_to_firehose" {
  command = plan

  variables {
    delivery  = "firehose"
    keep_both = true
  }

  assert {
    condition     = length(module.stream_pipeline) + length(module.firehose_pipeline) == 2 && output.bucket_name == "some-bucket"
    error_message = "The stream goes on being archived while lines go to Firehose already, into the same bucket."
  }

  assert {
    condition     = module.stream_pipeline[0].function_name != module.firehose_pipeline[0].function_name
    error_message = "Nothing of the one has to go before the other can be made."
  }

  assert {
    condition     = output.settings.DELIVERY == "firehose"
    error_message = "Producers are sent to Firehose."
  }
}

run "straight_to_the_bucket" {
  command = plan

  variables {
    delivery = "s3"
  }

  assert {
    condition     = length(module.stream_pipeline) + length(module.firehose_pipeline) + length(output.alarm_names) == 0
    error_message = "There is nothing between the producer and the bucket."
  }

  assert {
    condition     = output.settings.DELIVERY == "s3" && output.settings.S3_BUCKET == "some-bucket" && nonsensitive(output.record_key) == ""
    error_message = "Producers are sent to the bucket."
  }

  assert {
    condition     = strcontains(output.producer_policy_json, "arn:aws:s3:::some-bucket/ledger/*")
    error_message = "Producers may append."
  }
}

run "and_back" {
  command = plan

  variables {
    keep_both         = true
    expire_after_days = 730
  }

  assert {
    condition     = output.settings.S3_EXPIRE_DAYS == "730"
    error_message = "A producer does not send again what has expired."
  }

  assert {
    condition     = length(module.firehose_pipeline) == 1 && output.settings.DELIVERY == "kinesis"
    error_message = "Firehose goes on delivering what it has while lines go to the stream already."
  }
}
