# What is refused, and what a plan holds. Without AWS: terraform test

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  alarms = {
    errors = {
      description = "for a test"
      namespace   = "AWS/Lambda"
      metric_name = "Errors"
      dimensions  = { FunctionName = "some-function" }
    }
    counted = {
      description = "for a test"
      namespace   = "Ours"
      metric_name = "Counted"
      subject     = "some-other"
    }
  }
}

run "refused" {
  command = plan

  variables {
    topic_arn = "operations"
  }

  expect_failures = [
    var.topic_arn,
  ]
}

run "planned" {
  command = plan

  variables {
    topic_arn = "arn:aws:sns:us-east-1:123456789012:operations"
  }

  assert {
    condition     = output.names == ["some-other-counted", "some-function-errors"]
    error_message = "An alarm is named after what it watches."
  }

  assert {
    condition = alltrue([
      for actions in [aws_cloudwatch_metric_alarm.this["errors"].alarm_actions, aws_cloudwatch_metric_alarm.this["errors"].ok_actions] :
      actions == toset(["arn:aws:sns:us-east-1:123456789012:operations"])
    ])
    error_message = "Alarms notify the topic."
  }
}
