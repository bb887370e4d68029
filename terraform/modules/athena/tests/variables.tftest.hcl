# What is refused, and what a plan holds. Without AWS: terraform test

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  bucket_name = "some-bucket"
}

run "refused" {
  command = plan

  variables {
    database_name       = "Web-Log"
    table_name          = "web log"
    workgroup_name      = ""
    key_prefix          = "logs"
    results_prefix      = "2026/"
    first_hour          = "2026-01-01"
    bytes_scanned_limit = 1000
  }

  expect_failures = [
    var.database_name,
    var.table_name,
    var.workgroup_name,
    var.key_prefix,
    var.results_prefix,
    var.first_hour,
    var.bytes_scanned_limit,
  ]
}

run "hours_without_a_crawler" {
  command = plan

  variables {
    key_prefix = "logs/"
    first_hour = "2020/04/17/16"
    fields     = { referer = "string", requestTime = "double" }
  }

  assert {
    condition = alltrue([for name, value in {
      "projection.enabled"            = "true"
      "projection.hour.type"          = "date"
      "projection.hour.format"        = "yyyy/MM/dd/HH"
      "projection.hour.range"         = "2020/04/17/16,NOW"
      "projection.hour.interval"      = "1"
      "projection.hour.interval.unit" = "HOURS"
      "storage.location.template"     = "s3://some-bucket/logs/$${hour}/"
    } : aws_glue_catalog_table.this.parameters[name] == value])
    error_message = "Athena computes the folders from these."
  }

  assert {
    condition     = aws_glue_catalog_table.this.partition_keys[0].name == "hour" && aws_glue_catalog_table.this.partition_keys[0].type == "string"
    error_message = "Partitioned by hour."
  }

  # An entry's keys (ARCHITECTURE.md, "Function"), in lower case
  assert {
    condition     = aws_glue_catalog_table.this.storage_descriptor[0].columns[*].name == tolist(["host", "time", "method", "path", "httpversion", "status", "useragent", "referer", "requesttime"])
    error_message = "One column for each key of an entry."
  }

  assert {
    condition = aws_glue_catalog_table.this.storage_descriptor[0].ser_de_info[0].parameters == tomap({
      "case.insensitive"    = "FALSE"
      "mapping.httpversion" = "httpVersion"
      "mapping.requesttime" = "requestTime"
      "mapping.useragent"   = "userAgent"
    })
    error_message = "Keys with capitals are found."
  }

  assert {
    condition     = one(aws_athena_workgroup.this.configuration).bytes_scanned_cutoff_per_query == 10737418240 && one(aws_athena_workgroup.this.configuration).enforce_workgroup_configuration
    error_message = "A query without an hour ends before it costs much."
  }

  assert {
    condition     = one(one(aws_athena_workgroup.this.configuration).result_configuration).output_location == "s3://some-bucket/athena/" && one(one(one(aws_athena_workgroup.this.configuration).result_configuration).encryption_configuration).encryption_option == "SSE_S3"
    error_message = "Results are encrypted, outside the folders of hours."
  }

  assert {
    condition     = length(aws_athena_named_query.this) >= 5
    error_message = "Queries to begin with."
  }
}
