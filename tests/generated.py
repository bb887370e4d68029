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
from common.settings import NAMES, Settings
from common.typed import Info

ROOT = Path(__file__).resolve().parents[1]
# Other ones inside a container than outside: script/up and compose.yaml say what they become
TRANSLATED = {"HTTP_HOST", "EMULATOR_HOST", "DASHBOARD_HOST", "UPSTREAM_CA"}
PRODUCER = ("producer", "journal", "common")
# What the producer reads, but not for the log of another web server, and what is checked only
OF_ITS_OWN_LOG = {"log_rotate_bytes", "log_rotate_seconds", "log_disk_bytes", "log_full"}
OF_ITS_OWN_LOG |= {"http_port", "http_host", "proxy_protocol", "dashboard_port"}
SETTINGS = """\
# Settings

<!-- Made by script/docs from common/settings.py: edit that. -->

Every setting is an environment variable: `POLL_INTERVAL=5 script/up`, `docker run -e POLL_INTERVAL=5 …`, a line of the
file `.env` or a variable of the shell for `docker compose up`, a line of `/etc/default/web-log-producer` on
[a host of its own](host.md).

An empty value counts as not set. A value that cannot be used ends the start, with a message that says how to mend it.
So does a name that is nearly a setting's, such as POLL_INTERVALL; compose sees it in `.env` only.

The AWS SDK reads its own variables, such as `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_CA_BUNDLE`. Without
them an emulator gets `test` as key and secret; the embedded one always has
[a key of its own](environments/embedded.md).
"""

# What is not handed on to a container as it is
EXCEPTIONS = """\
## In a container

- `HTTP_PORT`, `HTTP_HOST`, `DASHBOARD_PORT`, `DASHBOARD_HOST` and `EMULATOR_HOST` are of the published ports with
  `script/up` and compose. With `docker run`, `-p` publishes; give `0.0.0.0` as `DASHBOARD_HOST` and `EMULATOR_HOST`.
- `script/up` and compose mount `UPSTREAM_CA`, and refuse `DATA_DIR`, as they use a volume. With `docker run` take `-v`.
- Compose refuses `TARGET=aws`, ignores `EMULATOR_PORT` and `EMULATOR_HOST`, and takes `localstack` as `LOCALSTACK_HOST`
  if none is set.
"""

CLI = """\
# The command `appliance`

<!-- Made by script/docs from cli/parser.py and cli/manual.py: edit those. -->

`script/appliance status` finds the container or the native appliance that `script/up` has started. In a container of
your own: `docker exec -it <id> appliance status`. `appliance COMMAND --help` says the same as this page.
Each command has `-h`, and `--json`, which prints one object unless its part says more.
"""

SETTINGS_ENV = """\
# Made by script/docs: the settings that script/up and compose.yaml hand on to the container when they are set.
# To set one: NAME=value script/up. docs/settings.md explains them.
"""


def _values(field: Info) -> str:
    """The default of a setting, and what else it may be, from its annotation."""
    kind, *rules = get_args(field.kind) if get_origin(field.kind) is Annotated else (field.kind,)
    default = "" if field.default_factory else str(field.default)
    names = [*DELIVERIES] if isinstance(field.default, Delivery) else [*get_args(kind)]
    if kind is bool:
        default, names = default.lower(), ["true", "false"]
    shown = [f"`{default}`"] if default else []
    limits = next((rule for rule in rules if isinstance(rule, Info)), None)
    if names:
        shown.append(", ".join(f"`{one}`" for one in names if one != default))
    elif limits:
        shown.append(f"from {limits.ge:,}" if limits.le is None else f"{limits.ge:,} to {limits.le:,}")
    elif field.examples and not field.secret:
        shown.append(f"such as `{field.examples[0]}`")
    return "; ".join(shown) or "–"


def settings_page() -> str:
    source = inspect.getsource(Settings)
    headings = {name: title for title, name in re.findall(r"^    # (.+)\n    (\w+): ", source, re.MULTILINE)}
    statements = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    meanings = {
        ast.unparse(field.target): " ".join(text.value.value.split())
        for field, text in pairwise(statements)
        if isinstance(field, ast.AnnAssign)
    }
    lines = [SETTINGS, EXCEPTIONS, producer_alone()]
    for name, field in Settings.model_fields.items():
        if name in headings:
            lines += [f"## {headings[name]}\n", "| name | default; other values | meaning |", "|---|---|---|"]
        lines.append(f"| `{name.upper()}` | {_values(field)} | {meanings[name]} |")
    return "\n".join(lines).replace("|\n##", "|\n\n##") + "\n"


def producer_alone() -> str:
    """What does not count without the appliance."""
    others = {*Settings.model_fields} - producer_reads() | OF_ITS_OWN_LOG
    names = ", ".join(f"`{name.upper()}`" for name in Settings.model_fields if name in others)
    return f"""\
The appliance refuses `LOG_FILE` and `LOG_FILES`. They are for the producer by itself, as on
[a host of its own](host.md), where these have no effect: {names}.
"""


def producer_reads() -> set[str]:
    """The settings that the producer and what it imports mention, by themselves or by a property."""
    files = [path for folder in PRODUCER for path in (ROOT / folder).glob("*.py") if path.name != "settings.py"]
    names = {name for path in files for name in re.findall(r"\bsettings\.(\w+)", path.read_text())}
    for name, found in inspect.getmembers(Settings, lambda member: isinstance(member, property)):
        if name in names:
            names |= set(re.findall(r"self\.(\w+)", inspect.getsource(found.fget)))
    return (names | {each.stream_setting.lower() for each in DELIVERIES.values()}) & Settings.model_fields.keys()


def settings_env() -> str:
    return SETTINGS_ENV + "\n".join(name for name in NAMES if name not in TRANSLATED) + "\n"


def cli_page() -> str:
    appliance = parser()
    commands = next(action.choices for action in appliance._actions if isinstance(action.choices, dict))
    with mock.patch.dict(os.environ, COLUMNS="122"):
        blocks = [CLI, _block(appliance.format_help()), *(_section(name, one) for name, one in commands.items())]
    return "\n".join(blocks)


def _section(name: str, command: argparse.ArgumentParser) -> str:
    """Without what the page says above it: the command in a sentence, `-h`, and `--json` where it prints one object."""
    text = command.format_help().replace(f"{command.description}\n\n", "").replace(" [-h] [--json]", "", 1)
    text = re.sub("  -h, --help .*\n|  --json +print JSON: one object\n", "", text).replace("options:\n\n", "")
    return f"## {name}\n\n{_block(text)}"


def _block(text: str) -> str:
    return f"```text\n{text}```\n"


def generated() -> dict[str, str]:
    """Path, relative to the project, and text of each generated file."""
    return {"docs/cli.md": cli_page(), "docs/settings.md": settings_page(), "settings.env": settings_env()}


if __name__ == "__main__":
    for path, text in generated().items():
        (ROOT / path).write_text(text, encoding="utf-8")
