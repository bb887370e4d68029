"""nginx's configuration, rendered from the templates in nginx/ and the settings."""

from __future__ import annotations

import ipaddress
import os
import re
import resource
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

from appliance import lines
from common import door
from common.formats import log_format
from common.settings import Settings
from common.values import networks

TEMPLATES = Path(__file__).resolve().parent.parent / "nginx"
CLIENTS = 16_384  # connections of a worker
# Most workers: with its connections each holds 7 MB, with UPSTREAM 14. One for so many processors, and bytes of memory
WORKERS = 4
PROCESSORS_EACH, MEMORY_EACH = 2, 256 * 1024 * 1024
BURST = 5  # seconds' worth of LIMIT_REQUESTS that may come at once
OTHER_FILES = 64  # of a worker: logs, listeners, pipes


def nameservers(resolv_conf: str) -> list[str]:
    """The addresses in the text of /etc/resolv.conf, in the form nginx's `resolver` takes."""
    found = re.findall(r"^\s*nameserver\s+(\S+)", resolv_conf, re.MULTILINE)
    return [f"[{address}]" if ":" in address else address for address in found if "%" not in address]


def in_hosts(name: str, hosts: str) -> bool:
    """Whether the text of /etc/hosts knows `name`."""
    return any(name in line.split("#")[0].split()[1:] for line in hosts.splitlines())


def listen(settings: Settings, ipv6: bool) -> str:
    """The `listen` directives: HTTP_HOST, or all addresses."""
    host, port = settings.http_host, settings.http_port
    if host:
        addresses = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    else:
        addresses = [f"{port}", f"[::]:{port}"] if ipv6 else [f"{port}"]
    behind = " proxy_protocol" if settings.proxy_protocol else ""
    return " ".join(f"listen {address} default_server{behind};" for address in addresses)


def proxies(settings: Settings) -> str:
    """Whose word for a client's address and scheme nginx takes."""
    trusted = [str(each) for each in networks(settings.trusted_proxies)]
    header = "proxy_protocol" if settings.proxy_protocol else "X-Forwarded-For"
    believed = [f"set_real_ip_from {each};" for each in trusted]
    believed += [f"real_ip_header {header}; real_ip_recursive on;"] if trusted else []
    # behind the PROXY protocol every header is the client's own
    by = "" if settings.proxy_protocol else "".join(f" {each} 1;" for each in trusted)
    believed += [f"geo $realip_remote_addr $proxied {{ default 0;{by} }}"]
    believed += ['map "$proxied $http_x_forwarded_proto" $client_scheme { default $scheme; "1 https" https; }']
    return "\n    ".join(believed)


def memory() -> int:
    """Bytes that this container may take; without a limit, those of the machine."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _read("/sys/fs/cgroup/memory.max").strip()  # cgroups(7), version 2: a number, or max
    return min(whole, int(limit)) if limit.isdigit() else whole


def capacity(settings: Settings, hard: int, processors: int, size: int) -> dict[str, str]:
    """WORKERS, FILES and CONNECTIONS of the templates; `hard`: the most open files that this process may allow, `size`:
    bytes of memory."""
    wanted = CLIENTS * (2 if settings.upstream else 1) + OTHER_FILES  # a request to the application is a connection too
    files = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    workers = max(1, min(WORKERS, processors // PROCESSORS_EACH, size // MEMORY_EACH))
    return {"WORKERS": str(workers), "FILES": str(files), "CONNECTIONS": str(max(files - OTHER_FILES, OTHER_FILES))}


def limits(settings: Settings) -> dict[str, str]:
    """ZONES and LIMITS of the templates: what one address may have."""
    zones, used = [], []
    if settings.limit_connections:
        zones.append("limit_conn_zone $binary_remote_addr zone=connections:10m;")
        used.append(f"limit_conn connections {settings.limit_connections};")
    if rate := settings.limit_requests:
        zones.append(f"limit_req_zone $binary_remote_addr zone=requests:10m rate={rate}r/s;")
        used.append(f"limit_req zone=requests burst={BURST * rate} nodelay;")
    return {"ZONES": " ".join(zones), "LIMITS": " ".join(used)}


def known(name: str) -> bool:
    """Whether DNS knows this whole name. Raises OSError when it gives no answer."""
    try:
        socket.getaddrinfo(f"{name}.", None)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        return False
    except UnicodeError:  # a label that no name can have
        return False
    return True


def completed(name: str, resolv_conf: str) -> str:
    """`name` with the search domain that completes it, as resolv.conf(5) says: nginx's resolver takes whole names only.

    A name that is nowhere now stays as it is.
    """
    searched = re.findall(r"^\s*(?:search|domain)\s+(.*)", resolv_conf, re.MULTILINE)
    longer = [f"{name}.{domain.strip('.')}" for domain in searched[-1].split()] if searched else []
    if not longer or name.endswith("."):
        return name
    dots = re.findall(r"^\s*options\s.*\bndots:(\d+)", resolv_conf, re.MULTILINE)
    whole_first = name.count(".") >= int(dots[-1] if dots else 1)
    try:
        return next(filter(known, [name, *longer] if whole_first else [*longer, name]), name)
    except OSError:
        return name


def upstream(settings: Settings, resolv_conf: str, hosts: str) -> dict[str, str]:
    """How nginx finds the application and knows it: UPSTREAM, PROXY_PASS, RESOLVER and TLS of the templates.

    A DNS name is looked up at run time: else nginx would not start without it, and would keep the address of a replaced
    container. An address, or a name that only /etc/hosts knows, is looked up at the start.
    """
    base = settings.upstream.rstrip("/")
    parts = urlsplit(base)
    host = parts.hostname or ""
    servers = nameservers(resolv_conf)
    try:
        ipaddress.ip_address(host)
        dynamic = False
    except ValueError:
        dynamic = bool(host and servers) and not in_hosts(host, hosts)
    whole = base
    if dynamic:
        whole = f"{parts.scheme}://{completed(host, resolv_conf)}" + (f":{parts.port}" if parts.port else "")
    tls = ""
    if parts.scheme == "https":
        tls = f'proxy_ssl_server_name on; proxy_ssl_name "{host}"; proxy_ssl_protocols TLSv1.2 TLSv1.3;'
        if settings.upstream_verify:
            tls += " proxy_ssl_verify on; proxy_ssl_verify_depth 9; "
            tls += f'proxy_ssl_trusted_certificate "{settings.upstream_ca}";'
    return {
        "UPSTREAM": whole,
        "PROXY_PASS": "$application" if dynamic else base,
        "RESOLVER": f"resolver {' '.join(servers)} valid=10s;" if dynamic else "",
        "TLS": tls,
    }


def render(settings: Settings) -> None:
    """Write what nginx reads to DATA_DIR/run: configuration, landing page, and the open door. Raises OSError."""
    target = settings.run_dir / "nginx"
    (target / "www").mkdir(parents=True, exist_ok=True)
    ipv6 = Path("/proc/net/if_inet6")
    door.turn(settings.run_dir, "open")
    health = f"/health-{secrets.token_hex(16)}"
    settings.health_path.write_text(health)
    values = {
        # as root nginx would change to an account that may not read DATA_DIR; any other user cannot change at all
        "USER": "user root;" if os.geteuid() == 0 else "",
        "RUN_DIR": str(settings.run_dir),
        "LOG_FILE": str(settings.log_file),
        "LISTEN": listen(settings, ipv6.exists() and bool(ipv6.read_text().strip())),
        "HEALTH": health,
        "FULL": "" if settings.log_full == "answer" else "if ($room = 0) { return 503; }",
        "PROXIES": proxies(settings),
        "SKIP": lines.skip(settings),
        "FIELDS": log_format(settings.fields).removeprefix(log_format("")),
        "SITE": "proxy.conf" if settings.upstream else "landing.conf",
        "S3_BUCKET": settings.s3_bucket,
        "S3_PREFIX": settings.s3_prefix,
        "POLL_INTERVAL": f"{settings.poll_interval:g}",
    }
    hard, processors = resource.getrlimit(resource.RLIMIT_NOFILE)[1], len(os.sched_getaffinity(0))
    values |= capacity(settings, hard, processors, memory()) | limits(settings)
    values |= upstream(settings, _read("/etc/resolv.conf"), _read("/etc/hosts"))
    for name in ("nginx.conf", "log_format.conf", "server.conf", "landing.conf", "proxy.conf", "www/index.html"):
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        rendered = re.sub(r"@([A-Z0-9_]+)@", lambda match: values[match[1]], text)
        if name == "log_format.conf":  # when FIELDS are in it: they may name a variable that is seen to, too
            rendered = lines.log_format(rendered, settings)
        (target / name).write_text(rendered, encoding="utf-8")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
