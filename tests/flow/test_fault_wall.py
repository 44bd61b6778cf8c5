"""The fault wall: what callers, the ledger and the health of targets make of each fault.

Every row of ``fault_table.py`` whole and streamed, before and after the first word, beside a twin
that is well and one with the same fault. All calls are made first, many at a time and each on
models of its own, so that none meets another's health; then each cell is judged.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from ferryman.ir.errors import ErrorKind
from tests.flow.fault_readers import Heard, heard
from tests.flow.fault_rows import CHAT, FIRST, OTHER, SURFACED, Cell, Row, cells
from tests.flow.fault_stack import all_of, config, provider, slow, staged, usual
from tests.flow.fault_table import ROWS, WALL
from tests.gateway import Stack, error_of
from tests.simulator.wire import Reply

STREAK = 5
"""Failures in a row after which a target rests."""
PATIENCE = 6
"""Times that a rest, which may be shorter than a machine's stutter, is looked for."""
TWIN = Row("the twin that is well", answer=OTHER)


@dataclass
class Outcome:
    """What came of a cell."""

    reply: Reply
    early: list[dict[str, Any]]
    """Who rests after the call: its model, and another one of the same provider and key."""
    later: list[dict[str, Any]]
    """The same after more calls of its kind."""


def configured(wall: Iterable[Cell], deaf: str, well: str = "well/t", more: str = "") -> str:
    """The configuration, with two providers for each cell: its first target's and its twin's.

    ``more`` is what else is set for the model with both.
    """
    providers, models = [], []
    for number, cell in enumerate(wall):
        target = provider(cell.row, deaf, spare_key=cell.column == "keys")
        providers.append(f"  a{number}: {target}")
        targets = [f"a{number}/m{number}"]
        if cell.column != "keys" and cell.twin == "down":
            providers.append(f"  b{number}: {target}")
            targets.append(f"b{number}/m{number}")
        elif cell.column != "keys":
            targets.append(well)
        models.append(f"  c{number}: {{ targets: [{', '.join(targets)}]{more} }}")
        models.append(f"  p{number}: {{ targets: [well/t, a{number}/s, a{number}/m{number}] }}")
    return config(providers, models)


class Runner:
    """Makes the calls of all cells."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def run(self, number: int, cell: Cell) -> Outcome:
        headers = {"x-quick": "1"} if cell.row.quick else {}
        if cell.tries > 1:
            usual(self.stack)
        reply = self.stack.chat(f"c{number}", stream=cell.streamed, headers=headers)
        scope, _ = cell.rests
        early = self.rests(number)
        for _ in range(PATIENCE if scope in ("limit", "target", "key") else 0):
            if any("because" in one for one in early):
                break
            self.again(number, cell, headers)
            early = self.rests(number)
        later = early
        if scope in ("several", "nothing") and not any("because" in one for one in early):
            with ThreadPoolExecutor(STREAK - 1) as pool:
                for _ in range(STREAK - 1):
                    pool.submit(self.again, number, cell, headers)
            later = self.rests(number)
        for _ in range(PATIENCE if scope == "several" else 0):
            if any("because" in one for one in later):
                break
            self.again(number, cell, headers)
            later = self.rests(number)
        return Outcome(reply, early, later)

    def again(self, number: int, cell: Cell, headers: dict[str, str]) -> None:
        """The same once more, of the first target alone."""
        self.stack.chat(f"a{number}/m{number}", stream=cell.streamed, headers=headers)

    def rests(self, number: int) -> list[dict[str, Any]]:
        """What is said of the model, and of another one of its provider: neither is asked."""
        headers = {"x-ferryman-explain": "1"}
        said = self.stack.chat(f"p{number}", headers=headers).header("x-ferryman-explain")
        targets = {one["target"]: one for one in json.loads(said or "")["considered"]}
        return [targets[f"a{number}/{model}"] for model in (f"m{number}", "s")]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, dict[str, Outcome]]]:
    faults = {f"m{number}": cell.script for number, cell in enumerate(WALL.values())}
    with staged(
        tmp_path_factory.mktemp("wall"), partial(configured, WALL.values()), faults
    ) as stack:
        yield stack, made(Runner(stack), WALL, chosen(request))


def chosen(request: pytest.FixtureRequest) -> set[str]:
    """The names of the cells that are to be judged: all, unless pytest was told otherwise."""
    return {i.callspec.id for i in request.session.items if hasattr(i, "callspec")}


def made(runner: Runner, wall: Mapping[str, Cell], names: set[str]) -> dict[str, Outcome]:
    """The outcomes of these cells."""
    jobs = {
        name: (slow(cell.row), partial(runner.run, number, cell))
        for number, (name, cell) in enumerate(wall.items())
        if name in names
    }
    return all_of(jobs)


def good(reply: Reply, row: Row, *, streamed: bool) -> None:
    """A whole answer, said once, that ends as it has to."""
    assert (reply.status, reply.complete, reply.trouble) == (200, True, "")
    called = [row.called] if row.called else []
    expected = Heard(row.answer, row.refusal, called, [row.finish], 1)
    assert heard(CHAT, reply, streamed=streamed) == expected
    assert row.shows in reply.text.decode("utf-8-sig")
    if streamed:
        roles = [choice for chunk in reply.data[:-1] for choice in chunk.get("choices", ())]
        assert sum("role" in choice["delta"] for choice in roles) <= 1


def cut_short(reply: Reply, row: Row) -> None:
    """A stream that says what it said, and that it failed; nothing in it looks like an end."""
    assert (reply.status, reply.complete) == (200, True)
    found = heard(CHAT, reply, streamed=True)
    said_all = row.said == FIRST and found.finishes == [row.finish]
    assert found == Heard(row.said, error=row.kind, finishes=[row.finish] if said_all else [])


def seen_by_the_caller(cell: Cell, reply: Reply) -> None:
    row = cell.row
    if not row.kind:
        good(reply, row, streamed=cell.streamed)
    elif cell.column == "late":
        cut_short(reply, row)
    elif cell.twin == "well" and row.kind not in SURFACED:
        good(reply, TWIN, streamed=cell.streamed)
    else:
        error = error_of(reply)
        assert (reply.status, str(error["code"])) == (row.status, row.code)
        assert reply.header("x-ferryman-error") == row.kind
    assert reply.header("x-ferryman-attempts") == str(1 if cell.column == "late" else cell.tries)


def written_down(cell: Cell, number: int, record: dict[str, Any]) -> None:
    row = cell.row
    failed = (row.kind, row.seen)
    names = [f"a{number}", f"a{number}" if cell.column == "keys" else f"b{number}"]
    expected = [(names[i], *failed) for i in range(cell.tries)]
    outcome: tuple[int, str | None]
    if not row.kind:
        expected, outcome = [(names[0], "", 200)], (200, None)
    elif cell.column == "late":
        outcome = (200, row.kind)
    elif cell.twin == "well" and row.kind not in SURFACED:
        expected[1], outcome = ("well", "", 200), (200, None)
    else:
        outcome = (row.status, row.kind)
    tries = [(t["provider"], t["error"], t["status"]) for t in record["tries"]]
    assert tries == expected
    assert (record["status"], record["error"], record["attempts"]) == (*outcome, len(expected))
    assert record["provider"] == expected[-1][0]
    if expected[-1][0] == "well":
        assert record["cost_usd"] == "0.000016", "four words in, six out"
    elif row.kind:
        assert record["cost_usd"] == row.cost


def who_rests(cell: Cell, outcome: Outcome) -> None:
    scope, most = cell.rests
    resting = [(set(one), one.get("because")) for one in (*outcome.early, *outcome.later)]
    well = ({"target", "role"}, None)
    ill = ({"target", "role", "rests_seconds", "because"}, cell.row.kind)
    assert (
        resting
        == {
            "nothing": [well, well, well, well],
            "several": [well, well, ill, well],
            "target": [ill, well, ill, well],
            "limit": [ill, well, ill, well],
            "key": [ill, ill, ill, ill],
        }[scope]
    )
    if scope != "nothing":
        rounds = 2**PATIENCE if most < 15 else 1  # those that had to be looked for have grown
        assert 0 < outcome.later[0]["rests_seconds"] <= most * rounds
        if cell.row.hint and scope != "nothing" and cell.rests[1] == cell.row.hint:
            assert outcome.later[0]["rests_seconds"] > cell.row.hint * 0.6


@pytest.mark.parametrize("number", range(len(WALL)), ids=list(WALL))
def test_the_wall(outcomes: tuple[Stack, dict[str, Outcome]], number: int) -> None:
    stack, found = outcomes
    cell, outcome = list(WALL.items())[number][1], found[list(WALL)[number]]
    seen_by_the_caller(cell, outcome.reply)
    written_down(cell, number, stack.row(outcome.reply))
    who_rests(cell, outcome)


def test_every_failure_of_a_provider_is_in_the_wall() -> None:
    theirs = {kind for kind in ErrorKind if kind.startswith("upstream_")}
    theirs.remove(
        ErrorKind.UPSTREAM_EMPTY
    )  # a failure only where a route says so: test_midstream.py
    met = {cell.row.kind for cell in WALL.values()}
    assert theirs | {*SURFACED, ErrorKind.MODEL_NOT_FOUND} == met - {""}
    assert len(WALL) == sum(len(list(cells(row))) for row in ROWS), "each has a name of its own"
