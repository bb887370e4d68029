output "stream_name" {
  description = "The data stream's name."
  value       = aws_kinesis_stream.this.name
}

output "stream_arn" {
  description = "The data stream's ARN."
  value       = aws_kinesis_stream.this.arn
}

output "function_name" {
  description = "The function's name."
  value       = module.function.name
}

output "function_arn" {
  description = "The function's ARN."
  value       = module.function.arn
}

output "role_arn" {
  description = "The ARN of the function's role."
  value       = module.function.role_arn
}

output "log_group_name" {
  description = "The function's log group."
  value       = module.function.log_group_name
}

output "mapping_uuid" {
  description = "The event source mapping between stream and function."
  value       = aws_lambda_event_source_mapping.this.id
}

output "alarm_names" {
  description = "All alarms."
  value       = concat(module.function.alarm_names, flatten(module.alarms[*].names))
}

output "producer_policy_json" {
  description = "The IAM policy a producer needs, as a JSON document."
  value       = data.aws_iam_policy_document.producer.json
}

output "record_key" {
  description = "A producer's RECORD_KEY, with which it signs records."
  value       = local.record_key
  sensitive   = true
}

output "settings" {
  description = "The environment variables that make a producer write here."
  value = {
    TARGET              = "aws"
    DELIVERY            = "kinesis"
    AWS_DEFAULT_REGION  = data.aws_region.current.name
    KINESIS_DATA_STREAM = aws_kinesis_stream.this.name
    S3_BUCKET           = var.bucket_name
    S3_PREFIX           = var.key_prefix
    LAMBDA_FUNCTION     = module.function.name
    LAMBDA_ROLE         = module.function.role_name
  }
}
