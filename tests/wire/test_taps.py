"""Relayed streams: what goes on, what is held back, and what is noted, however the bytes come."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from ferryman.catalog.quirks import usage_quirks
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Failed
from ferryman.ir.usage import Usage
from ferryman.wire.framing import only_alive
from ferryman.wire.openai_chat.relay import ChatTap
from ferryman.wire.openai_responses.relay import ResponsesTap
from ferryman.wire.tap import StreamTap


class Heard(NamedTuple):
    """What a tap made of a stream."""

    relayed: bytes
    ending: bytes
    done: bool
    failure: Failed | None
    usage: Usage | None
    content: bool


def hear(tap: StreamTap, pieces: list[bytes], *, closed: bool = True) -> Heard:
    out = b"".join([tap.feed(piece) for piece in pieces])
    if closed:
        tap.close()
    return Heard(out, tap.ending, tap.done, tap.failure, tap.usage, tap.content)


def listen(make: Callable[[], StreamTap], data: bytes) -> Heard:
    """What a tap hears; fails unless every cut of the bytes gives the same."""
    whole = hear(make(), [data])
    assert hear(make(), [bytes([byte]) for byte in data]) == whole
    for cut in range(1, len(data)):
        assert hear(make(), [data[:cut], data[cut:]]) == whole, data[:cut]
    return whole


def chat(
    *events: bytes | dict[str, Any], hide: bool = False, quirks: tuple[str, ...] = ()
) -> Heard:
    """A chat stream; dicts become events of compact JSON."""
    data = b"".join(e if isinstance(e, bytes) else event(e) for e in events)
    return listen(lambda: ChatTap(hide_usage=hide, quirks=usage_quirks(quirks)), data)


def responses(*events: bytes | dict[str, Any]) -> Heard:
    data = b"".join(e if isinstance(e, bytes) else event(e) for e in events)
    return listen(lambda: ResponsesTap(hide_usage=False), data)


def event(fields: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(fields, separators=(",", ":")).encode()


def says(**delta: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


ROLE = says(role="assistant", content="", refusal=None)
TEXT = says(content="Hi")
STOP = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
COUNTS = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
LAST = {"id": "c", "choices": [], "usage": COUNTS}
DONE = b"data: [DONE]\n\n"
USED = Usage(input=9, output=3)


def test_a_plain_stream_goes_through_and_its_end_is_held_back() -> None:
    heard = chat(ROLE, TEXT, STOP, DONE)
    assert heard.relayed == event(ROLE) + event(TEXT) + event(STOP)
    assert (heard.ending, heard.done, heard.failure, heard.usage) == (DONE, True, None, None)


@pytest.mark.parametrize("hide", [True, False])
def test_the_usage_chunk_is_hidden_from_those_who_did_not_ask(hide: bool) -> None:
    heard = chat(ROLE, TEXT, STOP, LAST, DONE, hide=hide)
    assert heard.usage == USED
    assert heard.relayed == event(ROLE) + event(TEXT) + event(STOP) + (b"" if hide else event(LAST))


@pytest.mark.parametrize(
    "chunk",
    [
        STOP | {"usage": COUNTS},
        TEXT | {"usage": COUNTS},
        STOP | {"usage": None, "x_groq": {"id": "r", "usage": COUNTS}},
        STOP | {"x_groq": {"id": "r", "usage": COUNTS}},
    ],
)
def test_usage_beside_content_is_read_and_never_hidden(chunk: dict[str, Any]) -> None:
    heard = chat(ROLE, TEXT, chunk, DONE, hide=True)
    assert heard.usage == USED
    assert event(chunk) in heard.relayed


def test_usage_in_every_chunk_counts_once_as_the_last_says() -> None:
    growing = [TEXT | {"usage": COUNTS | {"completion_tokens": n}} for n in (0, 1, 2)]
    assert chat(ROLE, *growing, STOP | {"usage": COUNTS}, DONE).usage == USED
    assert chat(*growing, STOP | {"usage": None}, DONE).usage == Usage(input=9, output=2)


def test_null_usage_is_none() -> None:
    nothing = [chunk | {"usage": None} for chunk in (ROLE, TEXT, STOP)]
    heard = chat(*nothing, DONE, hide=True)
    assert heard.usage is None
    assert heard.relayed == b"".join(map(event, nothing))


def test_words_of_the_format_within_the_text_mean_nothing() -> None:
    texts = ['"usage":{"prompt_tokens":1}', "[DONE]", "data: [DONE]\n\n", '{"error":{"message":1}}',
             "usage", "error"]  # fmt: skip
    chunks = [says(content=text) for text in texts]
    heard = chat(*chunks, LAST, DONE, hide=True)
    assert heard.relayed == b"".join(map(event, chunks))
    assert (heard.failure, heard.done, heard.usage) == (None, True, USED)


def test_after_the_end_nothing_is_relayed() -> None:
    heard = chat(TEXT, DONE, TEXT, DONE, b": late\n\n")
    assert heard.relayed == event(TEXT)
    assert heard.ending == DONE


@pytest.mark.parametrize(
    "ending",
    [b"data: [DONE]\r\n\r\n", b"data:[DONE]\n\n", b"data: [DONE] \n\n", b"data: [DONE]\r\n\n",
     b"event: done\ndata: [DONE]\n\n", b": bye\ndata: [DONE]\n\n", b"\xef\xbb\xbfdata: [DONE]\n\n"],
)  # fmt: skip
def test_the_end_in_other_spellings_is_kept_as_spelt(ending: bytes) -> None:
    heard = chat(TEXT, ending)
    assert (heard.done, heard.ending, heard.relayed) == (True, ending, event(TEXT))


@pytest.mark.parametrize("last", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r\r"])
def test_an_end_without_its_blank_line_counts_once_the_body_is_complete(last: bytes) -> None:
    tap = ChatTap(hide_usage=False)
    assert not hear(tap, [event(TEXT), last], closed=False).done
    tap.close()
    assert tap.done
    assert tap.ending.startswith(last)
    assert tap.ending.endswith((b"\n\n", b"\r\r"))


@pytest.mark.parametrize(
    "rest", [b"data: [DON", b'data: {"choices":[{"delta":{"cont', b": bye", b"dat"]
)
def test_half_an_event_is_neither_relayed_nor_content(rest: bytes) -> None:
    heard = chat(ROLE, rest)
    assert (heard.relayed, heard.done, heard.content) == (event(ROLE), False, False)
    assert chat(TEXT, rest).relayed == event(TEXT)


ERRORS = [
    {"error": {"message": "boom", "type": "server_error", "code": None}},
    {"error": "boom"},
    {"id": "c", "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
     "error": {"code": 502, "message": "boom"}},
    {"object": "error", "message": "boom", "type": "BadRequestError", "code": 400},
    {"error": {"message": "boom"}, "usage": "odd"},
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("before", [[], [ROLE], [ROLE, TEXT]])
def test_an_error_event_ends_the_relay(error: dict[str, Any], before: list[dict[str, Any]]) -> None:
    heard = chat(*before, error, TEXT, DONE)
    assert heard.failure is not None
    assert heard.failure.message == "boom"
    assert heard.relayed == b"".join(map(event, before))
    assert not heard.done
    assert heard.content == (TEXT in before)
    named = chat(*before, b"event: error\n" + event(error), DONE)
    assert named.failure == heard.failure


@pytest.mark.parametrize("empty", [None, "", {}, [], False])
def test_an_empty_error_is_none(empty: Any) -> None:
    assert chat(TEXT | {"error": empty}, DONE).done


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a"}, {"role": "assistant", "content": "a"}, {"reasoning_content": "a"},
        {"reasoning": "a"}, {"refusal": "a"}, {"tool_calls": [{"index": 0, "id": "x"}]},
        {"audio": {"id": "x", "data": "AAAA"}}, {"function_call": {"name": "f"}},
        {"content": [{"type": "text", "text": "a"}]}, {"images": [{"image_url": "data:"}]},
    ],
)  # fmt: skip
def test_what_counts_as_content(delta: dict[str, Any]) -> None:
    tap = ChatTap(hide_usage=False)
    assert not hear(tap, [event(ROLE), b": wait\n\n"], closed=False).content
    assert hear(tap, [event(says(**delta))], closed=False).content


@pytest.mark.parametrize(
    "opening",
    [
        b": OPENROUTER PROCESSING\n\n", b"event: ping\n\n", event(ROLE), event(says()),
        event(says(role="assistant")), event(says(content=None)), event(LAST),
        event(says(role="assistant", content="", tool_calls=[], reasoning=None)),
        event({"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        event({"choices": None}), event({}), event({"choices": [{"text": "", "index": 0}]}),
    ],
)  # fmt: skip
def test_what_does_not_count_as_content(opening: bytes) -> None:
    heard = hear(ChatTap(hide_usage=False), [opening], closed=False)
    assert not heard.content
    assert heard.relayed == opening, "it goes on in its place once there is content"


@pytest.mark.parametrize("chunk", [STOP, {"choices": [{"text": "a", "index": 0}]}])
def test_an_end_and_plain_text_count_as_content(chunk: dict[str, Any]) -> None:
    assert hear(ChatTap(hide_usage=False), [event(chunk)], closed=False).content


@pytest.mark.parametrize(
    "odd",
    [
        b'data: "text"\n\n', b"data: [1]\n\n",
        b'data: {"choices":"text"}\n\n', b'data: {"choices":[{"delta":"text"}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
        b'data: {"choices":[{"text":"\xff"}]}\n\n', b'data: {"object":"\xff"}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n',
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [ChatTap, ResponsesTap])
def test_what_cannot_be_read_is_relayed_as_it_is(odd: bytes, make: type[StreamTap]) -> None:
    heard = hear(make(hide_usage=True), [odd, event(TEXT)])
    assert heard.relayed == odd + event(TEXT)
    assert heard.content
    assert not heard.done


@pytest.mark.parametrize(
    "broken",
    [
        b"data: not json\n\n", b"data: {\n\n", b'data: {"choices":[{"delta":{"con\n\n',
        b'event: x\ndata: {"a":\n\n', b'data: {"a":1}}\r\n\r\n', b'data: {"a"\ndata: 1}\n\n',
        b'data: {"a":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [ChatTap, ResponsesTap])
def test_a_broken_event_is_left_out_and_a_second_one_ends_the_stream(
    broken: bytes, make: type[StreamTap]
) -> None:
    good = event({"type": "response.output_text.delta", **TEXT})

    def told(*events: bytes) -> Heard:
        data, new = b"".join(events), lambda: make(hide_usage=False)
        return listen(new, data) if len(data) < 2000 else hear(new(), [data])

    once = told(good, broken, good, good)
    assert (once.relayed, once.failure, once.content) == (good * 3, None, True)
    twice = told(good, broken, good, broken, good)
    assert twice.relayed == good * 2
    assert twice.failure is not None
    assert twice.failure.kind is ErrorKind.UPSTREAM_PROTOCOL
    assert not twice.done
    early = told(broken, broken, good)
    assert not early.content, "nothing was said: another target may be asked"
    assert early.failure is not None


def test_two_events_that_would_be_one_are_looked_at_each() -> None:
    torn = b'data: {\r\rdata: "a":1}\n\n'  # blank lines of CRs, which end an event too
    pieces = [event(ROLE), event(TEXT), torn, event(STOP), DONE]
    failed = chat(*pieces)
    assert failed.failure is not None
    assert failed.relayed == event(ROLE) + event(TEXT)
    assert hear(ChatTap(hide_usage=False), pieces) == failed


def test_an_error_event_without_json_is_an_error() -> None:
    heard = chat(TEXT, b"event: error\ndata: Out of memory\n\n", TEXT)
    assert heard.relayed == event(TEXT)
    assert heard.failure == Failed(kind=ErrorKind.UPSTREAM_ERROR, message="Out of memory")


@pytest.mark.parametrize(
    ("data", "quiet"),
    [
        (b": OPENROUTER PROCESSING\n\n", True), (b":\n\n: x\n\n", True), (b"\n\n\n", True),
        (b'event: ping\ndata: {"type": "ping"}\n\n', True), (b"\r\n\r\n", True),
        (b'data: {"type": "ping"}\n\n', True), (b": cut he", True), (b": a\n\n: b", True),
        (b": a\ndata: {}\n\n", False), (b"data: {}\n\n", False), (b': a\n\ndata: {"a', False),
        (b": a\r\rdata: 1\r\r", False), (b"event: pong\ndata: {}\n\n", False), (b"\x00", False),
        (b'event: ping\ndata: {"type": "ping"}\n\nevent: x\n\n', False),
    ],
)  # fmt: skip
def test_what_only_keeps_a_connection_open(data: bytes, quiet: bool) -> None:
    assert only_alive(data) is quiet


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 9.0, "completion_tokens": 3.0}, USED),
        ({"prompt_tokens": "9", "completion_tokens": "3"}, USED),
        ({"prompt_tokens": "many"}, None),
        ({"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": "none"}, None),
        ([9, 3], None),
        ("12", None),
        ({"prompt_tokens": -1}, None),
        ({}, None),
    ],
)
def test_a_usage_chunk_with_odd_counts_is_hidden_all_the_same(counts: Any, usage: Any) -> None:
    heard = chat(TEXT, {"choices": [], "usage": counts}, DONE, hide=True)
    assert (heard.usage, heard.relayed, heard.done) == (usage, event(TEXT), True)


def test_comments_fields_and_other_line_ends_go_through_untouched() -> None:
    data = (
        b'\xef\xbb\xbf: hello\r\n\r\nid: 1\r\nevent: x\r\ndata: {"choices":\r\ndata: []}\r\n\r\n'
        + event(TEXT).replace(b"\n", b"\r\n")
        + b": note\r\n\r\n\r\n\r\nretry: 5\r\n\r\n"
    )
    heard = chat(data + b"data: [DONE]\r\n\r\n", hide=True)
    assert heard.relayed == data
    assert heard.ending == b"data: [DONE]\r\n\r\n"


def test_quirks_of_a_provider_say_how_usage_is_read() -> None:
    beside = COUNTS | {"total_tokens": 20}
    heard = chat(TEXT, LAST | {"usage": beside}, DONE, quirks=("reasoning_beside_completion",))
    assert heard.usage == Usage(input=9, output=3, reasoning=8)
    choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": COUNTS}
    assert chat(TEXT, {"choices": [choice]}, DONE, quirks=("usage_in_choice",)).usage == USED


# -- responses ------------------------------------------------------------------------------------


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "sequence_number": 1, **fields}


CREATED = typed("response.created", response={"id": "r", "error": None, "usage": None})
DELTA = typed("response.output_text.delta", delta="Hi")
NEW_COUNTS = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}


def ending(kind: str, **fields: Any) -> bytes:
    body = typed(f"response.{kind}", response={"id": "r", "usage": NEW_COUNTS, **fields})
    return b"event: response.%b\n%b" % (kind.encode(), event(body))


@pytest.mark.parametrize("kind", ["completed", "incomplete"])
def test_responses_end_in_an_event_of_their_own(kind: str) -> None:
    heard = responses(CREATED, DELTA, ending(kind))
    assert heard.relayed == event(CREATED) + event(DELTA)
    assert (heard.ending, heard.done, heard.usage) == (ending(kind), True, USED)


def test_an_odd_usage_does_not_hide_the_end() -> None:
    end = ending("completed", usage={"input_tokens": "?"})
    heard = responses(CREATED, DELTA, end)
    assert (heard.ending, heard.done, heard.usage) == (end, True, None)


@pytest.mark.parametrize(
    "failure",
    [
        ending("failed", error={"code": "server_error", "message": "boom"}),
        b"event: error\n" + event(typed("error", code="server_error", message="boom")),
        event(typed("error", error={"message": "boom"})),
    ],
)
@pytest.mark.parametrize("before", [[CREATED], [CREATED, DELTA]])
def test_a_failed_response_keeps_its_own_last_event(failure: bytes, before: list[Any]) -> None:
    heard = responses(*before, failure, DELTA)
    assert heard.relayed == b"".join(map(event, before))
    assert heard.ending == failure
    assert heard.failure
    assert not heard.done
    assert heard.content == (DELTA in before)


def test_opening_events_are_no_content() -> None:
    for kind in ("created", "in_progress", "queued"):
        opening = typed(f"response.{kind}", response={"id": "r"})
        assert not hear(ResponsesTap(hide_usage=False), [event(opening)]).content
    for kind, says in (("message", False), ("reasoning", False), ("function_call", True)):
        item = event(typed("response.output_item.added", item={"type": kind}))
        assert hear(ResponsesTap(hide_usage=False), [item]).content is says
    part = event(typed("response.content_part.added"))
    assert not hear(ResponsesTap(hide_usage=False), [part]).content


def test_a_done_mark_does_not_end_a_response() -> None:
    heard = responses(CREATED, DELTA, DONE)
    assert heard.relayed == event(CREATED) + event(DELTA)
    assert not heard.done
    assert responses(DELTA, ending("completed"), DONE).done


def test_text_that_names_events_means_nothing() -> None:
    sly = typed("response.output_text.delta", delta='{"type":"response.completed"} [DONE] "error"')
    heard = responses(sly, DELTA)
    assert (heard.relayed, heard.done, heard.failure) == (event(sly) + event(DELTA), False, None)


def test_error_events_are_what_the_sdks_look_for() -> None:
    error = GatewayError(502, ErrorKind.UPSTREAM_TRUNCATED, 'cut "here"')
    wanted = {
        "message": 'cut "here"',
        "type": "api_error",
        "param": None,
        "code": "upstream_stream_truncated",
        "request_id": "req_1",
    }
    plain = ChatTap(hide_usage=False).error_event(error, "req_1")
    assert plain.startswith(b"data: ")
    assert plain.endswith(b"}\n\n")
    assert json.loads(plain[6:]) == {"error": wanted}
    named = ResponsesTap(hide_usage=False).error_event(error, "req_1")
    assert named.startswith(b"event: error\ndata: ")
    facts = json.loads(named[19:])
    assert facts.pop("error") == wanted
    assert facts == {"type": "error", **{k: wanted[k] for k in ("code", "message", "param")}}
