"""What the documents say and the code can confirm: settings, paths, links, commands, and that both READMEs agree."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from archiver.fields import TABLE, TEXT
from cli.parser import parser
from common.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
READMES = ["README.md", "README.ko.md"]
DOCUMENTS = [
    *READMES,
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]
EMPTY = "–"
# what is written like a setting: values of settings, and variables of other programs
NO_SETTINGS = {
    *("TRIM_HORIZON", "KINESIS_PERSISTENCE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_CA_BUNDLE", "EX_NOINPUT", "EX_TEMPFAIL", "ON_DEMAND", "PERSIST_STATE"),
}

FOLDERS = "appliance|bench|cli|common|dashboard|docs|entrypoint|host|journal|lambda|locks|nginx|producer|script"
FOLDERS += "|terraform|tests"
# what a build puts there; git ignores it
MADE = {"dashboard/static/vendor"}
PATH = re.compile(rf"(?<![\w./:-])(?:{FOLDERS}|\.ci)/(?:[\w.-]+/?)*", re.ASCII)
FILE_NAME = re.compile(r"[\w-]+\.(?:conf|md|py|toml|txt|yaml)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PICTURE = re.compile(r'\bsrc(?:set)?="([^"]+)"')
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(markdown: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block."""
    return FENCE.findall(markdown)


def prose(markdown: str) -> str:
    return FENCE.sub("", markdown)


def spans(markdown: str) -> list[str]:
    """The inline code."""
    return SPAN.findall(prose(markdown))


def headings(markdown: str) -> list[tuple[int, str]]:
    """(level, title) of each heading."""
    return [(len(marks), title) for marks, title in HEADING.findall(prose(markdown))]


def anchor(title: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def rows(markdown: str) -> Iterator[list[str]]:
    """The cells of each table row."""
    for line in prose(markdown).splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def documented_settings(markdown: str) -> list[tuple[str, str]]:
    """(name, default) in the order of the table; the default as the environment would have it."""
    return [
        (cells[0].strip("`"), "" if cells[1] == EMPTY else cells[1].strip("`"))
        for cells in rows(markdown)
        if len(cells) == 3 and re.fullmatch(r"`[A-Z][A-Z0-9_]*`", cells[0])
    ]


def actual_settings() -> list[tuple[str, str]]:
    return [
        (name.upper(), "" if field.default_factory else str(field.default))
        for name, field in Settings.model_fields.items()
    ]


@pytest.mark.parametrize(("document", "lines"), [("README.md", 200), ("README.ko.md", 200), ("CONTRIBUTING.md", 80)])
def test_the_first_pages_are_short(document: str, lines: int) -> None:
    assert len(text(document).splitlines()) <= lines


@pytest.mark.parametrize("readme", READMES)
def test_the_settings_table_has_eight_settings_of_the_code(readme: str) -> None:
    documented = documented_settings(text(readme))
    assert len(documented) == 8
    assert set(documented) <= set(actual_settings())


def test_both_readmes_list_the_settings_in_one_order() -> None:
    english, korean = (documented_settings(text(readme)) for readme in READMES)
    assert english == korean


def test_both_readmes_have_the_same_results() -> None:
    """The figures of each row, in whichever order a language puts them; small ones may be words."""
    english, korean = (
        [
            sorted(re.findall(r"\d[\d.,]*\d", " ".join(each)))
            for each in rows(text(readme).partition(f"| {header} |")[2].partition("\n\n")[0])
        ]
        for readme, header in zip(READMES, ("what | result", "항목 | 결과"), strict=True)
    )
    assert len(english) > 5
    assert english == korean


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_variable_that_is_set_in_an_example_exists(document: str) -> None:
    examples = "\n".join([*(content for _, content in blocks(text(document))), *spans(text(document))])
    named = set(re.findall(r"-e ([A-Z][A-Z0-9_]+)", examples)) | set(
        re.findall(r"\b([A-Z][A-Z0-9_]+)=\S* (?:[A-Z_]+=\S* )*script/up", examples)
    )
    known = {name for name, _ in actual_settings()}
    others = {"NAME", "KINESIS_PERSISTENCE"}  # a placeholder, and LocalStack's own
    assert {name for name in named - others if name not in known and not name.startswith("AWS_")} == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_setting_that_is_named_exists(document: str) -> None:
    """Of names with an underscore; one without could be any word in capitals."""
    named = {span.partition("=")[0] for span in spans(text(document)) if re.match(r"[A-Z]+(_[A-Z0-9]+)+(=|$)", span)}
    assert named - {name for name, _ in actual_settings()} - NO_SETTINGS == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_is_named_exists(document: str) -> None:
    code = "\n".join([*(content for _, content in blocks(text(document))), *spans(text(document))])
    named = set(re.findall(r"(?:script/|<id> |exec appliance )appliance ([a-z-]+)", code))
    assert named - set(re.findall(r"^    ([a-z-]+)\b", parser().format_help(), re.MULTILINE)) == set()


def repository_files() -> set[str]:
    """The names, without folders, of everything outside hidden folders."""
    visible = [each for each in ROOT.iterdir() if not each.name.startswith(".")]
    return {each.name for each in visible} | {path.name for each in visible for path in each.rglob("*")}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_exists(document: str) -> None:
    markdown = text(document)
    code = "\n".join([*(content for _, content in blocks(markdown)), *spans(markdown)])
    paths = {path.rstrip(".") for path in PATH.findall(code)}
    names = {span for span in spans(markdown) if FILE_NAME.fullmatch(span)}
    missing = {path for path in paths - MADE if not (ROOT / path).exists()} | (names - repository_files())
    assert missing == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_script_that_is_named_can_be_run(document: str) -> None:
    for script in set(re.findall(r"(?<![\w./])script/[a-z]+", text(document))):
        assert os.access(ROOT / script, os.X_OK), script


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if "decisions" not in each])
def test_a_module_is_run_by_the_projects_own_python(document: str) -> None:
    """The system's lacks the packages; the appliance's first process is named, not to be run by hand."""
    bare = re.findall(r"(?<![\w./])python3? -m (\w+)", text(document))
    assert set(bare) <= ({"appliance"} if document == "ARCHITECTURE.md" else set())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    markdown = prose(text(document))
    for target in LINK.findall(markdown) + PICTURE.findall(markdown):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        linked = (ROOT / document).parent / path if path else ROOT / document
        assert linked.exists(), f"{document} links to {target}"
        if fragment:
            assert fragment in {anchor(title) for _, title in headings(linked.read_text(encoding="utf-8"))}, target


def test_the_korean_readme_has_the_structure_of_the_english_one() -> None:
    english, korean = (text(readme) for readme in READMES)
    assert [level for level, _ in headings(korean)] == [level for level, _ in headings(english)]
    assert [language for language, _ in blocks(korean)] == [language for language, _ in blocks(english)]
    assert [len(cells) for cells in rows(korean)] == [len(cells) for cells in rows(english)]


def test_both_readmes_show_the_same_commands() -> None:
    def commands(readme: str) -> list[str]:
        shell = "".join(content for language, content in blocks(text(readme)) if language == "sh")
        return [re.sub(r"\s*#.*", "", line) for line in shell.splitlines()]

    english, korean = (commands(readme) for readme in READMES)
    assert english == korean


@pytest.mark.parametrize("readme", READMES)
def test_what_script_up_prints_is_what_it_prints(readme: str) -> None:
    match = re.search(r"Three things to try:\n\n(.*?)\n\nTEXT", text("script/up"), re.DOTALL)
    assert match
    printed = match[1].replace("$HTTP_PORT", "80").replace("$bucket", "my-bucket")
    assert printed in text(readme)


def test_the_page_of_formats_has_the_fields_in_their_order() -> None:
    """In two columns, side by side."""
    cells = [row for row in rows(text("docs/formats.md")) if len(row) == 5 and row[0].startswith("`")]
    found = [row[side : side + 2] for side in (0, 3) for row in cells if row[side]]
    assert [name for name, _ in found] == [f"`{one.name}`{'' if one.kind == TEXT else ' (number)'}" for one in TABLE]
    assert all(f"`${one.variables[0]}`" in variables for (_, variables), one in zip(found, TABLE, strict=True))


TROUBLESHOOTING = "docs/troubleshooting.md"
# how inline code with a blank begins that is typed, and no message
TYPED = re.compile(r"-|Host: |access_log |appliance |aws |curl |docker |script/|ss |[A-Z_]+=\S+ script/up")


def files() -> list[str]:
    """The repository's own, new ones included."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("only a git clone knows which files are its own")
    return subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")[:-1]


def messages() -> str:
    """The texts in the code, one a line; `…` is what is filled in."""
    found = []
    for name in files():
        path = ROOT / name
        if path.suffix != ".py" or name.startswith(("tests/", "bench/")) or not path.exists():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.append(node.name)
            elif isinstance(node, ast.Constant):
                found.append(str(node.value))
            elif isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values)
                )
    others = [*(ROOT / "script").iterdir(), *(ROOT / "terraform").rglob("variables.tf")]
    found += [path.read_text(encoding="utf-8") for path in others]
    return "\n".join(found)


def test_troubleshooting_is_found_by_the_message() -> None:
    """Each of its headings, and each message that it quotes, is a text of the code."""
    markdown = text(TROUBLESHOOTING)
    titles = [title for level, title in headings(markdown) if level > 1]
    assert [title for title in titles if not re.fullmatch(r"`[^`]+`(, `[^`]+`)*", title)] == []
    quoted = {span for span in spans(markdown) if " " in span and not TYPED.match(span)}
    quoted |= {span for title in titles for span in SPAN.findall(title)}
    code = messages()
    assert {one for one in quoted if not re.search(".*".join(map(re.escape, one.split("…"))), code)} == set()


class Forbidden(NamedTuple):
    """A pattern, in two halves so that this file does not contain what it looks for."""

    what: str
    pattern: str


FORBIDDEN = [
    Forbidden("a package index or registry", r"(?i)\b(?:py" + r"pi|pythonho" + r"sted|npm" + r"js)\.(?:org|com|io)\b"),
    Forbidden(
        "a package index or registry", r"(?i)\b(?:gh" + r"cr|gc" + r"r|qu" + r"ay|dock" + r"er|crat" + r"es)\.io\b"
    ),
    Forbidden("an index address", r"(?i)--(?:extra-)?ind" + r"ex-url|\bind" + r"ex-url\s*="),
    Forbidden("an index address", r"(?i)https?://[^/\s]*(?:artifact" + r"ory|nex" + r"us|regis" + r"try|mirr" + r"or)"),
    Forbidden("a path of one machine", r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/\w+|Use" + r"rs/\w+)/"),
]


def hygiene(content: str) -> list[str]:
    """What of FORBIDDEN stands in a text, as `what: match`."""
    return [f"{each.what}: {found[0]}" for each in FORBIDDEN for found in re.finditer(each.pattern, content)]


def test_no_tracked_file_names_a_registry_or_a_machine() -> None:
    problems = []
    for name in files():
        try:
            content = (ROOT / name).read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            continue  # deleted in the working tree, or no text
        problems += [f"{name}: {problem}" for problem in hygiene(content)]
    assert problems == []


@pytest.mark.parametrize(
    "bad",
    [
        "https://py" + "pi.org/simple",
        "files.pythonho" + "sted.org",
        "pip install --extra-ind" + "ex-url x",
        "FROM gh" + "cr.io/owner/image",
        "https://mirr" + "or.example/simple",
        "cd /ho" + "me/somebody/project",
        "/wo" + "rk/main",
    ],
)
def test_what_must_not_be_there_would_be_found(bad: str) -> None:
    assert hygiene(bad)


def test_the_checks_of_this_file_can_fail() -> None:
    table = "| `S3_BUCKET` | `other` | x |\n| `UPSTREAM` | – | x |\n"
    assert documented_settings(table) == [("S3_BUCKET", "other"), ("UPSTREAM", "")]
    assert PATH.findall("script/nothing --x, /aws/lambda/name, lambda/index.py") == [
        "script/nothing",
        "lambda/index.py",
    ]
    assert anchor("Where the state is, and how to stop") == "where-the-state-is-and-how-to-stop"
    assert blocks("```sh\n# no heading\n```\n") == [("sh", "# no heading\n")]
    assert headings("# One\n```sh\n# none\n```\n## Two\n") == [(1, "One"), (2, "Two")]


def test_the_base_image_is_pinned_as_hardening_says() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["${BASE}", "${BASE}"]
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    assert f"--build-arg BASE={base}@sha256:…" in (ROOT / "docs" / "hardening.md").read_text()
