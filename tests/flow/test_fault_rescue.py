"""The fault wall's streams that fail after their first words, where the model has ``rescue``.

A target that is well says the same words as the first one; then the text arrives once and whole.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from tests.flow.fault_readers import Heard, heard
from tests.flow.fault_rows import (
    CHAT,
    COHERE,
    FIRST,
    GENERATE,
    MESSAGES,
    SHORT,
    SURFACED,
    Cell,
    Row,
)
from tests.flow.fault_stack import all_of, slow, staged, usual
from tests.flow.fault_table import WALL
from tests.flow.test_fault_wall import (
    Outcome,
    Runner,
    configured,
    cut_short,
    seen_by_the_caller,
    who_rests,
    written_down,
)  # fmt: skip
from tests.gateway import Stack

LATE = {cell.name: cell for cell in WALL.values() if cell.column == "late"}


class Rescued(Runner):
    """Makes calls that are asked a second time: attempts beyond the first are rationed."""

    def run(self, number: int, cell: Cell) -> Outcome:
        usual(self.stack)
        return super().run(number, cell)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, dict[str, Outcome]]]:
    faults = {f"m{number}": cell.script for number, cell in enumerate(LATE.values())}
    settings = partial(configured, LATE.values(), well="well/p", more=", rescue: true")
    names = {i.callspec.id for i in request.session.items if hasattr(i, "callspec")}
    with staged(tmp_path_factory.mktemp("rescue"), settings, faults | {"p": "tokens=6"}) as stack:
        runner = Rescued(stack)
        jobs = {
            name: (slow(cell.row), partial(runner.run, number, cell))
            for number, (name, cell) in enumerate(LATE.items())
            if name in names
        }
        yield stack, all_of(jobs)


KINDS = {(cell.row.format, cell.row.name, cell.column): cell.row.kind for cell in WALL.values()}
OVER = {(GENERATE, "no answer")}
"""What says that all was said, and then that it is no answer."""


def second_kind(row: Row) -> str:
    """How a second target with the same fault fails, which says nothing new before."""
    known = [KINDS.get((row.format, row.name, column)) for column in ("stream", "early", "late")]
    return next(kind for kind in known if kind)


def is_left(row: Row) -> bool:
    """Whether a stream that failed so is not gone on with: all was said, or nobody would do it."""
    all_said = row.said == FIRST and row.format not in (GENERATE, COHERE)  # their end tells alone
    return row.kind in SURFACED or all_said or (row.format, row.name) in OVER


@pytest.mark.parametrize("number", range(len(LATE)), ids=list(LATE))
def test_what_breaks_off_is_gone_on_with(
    outcomes: tuple[Stack, dict[str, Outcome]], number: int
) -> None:
    stack, found = outcomes
    name, cell = list(LATE.items())[number]
    outcome, row = found[name], cell.row
    reply, record = outcome.reply, stack.row(outcome.reply)
    who_rests(cell, outcome)
    if is_left(row):
        seen_by_the_caller(cell, reply)
        written_down(cell, number, record)
        return
    assert reply.header("x-ferryman-attempts") == "1", "as it was when the stream began"
    tries = [(t["provider"], t["error"], t["status"]) for t in record["tries"]]
    outcome_of = (record["status"], record["error"], record["attempts"], record["provider"])
    first = (f"a{number}", row.kind, 200)
    if cell.twin == "well":
        assert heard(CHAT, reply, streamed=True) == Heard(FIRST, finishes=["stop"], ends=1)
        assert reply.body.count(b": ferryman: well goes on\n\n") == 1
        assert tries == [first, ("well", "", 200)]
        assert record["tries"][1]["altered"][0].endswith(f"goes on after {len(row.said)} letters")
        assert outcome_of == (200, None, 2, "well")
    elif row.format == MESSAGES:  # the second one goes on from the text so far, and then fails too
        kind = SHORT if row.name == "two broken events" else row.kind  # it has but one left
        cut_short(reply, replace(row, said=FIRST, kind=kind))
        assert tries == [first, (f"b{number}", kind, 200)]
        assert outcome_of == (200, kind, 2, f"b{number}")
    else:
        cut_short(reply, row)
        assert tries == [first, (f"b{number}", second_kind(row), 200)]
        assert outcome_of == (200, row.kind, 2, f"a{number}")
    assert record["cost_usd"] is None, "nobody says what the first part cost"
