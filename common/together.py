"""Which settings do not go together."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.settings import Settings

COMBINED = "combined"


def check_together(settings: Settings) -> None:
    """Raises ValueError with the remedy."""
    private = settings.trusted_proxies or settings.anonymize_ip or settings.drop_query or settings.log_skip
    if settings.access_log_format != COMBINED or settings.fields or (private and not settings.owns_log):
        from common.formats import check_format  # few ask for it

        check_format(settings)
    if settings.target == "aws" and settings.localstack_host:
        raise ValueError("TARGET=aws and LOCALSTACK_HOST exclude each other; leave one of them out")
    if settings.proxy_protocol and not settings.trusted_proxies:
        raise ValueError("PROXY_PROTOCOL needs TRUSTED_PROXIES. Mend it with: -e TRUSTED_PROXIES=docker")
    ports = {"HTTP_PORT": settings.http_port, "DASHBOARD_PORT": settings.dashboard_port}
    if settings.target == "localstack" and not settings.localstack_host:
        ports["EMULATOR_PORT"] = settings.emulator_port
    for (first, port), (second, same) in combinations(ports.items(), 2):
        if port == same and settings.owns_log:
            others = (port + 1, port + 2, 8080, 8081)
            free = next(one for one in others if one <= 65535 and one not in ports.values())
            raise ValueError(f"{first} and {second} are both {port}. Mend it with: -e {second}={free}")
    if settings.log_disk_bytes < settings.log_rotate_bytes:
        raise ValueError(
            f"LOG_DISK_BYTES={settings.log_disk_bytes} has no room for one log of LOG_ROTATE_BYTES="
            f"{settings.log_rotate_bytes}. Mend it with: -e LOG_ROTATE_BYTES={max(1024, settings.log_disk_bytes // 4)}"
        )
    if settings.log_files and not settings.delivery.has_ledger:
        raise ValueError(
            f"LOG_FILES needs DELIVERY=kinesis or s3: {settings.delivery.title} takes no name with a record, to tell "
            "one log from another. Mend it with: -e DELIVERY=kinesis, or a delivery stream for each log"
        )
