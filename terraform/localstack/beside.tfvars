# Names of its own, for an emulator that a running appliance uses: terraform apply -var-file=beside.tfvars
bucket_name          = "terraform-my-bucket"
stream_name          = "terraform-web-log-stream"
delivery_stream_name = "terraform-web-log-delivery"
function_name        = "terraform-stream-transformation"
role_name            = "terraform-lambda-ex"
firehose_role_name   = "terraform-firehose-ex"

# the embedded emulator has no CloudWatch
alarms = false
