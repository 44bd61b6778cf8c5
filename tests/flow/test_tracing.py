"""Trace context: taken in by the rules of the standard, passed on, and kept in the record."""

import re
from pathlib import Path

import pytest

from ferryman.flow.tracing import trace_of
from ferryman.telemetry.record import Trace
from tests.gateway import CONFIG, Stack

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{ID}-{SPAN}-01"


@pytest.mark.parametrize(
    ("parent", "flags"),
    [
        (PARENT, 1),
        (f"00-{ID}-{SPAN}-00", 0),
        (f"00-{ID}-{SPAN}-ff", 3),
        (f"cc-{ID}-{SPAN}-01", 1),
        (f"cc-{ID}-{SPAN}-01-what-the-future-brings", 1),
        (f" {PARENT}\t", 1),
        ("", None),
        (f"ff-{ID}-{SPAN}-01", None),
        (f"{PARENT}-more", None),
        (f"{PARENT},{PARENT}", None),
        (PARENT.upper(), None),
        (f"00-{ID[:-1]}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{ID}-{'0' * 16}-01", None),
        (f"00-{ID}-{SPAN}-1", None),
        (f"cc-{ID}-{SPAN}-01.what", None),
        (f"00-{ID}-{SPAN}-0é", None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(parent: str, flags: int | None) -> None:
    found = trace_of(parent.encode(), b"")
    assert found == (None if flags is None else Trace(ID, SPAN, flags))


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61", "rojo=00f067aa0ba902b7,congo=t61"),
        (" a=1 ,, b@c=x y,", "a=1,b@c=x y"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a=1,b", ""),
        ("a=é", ""),
        (",".join(f"k{i}=1" for i in range(32)), ",".join(f"k{i}=1" for i in range(32))),
        (",".join(f"k{i}=1" for i in range(33)), ""),
        ("a=" + "x" * 600, ""),
    ],
)
def test_a_bad_tracestate_is_left_out_alone(state: str, kept: str) -> None:
    assert trace_of(PARENT.encode(), state.encode()) == Trace(ID, SPAN, 1, kept)


def test_a_provider_learns_of_the_trace_and_of_the_attempt_in_it(stack: Stack) -> None:
    def passed(**headers: str) -> tuple[str, str, str]:
        assert stack.chat("lab/sim", headers=headers).status == 200
        seen = stack.last_headers()
        names = ("traceparent", "tracestate", "baggage")
        first, second, third = (seen.get(name, "") for name in names)
        return first, second, third

    spans = set()
    for _ in range(2):
        parent, state, baggage = passed(traceparent=PARENT, tracestate="a=1", baggage="who=me")
        found = re.fullmatch(rf"00-{ID}-([0-9a-f]{{16}})-01", parent)
        assert found
        assert (state, baggage) == ("a=1", "")
        spans.add(found[1])
    assert len(spans | {SPAN}) == 3, "each attempt is a span of its own"
    assert passed(traceparent="00-bad", tracestate="a=1") == ("", "", "")
    assert passed(tracestate="a=1") == ("", "", "")


def test_what_providers_learn_is_up_to_the_configuration(tmp_path: Path) -> None:
    off = f"telemetry: {{ traceparent: false, baggage: true }}\n{CONFIG}"
    with Stack(tmp_path, off).served() as stack:
        sent = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "who=me"}
        assert stack.chat("lab/sim", headers=sent).status == 200
        seen = stack.last_headers()
        assert "traceparent" not in seen
        assert "tracestate" not in seen
        assert seen["baggage"] == "who=me"
