# What is refused, and what comes of the rest. Without AWS: terraform test

run "default" {
  command = plan

  assert {
    condition     = length(output.settings) + length(output.columns) == 0
    error_message = "Nothing is set that is as by default."
  }
}

run "fields_of_the_table_and_of_the_format" {
  command = plan

  variables {
    fields     = ["bytes", "requestTime", "http_referer"]
    web_server = true
  }

  assert {
    condition     = output.settings == { FIELDS = "bytes,requestTime,http_referer" }
    error_message = "Function and producer get them in one variable."
  }

  assert {
    condition     = output.columns == { bytes = "bigint", requestTime = "double", http_referer = "string" }
    error_message = "Athena gets their types."
  }
}

run "a_log_format_of_ones_own" {
  command = plan

  variables {
    access_log_format = "$remote_addr [$time_iso8601] \"$request\" $status $request_time $mine"
    fields            = ["requestTime", "mine"]
  }

  assert {
    condition     = output.settings.ACCESS_LOG_FORMAT == "$remote_addr [$time_iso8601] \"$request\" $status $request_time $mine"
    error_message = "The function gets it as it is."
  }
}

run "the_request_in_three_variables_and_in_a_heredoc" {
  command = plan

  variables {
    access_log_format = <<-FORMAT
      $remote_addr [$time_local] "$request_method" "$uri" "$server_protocol" $status
    FORMAT
  }

  assert {
    condition     = endswith(output.settings.ACCESS_LOG_FORMAT, "$status")
    error_message = "The newline behind it is no part of a line."
  }
}

run "json_with_a_map" {
  command = plan

  variables {
    access_log_format = "json:{\"ip\":\"remote_addr\",\"at\":\"msec\",\"request\":\"request\",\"code\":\"status\",\"size\":\"bytes_sent\"}"
    fields            = ["bytes"]
  }

  assert {
    condition     = startswith(output.settings.ACCESS_LOG_FORMAT, "json:{")
    error_message = "The function gets it as it is."
  }
}

run "no_format" {
  command = plan

  variables {
    access_log_format = "apache"
    fields            = ["bytes,referer"]
  }

  expect_failures = [var.access_log_format, var.fields]
}

run "not_to_be_told_apart" {
  command = plan

  variables {
    access_log_format = "$remote_addr $time_local \"$request\" $status$bytes_sent"
  }

  expect_failures = [var.access_log_format]
}

run "a_json_string_of_several_variables" {
  command = plan

  variables {
    access_log_format = "escape=json {\"t\":\"$msec\",\"a\":\"$remote_addr\",\"r\":\"$request\",\"s\":$status,\"url\":\"$scheme://$host$request_uri\"}"
  }

  assert {
    condition     = startswith(output.settings.ACCESS_LOG_FORMAT, "escape=json {")
    error_message = "The function gets it as it is."
  }
}

run "what_a_client_could_write" {
  command = plan

  variables {
    access_log_format = "escape=none $remote_addr [$time_local] \"$request\" $status"
  }

  expect_failures = [var.access_log_format]
}

run "json_without_a_status" {
  command = plan

  variables {
    access_log_format = "json:{\"a\":\"remote_addr\",\"t\":\"msec\",\"r\":\"request\"}"
  }

  expect_failures = [var.access_log_format]
}

run "a_method_without_a_target" {
  command = plan

  variables {
    access_log_format = "$remote_addr [$time_local] $status $request_method $server_protocol"
  }

  expect_failures = [var.access_log_format]
}

run "without_a_time" {
  command = plan

  variables {
    access_log_format = "$remote_addr \"$request\" $status"
  }

  expect_failures = [var.access_log_format]
}

run "a_field_that_the_format_lacks" {
  command = plan

  variables {
    access_log_format = "common"
    fields            = ["bytes", "referer"]
  }

  expect_failures = [output.settings]
}

run "a_field_that_is_not_known" {
  command = plan

  variables {
    fields = ["bites"]
  }

  expect_failures = [output.settings]
}

run "a_field_that_is_a_key_or_a_column_already" {
  command = plan

  variables {
    access_log_format = "json"
    fields            = ["host"]
  }

  expect_failures = [var.fields]
}

run "the_partition_s_column" {
  command = plan

  variables {
    access_log_format = "json"
    fields            = ["Hour"]
  }

  expect_failures = [var.fields]
}

run "two_fields_of_one_column" {
  command = plan

  variables {
    access_log_format = "json"
    fields            = ["requestId", "requestid"]
  }

  expect_failures = [var.fields]
}

run "the_web_server_logs_in_combined" {
  command = plan

  variables {
    access_log_format = "main"
    web_server        = true
  }

  expect_failures = [output.settings]
}

run "firehose_knows_the_hour_by_time_local" {
  command = plan

  variables {
    access_log_format = "json"
    firehose          = true
  }

  expect_failures = [output.settings]
}

run "firehose_takes_no_fields" {
  command = plan

  variables {
    fields   = ["bytes"]
    firehose = true
  }

  expect_failures = [output.settings]
}

run "privacy" {
  command = plan

  variables {
    access_log_format = "main"
    trusted_proxies   = ["docker", "10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "::1", "192.168.0.0/16"]
    anonymize_ip      = true
    drop_query        = ["token", "code"]
    log_skip          = ["/", "/health*", "/a?b=[c]~", "agent:kube-probe/", "agent: a b*c"]
  }

  assert {
    condition = output.settings == {
      ACCESS_LOG_FORMAT = "main"
      TRUSTED_PROXIES   = "172.16.0.0/12,192.168.0.0/16,fc00::/7,10.0.0.0/8,2001:db8::/32,192.0.2.7,::1"
      ANONYMIZE_IP      = "1"
      DROP_QUERY        = "token,code"
      LOG_SKIP          = "/,/health*,/a?b=[c]~,agent:kube-probe/,agent: a b*c"
    }
    error_message = "The function gets all of it."
  }
}

run "the_query_whole_and_proxies_by_a_field" {
  command = plan

  variables {
    fields          = ["forwardedFor"]
    trusted_proxies = ["private"]
    drop_query      = ["all"]
  }

  assert {
    condition     = output.settings.DROP_QUERY == "all"
    error_message = "All of it, or names."
  }
}

run "any_client_could_be_any_other" {
  command = plan

  variables {
    trusted_proxies = ["0.0.0.0/0"]
    drop_query      = ["all", "token"]
    log_skip        = ["/a*b*c"]
  }

  expect_failures = [var.trusted_proxies, var.drop_query, var.log_skip]
}

run "no_network" {
  command = plan

  variables {
    trusted_proxies = ["10.0.0.1/8"]
    drop_query      = ["ALL"]
    log_skip        = ["/*"]
  }

  expect_failures = [var.trusted_proxies, var.drop_query, var.log_skip]
}

run "no_path" {
  command = plan

  variables {
    trusted_proxies = ["some.host"]
    drop_query      = ["a b"]
    log_skip        = ["/a,/b"]
  }

  expect_failures = [var.trusted_proxies, var.drop_query, var.log_skip]
}

run "proxies_that_the_log_does_not_name" {
  command = plan

  variables {
    trusted_proxies = ["private"]
  }

  expect_failures = [output.settings]
}
