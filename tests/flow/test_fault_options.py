"""What a model's ``retry_empty``, ``hedge`` and ``on_content_filter`` make of faults, exactly.

By callers of OpenAI's chat, of providers of each format; ``rescue`` has a file of its own.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.flow.fault_readers import Heard, heard
from tests.flow.fault_rows import (
    CHAT,
    COHERE,
    CONVERSE,
    FILTERED,
    FIRST,
    GENERATE,
    LIMITED,
    MESSAGES,
    OTHER,
    RESPONSES,
    SHORT,
    Row,
    Script,
)  # fmt: skip
from tests.flow.fault_stack import USUAL, all_of, config, provider, staged, usual
from tests.gateway import Stack, error_of
from tests.simulator.wire import Reply

FORMATS = (CHAT, MESSAGES, GENERATE, CONVERSE, COHERE, RESPONSES)
EMPTY, BEATEN = "upstream_empty_answer", "superseded"
Tries = list[tuple[str, str, int]]


@dataclass(frozen=True)
class Case:
    """One call of a model with two targets, ``a`` and ``b``; the first one's format is given."""

    name: str
    option: str
    first: str
    second: str
    """How both behave."""
    tries: Tries
    answer: str = OTHER
    finish: str = "stop"
    error: str = ""
    """The code that the caller gets instead, with ``status``."""
    status: int = 200
    format: str = CHAT
    stream: bool = False

    @property
    def ident(self) -> str:
        return f"{self.name}-{self.format}-{'stream' if self.stream else 'whole'}".replace(" ", "-")


WELL, LIMIT = "unicode,tokens=6", "429,retry-after=20"
RETRY, FILTER, HEDGE = "retry_empty: true", "on_content_filter: bN/nN", "hedge: 300ms"
LATER = "delay=3000,tokens=6"
REFUSES = (CHAT, MESSAGES, GENERATE, RESPONSES)
"""Formats with a refusal; elsewhere it is text like any other."""
BY_STATUS = (CHAT, RESPONSES, MESSAGES, CONVERSE)
"""Where a prompt that the filter stops gets an error."""
BY_FINISH = (CHAT, GENERATE, CONVERSE, RESPONSES)
"""Where an answer can end in a word for the filter."""
DONE, SPENT = ("b", "", 200), ("b", LIMITED, 429)


def cases(format_: str, *, stream: bool) -> Iterator[Case]:
    """The cases of one provider's format."""
    case = partial(Case, format=format_, stream=stream)
    empty, filtered = ("a", EMPTY, 200), ("a", FILTERED, 200)
    yield case("empty, then well", RETRY, "tokens=0", WELL, [empty, DONE])
    if not stream:  # in a stream thoughts are on their way by then, and words of a refusal
        yield case("thoughts, then well", RETRY, "think,tokens=0", WELL, [empty, DONE])
    if format_ in REFUSES and not (stream and format_ == MESSAGES):
        yield case("refusal, then well", RETRY, "refusal", WELL, [empty, DONE])
    yield case("empty twice", RETRY, "tokens=0", "tokens=0", [empty, ("b", EMPTY, 200)], "")
    yield case("empty, then failing", RETRY, "tokens=0", LIMIT, [SPENT, empty], "")
    yield case("failing, then empty", RETRY, LIMIT, "tokens=0",
               [("a", LIMITED, 429), ("b", EMPTY, 200)], "")  # fmt: skip
    if format_ in BY_STATUS:
        stopped = ("a", FILTERED, 400)
        yield case("prompt filtered, then well", FILTER, "filter", WELL, [stopped, DONE])
        yield case("prompt filtered, then failing", FILTER, "filter", LIMIT, [stopped, SPENT],
                   error=LIMITED, status=429)  # fmt: skip
        yield case("prompt filtered twice", FILTER, "filter", "filter",
                   [stopped, ("b", FILTERED, 400)], error=FILTERED, status=400)  # fmt: skip
    if format_ in BY_FINISH:
        words = "filtered,tokens=0"
        yield case("answer filtered, then well", FILTER, words, WELL, [filtered, DONE])
        yield case("answer filtered, then failing", FILTER, words, LIMIT, [SPENT, filtered], "",
                   "content_filter")  # fmt: skip
        if stream and format_ == CHAT:
            yield case("filtered after its first words", FILTER, "filtered,tokens=6", WELL,
                       [("a", "", 200)], FIRST, "content_filter")  # fmt: skip
    yield case("slow, then well", HEDGE, LATER, WELL, [("a", BEATEN, 0), DONE])
    yield case("slow, then failing", HEDGE, LATER, LIMIT, [SPENT, ("a", "", 200)], FIRST)
    yield case("slow, then cut", HEDGE, LATER, "cut,at=0,tokens=6,at-byte=0",
               [("b", SHORT, 200), ("a", "", 200)], FIRST)  # fmt: skip
    yield case("slow and failing, then failing", HEDGE, f"{LIMIT},delay=900", LIMIT,
               [("a", LIMITED, 429), SPENT], error=LIMITED, status=429)  # fmt: skip
    yield case("failing, then well", HEDGE, LIMIT, WELL, [("a", LIMITED, 429), DONE])
    if stream:
        silent = "ttft=3000,keep-alive=50,tokens=6"
        yield case("comments only, then well", HEDGE, silent, WELL, [("a", BEATEN, 200), DONE])


CASES = {
    case.ident: case
    for stream in (False, True)
    for format_ in FORMATS
    for case in cases(format_, stream=stream)
}


def configured(deaf: str) -> str:
    providers, models = [], []
    for number, case in enumerate(CASES.values()):
        for letter, format_ in (("a", case.format), ("b", CHAT)):
            settings = provider(Row(case.name, format=format_), deaf)
            providers.append(f"  {letter}{number}: {settings}")
        second = "" if case.option == FILTER else f", b{number}/n{number}"
        option = case.option.replace("N", str(number))
        models.append(f"  c{number}: {{ targets: [a{number}/m{number}{second}], {option} }}")
        everyone = f"well/t, a{number}/m{number}, b{number}/n{number}"
        models.append(f"  p{number}: {{ targets: [{everyone}] }}")
    return config(providers, models)


Outcome = tuple[Reply, dict[str, str]]
"""The call's reply, and who rests afterwards, and why."""


def call(stack: Stack, number: int, case: Case) -> Outcome:
    usual(stack, 2 * USUAL)  # hedges may have half of the further attempts
    reply = stack.chat(f"c{number}", stream=case.stream)
    headers = {"x-ferryman-explain": "1"}
    told = stack.chat(f"p{number}", headers=headers).header("x-ferryman-explain")
    considered = json.loads(told or "")["considered"]
    return reply, {one["target"][0]: one["because"] for one in considered if "because" in one}


@pytest.fixture(scope="module")
def replies(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, dict[str, Outcome]]]:
    faults: dict[str, Script] = {}
    for number, case in enumerate(CASES.values()):
        faults |= {f"m{number}": case.first, f"n{number}": case.second}
    names = {i.callspec.id for i in request.session.items if hasattr(i, "callspec")}
    with staged(tmp_path_factory.mktemp("options"), configured, faults) as stack:
        yield stack, all_of({
            name: ("3000" in case.first, partial(call, stack, number, case))
            for number, (name, case) in enumerate(CASES.items()) if name in names
        })  # fmt: skip


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_options(replies: tuple[Stack, dict[str, Outcome]], number: int) -> None:
    stack, found = replies
    name, case = list(CASES.items())[number]
    reply, resting = found[name]
    assert resting == {who: kind for who, kind, _ in case.tries if kind == LIMITED}
    record = stack.row(reply)
    tries = [(t["provider"][0], t["error"], t["status"]) for t in record["tries"]]
    assert tries == case.tries
    assert record["attempts"] == len(case.tries)
    assert reply.header("x-ferryman-attempts") == str(len(case.tries))
    assert (record["status"], record["error"]) == (case.status, case.error or None)
    if case.error:
        assert (reply.status, reply.header("x-ferryman-error")) == (case.status, case.error)
        assert error_of(reply)
        return
    assert (reply.status, reply.complete, reply.trouble) == (200, True, "")
    expected = Heard(case.answer, finishes=[case.finish], ends=1)
    assert heard(CHAT, reply, streamed=case.stream) == expected
