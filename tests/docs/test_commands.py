"""Every command of README.md, docs/environments/ and docs/operating.md works as it is written."""

from __future__ import annotations

import re

import pytest

from tests.appliance.drivers import folder
from tests.docs.session import PAGES, Block, Session, blocks, copy_repository, follow, of, pages

# Why a block may go unrun -> what is in such a block
MARKS = {"needs AWS": r"TARGET=aws|terraform", "needs LocalStack's image": r"docker compose|LOCALSTACK_HOST"}


@pytest.mark.parametrize("page", PAGES)
def test_only_what_needs_aws_or_a_pull_is_not_run(page: str) -> None:
    for mark, commands in of(page):
        if mark:
            assert re.search(MARKS[mark], "\n".join(commands)), f"{mark}: {commands}"


def test_commands_are_found() -> None:
    page = "<!-- not run: needs AWS -->\n```sh\na  # why\n\n# note\n# Ctrl-C\nb \\\n c\n```\n"
    page += "```\n$ d\nits output\n```\n```json\ne\n```\n"
    assert blocks(page) == [Block("needs AWS", ["a", "# Ctrl-C", "b   c"]), Block("", ["d"])]


@pytest.mark.emulator
@pytest.mark.parametrize("page", pages("native"))
def test_natively(page: str) -> None:
    with folder() as directory:
        copy_repository(directory)
        follow(page, Session(directory, "native"))
