variable "access_log_format" {
  description = "The format of the log: `combined`, `main`, `common`, `vhost_combined`, `json`, `json:` with a map of keys to variables, or the string of nginx's log_format. `combined` takes what follows the user agent, so `main` too."
  type        = string
  default     = "combined"
  nullable    = false

  validation {
    condition     = contains(["combined", "main", "common", "vhost_combined", "json"], var.access_log_format) || can(keys(jsondecode(trimprefix(var.access_log_format, "json:")))) || strcontains(var.access_log_format, "$")
    error_message = "Choose combined, main, common, vhost_combined, json, json:{\"key\":\"variable\"}, or give a log_format of nginx's."
  }

  validation {
    condition     = !can(regex("[$](\\w+|\\{\\w+\\})[$]", var.access_log_format))
    error_message = "Nothing separates two of its variables."
  }

  validation {
    condition = startswith(var.access_log_format, "json") || !strcontains(var.access_log_format, "$") || alltrue([
      for needed in ["(realip_)?remote_addr|the_real_ip|proxy_protocol_addr", "time_local|time_iso8601|msec", "status", "request|request_method"] :
      can(regex("[$]\\{?(${needed})\\b", var.access_log_format))
    ])
    error_message = "It needs an address, a time, the request and the status: $remote_addr, $time_local, $request, $status."
  }
}

variable "fields" {
  description = "What an entry has behind its seven keys: bytes, referer, user, forwardedFor, serverName, scheme, requestLength, requestTime, upstreamTime, upstreamStatus, requestId, or any variable of the format."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.fields : can(regex("^\\w+$", name))]) && length(distinct(var.fields)) == length(var.fields)
    error_message = "A field is one of bytes, referer, user, forwardedFor, serverName, scheme, requestLength, requestTime, upstreamTime, upstreamStatus, requestId, or a variable's name; each once."
  }
}

variable "web_server" {
  description = "Whether a web server is made, whose nginx logs in combined."
  type        = bool
  default     = false
  nullable    = false
}

variable "firehose" {
  description = "Whether Firehose delivers: its records hold one hour by $time_local, and entries of seven keys."
  type        = bool
  default     = false
  nullable    = false
}
