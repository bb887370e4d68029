output "instance_id" {
  description = "The instance."
  value       = aws_instance.instance.id
}

output "public_ip" {
  description = "The instance's public address, empty without one."
  value       = aws_instance.instance.public_ip
}

output "public_dns" {
  description = "The name of that address."
  value       = aws_instance.instance.public_dns
}

output "role_arn" {
  description = "The instance's role."
  value       = aws_iam_role.instance.arn
}

output "role_name" {
  description = "The name of that role, to attach more to it."
  value       = aws_iam_role.instance.name
}

output "security_group_id" {
  description = "The instance's security group."
  value       = aws_security_group.instance.id
}

output "artefact_key" {
  description = "The key of the archive in the artefact bucket."
  value       = aws_s3_object.archive.key
}

output "user_data" {
  description = "What the instance runs at its first start."
  value       = local.user_data
  sensitive   = true
}
