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
  name        = "some-function"
  role_name   = "some-role"
  description = "for a test"
  handler     = "index.handler"
  environment = { S3_BUCKET = "some-bucket" }
  policies    = {}
}

run "refused" {
  command = plan

  variables {
    name               = "some function"
    role_name          = "some/role"
    package            = "nowhere.zip"
    handler            = "index.main"
    runtime            = "python2.7"
    timeout            = 9
    memory_size        = 128
    log_retention_days = 31
  }

  expect_failures = [
    var.name,
    var.role_name,
    var.package,
    var.handler,
    var.runtime,
    var.timeout,
    var.memory_size,
    var.log_retention_days,
  ]
}

run "planned" {
  command = plan

  assert {
    condition     = aws_lambda_function.this.runtime == "python3.13" && aws_cloudwatch_log_group.this.retention_in_days == 30
    error_message = "Python 3.13, and a log that does not grow for ever."
  }

  assert {
    condition     = length(output.alarm_names) == 3
    error_message = "Errors, throttles and rejected lines."
  }

  assert {
    condition     = aws_cloudwatch_log_metric_filter.rejected.pattern == "{ $.rejected > 0 }" && aws_cloudwatch_log_metric_filter.rejected.log_group_name == "/aws/lambda/some-function"
    error_message = "The counts of the function's own log."
  }
}
