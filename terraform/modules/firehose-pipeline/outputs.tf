output "delivery_stream_name" {
  description = "The delivery stream's name."
  value       = aws_kinesis_firehose_delivery_stream.this.name
}

output "delivery_stream_arn" {
  description = "The delivery stream's ARN."
  value       = aws_kinesis_firehose_delivery_stream.this.arn
}

output "function_name" {
  description = "The transform's name."
  value       = module.function.name
}

output "function_arn" {
  description = "The transform's ARN."
  value       = module.function.arn
}

output "role_arn" {
  description = "The ARN of the transform's role."
  value       = module.function.role_arn
}

output "firehose_role_arn" {
  description = "The ARN of the delivery stream's role."
  value       = aws_iam_role.delivery.arn
}

output "log_group_names" {
  description = "The log groups of the transform and of the delivery."
  value       = [module.function.log_group_name, aws_cloudwatch_log_group.delivery.name]
}

output "alarm_names" {
  description = "All alarms."
  value       = concat(module.function.alarm_names, flatten(module.alarms[*].names))
}

output "producer_policy_json" {
  description = "The IAM policy a producer needs, as a JSON document."
  value       = data.aws_iam_policy_document.producer.json
}

output "settings" {
  description = "The environment variables that make a producer write here."
  value = {
    TARGET             = "aws"
    DELIVERY           = "firehose"
    AWS_DEFAULT_REGION = data.aws_region.current.name
    FIREHOSE_STREAM    = aws_kinesis_firehose_delivery_stream.this.name
    FIREHOSE_ROLE      = aws_iam_role.delivery.name
    S3_BUCKET          = var.bucket_name
    S3_PREFIX          = var.key_prefix
    LAMBDA_FUNCTION    = module.function.name
    LAMBDA_ROLE        = module.function.role_name
  }
}
