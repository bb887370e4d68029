"""The image is the same whatever the checkout's line ends, modes, umask or path."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.appliance.drivers import ROOT
from tests.docker.conftest import docker

pytestmark = pytest.mark.docker

LISTING = "cd /app && find . -type f ! -name '*.pyc' -printf '%m %p\\n' -exec sha256sum {} + | sort"


def test_a_checkout_for_windows_with_a_narrow_umask_makes_the_same_image(image: str, name: str, tmp_path: Path) -> None:
    clone = tmp_path / "with a blank" / "clone"
    clone.parent.mkdir()
    command = ["git", "clone", "--quiet", "--config", "core.autocrlf=true", "--config", "core.fileMode=false"]
    old = os.umask(0o077)
    try:
        subprocess.run([*command, str(ROOT), str(clone)], check=True, capture_output=True, timeout=60)
    finally:
        os.umask(old)
    subprocess.run(["chmod", "-R", "a-x,u+X", str(clone)], check=True)
    docker("build", "--tag", name, str(clone), timeout=900)
    try:
        # the charts' files may be missing where npm's registry does not answer
        same = f"{LISTING} | grep -v static/vendor"
        listed = [docker("run", "--rm", one, "sh", "-c", same) for one in (image, name)]
        assert listed[0] == listed[1]
        docker("run", "--detach", "--name", name, name)
        docker("exec", name, "/app/appliance/tagged", "x", "true")
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, timeout=60, check=False)
        docker("image", "rm", name)
