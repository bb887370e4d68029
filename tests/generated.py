"""The files that are generated from the code. `script/docs` writes them; tests/unit/test_generated.py compares."""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, get_args, get_origin
from unittest import mock

from cli.parser import parser
from common.delivery import DELIVERIES, Delivery
from common.settings import Settings
from common.typed import Info

ROOT = Path(__file__).resolve().parents[1]
# Addresses and paths are other ones inside a container than outside
NOT_FOR_CONTAINERS = {"HTTP_HOST", "EMULATOR_HOST", "DASHBOARD_HOST", "DATA_DIR", "LOG_FILE", "UPSTREAM_CA"}

SETTINGS = """\
# Settings

<!-- Made by script/docs from common/settings.py: edit that. -->

Every setting is an environment variable. It is set as usual for each way to start the appliance:

| started by | a setting is |
|---|---|
| `script/up` | `POLL_INTERVAL=5 script/up` |
| `docker run` | `-e POLL_INTERVAL=5` |
| `docker compose up` | a variable of the shell, or a line of the file `.env` |
| [a host of its own](host.md) | a line of `/etc/default/web-log-producer` |

An empty value counts as not set. Values that cannot be used end the start, with one message that names each of them and
the `-e` that mends it. So does a variable that is called nearly like a setting, such as POLL_INTERVALL.

The AWS SDK reads `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_CA_BUNDLE` and its other
variables by itself. The embedded emulator gets [a key of its own](environments/embedded.md) instead; any other emulator
gets `test` as key and secret when these are not set.
"""

CLI = """\
# The command `appliance`

<!-- Made by script/docs from cli/parser.py: edit that. -->

`script/appliance status` finds the container or the native appliance that `script/up` has started. In a container of
your own: `docker exec -it <id> appliance status`. The image's HEALTHCHECK says what `appliance health`
says.
"""

SETTINGS_ENV = """\
# Made by script/docs: the settings that script/up and compose.yaml hand on to the container when they are set.
# To set one: NAME=value script/up. docs/settings.md explains them.
"""


def _values(field: Info) -> str:
    """What a setting may be, from its annotation."""
    kind, *rules = get_args(field.kind) if get_origin(field.kind) is Annotated else (field.kind,)
    names = [*DELIVERIES] if isinstance(field.default, Delivery) else get_args(kind)
    if names:
        return ", ".join(f"`{one}`" for one in names)
    limits = next((rule for rule in rules if isinstance(rule, Info)), None)
    if limits:
        return f"from {limits.ge:,}" if limits.le is None else f"{limits.ge:,} to {limits.le:,}"
    if field.examples:
        return f"such as `{field.examples[0]}`"
    return "`true`, `false`" if kind is bool else "path" if kind is Path else "text"


def settings_page() -> str:
    source = inspect.getsource(Settings)
    headings = {name: title for title, name in re.findall(r"^    # (.+)\n    (\w+): ", source, re.MULTILINE)}
    statements = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    meanings = {
        ast.unparse(field.target): " ".join(text.value.value.split())
        for field, text in pairwise(statements)
        if isinstance(field, ast.AnnAssign)
    }
    lines = [SETTINGS]
    for name, field in Settings.model_fields.items():
        if name in headings:
            lines += [f"## {headings[name]}\n", "| name | default | values | meaning |", "|---|---|---|---|"]
        known = "" if field.default_factory else str(field.default)
        default = f"`{known.replace('True', 'true')}`" if known else "–"
        lines.append(f"| `{name.upper()}` | {default} | {_values(field)} | {meanings[name]} |")
    return "\n".join(lines).replace("|\n##", "|\n\n##") + "\n"


def settings_env() -> str:
    names = [name.upper() for name in Settings.model_fields if name.upper() not in NOT_FOR_CONTAINERS]
    return SETTINGS_ENV + "\n".join(names) + "\n"


def cli_page() -> str:
    appliance = parser()
    commands = next(action.choices for action in appliance._actions if isinstance(action.choices, dict))
    with mock.patch.dict(os.environ, COLUMNS="122"):
        parts = [CLI, _block(appliance), *(f"## {name}\n\n{_block(one)}" for name, one in commands.items())]
    return "\n".join(parts)


def _block(command: argparse.ArgumentParser) -> str:
    return f"```text\n{command.format_help()}```\n"


def generated() -> dict[str, str]:
    """Path, relative to the project, and text of each generated file."""
    return {"docs/cli.md": cli_page(), "docs/settings.md": settings_page(), "settings.env": settings_env()}


if __name__ == "__main__":
    for path, text in generated().items():
        (ROOT / path).write_text(text, encoding="utf-8")
