"""What was measured, as tables: in the terminal, in bench/RESULTS.md, and as charts (SVG).

The page has nothing but what this writes: where it was measured, and the sections, each with when and how.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
HEAD = """# Results

Measured on {}. `script/bench --write` makes this page; with `--only` it replaces those sections only.
"""


@dataclass
class Section:
    """A table with what is to be known of it. The first column is text, the others are figures.

    `how`: how often it was measured, see `medians`; `measured`: when.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    how: str
    notes: Sequence[str] = ()
    chart: Chart | None = None
    measured: str = ""

    def text(self) -> str:
        """For the terminal."""
        table = [list(self.columns), *(list(row) for row in self.rows)]
        widths = [max(len(row[column]) for row in table) for column in range(len(self.columns))]
        lines = [self.title, f"  {self.measured}; {self.how}"]
        for row in table:
            first = row[0].ljust(widths[0])
            figures = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  " + "  ".join([first, *figures]).rstrip())
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)]) + "\n"

    def markdown(self) -> str:
        """A part of the page that begins with its heading."""
        lines = [f"## {self.title}", "", f"Measured {self.measured}; {self.how}.", ""]
        lines.append(f"| {' | '.join(self.columns)} |")
        lines.append("|---|" + "--:|" * (len(self.columns) - 1))
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        notes = [*self.notes]
        if self.chart:
            notes.append(f"![{self.chart.title}](charts/{self.chart.file})")
        return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"


@dataclass(frozen=True)
class Chart:
    """A cost against a size, on logarithmic axes: name of each line -> its points (x, y). `marks`: of the x axis."""

    file: str
    title: str
    x_title: str
    y_title: str
    marks: Sequence[float]
    lines: dict[str, list[tuple[float, float]]]

    def write(self, folder: Path) -> None:
        import pygal

        chart = pygal.XY(
            logarithmic=True,
            js=(),  # pictures only: nothing is loaded from elsewhere
            title=self.title,
            x_title=self.x_title,
            y_title=self.y_title,
            x_labels=self.marks,
            truncate_label=-1,
            value_formatter=lambda value: f"{value:g}",
            x_value_formatter=lambda value: f"{value:g}",
            width=720,
            height=400,
            legend_at_bottom=True,
            disable_xml_declaration=True,
            no_prefix=True,
        )
        for name, points in self.lines.items():
            chart.add(name, points)
        (folder / self.file).write_text(chart.render(is_unicode=True))


def medians(runs: int) -> str:
    """How a section was measured whose ways took turns."""
    return f"medians of {runs} runs" if runs > 1 else "one run"


def machine() -> str:
    """One line: processor, cores, version."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


def now() -> str:
    """When something begins to be measured, and how busy the machine is."""
    return f"{datetime.now(UTC):%Y-%m-%d}, {load()}"


def read(folder: Path = FOLDER) -> dict[str, str]:
    """Title -> the part of the page that has it. Raises SystemExit if it was measured on another machine."""
    page, head = folder / "RESULTS.md", HEAD.format(machine())
    text = page.read_text() if page.exists() else head
    if not text.startswith(head):
        raise SystemExit(f"{page} was measured elsewhere, and this is {machine()}: leave out --only")
    return parse(text)


def write(sections: Sequence[Section], *, keep: bool, folder: Path = FOLDER) -> Path:
    """Make RESULTS.md and the charts; the path of the page. `keep`: what the page has of other sections stays."""
    pictures = folder / "charts"
    pictures.mkdir(exist_ok=True)
    page = folder / "RESULTS.md"
    parts = read(folder) if keep else {}
    for section in sections:
        parts[section.title] = section.markdown()
        if section.chart:
            section.chart.write(pictures)
    page.write_text("\n".join([HEAD.format(machine()), *parts.values()]))
    return page


def parse(page: str) -> dict[str, str]:
    """Title -> the part of the page that has it."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].removeprefix("## "): part.rstrip("\n") + "\n" for part in parts}
