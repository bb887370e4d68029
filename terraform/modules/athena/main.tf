# The archive as a table. Athena computes the folders from the projection and reads only those of the hours that a query names:
# there is no crawler, and no partition to add.

locals {
  results_bucket = coalesce(var.results_bucket_name, var.bucket_name)
  results        = "s3://${local.results_bucket}/${var.results_prefix}"

  # an entry's keys, in its order; Glue knows lower-case names only
  columns = concat([
    { name = "host", type = "string" },
    { name = "time", type = "string" },
    { name = "method", type = "string" },
    { name = "path", type = "string" },
    { name = "httpversion", type = "string" },
    { name = "status", type = "int" },
    { name = "useragent", type = "string" },
  ], [for name, type in var.fields : { name = lower(name), type = type }])

  table = "${aws_glue_catalog_database.this.name}.${var.table_name}"
  # hours are strings such as 2026/11/23/10, so BETWEEN and >= follow time
  today = "hour >= date_format(current_timestamp AT TIME ZONE 'UTC' - interval '24' hour, '%Y/%m/%d/%H')"
  queries = {
    status-counts = {
      description = "Answers by status, last 24 hours"
      sql         = "SELECT status, count(*) AS requests FROM ${local.table} WHERE ${local.today} GROUP BY status ORDER BY requests DESC"
    }
    top-paths = {
      description = "The 20 paths asked for most, without query strings, last 24 hours"
      sql         = "SELECT split_part(path, '?', 1) AS page, count(*) AS requests FROM ${local.table} WHERE ${local.today} GROUP BY 1 ORDER BY requests DESC LIMIT 20"
    }
    errors-per-hour = {
      description = "Share of 5xx answers in each hour, last 24 hours"
      sql         = "SELECT hour, count(*) AS requests, count_if(status >= 500) AS errors, round(100.0 * count_if(status >= 500) / count(*), 2) AS percent FROM ${local.table} WHERE ${local.today} GROUP BY hour ORDER BY hour"
    }
    top-clients = {
      description = "The 20 clients that ask most, with their share of 4xx, last 24 hours"
      sql         = "SELECT host, count(*) AS requests, count_if(status BETWEEN 400 AND 499) AS refused FROM ${local.table} WHERE ${local.today} GROUP BY host ORDER BY requests DESC LIMIT 20"
    }
    requests-per-minute = {
      description = "Requests in each minute of one hour: put the hour in"
      sql         = "SELECT date_trunc('minute', from_iso8601_timestamp(time)) AS minute, count(*) AS requests FROM ${local.table} WHERE hour = '2026/11/23/10' GROUP BY 1 ORDER BY 1"
    }
    doubled-lines = {
      description = "Lines that are there more than once, last 24 hours: with Firehose (at least once) a few may be; a client may also ask twice in one second"
      sql         = "SELECT host, time, method, path, status, count(*) AS copies FROM ${local.table} WHERE ${local.today} GROUP BY 1, 2, 3, 4, 5 HAVING count(*) > 1 ORDER BY copies DESC LIMIT 100"
    }
  }
}

resource "aws_glue_catalog_database" "this" {
  name        = var.database_name
  description = "Web server access logs"
}

resource "aws_glue_catalog_table" "this" {
  name          = var.table_name
  database_name = aws_glue_catalog_database.this.name
  description   = "One row a request; partitioned by hour, UTC"
  table_type    = "EXTERNAL_TABLE"

  parameters = {
    EXTERNAL                        = "TRUE"
    classification                  = "json"
    "projection.enabled"            = "true"
    "projection.hour.type"          = "date"
    "projection.hour.format"        = "yyyy/MM/dd/HH"
    "projection.hour.range"         = "${var.first_hour},NOW"
    "projection.hour.interval"      = "1"
    "projection.hour.interval.unit" = "HOURS"
    # the folders of hours and nothing else: ledger/ and rejected/ are never read
    "storage.location.template" = "s3://${var.bucket_name}/${var.key_prefix}$${hour}/"
  }

  partition_keys {
    name    = "hour"
    type    = "string"
    comment = "yyyy/MM/dd/HH, UTC: name it in WHERE, or every hour is read"
  }

  storage_descriptor {
    location      = "s3://${var.bucket_name}/${var.key_prefix}"
    input_format  = "org.apache.hadoop.mapred.TextInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"

    ser_de_info {
      serialization_library = "org.openx.data.jsonserde.JsonSerDe"

      # keys as they are written; those with capitals are mapped to their columns
      parameters = merge(
        { "case.insensitive" = "FALSE" },
        { for name in concat(["httpVersion", "userAgent"], keys(var.fields)) : "mapping.${lower(name)}" => name if name != lower(name) },
      )
    }

    dynamic "columns" {
      for_each = local.columns

      content {
        name = columns.value.name
        type = columns.value.type
      }
    }
  }
}

resource "aws_athena_workgroup" "this" {
  name          = var.workgroup_name
  description   = "Queries over web server access logs"
  force_destroy = var.force_destroy

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.bytes_scanned_limit

    result_configuration {
      output_location = local.results

      encryption_configuration {
        encryption_option = var.kms_key_arn == null ? "SSE_S3" : "SSE_KMS"
        kms_key_arn       = var.kms_key_arn
      }
    }
  }
}

resource "aws_athena_named_query" "this" {
  for_each = local.queries

  name        = each.key
  description = each.value.description
  workgroup   = aws_athena_workgroup.this.name
  database    = aws_glue_catalog_database.this.name
  query       = each.value.sql
}
