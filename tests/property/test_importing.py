"""Whatever is imported, in whatever order and however often interrupted: what was accepted is there once."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from producer.imported import ImportingError
from tests.fake_kinesis import refuse, refuse_all
from tests.unit.producer.test_importing import World, some, text

# So many lines that copies are longer than the KiB by which they are recognised
LONG = 15
FILES = st.tuples(st.sampled_from("ab"), st.integers(LONG, 60), st.sampled_from(["", "x", "y"]), st.integers(1, 30))
GIVEN = st.tuples(st.lists(FILES, min_size=1, max_size=3), st.booleans(), st.booleans())


@given(st.lists(GIVEN, max_size=6))
def test_each_accepted_line_is_there_once(runs: list[tuple[list[tuple[str, int, str, int]], bool, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world, wanted = World(Path(folder)), set()
        for files, packed, interrupted in runs:
            contents = [
                some(log, count) + some(f"{log}{branch}", more if branch else 0) for log, count, branch, more in files
            ]
            paths = [
                world.write(str(number), gzip.compress(text(lines)) if packed else text(lines))
                for number, lines in enumerate(contents)
            ]
            try:
                if interrupted:
                    world.stream.script = [refuse([1]), *[refuse_all] * 100]
                    world.load(*paths)
                    world.stream.script = []
                assert not world.load(*paths).error
            except ImportingError:
                world.stream.script = []
            else:
                wanted |= {line for lines in contents for line in lines}
        assert sorted(world.lines.elements()) == sorted(wanted)
