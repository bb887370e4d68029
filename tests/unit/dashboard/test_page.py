"""The dashboard's files, without a browser: languages, security and what they may load."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
STATIC = ROOT / "dashboard" / "static"
SCRIPTS = sorted((STATIC / "js").glob("*.js"))
PAGE = (STATIC / "index.html").read_text(encoding="utf-8")
# sentences whose name is put together from what the server says
BY_SERVER = ("fact_", "value_", "node_", "state_", "verdict_", "endpoint_", "delivery_", "ship_", "behind_")


def sentences(language: str) -> dict[str, str]:
    text = (STATIC / "js" / f"{language}.js").read_text(encoding="utf-8")
    found = re.findall(r'^  (\w+): ("(?:[^"\\]|\\.)*"),$', text, re.MULTILINE)
    # nothing but sentences and comments: none is written in a way that is not looked at here
    rest = [line for line in text.splitlines() if line.startswith("  ")]
    assert len(rest) == len(found)
    assert len({key for key, _ in found}) == len(found)
    return {key: json.loads(value) for key, value in found}


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(PAGE)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_both_languages_say_the_same() -> None:
    english, korean = sentences("en"), sentences("ko")
    assert list(english) == list(korean)
    for key, sentence in english.items():
        assert set(re.findall(r"\{\w+\}", sentence)) == set(re.findall(r"\{\w+\}", korean[key])), key


def test_each_sentence_that_is_asked_for_is_there_and_each_there_is_asked_for() -> None:
    known = set(sentences("en"))
    code = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS if path.stem not in ("en", "ko"))
    asked = set(re.findall(r'\bt\("(\w+)"', code))
    asked |= {
        value for _, attributes in Elements().found for key, value in attributes.items() if key == "data-i18n" and value
    }
    asked |= {
        value or "" for _, attributes in Elements().found for key, value in attributes.items() if "i18n-label" in key
    }
    plurals = set(re.findall(r'\bplural\("(\w+)"', code))
    asked |= {f"{each}_{form}" for each in plurals for form in ("one", "other")}
    assert asked - known == set()
    words = set(re.findall(r'"(\w+)"', code))
    assert {key for key in known - asked - words if not key.startswith(BY_SERVER)} == set()


def test_every_fact_and_state_of_the_server_has_words() -> None:
    known = set(sentences("en"))
    server = (ROOT / "dashboard" / "state.py").read_text(encoding="utf-8")
    units = "lines|bytes|records|seconds|count|time|text|per_second"
    facts = set(re.findall(rf'\(\s*"(\w+)",[^"\n]*(?:"[^"]*"[^"\n]*)*"(?:{units})"\)', server))
    assert len(facts) > 10
    assert {f"fact_{each}" for each in facts} - known == set()


def test_the_page_keeps_to_its_content_security_policy() -> None:
    for tag, attributes in Elements().found:
        assert tag != "style", "a style in the page is refused by the browser"
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        if tag == "script":
            assert attributes.get("src"), "a script in the page is refused by the browser"
    for _, attributes in Elements().found:
        for name in ("src", "href"):
            address = attributes.get(name) or ""
            assert "//" not in address, f"{address}: nothing comes from elsewhere"
            if address and "." in address and not address.startswith("#"):
                assert (STATIC / address).is_file(), address


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_markup_of_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert word not in text, f"{path.name}: lines of a log are written by strangers; use dom.js"
    assert "https:" not in text


def test_every_id_is_there_once() -> None:
    ids = [attributes["id"] for _, attributes in Elements().found if attributes.get("id")]
    assert len(ids) == len(set(ids))
    code = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    assert set(re.findall(r'byId\("([\w-]+)"\)', code)) <= set(ids)


def test_what_comes_from_npm_is_locked_by_content() -> None:
    wanted = json.loads((ROOT / "dashboard" / "package.json").read_text())
    lock = json.loads((ROOT / "dashboard" / "package-lock.json").read_text())
    packages = {name.removeprefix("node_modules/"): entry for name, entry in lock["packages"].items() if name}
    assert packages.keys() == {**wanted["dependencies"], **wanted["devDependencies"]}.keys()
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert packages[name]["version"] == version
        assert packages[name]["integrity"].startswith("sha512-")
        assert "resolved" not in packages[name], "an address in the lock file is one machine's registry"
