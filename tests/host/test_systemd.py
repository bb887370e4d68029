"""The long-running producer under a real systemd, installed as a person does it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.appliance.drivers import s3_client
from tests.checker import entries
from tests.host.machine import DEBIAN, Debian, Pipeline, Requests
from tests.keys import KEY
from tests.waiting import eventually

pytestmark = pytest.mark.container

IMAGE = "web-log-host-test"
CONTAINERFILE = f"""
FROM {DEBIAN}
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \\
    ca-certificates cron nginx python3-venv systemd systemd-sysv
"""
WITHIN = 60.0


@pytest.fixture(scope="module")
def machine(container_engine: str) -> Iterator[Debian]:
    """A Debian that systemd has started."""
    if container_engine != "podman":
        pytest.skip("only podman prepares a container for systemd; enable these tests with: apt-get install podman")
    built = subprocess.run(
        ["podman", "build", "--tag", IMAGE, "-"],
        input=CONTAINERFILE,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-3000:]
    one = Debian("podman", "--systemd=always", "--privileged", image=IMAGE, command=["/sbin/init"])
    try:
        eventually(lambda: one.run("test -S /run/systemd/private && systemctl is-active nginx") is not None, within=60)
        yield one
    finally:
        one.remove()


@pytest.fixture(scope="module")
def installed(machine: Debian, pipeline: Pipeline) -> Debian:
    subprocess.run(["podman", "cp", str(pipeline.archive), f"{machine.name}:/"], check=True, timeout=60)
    settings = {
        "TARGET": "localstack",
        "LOCALSTACK_HOST": pipeline.url_inside,
        "S3_BUCKET": pipeline.bucket,
        "POLL_INTERVAL": "2",
        "REPAIR_INTERVAL": "1",
        "REPAIR_AFTER": "1",
    }
    options = " ".join(f"--set {name}={value}" for name, value in settings.items())
    install = f"echo RECORD_KEY={KEY} | web-log-producer/install --schedule systemd {options} --set -"
    machine.run(f"tar -xf {pipeline.archive.name}; {install}", timeout=300)
    return machine


def test_the_service_ships_and_its_levels_reach_the_journal(installed: Debian, pipeline: Pipeline) -> None:
    requests = Requests(installed)
    requests.send(50)
    eventually(lambda: requests.arrived(pipeline), within=WITHIN, every=1)
    said = installed.run("journalctl --unit web-log-producer --output cat --priority info..info")
    assert "shipped" in said
    assert "<6>" not in said


def test_a_stop_ships_the_last_lines(installed: Debian, pipeline: Pipeline) -> None:
    installed.run("/web-log-producer/install --schedule systemd --set POLL_INTERVAL=3600")
    # before that it has not learnt yet what to do on a stop
    eventually(lambda: installed.run("journalctl --unit web-log-producer | grep 'every 3600 s'"), within=WITHIN)
    requests = Requests(installed)
    requests.send(30)
    installed.run("systemctl stop web-log-producer")
    assert "Result=success" in installed.run("systemctl show web-log-producer --property Result")
    eventually(lambda: requests.arrived(pipeline), within=WITHIN, every=1)


def test_cron_takes_over_where_the_service_stood(installed: Debian, pipeline: Pipeline) -> None:
    installed.run("systemctl start web-log-producer")
    requests = Requests(installed)
    requests.send(10)
    installed.run("/web-log-producer/install --schedule cron --set POLL_INTERVAL=60")
    state = "systemctl is-active web-log-producer; test ! -e /etc/systemd/system/web-log-producer.service"
    assert installed.run(state).startswith("inactive")
    requests.send(10)
    eventually(lambda: requests.arrived(pipeline), within=90 + WITHIN, every=2)


def test_several_logs_are_shipped_once_the_user_can_read_each(installed: Debian, pipeline: Pipeline) -> None:
    line = '192.0.2.1 - - [18/Apr/2020:01:42:18 +0000] "GET /of-%s HTTP/1.1" 200 5 "-" "test"'
    names = ("shop", "blog")
    for name in names:
        installed.write(f"/var/log/nginx/{name}.access.log", line % name + "\n")
    logs = ",".join(f"{name}=/var/log/nginx/{name}.access.log" for name in names)
    said = installed.run(f"/web-log-producer/install --set LOG_FILES={logs}", status=2)
    assert "cannot read /var/log/nginx/shop.access.log\nMend it with: chgrp adm" in said
    installed.run("chgrp adm /var/log/nginx/*.access.log; chmod g+r /var/log/nginx/*.access.log")
    installed.run(f"/web-log-producer/install --schedule systemd --set POLL_INTERVAL=2 --set LOG_FILES={logs}")
    s3 = s3_client(pipeline.emulator.url)

    def archived(name: str) -> bool:
        found = [entry["path"] for _, entry in entries(s3, pipeline.bucket, f"{name}/")]
        assert found == [f"/of-{name}"]
        return True

    for name in names:
        eventually(lambda name=name: archived(name), within=WITHIN, every=1)  # type: ignore[misc]
    installed.run("/web-log-producer/install --set LOG_FILES= --set POLL_INTERVAL=60")


def test_systemd_reads_a_log_format_as_a_shell_does(installed: Debian) -> None:
    own = '$remote_addr\t[$time_local] "$request" $status | $http_host & {"$http_user_agent"}'
    installed.run(f"/web-log-producer/install --schedule systemd --set 'ACCESS_LOG_FORMAT={own}'")
    environment = "tr '\\0' '\\n' </proc/$(systemctl show web-log-producer --property MainPID --value)/environ"
    assert f"ACCESS_LOG_FORMAT={own}\n" in installed.run(environment)
    installed.run("/web-log-producer/install --schedule systemd --set ACCESS_LOG_FORMAT=")


def test_a_log_below_home_and_a_data_dir_elsewhere_serve_under_systemd(installed: Debian, pipeline: Pipeline) -> None:
    home = "/home" + "/shop"
    line = '192.0.2.1 - - [18/Apr/2020:03:42:18 +0000] "GET /of-home HTTP/1.1" 200 5 "-" "test"'
    settings = f"--set LOG_FILE={home}/logs/access.log --set DATA_DIR=/srv/web%log --set POLL_INTERVAL=2"
    for prepared, said in (
        (f"mkdir -p {home}/logs", "no /srv/web%log\nMend it with: install --directory"),
        ("mkdir /srv/web%log", "cannot write /srv/web%log\nMend it with: install --directory"),
        (
            f"chown web-log-producer /srv/web%log; chmod 700 {home}",
            f"cannot enter {home}\nMend it with: chmod o+x",
        ),
        (f"chmod 711 {home}; chmod 711 {home}/logs", f"cannot list {home}/logs\nMend it with: chgrp adm"),
    ):
        installed.run(prepared)
        assert said in installed.run(f"/web-log-producer/install --schedule systemd {settings}", status=2)
    installed.run(f"chmod 755 {home}/logs")
    assert "access.log: No such file" in installed.run(f"/web-log-producer/install --schedule systemd {settings}")
    installed.write(f"{home}/logs/access.log", line + "\n")
    installed.run(f"chmod 644 {home}/logs/access.log")
    s3 = s3_client(pipeline.emulator.url)
    eventually(
        lambda: "/of-home" in [entry["path"] for _, entry in entries(s3, pipeline.bucket)], within=WITHIN, every=1
    )
    installed.run(
        "/web-log-producer/install --set LOG_FILE=/var/log/nginx/access.log --set DATA_DIR=/var/lib/web-log-producer"
    )


def test_without_a_cron_the_folder_of_its_jobs_is_not_enough(installed: Debian) -> None:
    installed.run("mv /usr/sbin/cron /usr/sbin/cron.away")
    assert "no cron that reads /etc/cron.d" in installed.run("/web-log-producer/install", status=1)
    installed.run(
        "mv /usr/sbin/cron.away /usr/sbin/cron; /web-log-producer/install --set HTTPS_PROXY= --set NO_PROXY=a,.b"
    )


@pytest.mark.parametrize(("setting", "said"), [("S3_BUKET=x", "is S3_BUCKET meant?"), ("BATCH_SIZE=0", "Mend it with")])
def test_settings_that_cannot_be_used_are_refused_and_change_nothing(
    installed: Debian, setting: str, said: str
) -> None:
    state = "sha256sum /etc/default/web-log-producer; stat -c %y /etc/default/web-log-producer; ls /etc/default"
    before = installed.run(state)
    assert said in installed.run(f"/web-log-producer/install --set S3_PREFIX=new/ --set {setting}", status=2)
    assert installed.run(state) == before


def test_what_a_newer_archive_refuses_leaves_the_older_in_use(installed: Debian) -> None:
    """Another requirements.txt is another version: its settings are tried before the old one goes."""
    state = "readlink /opt/web-log-producer/venv; cat /etc/default/web-log-producer"
    before = installed.run(state)
    old = before.splitlines()[0]
    installed.run("rm -rf /newer; cp -r /web-log-producer /newer; echo '# newer' >>/newer/requirements.txt")
    assert "no such setting" in installed.run("/newer/install --set S3_BUKET=x", status=2, timeout=300)
    assert installed.run(state) == before
    installed.run(f"/opt/web-log-producer/{old}/bin/web-log-producer --help")
    installed.run("/newer/install", timeout=300)
    assert installed.run("ls /opt/web-log-producer").split() == ["venv", installed.run(state).splitlines()[0]]
    assert old not in installed.run(state)


def test_secrets_among_the_settings_are_nobody_else_s(installed: Debian) -> None:
    """Neither those that are written now, nor those of a file that an older version has made."""
    installed.run("chmod 0644 /etc/default/web-log-producer")
    installed.run("echo AWS_SECRET_ACCESS_KEY=test | /web-log-producer/install --set -", timeout=300)
    seen = installed.run("stat -c '%a %U:%G' /etc/default/web-log-producer")
    assert seen.split() == ["640", "root:web-log-producer"]
    assert "AWS_SECRET_ACCESS_KEY=test" in installed.run("cat /etc/default/web-log-producer")
    refused = "runuser -u nobody -- cat /etc/default/web-log-producer"
    assert "Permission denied" in installed.run(refused, status=1)
    installed.run(f"{refused.replace('nobody', 'web-log-producer')} >/dev/null")
