output "settings" {
  description = "The environment of a producer that runs elsewhere."
  value       = local.settings
}

output "record_key" {
  description = "Its RECORD_KEY, which goes with them: terraform output -raw record_key."
  value       = local.record_key
  sensitive   = true
}

output "producer_policy_json" {
  description = "The IAM policy such a producer needs."
  value       = local.producer_policy_json
}

output "bucket_name" {
  description = "The bucket of the hourly objects."
  value       = module.bucket.name
}

output "alarm_names" {
  description = "All alarms."
  value       = concat(flatten(module.stream_pipeline[*].alarm_names), flatten(module.firehose_pipeline[*].alarm_names))
}

output "web_server_address" {
  description = "Where the web server answers; null without one."
  value       = one(module.web_server[*].public_dns)
}

output "athena_workgroup" {
  description = "Where the saved queries are; null without Athena."
  value       = one(module.athena[*].workgroup_name)
}
