"""What is deployed elsewhere: the function's zip, the producer's wheel, and the archive a host is set up from; and of
which packages archive and image consist.

The same sources give the same bytes, whatever the clock, umask, locale and folder: to Terraform another hash is a
change, and a change of the archive makes a new web server. So nothing is compressed here: another build of zlib may
make other bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from entrypoint.bundle import bundle, zipped
from host import sbom

ROOT = Path(__file__).resolve().parent.parent
ZIP = "stream-transformation.zip"
ARCHIVE = "web-log-producer.tar"
REQUIREMENTS = "requirements.txt"
# what the archive unpacks to
FOLDER = "web-log-producer"
IMAGE = "kinesis-lambda-logging"
# 1980-01-01 UTC, the time in the zips
MODIFIED = 315_532_800
# name in the archive -> file of the project
HOST_FILES = {
    "LICENSE": "LICENSE",
    "install": "host/install",
    "log_format.conf": "nginx/log_format.conf",
    "site.conf": "host/site.conf",
    "web-log-producer.cron": "host/web-log-producer.cron",
    "web-log-producer.default": "host/web-log-producer.default",
    "web-log-producer.service": "host/web-log-producer.service",
}
EXECUTABLE = {"install"}


class WheelError(Exception):
    """The wheel cannot be built; the message is for the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="script/bundle", description="Builds what is deployed elsewhere, reproducibly, and prints what it made."
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder (dist/)")
    out = parser.parse_args(arguments).out
    try:
        made = build(ROOT)
        out.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (out / name).write_bytes(content)
    except (OSError, WheelError) as error:
        print(f"script/bundle: {error}", file=sys.stderr)
        return 1
    width = max(map(len, made))
    for name, content in made.items():
        print(f"{name:<{width}}  {len(content):>9,} bytes  sha256 {hashlib.sha256(content).hexdigest()}")
    print(f"in {out}")
    return 0


def build(root: Path) -> dict[str, bytes]:
    """Name and content of each file. Raises WheelError, OSError."""
    name, wheel = _wheel(root)
    requirements = (root / "locks" / "host.txt").read_bytes()
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    image = sbom.of_python((root / "locks" / "runtime.txt").read_text())
    image += [each for each in sbom.of_python((root / "locks" / "emulator.txt").read_text()) if each not in image]
    image += sbom.of_node((root / "dashboard" / "package-lock.json").read_text())
    files = {inside: (root / path).read_bytes() for inside, path in HOST_FILES.items()}
    return {
        ZIP: bundle(root / "lambda"),
        name: wheel,
        REQUIREMENTS: requirements,
        ARCHIVE: archive({**files, name: wheel, REQUIREMENTS: requirements}),
        f"{FOLDER}.cdx.json": sbom.bill(FOLDER, version, sbom.of_python(requirements.decode())),
        f"{IMAGE}.cdx.json": sbom.bill(IMAGE, version, image),
    }


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files in one folder, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size = len(files[name])
            entry.mode = 0o755 if name in EXECUTABLE else 0o644
            entry.mtime = MODIFIED
            entry.uname = entry.gname = "root"
            tar.addfile(entry, io.BytesIO(files[name]))
    return buffer.getvalue()


def stored(wheel: bytes) -> bytes:
    """The same wheel without compression, with fixed times and modes. Its RECORD holds hashes of contents only."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as source:
        # the metadata last, as the specification of wheels recommends
        names = sorted(source.namelist(), key=lambda name: (".dist-info/" in name, name))
        return zipped({name: source.read(name) for name in names})


def _wheel(root: Path) -> tuple[str, bytes]:
    # in a copy, so that the project's place, ignored files and version control do not matter
    with tempfile.TemporaryDirectory() as temporary:
        copy, out = Path(temporary, "project"), Path(temporary, "out")
        copy.mkdir()
        for name in ("pyproject.toml", "LICENSE"):
            shutil.copyfile(root / name, copy / name)
        for name in ("common", "journal", "lambda/archiver", "producer"):
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
        built = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        wheels = list(out.glob("*.whl"))
        if built.returncode != 0 or len(wheels) != 1:
            raise WheelError(f"hatchling cannot build the wheel:\n{built.stdout}{built.stderr}")
        return wheels[0].name, stored(wheels[0].read_bytes())


if __name__ == "__main__":
    sys.exit(main())
