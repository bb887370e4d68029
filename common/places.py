"""Where the state of an appliance is, below DATA_DIR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar


class Places:
    """Of Settings."""

    if TYPE_CHECKING:
        data_dir: Path
        log_name: ClassVar[str]

    # Log, checkpoint and what was seen archived live and die together: in one folder

    @property
    def checkpoint_file(self) -> Path:
        return self.data_dir / "log" / self.log_name / "checkpoint.json"

    @property
    def archived_file(self) -> Path:
        return self.data_dir / "log" / self.log_name / "archived.json"

    @property
    def large_file(self) -> Path:
        """What a producer knows of its bucket (DELIVERY=s3)."""
        return self.data_dir / ".".join(filter(None, ("large.json", self.log_name)))

    @property
    def run_dir(self) -> Path:
        """Pid files, sockets, the rendered nginx configuration: made anew at each start."""
        return self.data_dir / "run"

    @property
    def health_path(self) -> Path:
        """Names the path at which nginx answers health looks: another one at each start, so that no client knows it."""
        return self.run_dir / "health.path"

    @property
    def status_dir(self) -> Path:
        return self.run_dir / "status"

    @property
    def kept_key(self) -> Path:
        """The RECORD_KEY of the function that this DATA_DIR was used with last."""
        return self.data_dir / "record.key"

    @property
    def shared_key(self) -> Path:
        """The same, as soon as it is known in this run that the function has it."""
        return self.run_dir / "record.key"

    # Left for the producer with an id, which it names in its status when it has done so, and removed by it

    @property
    def repair_request(self) -> Path:
        return self.run_dir / ".".join(filter(None, ("repair.request", self.log_name)))

    @property
    def ship_request(self) -> Path:
        return self.run_dir / "ship.request"
