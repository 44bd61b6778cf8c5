"""Anything at all: nothing breaks a decoder of the generateContent format."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given as examples
from hypothesis import strategies as st

from ferryman.ir.errors import GatewayError
from ferryman.ir.fold import fold, unfold
from ferryman.ir.receipt import Receipt
from ferryman.wire.format import ReplyError
from tests.wire.generate import AIM, CLIENT, PROVIDER, ask, context, events_of, parts, plain, sse
from tests.wire.generate_answers import (
    PNG,
    decoded,
    encoded,
)
from tests.wire.turns import checked

_NAMES = [
    "candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall",
    "name", "args", "id", "finishReason", "index", "usageMetadata", "promptTokenCount",
    "groundingMetadata", "groundingChunks", "web", "uri", "groundingSupports", "segment",
    "endIndex", "groundingChunkIndices", "logprobsResult", "chosenCandidates", "token",
    "inlineData", "data", "mimeType", "executableCode", "promptFeedback", "blockReason",
    "error", "message", "contents", "role", "functionResponse", "response", "generationConfig",
    "tools", "functionDeclarations", "parameters", "fileData", "fileUri", "output",
]  # fmt: skip
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
    | st.sampled_from(["STOP", "MAX_TOKENS", "AUDIO", "c2ln", "u"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            _NAMES
        ), inner, max_size=5),
    max_leaves=30,
)  # fmt: skip


@examples(st.lists(_json | st.binary(max_size=20), max_size=6), st.integers(1, 40))
def test_no_stream_breaks_the_decoder_or_the_grammar(said: list[Any], step: int) -> None:
    data = sse(*said)
    events = events_of([data])
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    assert plain(events_of(pieces)) == plain(events)


@examples(_json | st.binary(max_size=40))
def test_no_reply_breaks_the_decoder(said: Any) -> None:
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    try:
        found = PROVIDER.decode_reply(data)
    except ReplyError:
        return
    checked(unfold(found))


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


_request = st.fixed_dictionaries(
    {"contents": st.lists(
        st.fixed_dictionaries({"parts": st.lists(_part, max_size=3)},
                              optional={"role": st.sampled_from(["user", "model", "x"])}),
        max_size=4) | _json},
    optional={"tools": _json, "generationConfig": _json, "systemInstruction": _json},
)  # fmt: skip


@examples(_request | _json | st.binary(max_size=40))
def test_no_request_breaks_the_reader(said: Any) -> None:
    body = said if isinstance(said, bytes) else json.dumps(said, separators=(",", ":")).encode()
    try:
        found = CLIENT.decode_request(body, "gemini-2.5-flash", False)
    except GatewayError as error:
        assert error.status == 400
        return
    body = PROVIDER.encode_request(found, AIM, Receipt())
    if b'"contents":[]' not in body:  # a request that asks nothing is for the provider to refuse
        again = ask(body)
        assert plain(again.tools) == plain(found.tools)
        assert plain(again.reasoning) == plain(found.reasoning)
