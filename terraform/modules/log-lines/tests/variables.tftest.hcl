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
