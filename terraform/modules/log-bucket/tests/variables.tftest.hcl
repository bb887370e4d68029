# What is refused, and what a plan holds. Without AWS: terraform test

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

run "refused" {
  command = plan

  variables {
    name              = "Not_A_Bucket"
    key_prefix        = "logs"
    kms_key_arn       = "alias/some"
    noncurrent_days   = 0
    expire_after_days = 0.5
    transition = {
      days          = 30
      storage_class = "DEEP_ARCHIVE"
    }
    temporary_prefixes = ["ledger/"]
  }

  expect_failures = [
    var.name,
    var.key_prefix,
    var.kms_key_arn,
    var.noncurrent_days,
    var.expire_after_days,
    var.transition,
    var.temporary_prefixes,
  ]
}

run "refused_for_another_reason" {
  command = plan

  variables {
    name       = "192.168.0.1"
    key_prefix = "/logs/"
    transition = {
      days          = 29
      storage_class = "STANDARD_IA"
    }
    temporary_prefixes = ["2026/"]
  }

  expect_failures = [
    var.name,
    var.key_prefix,
    var.transition,
    var.temporary_prefixes,
  ]
}

run "nothing_is_public" {
  command = plan

  variables {
    name = "some-bucket"
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this[0].block_public_acls,
      aws_s3_bucket_public_access_block.this[0].block_public_policy,
      aws_s3_bucket_public_access_block.this[0].ignore_public_acls,
      aws_s3_bucket_public_access_block.this[0].restrict_public_buckets,
    ])
    error_message = "All four blocks are on."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.this[0].policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false" && jsondecode(aws_s3_bucket_policy.this[0].policy).Statement[0].Effect == "Deny"
    error_message = "Without TLS nothing is answered."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.id] == ["abort-unfinished-uploads", "drop-progress"]
    error_message = "By default nothing is deleted but unfinished uploads and what is left of unfinished batches."
  }

  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.this[0].rule[0].abort_incomplete_multipart_upload).days_after_initiation == 1 && aws_s3_bucket_lifecycle_configuration.this[0].rule[0].status == "Enabled"
    error_message = "What a killed function leaves behind is billed."
  }
}

# Hourly objects only: side objects below ledger/, and what Firehose writes into the same hours, have no condition.
run "only_conditional_writes" {
  command = plan

  variables {
    name       = "some-bucket"
    key_prefix = "logs/"
  }

  assert {
    condition = jsondecode(aws_s3_bucket_policy.this[0].policy).Statement[1].Condition == {
      Null = { "s3:if-match" = "true", "s3:if-none-match" = "true" }
      Bool = { "s3:ObjectCreationOperation" = "true" }
    }
    error_message = "A write with neither header is refused; beginning a multipart upload and its parts are no writes."
  }

  assert {
    condition = toset(jsondecode(aws_s3_bucket_policy.this[0].policy).Statement[1].Resource) == toset([
      "arn:aws:s3:::some-bucket/logs/????/??/??/??/web-access.log",
      "arn:aws:s3:::some-bucket/logs/rejected/????/??/??/??/web-access.log",
    ])
    error_message = "It holds for hourly objects and no others."
  }
}

# A ledger that is deleted or moved doubles lines: no rule but the one for unfinished uploads may reach one.
run "ledgers_never_age" {
  command = plan

  variables {
    name              = "some-bucket"
    key_prefix        = "logs/"
    expire_after_days = 365
    transition = {
      days          = 30
      storage_class = "GLACIER_IR"
    }
    temporary_prefixes = ["athena/"]
    versioning         = true
  }

  assert {
    condition     = toset([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : one(rule.filter).prefix if length(rule.expiration) > 0 || length(rule.transition) > 0]) == toset(["logs/2", "logs/rejected/", "logs/ledger/progress/", "athena/"])
    error_message = "Hourly objects, rejected lines, progress and results of queries grow old, and nothing else."
  }
}

run "a_given_bucket_is_left_alone" {
  command = plan

  variables {
    name   = "some-bucket"
    create = false
  }

  assert {
    condition     = length(aws_s3_bucket.this) + length(aws_s3_bucket_policy.this) + length(aws_s3_bucket_lifecycle_configuration.this) == 0
    error_message = "Nothing of it is touched."
  }

  assert {
    condition     = output.name == "some-bucket"
    error_message = "It is known by its name."
  }
}
