# The bucket of the hourly objects: not public, reached by TLS only, encrypted.

data "aws_partition" "current" {}

locals {
  name = var.create ? aws_s3_bucket.this[0].bucket : var.name
  arn  = "arn:${data.aws_partition.current.partition}:s3:::${var.name}"

  # Hourly objects begin with their year, so "2" is every one of them until the year 3000, and never `ledger/`: a ledger that
  # is deleted or moved makes its hourly object unreadable to the function, and lines that come twice would be doubled.
  archived = {
    entries  = "${var.key_prefix}2"
    rejected = "${var.key_prefix}rejected/"
  }
  # Each has its lines and its ledger in one conditional write. Firehose writes beside them under other names, without conditions.
  hourly = [for folder in ["", "rejected/"] : "${local.arn}/${var.key_prefix}${folder}????/??/??/??/web-access.log"]
  ages   = var.expire_after_days != null || var.transition != null
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:Server access logs would double every object written here; CloudTrail data events are the account's choice
  #checkov:skip=CKV_AWS_144:Replication to another region is a matter of the owner's recovery plan, and would copy hourly objects at each append
  #checkov:skip=CKV2_AWS_62:No notifications are needed: the objects are queried, not consumed
  #checkov:skip=CKV_AWS_145:SSE-S3 unless kms_key_arn is given: a KMS key costs a call per append and a second permission to every reader
  #checkov:skip=CKV_AWS_21:A choice, see the variable versioning: each append would keep the whole object once more
  count = var.create ? 1 : 0

  bucket        = var.name
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_public_access_block" "this" {
  count = var.create ? 1 : 0

  bucket                  = aws_s3_bucket.this[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  count = var.create ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  count = var.create ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    # with a bucket key, KMS is asked once in a while instead of at each append
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  count = var.create ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  versioning_configuration {
    # a new bucket cannot be "Suspended" before it was "Enabled"
    status = var.versioning ? "Enabled" : "Disabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  #checkov:skip=CKV_AWS_300:The first rule does; checkov does not see it beside the dynamic ones, so the module's own test asserts it
  count = var.create ? 1 : 0

  # rules about old versions are refused before there are versions
  depends_on = [aws_s3_bucket_versioning.this]

  bucket = aws_s3_bucket.this[0].id

  rule {
    id     = "abort-unfinished-uploads"
    status = "Enabled"

    # the whole bucket: a function that was killed leaves the parts of an append, which are billed and never listed
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  rule {
    id     = "drop-progress"
    status = "Enabled"

    # what an invocation had done of a batch that never came back
    filter {
      prefix = "${var.key_prefix}ledger/progress/"
    }

    expiration {
      days = 7
    }
  }

  dynamic "rule" {
    for_each = local.ages ? local.archived : {}

    content {
      id     = "age-${rule.key}"
      status = "Enabled"

      filter {
        prefix = rule.value
      }

      dynamic "transition" {
        for_each = var.transition == null ? [] : [var.transition]

        content {
          days          = transition.value.days
          storage_class = transition.value.storage_class
        }
      }

      dynamic "expiration" {
        for_each = var.expire_after_days == null ? [] : [var.expire_after_days]

        content {
          days = expiration.value
        }
      }
    }
  }

  dynamic "rule" {
    for_each = var.temporary_prefixes

    content {
      id     = "drop-${trimsuffix(rule.value, "/")}"
      status = "Enabled"

      filter {
        prefix = rule.value
      }

      expiration {
        days = 30
      }
    }
  }

  dynamic "rule" {
    for_each = var.versioning ? [var.noncurrent_days] : []

    content {
      id     = "drop-old-versions"
      status = "Enabled"

      filter {}

      noncurrent_version_expiration {
        noncurrent_days = rule.value
      }
    }
  }
}

data "aws_iam_policy_document" "this" {
  statement {
    sid       = "OnlyTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.arn, "${local.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  # A write that does not look at what is there would take lines and ledger away, or put them back to an earlier state.
  statement {
    sid       = "OnlyConditionalWrites"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = local.hourly

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    # both headers are missing
    condition {
      test     = "Null"
      variable = "s3:if-match"
      values   = ["true"]
    }

    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["true"]
    }

    # s3:PutObject also allows CreateMultipartUpload and UploadPart, which make no object and take no condition
    condition {
      test     = "Bool"
      variable = "s3:ObjectCreationOperation"
      values   = ["true"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  count = var.create ? 1 : 0

  # S3 refuses two changes of a bucket's access at once
  depends_on = [aws_s3_bucket_public_access_block.this]

  bucket = aws_s3_bucket.this[0].id
  policy = data.aws_iam_policy_document.this.json
}
