output "settings" {
  description = "Environment variables of function and producer; what is as by default is left out."
  value       = { for name, value in local.settings : name => value if value != "" }

  precondition {
    condition     = length(local.without) == 0
    error_message = "The format lacks the variables of these fields: ${join(", ", local.without)}."
  }

  precondition {
    condition     = length(var.trusted_proxies) == 0 || local.forwarded
    error_message = "trusted_proxies needs $http_x_forwarded_for, which the format lacks: main has it; to combined the field forwardedFor adds it."
  }

  precondition {
    condition     = !var.web_server || var.access_log_format == "combined"
    error_message = "The web server made here logs in combined, to which fields add: leave access_log_format out."
  }

  precondition {
    condition     = !var.firehose || (length(var.fields) == 0 && strcontains(local.text, "[$time_local]"))
    error_message = "Firehose takes lines with [$time_local] only, and no fields: choose another delivery."
  }
}

output "columns" {
  description = "The fields with their types, for modules/athena."
  value       = { for name in var.fields : name => try(local.table[name].type, "string") }
}
