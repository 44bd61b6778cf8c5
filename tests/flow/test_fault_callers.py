"""The fault wall as callers of the other formats see it: each row, by each of them.

Not every cell: of each row one whole reply, one stream that fails before its first word and one
that fails after it, beside a twin that takes turns at being well and down.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Failed
from ferryman.wire.openai_responses.errors import code_of
from tests.flow.fault_readers import Heard, heard
from tests.flow.fault_rows import (
    BEGUN,
    BROKE,
    BUSY,
    FAILED,
    FIRST,
    GENERATE,
    LIMITED,
    MESSAGES,
    OTHER,
    RESPONSES,
    SURFACED,
    WRONG,
    Cell,
    Row,
    cells,
)  # fmt: skip
from tests.flow.fault_stack import all_of, config, provider, slow, staged, usual
from tests.flow.fault_table import ROWS
from tests.flow.test_fault_wall import written_down
from tests.gateway import Stack
from tests.matrix.test_broken import PATHS, body
from tests.simulator.wire import Reply

CALLERS = (MESSAGES, GENERATE, RESPONSES)
FINISHES = {
    MESSAGES: {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use",
               "content_filter": "refusal"},
    GENERATE: {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP",
               "content_filter": "SAFETY"},
    RESPONSES: {"stop": "completed", "length": "max_output_tokens", "tool_calls": "completed",
                "content_filter": "content_filter"},
}  # fmt: skip
THEIRS = {
    MESSAGES: {LIMITED: "rate_limit_error", BROKE: "billing_error", BUSY: "overloaded_error",
               FAILED: "api_error"},
    RESPONSES: {LIMITED: "rate_limit_exceeded", FAILED: "server_error",
                BUSY: "server_is_overloaded"},
}  # fmt: skip
"""Codes of errors within a stream that providers of the caller's own format report."""
OWN_WORDS = {"prompt blocked": "PROHIBITED_CONTENT", "no answer": "MALFORMED_FUNCTION_CALL"}
"""Ends for which callers of Gemini's format have a word, which reaches them."""
MOMENTS = (("whole", "half"), ("stream", "early"), ("late",))
Key = tuple[str, Cell]


def chosen() -> Iterator[Key]:
    """Callers and cells: of each row each moment once for each caller."""
    for turn, row in enumerate(ROWS):
        found = list(cells(row))
        for offset, caller in enumerate(CALLERS):
            for place, columns in enumerate(MOMENTS):
                twins = ("well", "down") if (turn + offset + place) % 2 else ("down", "well")
                rotated = columns if (turn + offset) % 2 else columns[::-1]
                ranked = [(rotated.index(cell.column), twins.index(cell.twin), i)
                          for i, cell in enumerate(found) if cell.column in columns]  # fmt: skip
                if ranked:
                    yield caller, found[min(ranked)[2]]


CASES = {f"{caller}-{cell.name}": (caller, cell) for caller, cell in chosen()}


def configured(deaf: str) -> str:
    providers, models = [], []
    for number, (_, cell) in enumerate(CASES.values()):
        target = provider(cell.row, deaf)
        providers.append(f"  a{number}: {target}")
        if cell.twin == "down":
            providers.append(f"  b{number}: {target}")
        twin = f"b{number}/m{number}" if cell.twin == "down" else "well/t"
        models.append(f"  c{number}: {{ targets: [a{number}/m{number}, {twin}] }}")
    return config(providers, models)


def call(stack: Stack, number: int, caller: str, cell: Cell) -> Reply:
    """One call; by callers of the format in which the stream is asked for in the path."""
    if cell.tries > 1:
        usual(stack)
    path = PATHS[caller].replace("{model}", f"c{number}")
    if not cell.streamed:
        path = path.replace("streamGenerateContent?alt=sse", "generateContent")
    headers = {"x-quick": "1"} if cell.row.quick else {}
    return stack.post(body(caller, f"c{number}", stream=cell.streamed), path, headers=headers)


@pytest.fixture(scope="module")
def replies(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, dict[str, Reply]]]:
    faults = {f"m{number}": cell.script for number, (_, cell) in enumerate(CASES.values())}
    names = {i.callspec.id for i in request.session.items if hasattr(i, "callspec")}
    with staged(tmp_path_factory.mktemp("callers"), configured, faults) as stack:
        jobs = {
            name: (slow(cell.row), partial(call, stack, number, caller, cell))
            for number, (name, (caller, cell)) in enumerate(CASES.items())
            if name in names
        }
        yield stack, all_of(jobs)


def as_seen(caller: str, cell: Cell) -> Cell:
    """The cell, with what differs for callers of other formats than its row was made for."""
    row, name = cell.row, cell.row.name
    failed = replace(row, status=502, seen=200)
    if name == "call filtered":
        return replace(cell, row=replace(failed, kind=FAILED))
    as_object = caller == GENERATE or (caller == MESSAGES and not cell.streamed)
    if name == "call that is no json" and as_object:  # which shows when the call has begun
        column = "late" if cell.streamed else cell.column
        return replace(cell, column=column, row=replace(failed, kind=WRONG, said=""))
    if row.called and as_object:
        compact = json.dumps(json.loads(row.called), separators=(",", ":"))
        return replace(cell, row=replace(row, called=compact))
    if row.refusal and caller != RESPONSES:
        return replace(cell, row=replace(row, refusal="", answer=row.refusal,
                                         finish="content_filter"))  # fmt: skip
    if caller == row.format == GENERATE and name in OWN_WORDS:
        answer = BEGUN if cell.column == "late" else ""
        relayed = replace(row, kind="", status=200, finish=OWN_WORDS[name], answer=answer)
        return replace(cell, row=relayed)
    return cell


def good(caller: str, reply: Reply, row: Row, *, streamed: bool) -> None:
    """A whole answer, said once, that ends as it has to."""
    assert (reply.status, reply.complete, reply.trouble) == (200, True, "")
    finish = FINISHES[caller].get(row.finish, row.finish)
    called = [row.called] if row.called else []
    expected = Heard(row.answer, row.refusal, called, [finish], 1)
    assert heard(caller, reply, streamed=streamed) == expected


def cut_short(caller: str, reply: Reply, row: Row, *, reported: bool) -> None:
    """A stream that says what it said, then an error in the caller's shape, and no end.

    ``reported``: the provider has told of the error in an event.
    """
    assert (reply.status, reply.complete) == (200, True)
    code: str = row.kind
    if row.format != caller == RESPONSES:
        code = code_of(Failed(kind=ErrorKind(row.kind), message=""))
    if row.format == caller and reported:
        code = THEIRS.get(caller, {}).get(ErrorKind(row.kind), code)
    said_all = row.said == FIRST and caller == row.format == MESSAGES
    finishes = ["end_turn"] if said_all else []
    assert heard(caller, reply, streamed=True) == Heard(row.said, error=code, finishes=finishes)


def refused(caller: str, reply: Reply, row: Row) -> None:
    """An error in the caller's shape."""
    assert (reply.status, reply.header("x-ferryman-error")) == (row.status, row.kind)
    error = reply.json()["error"]
    assert error["message"]
    if caller == GENERATE:
        assert error["status"]
        assert error["code"] == reply.status
    else:
        assert error["type"]
        assert caller == RESPONSES or reply.json()["type"] == "error"


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_each_caller(replies: tuple[Stack, dict[str, Reply]], number: int) -> None:
    stack, found = replies
    name, (caller, cell) = list(CASES.items())[number]
    cell = as_seen(caller, cell)
    reply, row = found[name], cell.row
    if not row.kind:
        good(caller, reply, row, streamed=cell.streamed)
    elif cell.column == "late":
        # the simulator's errors within a stream of responses are those of chats: none of the format
        reported = row.name.startswith("failed") or (bool(row.event) and caller != RESPONSES)
        cut_short(caller, reply, row, reported=reported)
    elif cell.twin == "well" and row.kind not in SURFACED:
        good(caller, reply, Row("well", answer=OTHER), streamed=cell.streamed)
    else:
        refused(caller, reply, row)
    written_down(cell, number, stack.row(reply))
