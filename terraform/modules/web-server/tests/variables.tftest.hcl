# What the instance may do. Without AWS: terraform test -var host_archive=../../../dist/web-log-producer.tar

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  ami_id               = "ami-0123456789abcdef0"
  allowed_cidrs        = ["203.0.113.0/24"]
  artefact_bucket      = "some-bucket"
  producer_policy_json = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"WriteStream\",\"Effect\":\"Allow\",\"Action\":\"kinesis:PutRecords\",\"Resource\":\"arn:aws:kinesis:us-east-1:123456789012:stream/some-stream\"}]}"
  settings = {
    AWS_DEFAULT_REGION = "us-east-1"
    DELIVERY           = "kinesis"
    S3_BUCKET          = "some-bucket"
  }
}

run "refused" {
  command = plan

  variables {
    ami_id          = "debian"
    allowed_cidrs   = []
    artefact_bucket = "Some_Bucket"
    kms_key_arn     = "alias/some"
    schedule        = "hourly"
    settings        = { AWS_DEFAULT_REGION = "us-east-1", DELIVERY = "kinesis", S3_BUCKET = "$(reboot)" }
    record_key      = "$(reboot)"
  }

  expect_failures = [
    var.ami_id,
    var.allowed_cidrs,
    var.artefact_bucket,
    var.kms_key_arn,
    var.schedule,
    var.settings,
    var.record_key,
  ]
}

run "cron_sends_and_fetches_its_archive_only" {
  command = plan

  assert {
    condition = toset([for statement in jsondecode(data.aws_iam_policy_document.instance.json).Statement : statement.Sid]) == toset(
      ["WriteStream", "FetchArchive"]
    )
    error_message = "No right that cron's producer has no use for."
  }
}

run "a_producer_that_appends_by_itself_needs_no_further_right_for_repair" {
  command = plan

  variables {
    producer_policy_json = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"ReadAndWriteObjects\",\"Effect\":\"Allow\",\"Action\":[\"s3:PutObject\",\"s3:GetObject\"],\"Resource\":\"arn:aws:s3:::some-bucket/*\"}]}"
    schedule             = "systemd"
    settings             = { AWS_DEFAULT_REGION = "us-east-1", DELIVERY = "s3", S3_BUCKET = "some-bucket", LOG_SKIP = "/health*,agent:a b" }
  }

  assert {
    condition = toset([for statement in jsondecode(data.aws_iam_policy_document.instance.json).Statement : statement.Sid]) == toset(
      ["ReadAndWriteObjects", "FetchArchive"]
    )
    error_message = "What it appends with is what repair reads with."
  }
}

run "key_of_ones_own" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/some"
    schedule    = "systemd"
  }

  assert {
    condition = one([
      for statement in jsondecode(data.aws_iam_policy_document.instance.json).Statement :
      "${statement.Action} ${statement.Resource} ${statement.Condition.StringEquals["kms:ViaService"]}"
      if statement.Sid == "DecryptObjects"
    ]) == "kms:Decrypt arn:aws:kms:us-east-1:123456789012:key/some s3.us-east-1.amazonaws.com"
    error_message = "The instance can read the archive it is set up from, and the ledgers, through S3 only."
  }
}
