"""A host with the configuration of nginx.org's packages: `install` says what its log is, and every line is an entry."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.host.machine import Debian, Pipeline, Requests
from tests.keys import KEY
from tests.waiting import eventually

pytestmark = pytest.mark.container

# as it is in the package nginx 1.28 of nginx.org
NGINX_CONF = r"""
user  nginx;
worker_processes  auto;

error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;


events {
    worker_connections  1024;
}


http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;

    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    access_log  /var/log/nginx/access.log  main;

    sendfile        on;
    #tcp_nopush     on;

    keepalive_timeout  65;

    #gzip  on;

    include /etc/nginx/conf.d/*.conf;
}
"""
DEFAULT_CONF = "server { listen 80; server_name localhost; location / { root /usr/share/nginx/html; } }"
# what its package does beside that
PREPARE = """
apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nginx python3-venv
useradd --system nginx; service nginx stop; rm -f /var/log/nginx/*
install --mode 0640 --owner nginx --group adm /dev/null /var/log/nginx/access.log
mv /run/nginx.conf /etc/nginx/nginx.conf; mv /run/default.conf /etc/nginx/conf.d; nginx
"""
ONCE = """
runuser -u web-log-producer -- \
  sh -c 'set -a; . /etc/default/web-log-producer; /opt/web-log-producer/venv/bin/web-log-producer --once'
"""


@pytest.fixture(scope="module")
def machine(container_engine: str, pipeline: Pipeline) -> Iterator[Debian]:
    one = Debian(container_engine)
    try:
        one.write("/run/nginx.conf", NGINX_CONF)
        one.write("/run/default.conf", DEFAULT_CONF)
        one.run(PREPARE, timeout=300)
        subprocess.run([container_engine, "cp", str(pipeline.archive), f"{one.name}:/"], check=True, timeout=60)
        one.run(f"tar -xf {pipeline.archive.name}")
        yield one
    finally:
        one.remove()


def install(machine: Debian, *settings: str) -> str:
    options = " ".join(f"--set '{each}'" for each in settings)
    return machine.run(f"echo RECORD_KEY={KEY} | /web-log-producer/install --schedule none --set - {options}", 300)


def test_each_line_of_the_format_main_is_an_entry_without_a_setting(machine: Debian, pipeline: Pipeline) -> None:
    requests = Requests(machine)
    requests.send(1000)
    where = ("TARGET=localstack", f"LOCALSTACK_HOST={pipeline.url_inside}", f"S3_BUCKET={pipeline.bucket}")
    said = install(machine, *where)
    assert "1,000 of the newest 1,000 lines are in the format main\n" in said
    assert "ACCESS_LOG_FORMAT=combined rejects 0 of them\n" in said
    assert "for the function" not in said
    assert "shipped 1000 lines" in machine.run(ONCE)
    eventually(lambda: requests.arrived(pipeline), within=60, every=1)
    assert not [key for key, _ in pipeline.archived() if "rejected/" in key]


def test_a_log_that_would_be_rejected_is_told_with_the_setting(machine: Debian) -> None:
    line = '192.0.2.1 - - [18/Apr/2020:01:42:18 +0000] "GET / HTTP/1.1" 200 5\n'
    machine.write("/var/log/nginx/other.log", line * 20)
    machine.run("chgrp adm /var/log/nginx/other.log; chmod g+r /var/log/nginx/other.log")
    said = install(machine, "LOG_FILE=/var/log/nginx/other.log")
    assert "/var/log/nginx/other.log:\n  20 of the newest 20 lines are in the format common\n" in said
    assert "rejects 20 of them: set ACCESS_LOG_FORMAT=common\n" in said
    assert "and for the function" in said
    assert "rejects 0 of them" in install(machine, "ACCESS_LOG_FORMAT=common")
    install(machine, "LOG_FILE=/var/log/nginx/access.log", "ACCESS_LOG_FORMAT=")


def test_a_log_format_of_ones_own_is_kept_as_it_is(machine: Debian) -> None:
    """A shell reads it from the file; test_systemd.py has systemd do it."""
    own = r'$remote_addr\t[$time_local] "$request" $status | $http_host & {"$http_user_agent"}'
    line = '1.2.3.4\t[18/Apr/2020:01:42:18 +0000] "GET / HTTP/1.1" 200 | a & {"b"}\n'
    machine.write("/var/log/nginx/own.log", line)
    machine.run("chgrp adm /var/log/nginx/own.log; chmod g+r /var/log/nginx/own.log")
    for _ in range(2):  # the second time in place of the first
        said = install(machine, "LOG_FILE=/var/log/nginx/own.log", f"ACCESS_LOG_FORMAT={own}")
        assert "the present ACCESS_LOG_FORMAT rejects 0 of them" in said
        assert (
            machine.run('. /etc/default/web-log-producer; echo "$ACCESS_LOG_FORMAT"') == own.replace(r"\t", "\t") + "\n"
        )
    assert machine.run("grep -c ^ACCESS_LOG_FORMAT= /etc/default/web-log-producer") == "1\n"
    install(machine, "LOG_FILE=/var/log/nginx/access.log", "ACCESS_LOG_FORMAT=")
