"""Every event that is logged is on the list, every call of the log names one, and docs/events.md explains them all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from common.log import OUTPUT, Event

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("appliance", "dashboard", "entrypoint", "host", "producer")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LOGGERS = {"log", "_log", "logger"}
# file -> why it logs without an event
WITHOUT = {"appliance/supervise.py": "what supervisord says is `output`"}


def documents() -> tuple[str, str]:
    """The part of docs/events.md on the processes, and that on the function."""
    processes, _, function = (
        (ROOT / "docs" / "events.md").read_text(encoding="utf-8").partition("The function says once")
    )
    return processes, function


def documented(markdown: str) -> dict[str, set[str]]:
    """The facts of each event in the tables."""
    rows = [line.strip("|").split("|") for line in markdown.splitlines() if re.match(r"\| `\w+` \|", line)]
    return {row[0].strip(" `"): set(re.findall(r"`(\w+)`", row[2] if len(row) > 2 else "")) for row in rows}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the Python files of the processes, with its place."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), name)):
                if isinstance(node, ast.Call):
                    yield name, node


def event_calls() -> Iterator[tuple[str, ast.Call]]:
    for name, call in calls():
        if isinstance(call.func, ast.Name) and call.func.id == "event":
            yield f"{name}:{call.lineno}", call


def test_the_table_has_every_event_and_no_other() -> None:
    processes, _ = documents()
    names = set(documented(processes.partition("## The events")[2]))
    assert names == {*get_args(Event), OUTPUT}


def test_every_event_of_the_list_is_used() -> None:
    literals = {
        node.value
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "log.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    assert set(get_args(Event)) - literals == set()


def test_every_fact_is_in_the_table() -> None:
    facts = documented(documents()[0])
    unknown = []
    for place, call in event_calls():
        names = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
        for keyword in call.keywords:
            allowed = [facts[name] for name in names if name in facts] or list(facts.values())
            if not any(keyword.arg in known for known in allowed):
                unknown.append(f"{place}: {ast.unparse(call.args[0])} has a fact {keyword.arg}")
    assert unknown == []


def test_every_call_of_the_log_names_its_event() -> None:
    nameless = [
        f"{name}:{call.lineno}"
        for name, call in calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in LEVELS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in LOGGERS
        and not any(keyword.arg == "extra" for keyword in call.keywords)
        and name not in WITHOUT
    ]
    assert nameless == []


def test_the_function_s_events_are_in_its_table() -> None:
    used = set()
    for path in (ROOT / "lambda").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "event" and isinstance(value, ast.Constant):
                        used.add(value.value)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_reporting":
                used |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    assert used == set(documented(documents()[1]))


@pytest.mark.parametrize("path", WITHOUT)
def test_no_exception_outlives_its_file(path: str) -> None:
    assert (ROOT / path).is_file()
