"""`docker compose up` as README says it: LocalStack and the appliance on a real Docker engine."""

from __future__ import annotations

import json
import os

import pytest

from tests.appliance.drivers import get
from tests.docker.conftest import Compose
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.docker


@pytest.mark.usefixtures("localstack_image")
def test_compose_up_then_verify_and_again_on_the_same_volume() -> None:
    http, dashboard = free_port(), free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    compose = Compose(kept | {"HTTP_PORT": str(http), "DASHBOARD_PORT": str(dashboard), "POLL_INTERVAL": "2"})
    try:
        up = compose("up", "--detach")
        assert up.returncode == 0, up.stdout + up.stderr

        def ready() -> bool:
            health = compose.run("appliance", "health", "--ready")
            assert health.returncode == 0, health.stdout + health.stderr
            return True

        eventually(ready, within=120, every=1)
        verified = compose.run("appliance", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "✗" not in verified.stdout
        assert get(http, "/by-compose") == 404
        assert get(dashboard, "/readyz") == 200

        def archived(path: str) -> bool:
            tail = compose.run("appliance", "tail", "--no-follow", "--json", "--path", path)
            assert [json.loads(line)["path"] for line in tail.stdout.splitlines()] == [path], tail.stdout + tail.stderr
            return True

        eventually(lambda: archived("/by-compose"), every=1)
        # LocalStack forgets everything; the volume has what it forgot
        assert compose("down").returncode == 0
        assert compose("up", "--detach").returncode == 0
        eventually(ready, within=120, every=1)
        assert get(http, "/after-down") == 404
        eventually(lambda: archived("/after-down"), every=1)
    finally:
        compose("down", "--volumes")
