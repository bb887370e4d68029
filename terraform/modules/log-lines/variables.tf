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
    # in a JSON string they need no separator
    condition     = can(regex("^json:|\\bescape=json\\b", var.access_log_format)) || !can(regex("[$](\\w+|\\{\\w+\\})[$]|\\bescape=none\\b", var.access_log_format))
    error_message = "Nothing separates two of its variables, or with escape=none a client could write what it likes."
  }

  validation {
    condition = !can(regex("^json:|[$]", var.access_log_format)) || anytrue([
      for request in [["request"], ["request_method", "(request_|document_)?uri", "server_protocol"]] : alltrue([
        for needed in concat(["(realip_)?remote_addr|the_real_ip|proxy_protocol_addr", "time_local|time_iso8601|msec", "status"], request) :
        can(regex("${startswith(var.access_log_format, "json:") ? "\"" : "[$]"}\\W{0,2}(${needed})\\b", var.access_log_format))
      ])
    ])
    error_message = "It needs an address, a time, the request and the status: $remote_addr, $time_local, $request (or $request_method, $request_uri and $server_protocol), $status."
  }
}

variable "fields" {
  description = "What an entry has behind its seven keys: bytes, referer, user, forwardedFor, serverName, scheme, requestLength, requestTime, upstreamTime, upstreamStatus, requestId, or any variable of the format."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.fields : can(regex("^\\w+$", name))])
    error_message = "A field is one of bytes, referer, user, forwardedFor, serverName, scheme, requestLength, requestTime, upstreamTime, upstreamStatus, requestId, or a variable's name."
  }

  validation {
    # an entry's own keys, and the column of Athena's partitions
    condition     = length(setunion(["host", "time", "method", "path", "httpversion", "status", "useragent", "hour"], [for name in var.fields : lower(name)])) == 8 + length(var.fields)
    error_message = "Athena, which knows no capitals, would have two columns of one name: a field can be called neither like another one, nor hour, nor like one of the seven keys."
  }
}

variable "trusted_proxies" {
  description = "Proxies in front whose X-Forwarded-For names the client: addresses, networks, `docker` or `private`. The log has to have it: in `main`, or by the field forwardedFor."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for one in var.trusted_proxies : contains(["docker", "private", "fc00::/7"], one) || can(cidrhost("${one}/${strcontains(one, ":") ? 128 : 32}", 0)) || try(
        cidrhost(one, 0) == split("/", one)[0] && tonumber(split("/", one)[1]) >= (strcontains(one, ":") ? 16 : 8), false
      )
    ])
    error_message = "Give addresses, networks such as 203.0.113.0/24 by their first address, docker or private. Any client in a network wider than /8 (IPv6: /16) could name an address as its own."
  }
}

variable "anonymize_ip" {
  description = "Whether addresses are kept without their last octet (IPv4) or their last 80 bits (IPv6)."
  type        = bool
  default     = false
  nullable    = false
}

variable "drop_query" {
  description = "`[\"all\"]`: requests and Referers are kept without their queries. Or the names of parameters whose values are left out."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = length(join(",", var.drop_query)) <= 150 && (join("", var.drop_query) == "all" || alltrue([
      for name in var.drop_query : can(regex("^[A-Za-z_][A-Za-z0-9_.-]*$", name)) && !contains(["all", "true", "false", "yes", "no", "on", "off"], lower(name))
    ]))
    error_message = "Use all alone, or names of parameters, such as token and code; in 150 characters."
  }
}

variable "log_skip" {
  description = "Requests without a line, such as health checks: paths with their query, in which one `*` stands for anything, and `agent:` with the beginning of a user agent. Only GET and HEAD, never with a status of 400 or above."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = length(join(",", var.log_skip)) <= 800 && alltrue([
      for one in var.log_skip : can(regex("^(/|/[!#-)+\\--\\[\\]-~][!#-)+\\--\\[\\]-~]*(\\*[!#-)+\\--\\[\\]-~]*)?|agent: *[!#-)+\\--\\[\\]-~][ !#-)+\\--\\[\\]-~]*(\\*[ !#-)+\\--\\[\\]-~]*)?)$", one))
    ])
    error_message = "Use paths and agent:..., such as /health and agent:kube-probe/, with one * each and without commas; in 800 characters."
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
