"""What was measured, as tables: in the terminal, in bench/RESULTS.md, and as charts (SVG)."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass
class Section:
    """A table with what is to be known of it. The first column is text, the others are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For the terminal."""
        table = [list(self.columns), *(list(row) for row in self.rows)]
        widths = [max(len(row[column]) for row in table) for column in range(len(self.columns))]
        lines = [self.title]
        for row in table:
            first, *figures = (cell.ljust(width) for cell, width in zip(row[:1], widths, strict=False))
            figures = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  " + "  ".join([first, *figures]).rstrip())
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)]) + "\n"

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", f"| {' | '.join(self.columns)} |"]
        lines.append("|---|" + "--:|" * (len(self.columns) - 1))
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"


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


def machine() -> str:
    """One line: processor, cores, memory, versions."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, {memory / 2**20:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} at the start"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def write(sections: Sequence[Section], charts: Sequence[Chart], runs: int, about: str) -> Path:
    """Replace RESULTS.md and the charts; the path of the page."""
    pictures = FOLDER / "charts"
    pictures.mkdir(exist_ok=True)
    for chart in charts:
        chart.write(pictures)
    page = FOLDER / "RESULTS.md"
    page.write_text(
        "# Results\n\n"
        f"`script/bench --runs {runs} --write`, {datetime.now(UTC):%Y-%m-%d}; {about}.\n"
        "Medians of interleaved runs; CPU seconds come before wall seconds, as the machine is shared.\n\n"
        + "\n".join(section.markdown() for section in sections)
        + "\n## Charts\n\n"
        + "\n\n".join(f"![{chart.title}](charts/{chart.file})" for chart in charts)
        + "\n"
    )
    return page
