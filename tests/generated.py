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
YES, NO = "yes", "–"
WAYS = ("`script/up`, natively", "`script/up`, Docker or podman", "`docker compose up`", "`docker run`")
# What is not handed on as it is, by each of WAYS
EXCEPTIONS = {
    "LOCALSTACK_HOST": (YES, YES, "`localstack` if not set", YES),
    "TARGET": (YES, YES, "`aws` is refused", YES),
    "EMULATOR_PORT": (YES, YES, "no effect: LocalStack is used", YES),
    "EMULATOR_HOST": (YES, "address of the published port", "no effect", "`0.0.0.0`, with `-p`"),
    "HTTP_PORT": (YES, YES, "the published port", "in the container; `-p` publishes"),
    "HTTP_HOST": (YES, "address of the published port", "address of the published port", "in the address of `-p`"),
    "DASHBOARD_PORT": (YES, YES, "the published port", "in the container; `-p` publishes"),
    "DASHBOARD_HOST": (YES, "address of the published port", "address of the published port", "`0.0.0.0`, with `-p`"),
    "UPSTREAM_CA": (YES, "the file is mounted", "the file is mounted", "with `-v`"),
    "DATA_DIR": ("yes; `.data` if not set", "refused: a volume is used", "refused", "with `-v`"),
    "LOG_FILE": ("refused", "refused", "refused", "refused"),
    "LOG_FILES": ("refused", "refused", "refused", "refused"),
    "none, but nearly called so": ("refused", "refused", "refused in `.env`, not seen in the shell", "refused"),
}

SETTINGS = """\
# Settings

<!-- Made by script/docs from common/settings.py: edit that. -->

Every setting is an environment variable. It is set as usual for each way to start the appliance:

| started by | a setting is |
|---|---|
| `script/up` | `POLL_INTERVAL=5 script/up` |
| `docker run` | `-e POLL_INTERVAL=5` |
| `docker compose up` | a line of the file `.env`, or a variable of the shell |
| [a host of its own](host.md) | a line of `/etc/default/web-log-producer` |

An empty value counts as not set. Values that cannot be used end the start, with one message that names each of them and
the `-e` that mends it. So does a variable that is called nearly like a setting, such as POLL_INTERVALL.

The AWS SDK reads `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_CA_BUNDLE` and its other
variables by itself. The embedded emulator gets [a key of its own](environments/embedded.md) instead; any other emulator
gets `test` as key and secret when these are not set.
"""

CLI = """\
# The command `appliance`

<!-- Made by script/docs from cli/parser.py and cli/manual.py: edit those. -->

`script/appliance status` finds the container or the native appliance that `script/up` has started. In a container of
your own: `docker exec -it <id> appliance status`. `appliance COMMAND --help` says the same as this page.
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
    lines = [SETTINGS, *where()]
    for name, field in Settings.model_fields.items():
        if name in headings:
            lines += [f"## {headings[name]}\n", "| name | default | values | meaning |", "|---|---|---|---|"]
        known = "" if field.default_factory else str(field.default)
        default = f"`{known.replace('True', 'true')}`" if known else "–"
        lines.append(f"| `{name.upper()}` | {default} | {_values(field)} | {meanings[name]} |")
    return "\n".join(lines).replace("|\n##", "|\n\n##") + "\n"


def where() -> list[str]:
    """Which setting counts where it is given."""
    ours = ", ".join(f"`{name.upper()}`" for name in Settings.model_fields if name in producer_reads())
    return [
        "## Which setting where\n",
        "Each way hands on every setting, but for these:\n",
        f"| setting | {' | '.join(WAYS)} |",
        f"|---|{'---|' * len(WAYS)}",
        *(f"| {f'`{name}`' if name in NAMES else name} | {' | '.join(ways)} |" for name, ways in EXCEPTIONS.items()),
        "\nThe producer by itself, as on [a host of its own](host.md), reads only",
        f"{ours}; those of rotation and disk hold for the appliance's own log.\n",
    ]


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
    """Without what the first block says: the command in a sentence, and `-h`."""
    text = re.sub("  -h, --help .*\n", "", command.format_help().replace(f"{command.description}\n\n", ""))
    return f"## {name}\n\n{_block(text)}"


def _block(text: str) -> str:
    return f"```text\n{text}```\n"


def generated() -> dict[str, str]:
    """Path, relative to the project, and text of each generated file."""
    return {"docs/cli.md": cli_page(), "docs/settings.md": settings_page(), "settings.env": settings_env()}


if __name__ == "__main__":
    for path, text in generated().items():
        (ROOT / path).write_text(text, encoding="utf-8")
