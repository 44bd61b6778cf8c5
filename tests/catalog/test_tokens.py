"""Estimates of tokens, their calibration, and conversations made to fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ferryman.catalog.shorten import shorten
from ferryman.catalog.tokens import BYTES_PER_TOKEN, Gauge, estimate, text_bytes
from ferryman.ir.request import (
    Media,
    MediaKind,
    Message,
    Request,
    Role,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)


def says(role: Role, text: str) -> Message:
    return Message(role=role, blocks=(Text(text=text),))


def asks(*messages: Message, tools: tuple[Tool, ...] = ()) -> Request:
    return Request(model="m", messages=messages, tools=tools)


def test_a_gauge_learns_the_ratio_that_a_provider_reports() -> None:
    gauge = Gauge()
    assert gauge.observe(3000, 1000) == pytest.approx(3000 / BYTES_PER_TOKEN / 1000)
    for _ in range(50):
        gauge.observe(3000, 1000)
    assert gauge.tokens(3000) == pytest.approx(1000, rel=0.01)


def test_short_calls_and_mad_counts_teach_it_little() -> None:
    gauge = Gauge()
    gauge.observe(100, 90)
    assert gauge.bytes_per_token == BYTES_PER_TOKEN
    gauge.observe(1000, 10**9)
    assert gauge.bytes_per_token == 1.0


def test_everything_that_the_model_reads_is_counted() -> None:
    request = asks(
        says(Role.SYSTEM, "a" * 100),
        Message(role=Role.ASSISTANT, blocks=(ToolCall(id="1", name="f", arguments="b" * 50),)),
        Message(role=Role.USER, blocks=(ToolResult(call_id="1", blocks=(Text(text="ü" * 10),)),)),
        tools=(Tool(name="f", description="d" * 30, parameters=Raw(b"{}")),),
    )
    size, _ = text_bytes(request)
    assert size == 100 + 1 + 50 + 20 + 1 + 30 + 2


@pytest.mark.parametrize("kind", MediaKind)
def test_media_count_by_what_they_are_not_by_their_base64(kind: MediaKind) -> None:
    data = "A" * 4_000_000
    medium = Media(kind=kind, source=Source(media_type="x/y", data=data))
    tokens = estimate(asks(Message(role=Role.USER, blocks=(medium,))), Gauge())
    assert 100 < tokens < 200_000


def test_the_middle_goes_first_and_both_ends_stay() -> None:
    middle = [says(Role.USER, f"{n} " + "x" * 400) for n in range(40)]
    first, last = says(Role.USER, "the task"), says(Role.USER, "the question")
    request = asks(says(Role.SYSTEM, "rules"), first, *middle, last)
    found = shorten(request, Gauge(), 1500)
    assert found is not None
    shorter, left_out = found
    kept = shorter.messages
    assert kept[:2] == request.messages[:2]
    assert kept[-1] == last
    assert kept[2:-1] == tuple(middle[left_out:])  # the latest of the middle
    assert estimate(shorter, Gauge()) <= 1500 < estimate(request, Gauge())


def test_a_result_never_stays_without_its_call() -> None:
    call = Message(role=Role.ASSISTANT, blocks=(ToolCall(id="1", name="f", arguments="{}"),))
    result = Message(role=Role.USER, blocks=(ToolResult(call_id="1", blocks=(Text(text="r"),)),))
    filler = says(Role.ASSISTANT, "y" * 2000)
    request = asks(says(Role.USER, "task"), filler, call, result, says(Role.USER, "and?"))
    for room in range(20, 600, 20):
        found = shorten(request, Gauge(), room)
        if found is not None:
            kept = found[0].messages
            assert (call in kept) == (result in kept)


def test_what_cannot_fit_is_not_pretended_to() -> None:
    assert shorten(asks(says(Role.USER, "z" * 9000), says(Role.USER, "?")), Gauge(), 100) is None


@given(st.lists(st.text(max_size=300), max_size=12), st.integers(1, 500))
def test_what_is_left_fits_and_keeps_its_order(texts: list[str], room: int) -> None:
    request = asks(*(says(Role.USER, text) for text in ["first", *texts]))
    found = shorten(request, Gauge(), room)
    if found is not None:
        shorter, left_out = found
        assert estimate(shorter, Gauge()) <= room
        assert len(shorter.messages) + left_out == len(request.messages)
        rest = iter(request.messages)
        assert all(message in rest for message in shorter.messages)
