# What is refused, and what a producer may do. Without AWS: terraform test

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
  key_prefix  = "logs/"
}

run "refused" {
  command = plan

  variables {
    bucket_name = "some-*"
    key_prefix  = "*/"
    kms_key_arn = "alias/some"
  }

  expect_failures = [
    var.bucket_name,
    var.key_prefix,
    var.kms_key_arn,
  ]
}

run "it_appends_and_deletes_ledgers_only" {
  command = plan

  assert {
    condition = { for statement in jsondecode(output.producer_policy_json).Statement : statement.Sid => [statement.Action, statement.Resource] } == {
      ReadAndWriteObjects      = [["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"], "arn:aws:s3:::some-bucket/logs/*"]
      DeleteOldLedgers         = ["s3:DeleteObject", "arn:aws:s3:::some-bucket/logs/ledger/*"]
      TellMissingFromForbidden = ["s3:ListBucket", "arn:aws:s3:::some-bucket"]
    }
    error_message = "No right that appending has no use for."
  }

  assert {
    condition     = output.settings == { TARGET = "aws", DELIVERY = "s3", AWS_DEFAULT_REGION = "us-east-1", S3_BUCKET = "some-bucket", S3_PREFIX = "logs/" }
    error_message = "The producer is sent to the bucket."
  }
}

run "key_of_ones_own" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/some"
  }

  assert {
    condition = one([
      for statement in jsondecode(output.producer_policy_json).Statement : statement.Condition.StringEquals["kms:ViaService"]
      if statement.Sid == "UseKey"
    ]) == "s3.us-east-1.amazonaws.com"
    error_message = "The key is used through S3 only."
  }
}
