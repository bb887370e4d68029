output "name" {
  description = "The bucket's name, once it is there."
  value       = local.name
}

output "arn" {
  description = "The bucket's ARN."
  value       = local.arn
}
