# A web server whose access log is shipped: an EC2 instance with nginx, set up by its user data with the same script that
# sets up any other host (host/install).

locals {
  archive_hash = filesha256(var.host_archive)
  artefact_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.artefact_bucket}/${aws_s3_object.archive.key}"
  log_bucket   = "arn:${data.aws_partition.current.partition}:s3:::${var.settings.S3_BUCKET}"
  # Repair needs a producer that runs all the time, and ledgers. With DELIVERY=s3 the producer may read them anyway.
  repairs  = var.schedule == "systemd" && var.settings.DELIVERY == "kinesis"
  endpoint = var.endpoint_url == "" ? { TARGET = "aws" } : { TARGET = "localstack", LOCALSTACK_HOST = var.endpoint_url }

  user_data = templatefile("${path.module}/user_data.sh.tftpl", {
    bucket       = var.artefact_bucket
    endpoint_url = var.endpoint_url
    hash         = local.archive_hash
    key          = aws_s3_object.archive.key
    record_key   = var.record_key
    region       = var.settings.AWS_DEFAULT_REGION
    schedule     = var.schedule
    settings     = merge(var.settings, local.endpoint)
  })
}

data "aws_partition" "current" {}

# The key holds the hash, so an instance that starts later finds exactly the archive of its user data.
resource "aws_s3_object" "archive" {
  bucket      = var.artefact_bucket
  key         = "${var.artefact_prefix}web-log-producer/${local.archive_hash}.tar"
  source      = var.host_archive
  source_hash = local.archive_hash
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "instance" {
  source_policy_documents = [var.producer_policy_json]

  statement {
    sid       = "FetchArchive"
    actions   = ["s3:GetObject"]
    resources = [local.artefact_arn]
  }

  # With an own key the archive and the ledgers are encrypted, and reading them needs the key.
  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "DecryptObjects"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${var.settings.AWS_DEFAULT_REGION}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }

  dynamic "statement" {
    for_each = local.repairs ? ["ReadLedgers"] : []

    content {
      sid       = statement.value
      actions   = ["s3:GetObject"]
      resources = ["${local.log_bucket}/${lookup(var.settings, "S3_PREFIX", "")}*"]
    }
  }

  dynamic "statement" {
    for_each = local.repairs ? ["ListObjects"] : []

    content {
      sid       = statement.value
      actions   = ["s3:ListBucket"]
      resources = [local.log_bucket]
    }
  }
}

resource "aws_iam_role" "instance" {
  name               = "${var.name}-web-server"
  description        = "Sends the lines of the access log"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "instance" {
  name   = "send-lines"
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.instance.json
}

resource "aws_iam_role_policy_attachment" "session_manager" {
  count = var.session_manager ? 1 : 0

  role       = aws_iam_role.instance.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "instance" {
  name = "${var.name}-web-server"
  role = aws_iam_role.instance.name
}

resource "aws_security_group" "instance" {
  # checkov:skip=CKV_AWS_260: a web server; the networks that reach it are a variable without a default
  name        = "${var.name}-web-server"
  description = "Web server: port 80 in; packages and AWS services out"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-web-server" }

  ingress {
    description = "Web"
    protocol    = "tcp"
    from_port   = 80
    to_port     = 80
    cidr_blocks = var.allowed_cidrs
  }

  # The addresses of AWS's services and of the package servers change. DNS, time and metadata need no rule: security groups
  # do not filter Amazon's own servers for them.
  egress {
    description = "AWS services and packages"
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = ["0.0.0.0/0"]
  }

  egress {
    description = "Debian packages, which are signed"
    protocol    = "tcp"
    from_port   = 80
    to_port     = 80
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_instance" "instance" {
  # checkov:skip=CKV_AWS_88: a web server is reached directly unless public_ip = false
  # checkov:skip=CKV_AWS_126: the pipeline's alarms tell whether lines arrive, which is what matters here
  ami                         = var.ami_id
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.instance.id]
  associate_public_ip_address = var.public_ip
  iam_instance_profile        = aws_iam_instance_profile.instance.name
  ebs_optimized               = true
  tags                        = { Name = "${var.name}-web-server" }

  user_data = local.user_data
  # cloud-init runs it at an instance's first start only, so a change needs another instance
  user_data_replace_on_change = true

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.root_volume_gb
    encrypted   = true
  }

  # the first start reads the archive with this role
  depends_on = [aws_iam_role_policy.instance]
}
