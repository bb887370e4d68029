# What a producer needs that appends to the hourly objects by itself: permissions. There is nothing between it and the bucket.

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}"
}

data "aws_iam_policy_document" "producer" {
  statement {
    sid       = "ReadAndWriteObjects"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arn}/${var.key_prefix}*"]
  }

  # Superseded ledgers may be deleted, log lines may not.
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

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "UseKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${data.aws_region.current.name}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
}
