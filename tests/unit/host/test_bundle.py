"""script/bundle: the same bytes whatever the circumstances, and in the wheel what the producer needs and no more."""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from entrypoint.bundle import bundle
from host.bundle import ARCHIVE, HOST_FILES, REQUIREMENTS, ROOT, ZIP, WheelError, build, main

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NEEDED = [
    *("LICENSE", "pyproject.toml", "common", "entrypoint", "host", "journal", "lambda", "locks", "nginx", "producer"),
    "dashboard/package-lock.json",
]


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return build(ROOT)


@pytest.fixture(scope="module")
def wheel_name(made: dict[str, bytes]) -> str:
    (name,) = (name for name in made if name.endswith(".whl"))
    return name


def third_party(source: str) -> set[str]:
    """The top-level modules a file imports when it runs, without the standard library's."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    return {name for name in modules - sys.stdlib_module_names if not name.startswith("mypy_boto3_")}


# the function's own code, of which the wheel makes a package beside the others
ARCHIVER = "archiver"


def closure(start: str) -> set[str]:
    """The files of the project that `start` imports, and what they import, and so on."""
    found: set[str] = set()
    left = [start]
    while left:
        module = left.pop()
        path = Path(*module.split("."))
        if path.parts[0] == ARCHIVER:
            found |= {
                each.relative_to(ROOT / "lambda").as_posix() for each in (ROOT / "lambda" / ARCHIVER).glob("*.py")
            }
            continue
        file = path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")
        if not (ROOT / file).is_file() or file.as_posix() in found:
            continue
        found.add(file.as_posix())
        left.append(module.rpartition(".")[0] or module)
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.Import):
                left += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                left += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def test_another_folder_clock_umask_and_locale_give_the_same_bytes(made: dict[str, bytes], tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "a b"
    copy.mkdir(parents=True)
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (copy / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    for path in copy.rglob("*"):
        path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) else 0o600)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (copy / "producer" / "__pycache__").mkdir()
    (copy / "producer" / "__pycache__" / "left.pyc").write_bytes(b"x")
    (copy / ".gitignore").write_text("*\n")
    variables = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "Asia/Seoul", "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(
        [sys.executable, "-P", "-m", "host.bundle", "--out", str(tmp_path / "out")],
        env=variables | {"PYTHONPATH": str(copy), "PYTHONHASHSEED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        umask=0o077,
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == made


def test_it_prints_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "new" / "dist")]) == 0
    *files, folder = capsys.readouterr().out.splitlines()
    assert folder == f"in {tmp_path / 'new' / 'dist'}"
    for line in files:
        name, size, _, _, digest = line.split()
        content = (tmp_path / "new" / "dist" / name).read_bytes()
        assert (int(size.replace(",", "")), digest) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["--out", str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err


def test_a_wheel_that_cannot_be_built_is_said(tmp_path: Path) -> None:
    for name in ("common", "journal", "lambda/archiver", "producer"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "LICENSE").touch()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'nothing'\n")
    with pytest.raises(WheelError, match="version"):
        build(tmp_path)


def test_the_functions_zip_is_the_one_that_entrypoint_deploys(made: dict[str, bytes]) -> None:
    assert made[ZIP] == bundle(ROOT / "lambda")


def test_the_wheel_is_the_producer_and_the_folders_it_imports(made: dict[str, bytes], wheel_name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(made[wheel_name])) as wheel:
        code = {name for name in wheel.namelist() if ".dist-info/" not in name}
    # if this fails, mend [tool.hatch.build.targets.wheel] in pyproject.toml
    assert closure("producer.__main__") <= code
    folders = {name.partition("/")[0] for name in closure("producer.__main__")}
    homes = {folder: ROOT / "lambda" if folder == ARCHIVER else ROOT for folder in folders}
    assert code == {
        path.relative_to(home).as_posix()
        for folder, home in homes.items()
        for path in (home / folder).rglob("*.*")
        if path.suffix != ".pyc"
    }


def test_the_wheel_needs_what_it_imports(made: dict[str, bytes], wheel_name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(made[wheel_name])) as wheel:
        (metadata,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
        required = re.findall(r"^Requires-Dist: ([\w-]+)(?![^\n]*extra)", wheel.read(metadata).decode(), re.MULTILINE)
        sources = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".py")]
    assert set(required) == names(PROJECT["project"]["dependencies"])
    # botocore comes with boto3, compression with Python 3.14
    known = {
        ARCHIVER,
        "common",
        "journal",
        "producer",
        "botocore",
        "compression",
        *(name.replace("-", "_") for name in required),
    }
    assert set().union(*map(third_party, sources)) <= known


def test_the_wheels_own_record_is_true_and_nothing_is_compressed(made: dict[str, bytes], wheel_name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(made[wheel_name])) as wheel:
        (record,) = (name for name in wheel.namelist() if name.endswith("RECORD"))
        rows = {row[0]: row[1:] for row in csv.reader(wheel.read(record).decode().splitlines())}
        assert set(rows) == set(wheel.namelist())
        for name, (digest, size) in rows.items():
            if name != record:
                content = wheel.read(name)
                expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={expected}", len(content))
        assert {entry.compress_type for entry in wheel.infolist()} == {zipfile.ZIP_STORED}
        assert {entry.date_time[0] for entry in wheel.infolist()} == {1980}


def test_the_wheel_runs_where_the_project_is_not(made: dict[str, bytes], wheel_name: str, tmp_path: Path) -> None:
    (tmp_path / wheel_name).write_bytes(made[wheel_name])
    helped = subprocess.run(
        [sys.executable, "-P", "-m", "producer", "--help"],
        env={"PYTHONPATH": str(tmp_path / wheel_name)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert helped.returncode == 0, helped.stderr
    assert "--once" in helped.stdout


def test_the_console_script_is_the_producer() -> None:
    assert PROJECT["project"]["scripts"] == {"web-log-producer": "producer.__main__:main"}


def test_the_archive_has_all_a_host_needs(made: dict[str, bytes], wheel_name: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(made[ARCHIVE])) as tar:
        modes = {entry.name: entry.mode for entry in tar}
        assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in tar} == {(0, 0, "root", 315_532_800)}
    inside = {*HOST_FILES, wheel_name, REQUIREMENTS}
    assert set(modes) == {f"web-log-producer/{name}" for name in inside}
    assert modes.pop("web-log-producer/install") == 0o755
    assert set(modes.values()) == {0o644}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[><=]", each)[0] for each in requirements}


def pinned(lock: str) -> dict[str, str]:
    text = (ROOT / "locks" / lock).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def test_the_hosts_lock_has_the_versions_of_the_appliances() -> None:
    host, runtime = pinned("host.txt"), pinned("runtime.txt")
    # what only Windows needs is in no lock of the appliance's
    assert {name: version for name, version in host.items() if runtime.get(name, version) != version} == {}
    assert set(host) >= {re.split(r"[><=]", each)[0] for each in PROJECT["project"]["dependencies"]}
    assert not set(host) & {
        re.split(r"[><=]", each)[0] for each in PROJECT["project"]["optional-dependencies"]["appliance"]
    }


def test_the_hosts_lock_has_hashes_and_no_address() -> None:
    text = (ROOT / "locks" / "host.txt").read_text()
    assert "://" not in text
    requirements = re.split(r"\n(?=[a-z])", text.strip())
    assert len(requirements) == len(pinned("host.txt"))
    assert all("--hash=sha256:" in each for each in requirements)
