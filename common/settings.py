"""The settings: the only reader of the environment.

Every field is one environment variable of the same name in capitals. A bad value is reported together with all other
bad values, each with the `-e` that mends it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from common import values
from common.delivery import KINESIS
from common.log import redact
from common.misspelt import SERVICE_LINK, misspelt
from common.places import Places
from common.together import COMBINED, check_together
from common.typed import Field, SeveralWrongError, Variables
from common.values import KEY_FORM, log_files, matches


class SettingsError(Exception):
    """One or more environment variables cannot be used, or miss their name; the message is for the user."""


class Settings(Variables, Places):
    """What the user can set. Shapes and limits are checked here and nowhere else.

    `script/docs` makes docs/settings.md and settings.env of it: in this order, each comment the heading of a group, the
    text below each field its meaning.
    """

    # AWS
    localstack_host: values.Endpoint = Field("", examples=["192.168.99.100"])
    """An AWS-compatible endpoint: host, host:port or URL. Without a port: 4566, else LocalStack's old port of each
    service. Empty: what answers on EMULATOR_PORT of this machine, else the embedded emulator."""
    target: Literal["localstack", "aws"] = "localstack"
    """`aws`: real AWS, with the SDK's usual credentials; nothing is provisioned."""
    aws_default_region: Annotated[str, matches(r"[a-z0-9-]{4,32}", "a region is a name such as us-east-1")] = (
        "us-east-1"
    )
    """AWS region."""
    emulator_port: values.Port = 4566
    """Port of the embedded emulator. An emulator that already runs there is used instead."""
    emulator_host: values.Address = "127.0.0.1"
    """Address the embedded emulator listens on."""
    s3_bucket: Annotated[
        str,  # S3 User Guide, "Bucket naming rules"
        matches(
            r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]",
            "a bucket name has 3 to 63 lower-case letters, digits, dots and hyphens",
        ),
    ] = "my-bucket"
    """Bucket of the hourly objects."""
    s3_prefix: Annotated[
        str, matches(r"([^/*?$][^*?$]*/)?", "a prefix does not start with /, ends with / and has none of *?$: logs/")
    ] = Field("", examples=["logs/"])
    """Prefix of every key."""
    s3_expire_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """Days after its last write at which an hourly object is deleted, by a rule of the bucket for keys that begin with
    S3_PREFIX and `20` or `rejected/20`. 0: never. Emulators delete nothing. With TARGET=aws, set Terraform's
    `expire_after_days` alike."""
    kinesis_data_stream: Annotated[
        str,
        matches(r"[a-zA-Z0-9_.-]{1,128}", "a stream name has 1 to 128 letters, digits, dots, hyphens and underscores"),
    ] = "web-log-stream"
    """Kinesis data stream."""
    lambda_function: Annotated[
        str, matches(r"[a-zA-Z0-9_-]{1,64}", "a function name has 1 to 64 letters, digits, hyphens and underscores")
    ] = "stream-transformation"
    """Function that writes the objects."""
    lambda_role: values.Role = "lambda-ex"
    """IAM role of the function."""
    record_key: Annotated[
        str,
        matches(rf"(?:{KEY_FORM})?", "a key is what the appliance keeps in record.key, or `terraform output`"),
    ] = Field("", examples=["…"], secret=True)
    """Key of producer and function that signs the place of each record, so that no other program can claim bytes of the
    log. Empty: the appliance takes the function's, or makes one; a producer by itself signs nothing."""

    # Delivery
    delivery: values.Way = KINESIS
    """`firehose`: lines go to FIREHOSE_STREAM, at least once, and Firehose names the objects. `s3`: the producer
    appends to the hourly objects by itself, exactly once as with `kinesis`, without stream, role and function."""
    firehose_stream: Annotated[
        str, matches(r"[a-zA-Z0-9_.-]{1,64}", "a delivery stream name has 1 to 64 letters, digits and ._-")
    ] = "web-log-delivery"
    """Firehose delivery stream."""
    firehose_role: values.Role = "firehose-ex"
    """IAM role of the delivery stream."""
    shard_count: Annotated[int, Field(ge=1, le=1000)] = 1
    """Shards of a new stream; each takes 1,000 records/s and 1 MB/s."""
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Most records of one invocation of the function."""
    starting_position: Literal["TRIM_HORIZON", "LATEST"] = "TRIM_HORIZON"
    """Where a new event source mapping starts to read. `LATEST` skips what is in the stream already."""
    poll_interval: Annotated[float, Field(ge=0.2, le=3600)] = 60
    """Seconds between two polls of the log. 60 polls on the minute."""
    repair_interval: Annotated[float, Field(ge=0.2, le=86_400)] = 60
    """Seconds between two comparisons of the acknowledged lines with the bucket."""
    repair_after: Annotated[float, Field(ge=1, le=86_400)] = 300
    """Seconds after which an acknowledged line that is not in the bucket is sent again."""

    # Web server
    http_port: values.Port = 80
    """Port nginx listens on."""
    http_host: values.Address = ""
    """Address nginx listens on. Empty: all of them. `script/up` sets 127.0.0.1."""
    upstream: values.Upstream = Field("", examples=["http://app:3000"])
    """Application that nginx passes every request to. Empty: the landing page."""
    upstream_verify: bool = True
    """Whether an UPSTREAM of https:// has to prove its name. `false`: a machine on the way may read and change
    requests."""
    upstream_ca: values.File = Path("/etc/ssl/certs/ca-certificates.crt")
    """PEM file of the certificate authorities that UPSTREAM is believed by."""
    trusted_proxies: values.Proxies = Field("", examples=["docker"])
    """Proxies whose X-Forwarded-For names the client, with commas between: addresses, networks, `docker`
    (172.16.0.0/12, 192.168.0.0/16, fc00::/7) or `private` (these, 10.0.0.0/8 and the loopback). Whatever sends from
    such an address may name any client, for the log, the limits below and UPSTREAM. Another web server's LOG_FILE needs
    a format with X-Forwarded-For, such as `main`."""
    proxy_protocol: bool = False
    """Whether TRUSTED_PROXIES name the client by the PROXY protocol instead; requests without it are refused. Either
    way, a request that nginx cannot read has the proxy's address."""
    limit_requests: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Requests a second of one address, on average; five seconds' worth may come at once. More are refused with 429,
    and logged. A proxy is one address, unless TRUSTED_PROXIES names it. 0: no limit."""
    limit_connections: Annotated[int, Field(ge=0, le=16_384)] = 1000
    """Requests of one address under way at once, WebSockets included. 0: no limit."""

    # What is logged
    anonymize_ip: bool = False
    """Whether addresses are kept without their last octet (IPv4) or last 80 bits (IPv6). As the next two, it holds for
    the appliance's own log; of another web server's LOG_FILE, for the entries."""
    drop_query: values.Dropped = Field("", examples=["token,code"])
    """`all`: requests and Referers are kept without queries. Or names of parameters, with commas between, whose values
    are left out wherever they occur."""
    log_skip: values.Skipped = Field("", examples=["/health,agent:kube-probe/"])
    """Requests without a line, such as health checks, with commas between: paths with their query, where one `*` stands
    for anything, or `agent:` and the beginning of a user agent, which any client can claim. Only GET and HEAD with a
    status below 400, and none of `verify`."""
    access_log_format: str = Field(COMBINED, examples=["main"])
    """Format of another web server's LOG_FILE: a [name](formats.md#access_log_format), `json:{"key":"variable",…}`, or
    the string of nginx's log_format."""
    fields: str = Field("", examples=["bytes,referer,requestTime"])
    """What an entry has behind its seven keys: [fields](formats.md#fields), and any variable of ACCESS_LOG_FORMAT by
    its own name."""

    # Disk
    data_dir: values.File = Path("/data")
    """Folder of all state. `script/up` sets `.data` when it runs natively."""
    log_file: values.File = Field(
        default_factory=lambda given: given.get("data_dir", Path("/data")) / "log" / "access.log"
    )
    """Log to ship. Empty: `log/access.log` below DATA_DIR. Any other is for the producer without the appliance, which
    neither rotates nor deletes it."""
    log_files: values.LogFiles = Field("", examples=["shop=/var/log/nginx/shop.access.log,blog=/srv/blog/access.log"])
    """Several logs instead of LOG_FILE, for the producer without the appliance: `name=path` with commas between, or a
    folder, where `shop.access.log` is the log `shop`. The objects of each are below S3_PREFIX and its name, as a rule
    for S3_EXPIRE_DAYS has to be."""
    log_rotated_dirs: Annotated[
        str, matches(r"(/[^:]*(:/[^:]*)*)?", "folders are absolute paths with colons between")
    ] = Field("", examples=["/var/log/old:/srv/archive"])
    """Folders into which logs are rotated, with colons between. The log's own needs no mention, nor one where a rotated
    log was found before."""
    log_rotate_bytes: Annotated[int, Field(ge=1024)] = 100 * 1024 * 1024
    """Size at which access.log is rotated (100 MiB)."""
    log_rotate_seconds: Annotated[int, Field(ge=1)] = 86_400
    """Age at which access.log is rotated, however small, unless it is empty."""
    log_disk_bytes: Annotated[int, Field(ge=1024)] = 10 * 1024**3
    """Size that all logs together may reach (10 GiB); with the embedded emulator, at most half of the disk. From 80 %
    on the appliance is not ready."""
    log_full: Literal["refuse", "drop", "answer"] = "refuse"
    """Without room for log lines, at LOG_DISK_BYTES or on a full disk: `refuse` answers requests with 503 until logs
    are archived and deleted. `answer` answers them without a line. `drop` deletes the oldest rotated logs from 80 % of
    LOG_DISK_BYTES on, archived or not, and refuses only until then."""

    # Dashboard, and the programs' own log
    dashboard_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of the dashboard and of `/metrics`. 0: none."""
    dashboard_host: values.Address = "127.0.0.1"
    """Address the dashboard listens on."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe events to log."""
    log_format: Literal["human", "json", "syslog"] = "human"
    """`json`: one object a line. `syslog`: with the `<priority>` that journald and `logger --prio-prefix` read."""

    log_name: ClassVar[str] = ""
    """Of one of LOG_FILES."""

    def check(self) -> None:
        check_together(self)

    @property
    def stream(self) -> str:
        """The name of what the chosen delivery sends to."""
        return str(getattr(self, self.delivery.stream_setting.lower()))

    @property
    def owns_log(self) -> bool:
        """Whether the log is DATA_DIR's own, so that the producer rotates it, and deletes what is archived."""
        return not self.log_files and self.log_file == self.data_dir / "log" / "access.log"

    @property
    def named_logs(self) -> list[tuple[str, Path]]:
        """Name and path of each of LOG_FILES; a folder has no name."""
        return log_files(self.log_files)

    def of_log(self, name: str, path: Path) -> Self:
        """The same settings for one of LOG_FILES, as if it were the only log."""
        return self.model_copy(update={"log_name": name, "log_file": path, "s3_prefix": f"{self.s3_prefix}{name}/"})

    @property
    def rotated_dirs(self) -> list[Path]:
        return [Path(folder) for folder in self.log_rotated_dirs.split(":") if folder]


NAMES = [name.upper() for name in Settings.model_fields]


def load_settings(log: Path | None = None) -> Settings:
    """Read the environment. Raises SettingsError with one message that names every problem and its remedy.

    `log`: what ACCESS_LOG_FORMAT is of, where neither LOG_FILE nor LOG_FILES is set.
    """
    problems = misspelt(os.environ, NAMES)
    given = {name for name in ("ACCESS_LOG_FORMAT", "LOG_FILE", "LOG_FILES") if os.environ.get(name)}
    try:
        settings = Settings(log_file=log) if log and given == {"ACCESS_LOG_FORMAT"} else Settings()
    except SeveralWrongError as error:
        problems += explain(error)
    if problems:
        raise SettingsError("\n".join(["The settings cannot be used:", *(f"  {one}" for one in problems)]))
    return settings


def require_data_dir(settings: Settings) -> None:
    """Raise SettingsError instead of making the default, which is the image's, on a machine of the user's."""
    if not os.environ.get("DATA_DIR") and not settings.data_dir.exists():
        raise SettingsError(
            f"DATA_DIR is not set, and {settings.data_dir}, where the state is in a container, is not there. "
            'Mend it with a folder for the state: DATA_DIR="$PWD/.data"'
        )


def explain(error: SeveralWrongError) -> list[str]:
    """A sentence for each problem."""
    found = []
    for problem in error.problems:
        what = str(problem)
        if problem.where:
            name = problem.where[0]
            field = Settings.model_fields[name]
            remedy = field.examples[0] if field.examples else field.default
            # a URL's user and password may hold anything, and the message goes to logs
            given = "…" if field.secret else re.sub(r"(?s)^(\w*://)?.*@", r"\1...@", str(problem.given))
            if SERVICE_LINK.match(given) and name.endswith("_port"):
                what = f"Kubernetes sets it for a service called {name.removesuffix('_port')}, unless the pod has "
                what += "`enableServiceLinks: false`"
            what = f"{name.upper()}={redact(given)!r}: {what}. Mend it with: -e {name.upper()}={remedy}"
        found.append(what)
    return found


if __name__ == "__main__":  # script/up, of its own environment: the settings, and on standard input all names
    os.environ.update(dict.fromkeys(set(sys.stdin.read().split()).difference(NAMES), "…"))
    try:
        load_settings()
    except SettingsError as error:
        sys.exit(str(error))
