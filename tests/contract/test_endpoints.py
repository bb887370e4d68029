"""LOCALSTACK_HOST in every form people give it: each is provisioned and shipped to, with a server of the test's own."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common import aws
from common.clock import SystemClock
from common.settings import Settings
from entrypoint.errors import UnavailableError
from entrypoint.provision import connect, provision
from entrypoint.run import Run
from producer.record import Piece, singles
from producer.sink import KinesisSink
from tests.appliance.drivers import ROOT
from tests.authority import Authority
from tests.contract.test_provision import CODE
from tests.moto_process import moto_server
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.emulator

GENERATION = "5e9a0000" + "0123456789abcdef"


@pytest.fixture
def address() -> str:
    """An address of the loopback network that nobody else listens on, so that any port is free."""
    return f"127.{random.randint(64, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"


def settings(endpoint: str) -> Settings:
    some = secrets.token_hex(6)
    return Settings(
        localstack_host=endpoint,
        s3_bucket=f"bucket-{some}",
        lambda_role=f"role-{some}",
        kinesis_data_stream=f"stream-{some}",
        lambda_function=f"function-{some}",
    )


def serves(endpoint: str) -> None:
    """Provisioned, found unchanged, and a line shipped."""
    some = settings(endpoint)
    clients = connect(some)

    def provisioned() -> set[str]:
        try:
            return {outcome.state for outcome in provision(clients, some, CODE, Run(SystemClock(), 90))}
        except UnavailableError as error:  # on a busy machine; the entrypoint tries again, too
            raise AssertionError(error) from error

    try:
        assert "created" in eventually(provisioned, within=60)
        assert eventually(provisioned) == {"unchanged"}
        sink = KinesisSink(
            lambda: clients.kinesis, some.kinesis_data_stream, SystemClock(), random.Random(1), retry_seconds=1
        )
        put = sink.put(list(singles(Piece(GENERATION, 0, b"a line\n"))))
        assert put.error is None
        assert None not in put.acknowledged
    finally:
        for each in (clients.s3, clients.iam, clients.kinesis, clients.lambda_):
            each.close()


def test_localstack_of_old_with_a_port_for_each_service(address: str) -> None:
    with moto_server(address, *aws.LEGACY_PORTS.values()):
        some = settings(address)
        for service, port in aws.LEGACY_PORTS.items():
            assert aws.endpoint_url(some, service) == f"http://{address}:{port}"
        serves(address)


def test_the_edge_port_is_taken_before_the_old_ones(address: str) -> None:
    with moto_server(address, aws.EDGE_PORT, aws.LEGACY_PORTS["s3"]):
        assert aws.endpoint_url(settings(address), "s3") == f"http://{address}:{aws.EDGE_PORT}"
        serves(address)


def test_nothing_there_yet_is_the_edge_port(address: str) -> None:
    assert aws.endpoint_url(settings(address), "s3") == f"http://{address}:{aws.EDGE_PORT}"


@pytest.mark.parametrize("form", ["{0}:{1}", "http://{0}:{1}", "http://{0}:{1}/"])
def test_host_with_port_and_url(address: str, form: str) -> None:
    port = free_port()
    with moto_server(address, port):
        serves(form.format(address, port))


@pytest.mark.parametrize("form", ["[::1]:{0}", "http://[::1]:{0}"])
def test_ipv6(form: str) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(
                f"this machine has no IPv6 on its loopback ({error}); enable it with: sysctl -w "
                "net.ipv6.conf.lo.disable_ipv6=0"
            )
        port = probe.getsockname()[1]
    with moto_server("::1", port):
        serves(form.format(port))


# --- HTTPS


@contextmanager
def tls(authority: Authority, address: str, upstream: int) -> Iterator[int]:
    """Ends TLS and passes the bytes on to `upstream` of the same address; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.chain, authority.key)
    listener = socket.create_server((address, 0))
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve(raw: socket.socket) -> None:
        with contextlib.suppress(OSError), raw, context.wrap_socket(raw, server_side=True) as outer:  # noqa: SIM117
            with socket.create_connection((address, upstream)) as inner:
                back = threading.Thread(target=pump, args=(inner, outer))
                back.start()
                pump(outer, inner)
                back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(raw,)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (acceptor, *threads):
            thread.join(10)


def entrypoint(endpoint: str, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The program as the user starts it: AWS_CA_BUNDLE is the SDK's to read."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "entrypoint", "--once", *arguments],
        env=kept | {"LOCALSTACK_HOST": endpoint, "DATA_DIR": str(folder), "PYTHONPATH": str(ROOT), **more},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_https_with_a_private_ca(address: str, tmp_path: Path) -> None:
    authority, upstream = Authority(tmp_path, address), free_port()
    with moto_server(address, upstream), tls(authority, address, upstream) as port:
        endpoint = f"https://{address}:{port}"
        trusting = entrypoint(endpoint, tmp_path, AWS_CA_BUNDLE=str(authority.bundle))
        assert trusting.returncode == 0, trusting.stdout + trusting.stderr
        assert f"ready at {endpoint}" in trusting.stdout + trusting.stderr
        strange = entrypoint(endpoint, tmp_path, "--timeout", "5")
        assert strange.returncode == 1
        assert "name its CA with -e AWS_CA_BUNDLE=<file>" in strange.stdout + strange.stderr
