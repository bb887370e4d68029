"""The cost table: its arithmetic, its constants against the code's, and the page against the script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import cost
from bench.cost import Prices, Traffic
from entrypoint import delivery
from producer.hourly import BILLED_BYTES
from producer.record import PACK_BYTES

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "costs.md"


@pytest.mark.parametrize("arguments", [[], ["--hours", "1"], ["--hours", "720"]])
def test_the_page_shows_what_the_script_prints(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.main(arguments) == 0
    printed = capsys.readouterr().out
    page = PAGE.read_text(encoding="utf-8")
    assert printed in page
    assert f"script/cost {' '.join(arguments)}".strip() in page


def test_the_page_has_every_price_of_the_script() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert f"as of {cost.DATE}" in page
    listed = {float(price) for price in re.findall(r"\| \$([\d.]+) ", page)}
    million, thousand = 1_000_000, 1000
    prices = Prices()
    assert listed == {
        prices.shard_hour,
        prices.retention_shard_hour,
        round(prices.put_unit * million, 6),
        prices.firehose_gb,
        prices.partition_gb,
        round(prices.partition_object * thousand, 6),
        round(prices.lambda_request * million, 6),
        prices.lambda_gb_second,
        round(prices.s3_put * thousand, 6),
        round(prices.s3_get * thousand, 6),
    }


def test_the_model_has_the_code_s_numbers() -> None:
    assert cost.PACK == PACK_BYTES
    assert cost.FIREHOSE_UNIT == BILLED_BYTES
    assert cost.BUFFER_SECONDS == delivery.BUFFER_SECONDS
    assert cost.BUFFER == delivery.BUFFER_MIB * 1024 * 1024
    assert round(float(delivery.TRANSFORM_BUFFER_MB) * 1024 * 1024) == round(cost.TRANSFORM_BUFFER)


def test_a_line_a_record_costs_firehose_the_5_kb_it_is_rounded_up_to() -> None:
    single = cost.firehose(Prices(), Traffic(), packed=False)
    assert single.delivery == pytest.approx(1_000_000 * 5 * 1024 / 1024**3 * 0.029)
    assert single.delivery / (1_000_000 * 215 / 1024**3 * 0.029) == pytest.approx(23.8, abs=0.1)
    packed = cost.firehose(Prices(), Traffic(hours=1), packed=True)
    assert packed.delivery < single.delivery / 100
    assert packed.partitioning < single.partitioning, "fewer, larger objects"


def test_a_line_a_record_costs_kinesis_a_unit_each() -> None:
    single = cost.kinesis(Prices(), Traffic(hours=1), packed=False)
    assert single.stream == pytest.approx(0.035 + 0.014)
    assert cost.kinesis(Prices(), Traffic(hours=1), packed=True).stream == pytest.approx(0.035, abs=0.0001)
    # 4 million lines an hour are more than one shard takes one by one, and less than it takes packed
    much = Traffic(requests=4_000_000, hours=1)
    assert cost.kinesis(Prices(), much, packed=False).stream == pytest.approx(2 * 0.035 + 4 * 0.014)
    assert cost.kinesis(Prices(), much, packed=True).stream == pytest.approx(0.035, abs=0.001)


def test_costs_are_sums_and_never_negative() -> None:
    for hours in (0.1, 1, 24, 8760):
        for packed in (False, True):
            for one in (
                cost.kinesis(Prices(), Traffic(hours=hours), packed=packed),
                cost.firehose(Prices(), Traffic(hours=hours), packed=packed),
            ):
                parts = [one.stream, one.delivery, one.partitioning, one.function, one.s3]
                assert min(parts) >= 0
                assert one.total == pytest.approx(sum(parts))


@pytest.mark.parametrize("option", ["--hours", "--line", "--poll"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e300", "1e-300", "x"])
def test_nonsense_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cost.main([f"{option}={value}"])
    assert ended.value.code == 2
    assert option in capsys.readouterr().err
