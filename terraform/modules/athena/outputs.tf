output "database_name" {
  description = "The Glue database."
  value       = aws_glue_catalog_database.this.name
}

output "table_name" {
  description = "The table."
  value       = aws_glue_catalog_table.this.name
}

output "workgroup_name" {
  description = "The workgroup: choose it in the console, or give it to `aws athena start-query-execution --work-group`."
  value       = aws_athena_workgroup.this.name
}

output "query_names" {
  description = "The saved queries."
  value       = sort([for query in aws_athena_named_query.this : query.name])
}
