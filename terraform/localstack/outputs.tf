output "settings" {
  description = "The environment of the producer. TARGET is left out, as this is not AWS."
  value = merge(
    { for name, value in local.settings : name => value if name != "TARGET" },
    { LOCALSTACK_HOST = var.endpoint },
    module.log_lines.settings,
  )
}

output "record_key" {
  description = "Its RECORD_KEY, which goes with them: terraform output -raw record_key."
  value       = var.delivery == "kinesis" ? one(module.stream_pipeline[*].record_key) : ""
  sensitive   = true
}

output "bucket_name" {
  description = "The bucket of the objects."
  value       = module.bucket.name
}

output "alarm_names" {
  description = "All alarms."
  value       = concat(flatten(module.stream_pipeline[*].alarm_names), flatten(module.firehose_pipeline[*].alarm_names))
}
