"""Takes from installed packages what the image never uses, at its build: `python slim.py SITE_PACKAGES SOURCES …`.

Memory follows size: botocore holds the model of each service it has a client for, and endpoints of all services. Of
models only the operations stay that are named in the sources.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SERVICES = {"s3", "kinesis", "lambda", "iam", "sts", "logs", "firehose"}
# credentials may come by any of its operations, in botocore itself
WHOLE = {"sts"}
# what MiniStack calls them, with what these need; others stay as text, and are compiled when they are needed after all
EMULATED = {"s3", "kinesis", "lambda_svc", "lambda_durable", "iam", "sts", "cloudwatch_logs", "firehose"}


def models(data: Path, words: set[str], name_of: Callable[[str], str]) -> None:
    """Cut botocore's folder `data` to SERVICES, and each of their models to the operations in `words`."""
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    for path in data.glob("*/*/service-2.json.gz"):
        if path.parts[-3] not in WHOLE:
            model = json.loads(gzip.decompress(path.read_bytes()))
            path.write_bytes(gzip.compress(json.dumps(cut(model, words, name_of)).encode(), 9, mtime=0))
    endpoints = json.loads((data / "endpoints.json").read_text())
    for each in endpoints["partitions"]:
        each["services"] = {name: value for name, value in each["services"].items() if name in SERVICES}
    (data / "endpoints.json").write_text(json.dumps(endpoints))


def cut(model: dict[str, Any], words: set[str], name_of: Callable[[str], str]) -> dict[str, Any]:
    """The model with the operations in `words`, the shapes these need, and no documentation."""
    operations = {name: each for name, each in model["operations"].items() if name_of(name) in words}
    shapes: dict[str, Any] = {}
    due = [*_shapes(operations)]
    while due:
        name = due.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            due += _shapes(shapes[name])
    kept: dict[str, Any] = _bare(model | {"operations": operations, "shapes": shapes})
    return kept


def _shapes(part: Any) -> Iterable[str]:
    """The names of shapes that a part of a model mentions."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if key == "shape" and isinstance(value, str):
            yield value
        else:
            yield from _shapes(value)


def _bare(part: Any) -> Any:
    if isinstance(part, dict):
        # botocore asks for some, so they stay, as empty text
        empty = {key: "" for key, each in part.items() if key == "documentation" and isinstance(each, str)}
        return {key: _bare(each) for key, each in part.items()} | empty
    return [_bare(each) for each in part] if isinstance(part, list) else part


def commands(awscli: Path) -> None:
    """Cut the aws CLI, which brings 125 MB of descriptions, to SERVICES. Others keep their names: some it renames."""
    for folder in (awscli / "examples").glob("*/"):
        if folder.name not in SERVICES | {"s3api"}:
            shutil.rmtree(folder)
    for path in (awscli / "botocore" / "data").glob("*/*/*.json"):
        if path.parts[-3] in SERVICES:
            path.with_suffix(".json.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
            path.unlink()
        elif path.name == "service-2.json":
            path.write_text("{}")
        else:
            path.unlink()


def main(site: Path, sources: list[Path]) -> None:
    from botocore import xform_name

    words = {word for each in sources for path in each.rglob("*.py") for word in re.findall(r"\w+", path.read_text())}
    models(site / "botocore" / "data", words, xform_name)
    if (site / "awscli").exists():
        commands(site / "awscli")
    shutil.rmtree(site / "supervisor" / "tests", ignore_errors=True)
    # rich colours source text with these, which nothing here shows
    for path in (site / "pygments" / "lexers").rglob("*.py*"):
        if path.stem.partition(".")[0] not in ("__init__", "_mapping"):
            path.unlink()
    for path in (site / "ministack" / "services").rglob("*.pyc"):
        if path.parent.parent.name != "services" or path.stem.partition(".")[0] not in EMULATED | {"__init__"}:
            path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
