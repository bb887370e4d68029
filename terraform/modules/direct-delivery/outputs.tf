output "producer_policy_json" {
  description = "The IAM policy a producer needs, as a JSON document."
  value       = data.aws_iam_policy_document.producer.json
}

output "settings" {
  description = "The environment variables that make a producer write here."
  value = {
    TARGET             = "aws"
    DELIVERY           = "s3"
    AWS_DEFAULT_REGION = data.aws_region.current.name
    S3_BUCKET          = var.bucket_name
    S3_PREFIX          = var.key_prefix
  }
}
