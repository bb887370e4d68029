locals {
  pipeline = one(concat(module.stream_pipeline[*], module.firehose_pipeline[*]))
}

output "settings" {
  description = "The environment of `python -m producer`. TARGET is left out, as this is not AWS."
  value = merge(
    { for name, value in local.pipeline.settings : name => value if name != "TARGET" },
    { LOCALSTACK_HOST = var.endpoint },
  )
}

output "bucket_name" {
  description = "The bucket of the objects."
  value       = module.bucket.name
}

output "alarm_names" {
  description = "All alarms."
  value       = local.pipeline.alarm_names
}
