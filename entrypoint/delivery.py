"""The delivery stream of DELIVERY=firehose as plain data: where its objects go, and by what they are transformed.

`terraform/modules/firehose-pipeline` makes the same on AWS; what the two must agree on stands here, in one place.
"""

from __future__ import annotations

from typing import Any

from entrypoint import policies

Destination = dict[str, Any]

# The keys that the transform gives each record, in the order in which they make up the prefix
PARTITION_KEYS = ("year", "month", "day", "hour")
# What Firehose could not transform or file, by the reason; UTC, since no CustomTimeZone is set
ERROR_PREFIX = "rejected/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/"
# MiB, the least that dynamic partitioning takes, and seconds, the least that makes objects of use: whichever comes
# first ends an object (Firehose Developer Guide, "Buffer data for dynamic partitioning")
BUFFER_MIB = 64
BUFFER_SECONDS = 60
COMPRESSION = "UNCOMPRESSED"
# Seconds in which Firehose tries again to file what it could not, before it goes to ERROR_PREFIX
RETRY_SECONDS = 300
# MB of records in one invocation, 0.2 to 3 (Firehose API, ProcessorParameter). The least there is: packed lines grow
# about tenfold in the transform, and its answer may not have more than 6 MB.
TRANSFORM_BUFFER_MB = "0.2"
TRANSFORM_BUFFER_SECONDS = "60"
TRANSFORM_RETRIES = "3"
LOG_STREAM = "DestinationDelivery"


def log_group(stream: str) -> str:
    """Where Firehose says what it could not deliver; the name is the one its console would choose."""
    return f"/aws/kinesisfirehose/{stream}"


def object_prefix(prefix: str) -> str:
    """The folder of a line's own hour, in Firehose's notation; `prefix` is empty or ends with /."""
    return prefix + "".join(f"!{{partitionKeyFromLambda:{key}}}/" for key in PARTITION_KEYS)


def destination(*, stream: str, bucket: str, prefix: str, role_arn: str, function_arn: str) -> Destination:
    """The ExtendedS3DestinationConfiguration of `stream`.

    What an empty `role_arn` or `function_arn` would name (only looking, and there is none yet) is left out.
    """
    found: Destination = {
        "Prefix": object_prefix(prefix),
        "ErrorOutputPrefix": prefix + ERROR_PREFIX,
        "BufferingHints": {"SizeInMBs": BUFFER_MIB, "IntervalInSeconds": BUFFER_SECONDS},
        "CompressionFormat": COMPRESSION,
        "CloudWatchLoggingOptions": {"Enabled": True, "LogGroupName": log_group(stream), "LogStreamName": LOG_STREAM},
        "DynamicPartitioningConfiguration": {"Enabled": True, "RetryOptions": {"DurationInSeconds": RETRY_SECONDS}},
    }
    if role_arn:
        found["RoleARN"] = role_arn
        found["BucketARN"] = f"arn:{policies.partition(role_arn)}:s3:::{bucket}"
    if function_arn:
        parameters = {
            "LambdaArn": f"{function_arn}:$LATEST",  # a processor names it with a version
            "NumberOfRetries": TRANSFORM_RETRIES,
            "BufferSizeInMBs": TRANSFORM_BUFFER_MB,
            "BufferIntervalInSeconds": TRANSFORM_BUFFER_SECONDS,
        }
        listed = [{"ParameterName": name, "ParameterValue": value} for name, value in parameters.items()]
        processor = {"Type": "Lambda", "Parameters": listed}
        found["ProcessingConfiguration"] = {"Enabled": True, "Processors": [processor]}
    return found


def differences(found: Destination, wanted: Destination) -> list[str]:
    """The keys of `wanted` that `found` (an ExtendedS3DestinationDescription) does not say as well.

    What is described beyond that (defaults, tags, a role among the processor's parameters) is none of ours.
    """
    return [key for key, value in wanted.items() if not _says(found.get(key), value)]


def _says(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_says(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and all(any(_says(one, value) for one in found) for value in wanted)
    return bool(found == wanted)
