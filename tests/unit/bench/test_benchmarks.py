"""What the benchmarks measure with, the page that they write, and what docs/sizing.md takes from it."""

from __future__ import annotations

import importlib
import random
import re
import secrets
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from archiver.format import JSON, NAMED
from bench import deliveries, formats, producer
from bench.backlog import write_backlog
from bench.results import Chart, Section, parse, write
from common.delivery import DELIVERIES
from entrypoint.function import MEMORY
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
TINY = 600  # lines: more than one call of the loop's, and a poll that packs


@pytest.mark.parametrize("target", ["Kinesis_20131202.PutRecords", "Firehose_20150804.PutRecordBatch"])
def test_an_answer_of_the_stream_waits_for_no_acknowledgement(target: str) -> None:
    """The client's delayed one takes 40 ms, and more for each call than all the work."""
    with producer.stream() as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)

        def took() -> float:
            begin = time.perf_counter()
            connection.request("POST", "/", b'{"Data":""}' * 200, {"X-Amz-Target": target})
            assert connection.getresponse().read().count(b"{") == 201
            return time.perf_counter() - begin

        for _ in range(21):  # the first ones wait for none
            took()
        eventually(lambda: took() < 0.02, every=0, why="on a busy machine any single one may wait for its turn")
        connection.close()


def test_the_stream_counts_the_bodies() -> None:
    with producer.stream() as port:
        assert producer.received(port) == 0
        connection = HTTPConnection("127.0.0.1", port, timeout=90)
        length = random.randrange(1, 100_000)
        for _ in range(2):
            connection.request("POST", "/", b"x" * length, {"X-Amz-Target": "Kinesis_20131202.PutRecords"})
            connection.getresponse().read()
        connection.close()
        assert producer.received(port) == 2 * length


def test_bytes_on_the_wire_are_data_with_base64_and_json(tmp_path: Path) -> None:
    log = tmp_path / "log" / "access.log"
    log.parent.mkdir()
    write_backlog(log, TINY)
    with producer.stream() as port:
        sent = producer.in_a_process("producer, PutRecords", log, port)
        nowhere = producer.in_a_process("producer, into nothing", log, port)
    assert sent.lines == nowhere.lines == TINY
    assert sent.data * 4 / 3 < sent.wire < sent.data * 4 / 3 + 1000
    assert nowhere.data == pytest.approx(sent.data, rel=0.01)
    assert nowhere.wire == 0  # what was sent before is not its own


@pytest.mark.emulator
def test_each_delivery_is_measured_with_what_it_does_and_archives_each_line_once() -> None:
    found = {(each[0].delivery.name, each[0].polls): each[0] for each in deliveries.measure(1, TINY, polls=2)}
    assert {name for name, _ in found} == set(DELIVERIES)
    assert {cost.wrong for cost in found.values()} == {0, None}
    assert found["s3", 2].function == deliveries.Part(0.0, 0)
    assert found["kinesis", 2].producer.requests == found["firehose", 2].producer.requests == 2
    # the function asks for the state of an object before each append, the producer before the first one to it
    for name in ("kinesis", "s3"):
        assert found[name, 2].producer.requests + found[name, 2].function.requests > 4
    assert all(cost.producer.cpu > 0 for cost in found.values())


def test_each_format_is_measured_with_lines_that_are_entries() -> None:
    found = formats.measure_here(1, TINY)
    assert {*formats.WAYS} == {*found}
    assert {text for text, _, _ in formats.WAYS.values()} >= {*NAMED, JSON}
    assert all(rate > 0 for rates in found.values() for rate in rates)


def section(title: str, figure: str, chart: Chart | None = None) -> Section:
    return Section(title, ("", "figure"), [("a row", figure)], "one run", chart=chart, measured="then")


def test_what_was_not_measured_again_stays_on_the_page(tmp_path: Path) -> None:
    old, new = secrets.token_hex(4), secrets.token_hex(4)
    chart = Chart("a.svg", "A chart", "x", "y", (1, 10), {"line": [(1, 1), (10, 2)]})
    first = [section("One", old), section("Two", old, chart), section("Three", old)]
    page = write(first, keep=False, folder=tmp_path)
    before = page.read_text()
    assert before.count(old) == 3
    write([section("Two", new, chart), section("Four", new)], keep=True, folder=tmp_path)
    after = page.read_text()
    assert after.index("## One") < after.index("## Two") < after.index("## Three") < after.index("## Four")
    assert (after.count(old), after.count(new)) == (2, 2)
    assert after.count("(charts/a.svg)") == 1
    assert (tmp_path / "charts" / "a.svg").exists()
    write(first, keep=True, folder=tmp_path)
    write(first[:2], keep=True, folder=tmp_path)
    assert page.read_text().startswith(before)


def test_what_is_not_there_is_imported_after_a_chart_as_before(tmp_path: Path) -> None:
    Chart("a.svg", "A chart", "x", "y", (1, 10), {"line": [(1, 1), (10, 2)]}).write(tmp_path)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("not_there")


def test_figures_of_two_machines_do_not_stand_on_one_page(tmp_path: Path) -> None:
    page = write([section("One", "1")], keep=False, folder=tmp_path)
    page.write_text(elsewhere := page.read_text().replace("cores", "cores of another machine", 1))
    with pytest.raises(SystemExit, match="measured elsewhere"):
        write([section("Two", "2")], keep=True, folder=tmp_path)
    assert page.read_text() == elsewhere


def test_a_whole_run_keeps_nothing(tmp_path: Path) -> None:
    write([section("One", "1")], keep=False, folder=tmp_path)
    page = write([section("Two", "2")], keep=False, folder=tmp_path)
    assert "One" not in page.read_text()


def test_each_section_says_when_and_how_it_was_measured() -> None:
    assert section("One", "1").markdown().splitlines()[:3] == ["## One", "", "Measured then; one run."]


def measured(title: str, column: str) -> dict[str, float]:
    """A section of bench/RESULTS.md: the first cell of each row -> its figure in that column."""
    section = parse((ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8"))[title]
    head, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line[:2] == "| "
    )
    at = head.index(column)
    return {row[0]: float(row[at].replace(",", "")) for row in rows}


def sizing() -> str:
    """The page without its line breaks."""
    return " ".join((ROOT / "docs" / "sizing.md").read_text(encoding="utf-8").split())


def test_the_function_was_measured_to_be_as_fast_as_the_page_says() -> None:
    claim = re.search(r"\| lines a second of a CPU \| ([\d,]+) \|", sizing())
    assert claim
    assert measured("Function", "measured")["whole handler, lines / CPU s"] > int(claim[1].replace(",", ""))
    assert f"| memory | {MEMORY} MB |" in sizing()


def test_the_producer_was_measured_to_be_as_fast_as_the_page_says() -> None:
    assert "About a second of CPU for a million lines, gzip and boto3 included" in sizing()
    seconds = measured("Producer: a backlog of 1,000,000 lines", "CPU s / M lines")
    assert seconds["producer, PutRecords"] < 1
