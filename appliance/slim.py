"""Takes from what is installed what the image never uses, at its build.

    python slim.py SITE_PACKAGES SOURCES …   cut the packages
    python slim.py FOLDER                    compile what is below it, as of SITE_PACKAGES

Memory follows size: botocore holds the model of each service it has a client for, and endpoints of all services. Of
models only the operations stay that are named in the sources.
"""

from __future__ import annotations

import ast
import gzip
import json
import marshal
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from typing import Any

SERVICES = {"s3", "kinesis", "lambda", "iam", "sts", "logs", "firehose"}
# credentials may come by any of its operations, in botocore itself
WHOLE = {"sts"}
# what MiniStack calls them, with what these need; what they import besides stays as text, and is compiled when needed
EMULATED = {"s3", "kinesis", "lambda_svc", "lambda_durable", "iam", "sts", "cloudwatch_logs", "firehose"}
# Of these folders only these modules: rich colours source text with the first, which nothing here shows; the others are
# imported by the aws CLI
NEEDED = {
    "pygments/lexers": {"__init__", "_mapping"},
    "docutils/languages": {"__init__", "en"},
    "docutils/parsers/rst/languages": {"__init__", "en"},
    "docutils/writers": {"__init__", "manpage"},
}


def models(data: Path, words: set[str], name_of: Callable[[str], str]) -> None:
    """Cut botocore's folder `data` to SERVICES, and each of their models to the operations in `words`."""
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    for path in data.glob("*/*/service-2.json.gz"):
        if path.parts[-3] not in WHOLE:
            model = json.loads(gzip.decompress(path.read_bytes()))
            path.write_bytes(gzip.compress(json.dumps(cut(model, words, name_of)).encode(), 9, mtime=0))
    endpoints(data)


def endpoints(data: Path) -> None:
    found = json.loads((data / "endpoints.json").read_text())
    for each in found["partitions"]:
        each["services"] = {name: value for name, value in each["services"].items() if name in SERVICES}
    (data / "endpoints.json").write_text(json.dumps(found))


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
    endpoints(awscli / "botocore" / "data")


def emulated(ministack: Path) -> set[Path]:
    """Cut MiniStack to EMULATED and what these and its core may import in passing, which is returned: it stays text."""
    services = ministack / "services"
    kept = [services / f"{name}.py" for name in EMULATED]
    text = "\n".join(path.read_text() for path in (*kept, *ministack.glob("*.py"), *ministack.glob("core/*.py")))
    importing = r"ministack\.services\.(\w+)|ministack\.services import (\w+)|_get_module\(\"(\w+)"
    named = {name for names in re.findall(importing, text) for name in names}
    for path in services.iterdir():
        if path.stem not in EMULATED | named | {"__init__"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {*services.rglob("*.py")} - {*kept, services / "__init__.py"}


def compiled(folder: Path, text: Iterable[Path] = (), *, alone: bool = False) -> None:
    """Compile all modules but `text`, without their docstrings, an eighth of what a process holds. Asserts stay.

    `alone`: without their sources, which only a traceback shows, and of which they are independent (PEP 3147).
    """
    for path in {*folder.rglob("*.py")} - {*text}:
        source = path.read_bytes()
        try:
            code = compile(undocumented(ast.parse(source)), path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue  # a template, or a file for tests of parsers
        target = path.with_suffix(".pyc") if alone else Path(cache_from_source(str(path)))
        target.parent.mkdir(exist_ok=True)
        # as py_compile does it: what an upgrade puts in the place of its source is compiled anew
        marks = (0, int(path.stat().st_mtime), len(source))
        target.write_bytes(MAGIC_NUMBER + b"".join(each.to_bytes(4, "little") for each in marks) + marshal.dumps(code))
        if alone:
            path.unlink()


def undocumented(tree: ast.Module) -> ast.Module:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [] if len(node.body) > 1 else [ast.copy_location(ast.Pass(), node.body[0])]
    return tree


def main(site: Path, sources: list[Path]) -> None:
    from botocore import xform_name

    words = {word for each in sources for path in each.rglob("*.py") for word in re.findall(r"\w+", path.read_text())}
    models(site / "botocore" / "data", words, xform_name)
    if (site / "awscli").exists():
        commands(site / "awscli")
    for folder, kept in NEEDED.items():
        for path in (site / folder).rglob("*.*"):
            if path.is_file() and path.stem.partition(".")[0] not in kept:
                path.unlink()
    for path in [*site.rglob("__pycache__")]:
        shutil.rmtree(path)
    # anyio reads its own, to import the rest only when it is called
    text = {*site.glob("anyio/**/__init__.py")}
    if (site / "ministack").exists():
        text |= emulated(site / "ministack")
    compiled(site, text, alone=True)
    shutil.rmtree(site / "supervisor" / "tests", ignore_errors=True)
    for path in (site / "boto3" / "data").glob("*/"):
        if path.name not in SERVICES:
            shutil.rmtree(path)
    # what an installer would remove them by; and C for what reads no large file here
    for path in (*site.glob("*.dist-info/RECORD"), *site.glob("yaml/_yaml*.so")):
        path.unlink()


if __name__ == "__main__":
    if sys.argv[2:]:
        main(Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
    else:
        compiled(Path(sys.argv[1]))
