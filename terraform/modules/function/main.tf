# The function with its role and its log. What it may do beyond writing that log is the caller's `policies`.

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [split(":", aws_cloudwatch_log_group.this.arn)[4]]
    }
  }
}

resource "aws_iam_role" "this" {
  name = var.role_name
  # the appliance attaches a managed policy when it is pointed at this role; destroy would fail over it
  force_detach_policies = true
  description           = var.description
  assume_role_policy    = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "this" {
  for_each = var.policies

  name   = each.key
  role   = aws_iam_role.this.id
  policy = each.value
}

# Not AWSLambdaBasicExecutionRole: with it a last invocation makes the log group again after `terraform destroy`.
data "aws_iam_policy_document" "log" {
  statement {
    sid       = "WriteOwnLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }
}

resource "aws_iam_role_policy" "log" {
  name   = "write-own-log"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.log.json
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts every group; a KMS key is used if kms_key_arn is given
  #checkov:skip=CKV_AWS_338:The log holds counts and errors, no log line of the web server: a month is enough to find a fault
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_50:A batch is one call of S3 after the other: X-Ray would show what the log's counts and the alarms say
  #checkov:skip=CKV_AWS_115:Shards and parallelization factor, or Firehose, bound the concurrency; a reserve would be taken from the account
  #checkov:skip=CKV_AWS_116:A dead-letter queue is for asynchronous invocations; here the mapping, or Firehose, keeps what failed
  #checkov:skip=CKV_AWS_117:It reaches only S3, through AWS's own endpoint: a VPC would need a gateway endpoint and give nothing
  #checkov:skip=CKV_AWS_173:AWS's own key encrypts the environment; reading the function's configuration is enough to forge records
  #checkov:skip=CKV_AWS_272:The zip is built by script/bundle to the same bytes everywhere, and its hash is in the plan
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy.log]

  function_name    = var.name
  description      = var.description
  role             = aws_iam_role.this.arn
  runtime          = var.runtime
  handler          = var.handler
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  timeout          = var.timeout
  memory_size      = var.memory_size

  environment {
    variables = var.environment
  }
}

# Each invocation prints its counts as one line of JSON. Nothing is reported while no line is rejected.
resource "aws_cloudwatch_log_metric_filter" "rejected" {
  name           = "rejected"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = "{ $.rejected > 0 }"

  # without dimensions, which would have to be in the line: the namespace tells the function
  metric_transformation {
    namespace = "WebLog/${var.name}"
    name      = "RejectedLines"
    value     = "$.rejected"
  }
}

module "alarms" {
  source = "../alarms"
  count  = var.alarms ? 1 : 0

  topic_arn = var.alarm_topic_arn
  alarms = {
    errors = {
      description         = "The function fails again and again: see its log group ${aws_cloudwatch_log_group.this.name}."
      namespace           = "AWS/Lambda"
      metric_name         = "Errors"
      dimensions          = { FunctionName = aws_lambda_function.this.function_name }
      datapoints_to_alarm = 3
    }
    throttles = {
      description         = "Invocations are refused: the account's concurrency is used up."
      namespace           = "AWS/Lambda"
      metric_name         = "Throttles"
      dimensions          = { FunctionName = aws_lambda_function.this.function_name }
      datapoints_to_alarm = 3
    }
    rejected = {
      description        = "Lines cannot be parsed: the log's format is not the function's. They are kept below rejected/ of the bucket."
      namespace          = aws_cloudwatch_log_metric_filter.rejected.metric_transformation[0].namespace
      metric_name        = aws_cloudwatch_log_metric_filter.rejected.metric_transformation[0].name
      subject            = aws_lambda_function.this.function_name
      period             = 300
      evaluation_periods = 1
    }
  }
}
