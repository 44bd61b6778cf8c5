"""Streams of the generateContent format, cut anywhere, and whole answers: the same."""

from itertools import pairwise
from typing import Any

from hypothesis import given as examples
from hypothesis import strategies as st

from ferryman.ir.fold import fold
from tests.wire.generate import CLIENT, context, events_of, parts, plain, sse
from tests.wire.generate_answers import (
    PNG,
    decoded,
    encoded,
)

_part = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=6),
        "thought": st.booleans(),
        "thoughtSignature": st.sampled_from(["c2ln", "Zm0xOmE6Yg==", "Zm0xO!"]),
        "functionCall": st.fixed_dictionaries({"name": st.just("f"), "args": st.just({"a": 1})}),
        "inlineData": st.just(PNG),
        "executableCode": st.just({"code": "1"}),
    },
)


@examples(st.lists(st.lists(_part, max_size=3), min_size=1, max_size=8), st.randoms())
def test_streams_and_whole_answers_come_to_the_same(said: list[list[Any]], chance: Any) -> None:
    pieces = [parts(*some) for some in said]
    pieces[-1]["candidates"][0]["finishReason"] = "STOP"
    everything = parts(*[part for some in said for part in some], finishReason="STOP")
    data = sse(*pieces)
    cuts = sorted(chance.randrange(len(data)) for _ in range(5))
    places = [0, *cuts, len(data)]
    events = events_of([data[a:b] for a, b in pairwise(places)])
    folded = fold(events)
    assert plain(folded) == plain(decoded(everything))
    assert plain(fold(events_of([encoded(events)]))) == plain(folded)
    assert plain(decoded(CLIENT.encode_reply(folded, context()))) == plain(folded)
