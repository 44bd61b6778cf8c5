"""Usage as providers report it, turned into disjoint classes."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.catalog.quirks import usage_quirks
from ferryman.ir.errors import ErrorKind
from ferryman.ir.usage import Extras, Usage
from ferryman.ir.usage import counts as counted
from ferryman.wire.openai_chat.relay import read_answer, read_whole
from ferryman.wire.openai_chat.types import WireUsage
from ferryman.wire.openai_chat.usage import MAX_TOKENS, usage_of

CASES: list[tuple[str, dict[str, Any], Usage | None]] = [
    ("openai, chat", {
        "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 192, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    }, Usage(input=86, cache_read=1920, output=108, reasoning=192)),
    ("openai, audio", {
        "prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160,
        "prompt_tokens_details": {"cached_tokens": 0, "text_tokens": 40, "audio_tokens": 60},
        "completion_tokens_details": {"text_tokens": 10, "audio_tokens": 50},
    }, Usage(input=40, audio_input=60, output=10, audio_output=50)),
    ("openai, responses", {
        "input_tokens": 75, "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": 1186, "output_tokens_details": {"reasoning_tokens": 1024},
        "total_tokens": 1261,
    }, Usage(input=11, cache_read=64, output=162, reasoning=1024)),
    ("embeddings", {"prompt_tokens": 8, "total_tokens": 8}, Usage(input=8)),
    ("only a total", {"total_tokens": 8}, Usage(input=8)),
    ("deepseek", {
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36,
    }, Usage(input=36, cache_read=64, output=20)),
    ("moonshot", {
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cached_tokens": 64,
    }, Usage(input=36, cache_read=64, output=20)),
    ("openrouter, writing to a cache", {
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cost": 0.1,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 50},
    }, Usage(input=20, cache_read=30, cache_write=50, output=20)),
    ("null details", {
        "prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }, Usage(input=10, output=5)),
    ("null counts in details", {
        "prompt_tokens": 10, "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": None},
        "completion_tokens_details": {"reasoning_tokens": None},
    }, Usage(input=10, output=5)),
    ("reasoning beside the completion", {
        "prompt_tokens": 10, "completion_tokens": 5,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }, Usage(input=10, output=5, reasoning=100)),
    ("images, of a model that draws", {
        "input_tokens": 50, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        "output_tokens": 30, "output_tokens_details": {"text_tokens": 4, "image_tokens": 26},
        "total_tokens": 80,
    }, Usage(input=10, output=4, extras=Extras(image_input=40, image_output=26))),
    ("images among what was cached", {
        "prompt_tokens": 50, "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 45, "image_tokens": 40},
    }, Usage(cache_read=45, output=3, extras=Extras(image_input=5))),
    ("perplexity", {"prompt_tokens": 9, "completion_tokens": 3, "num_search_queries": 2},
     Usage(input=9, output=3, extras=Extras(searches=2))),
    ("openrouter, searching", {
        "prompt_tokens": 9, "completion_tokens": 3, "server_tool_use": {"web_search_requests": 2},
    }, Usage(input=9, output=3, extras=Extras(searches=2))),
    ("audio by time", {"type": "duration", "seconds": 12.5}, Usage(extras=Extras(audio_ms=12_500))),
    ("no time", {"type": "duration", "seconds": -1}, None),
    ("too much time", {"seconds": 1e300}, None),
    ("zero is a number", {"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
    ("the most", {"prompt_tokens": MAX_TOKENS, "completion_tokens": 0}, Usage(input=MAX_TOKENS)),
    ("nothing", {}, None),
    ("nulls", {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}, None),
    ("negative", {"prompt_tokens": -1, "completion_tokens": 5}, None),
    ("negative output", {"prompt_tokens": 1, "completion_tokens": -5}, None),
    ("more cached than there was", {
        "prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11},
    }, None),
    ("negative cached", {
        "prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": -1},
    }, None),
    ("more audio than there was", {
        "prompt_tokens": 10, "completion_tokens": 5,
        "completion_tokens_details": {"audio_tokens": 6},
    }, None),
    ("too many", {"prompt_tokens": MAX_TOKENS + 1, "completion_tokens": 5}, None),
    ("too much output", {"prompt_tokens": 1, "completion_tokens": 1 << 62}, None),
    ("beyond any number", {"prompt_tokens": 10**30, "completion_tokens": 5}, None),
    ("too much reasoning", {
        "prompt_tokens": 1, "completion_tokens": 5,
        "completion_tokens_details": {"reasoning_tokens": 1 << 41},
    }, None),
]  # fmt: skip


@pytest.mark.parametrize(("said", "usage"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_what_providers_say(said: dict[str, Any], usage: Usage | None) -> None:
    assert usage_of(msgspec.convert(said, WireUsage)) == usage
    body = msgspec.json.encode({"choices": [], "usage": said})
    assert read_whole(body) == (None, usage)


def test_no_usage_is_unknown_and_not_zero() -> None:
    assert usage_of(None) is None
    assert read_whole(b'{"choices":[]}') == (None, None)
    assert read_whole(b'{"choices":[],"usage":null}') == (None, None)


_COUNTS = st.none() | st.integers(-2, 200) | st.sampled_from([MAX_TOKENS, MAX_TOKENS + 1, 10**19])
_INPUT = st.none() | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"), _COUNTS
    ),
)
_OUTPUT = st.none() | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("reasoning_tokens", "audio_tokens", "image_tokens"), _COUNTS)
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": _COUNTS,
            "completion_tokens": _COUNTS,
            "total_tokens": _COUNTS,
            "prompt_tokens_details": _INPUT,
            "completion_tokens_details": _OUTPUT,
            "prompt_cache_hit_tokens": _COUNTS,
            "cached_tokens": _COUNTS,
        },
    )
)
def test_every_token_is_in_one_class(said: dict[str, Any]) -> None:
    usage = usage_of(msgspec.convert(said, WireUsage))
    if usage is None:
        return
    counts = tuple(value for value in counted(usage).values() if isinstance(value, int))
    assert all(0 <= count <= MAX_TOKENS for count in counts)
    given_, made = said.get("prompt_tokens"), said.get("completion_tokens")
    if given_ is None and made is None:
        given_ = said["total_tokens"]
    assert usage.total_input == (given_ or 0)
    beside = usage.reasoning if usage.total_output != (made or 0) else 0
    assert usage.total_output == (made or 0) + beside


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (b'{"prompt_tokens":9.0,"completion_tokens":3.0}', Usage(input=9, output=3)),
        (b'{"prompt_tokens":"9","completion_tokens":"3"}', Usage(input=9, output=3)),
        (b'{"prompt_tokens":9.5}', None),
        (b'{"prompt_tokens":true}', None),
        (b'{"prompt_tokens":{"text":9}}', None),
        (b'"none"', None),
        (b"[1,2]", None),
        (b"12", None),
        (b'{"prompt_tokens":%b}' % (b"9" * 400), None),
    ],
)
def test_a_whole_reply_with_odd_counts_is_still_an_answer(usage: bytes, read: Usage | None) -> None:
    assert read_whole(b'{"choices":[],"usage":%b}' % usage) == (None, read)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"choices":[]}', None),
        (b'{"choices":null}', None),
        (b'{"choi\\u0063es":[{}]}', None),
        (b'{"result":{"choices":[]}}', None),  # some wrap it
        (b'{"choices":[],"usage":"odd"}', None),
        (b'{"usage":{"prompt_tokens":1}}', ErrorKind.UPSTREAM_PROTOCOL),
        (b'{"of":["choices"]}', None),  # better than to refuse an answer
        (b"{}", ErrorKind.UPSTREAM_PROTOCOL),
        (b"[", ErrorKind.UPSTREAM_PROTOCOL),
        (b'{"error":{"message":"x"}}', ErrorKind.UPSTREAM_ERROR),
    ],
)
def test_a_completion_has_choices(body: bytes, kind: ErrorKind | None) -> None:
    assert read_answer(body)[0] == kind


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"text"', b"12", b"<html></html>", b'{"choices":[', b'{"a":1}}', b"\xff",
     b'{"\xff":1,"usage":"odd"}', b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"data:"],
)  # fmt: skip
def test_what_is_no_answer(body: bytes) -> None:
    assert read_whole(body) == (ErrorKind.UPSTREAM_PROTOCOL, None)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error":{"message":"boom"}}', ErrorKind.UPSTREAM_ERROR),
        (b'{"error":"boom","usage":null}', ErrorKind.UPSTREAM_ERROR),
        (b'{"error":{"message":"slow down","code":429}}', ErrorKind.UPSTREAM_RATE_LIMIT),
        (b'{"error":{"code":"context_length_exceeded"}}', ErrorKind.CONTEXT_TOO_LONG),
        (b'{"error":{"message":"x"},"choices":[]}', None),
        (b'{"error":{"message":"x"},"object":"response","output":[]}', None),
        (b'{"error":null,"usage":null}', None),
        (b'{"error":{}}', None),
    ],
)
def test_an_error_with_status_200_is_an_error(body: bytes, kind: ErrorKind | None) -> None:
    assert read_whole(body) == (kind, None)


def test_quirks_of_a_provider_say_how_usage_is_read() -> None:
    body = b'{"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":20}}'
    quirks = usage_quirks(("reasoning_beside_completion",))
    assert read_whole(body, quirks) == (None, Usage(input=9, output=3, reasoning=8))
    assert read_whole(b'{"usage":"odd"}', quirks) == (None, None)
