output "name" {
  description = "The bucket's name, once it is there."
  value       = local.name
}
