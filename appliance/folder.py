"""DATA_DIR: reserved for one appliance, and prepared for its programs."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from appliance.checks import StartError
from appliance.run import exports
from appliance.site import render
from common.atomic import RESERVE
from common.emulator import USER, make_key
from common.settings import Settings
from common.status import ApplianceStatus, Endpoint, write_status


def lock(settings: Settings) -> int:
    """Reserve DATA_DIR for this appliance; returns the descriptor that holds it. Raises StartError."""
    with _writing(settings):
        if not settings.data_dir.exists():
            settings.data_dir.mkdir(parents=True)
            # root's emulator runs as another user, and has to get through to its folder
            settings.data_dir.chmod(0o751 if os.geteuid() == 0 else 0o750)
        descriptor = os.open(settings.data_dir / "appliance.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StartError(
            f"an appliance already runs on DATA_DIR {settings.data_dir}. Mend it by stopping that one, "
            "or give this one a folder of its own, -e DATA_DIR=/data2"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise StartError(
            f"DATA_DIR {settings.data_dir} cannot be reserved: {error.strerror}. Mend it with a folder or volume on "
            "a file system that has locks, such as this machine's own disk, e.g. -v web-log:/data"
        ) from None
    return descriptor


def prepare(settings: Settings, endpoint: Endpoint) -> None:
    """Make the folders; everything under run/ is made anew, and says what it works with. Raises StartError."""
    with _writing(settings):
        shutil.rmtree(settings.run_dir, ignore_errors=True)
        settings.checkpoint_file.with_name(RESERVE).unlink(missing_ok=True)  # what follows may need it
        for folder in (settings.log_file.parent, settings.run_dir / "nginx", settings.data_dir / "emulator"):
            folder.mkdir(parents=True, exist_ok=True)
        if endpoint == "embedded":
            _prepare_emulator(settings)
        for folder in (settings.checkpoint_file.parent, settings.data_dir / "emulator"):
            with suppress(PermissionError):  # another's, or a volume without modes
                folder.chmod(0o750)  # one of before may be open to all, as the files in it are
        # for script/appliance and script/aws, which are started in another environment than this
        environment = settings.run_dir / "environment"
        environment.touch(0o600)
        environment.write_text(exports())
        render(settings)
        write_status(settings.status_dir, ApplianceStatus(started_at=datetime.now(UTC), endpoint=endpoint))


def _prepare_emulator(settings: Settings) -> None:
    """Make the emulator's key and let the programs find it; natively as root, give the emulator its folder."""
    folder = settings.data_dir / "emulator"
    make_key(folder / "credentials")
    (settings.run_dir / "credentials").symlink_to(folder / "credentials")
    if os.geteuid() == 0:
        settings.data_dir.chmod(settings.data_dir.stat().st_mode | stat.S_IXOTH)
        for path in (folder, *folder.rglob("*")):
            if path.lstat().st_uid != USER:
                os.chown(path, USER, USER, follow_symlinks=False)


@contextmanager
def _writing(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        user = os.geteuid()
        owner = (
            f". A new volume is open to user {USER}, and to others in group 0 (--user {user}:0); a used one, after: "
            f"docker run --rm --user 0 -v web-log:/data kinesis-lambda-logging chown -R {user} /data"
        )
        raise StartError(
            f"cannot write to DATA_DIR {settings.data_dir}: {error.strerror}. Mend it with a folder or volume with "
            f"free space that user {user} may write to, e.g. -v web-log:/data"
            f"{owner if isinstance(error, PermissionError) else ''}"
        ) from None
