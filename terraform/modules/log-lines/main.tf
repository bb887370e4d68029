# What the lines of the log look like, and what becomes of them: checked once, for function, producer and Athena alike. No resource.

locals {
  combined = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\""
  common   = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent"
  named = {
    combined       = local.combined
    main           = "${local.combined} \"$http_x_forwarded_for\""
    common         = local.common
    vhost_combined = "$host:$server_port ${local.combined}"
  }
  text = lookup(local.named, var.access_log_format, var.access_log_format)
  # of the function's archiver/fields.py, with their types in Athena
  table = {
    bytes          = { type = "bigint", variables = ["body_bytes_sent", "bytes_sent"] }
    referer        = { type = "string", variables = ["http_referer"] }
    user           = { type = "string", variables = ["remote_user"] }
    forwardedFor   = { type = "string", variables = ["http_x_forwarded_for", "proxy_add_x_forwarded_for"] }
    serverName     = { type = "string", variables = ["server_name", "host", "http_host"] }
    scheme         = { type = "string", variables = ["scheme"] }
    requestLength  = { type = "bigint", variables = ["request_length"] }
    requestTime    = { type = "double", variables = ["request_time"] }
    upstreamTime   = { type = "string", variables = ["upstream_response_time"] }
    upstreamStatus = { type = "string", variables = ["upstream_status"] }
    requestId      = { type = "string", variables = ["request_id", "req_id"] }
  }
  # as the function sees it: the appliance's nginx, and the web server's, add to combined what is in the table
  without = [
    for name in var.fields : name
    if var.access_log_format != "json" && !(var.access_log_format == "combined" && contains(keys(local.table), name)) && !anytrue([
      for variable in try(local.table[name].variables, [name]) : can(regex("\\b${variable}\\b", local.text))
    ])
  ]
  networks = {
    docker  = ["172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
    private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "127.0.0.0/8", "::1/128"]
  }
  # whether the log says what the proxies name
  forwarded = var.access_log_format == "json" || contains(var.fields, "forwardedFor") || can(regex("\\b(http|proxy_add)_x_forwarded_for\\b", local.text))
  settings = {
    ACCESS_LOG_FORMAT = var.access_log_format == "combined" ? "" : chomp(var.access_log_format) # of a heredoc
    FIELDS            = join(",", var.fields)
    TRUSTED_PROXIES   = join(",", distinct(flatten([for one in var.trusted_proxies : lookup(local.networks, one, [one])])))
    ANONYMIZE_IP      = var.anonymize_ip ? "1" : ""
    DROP_QUERY        = join(",", var.drop_query)
    LOG_SKIP          = join(",", var.log_skip)
  }
}
