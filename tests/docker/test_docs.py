"""Every command of README.md, docs/environments/ and docs/operating.md works by Docker as it is written."""

from __future__ import annotations

import pytest

from tests.appliance.drivers import folder
from tests.docker.conftest import docker
from tests.docs.session import Session, copy_repository, follow, pages

pytestmark = pytest.mark.docker


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("page", pages("docker"))
def test_by_docker(page: str) -> None:
    with folder() as directory:
        copy_repository(directory)
        session = Session(directory, "docker")
        docker("network", "create", session.name)
        follow(page, session)
