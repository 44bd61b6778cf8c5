"""What providers of the Responses API answer: whole, as events, byte by byte, and mangled."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import (
    Begin,
    Choice,
    Delta,
    Failed,
    Finish,
    FinishReason,
    Reply,
)
from ferryman.ir.fold import fold
from ferryman.ir.request import (
    Opaque,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.format import ReplyError
from ferryman.wire.openai_responses.stream import ResponsesDecoder
from tests.wire.responses_api import (
    ANSWERS,
    CITED,
    CLIENT,
    INTERPRETER,
    NAME,
    PROVIDER,
    SEARCH,
    Wire,
    call,
    context,
    events_of,
    message,
    read,
    reasoning,
    response,
    sse,
    text,
)

KEYS = sorted(ANSWERS)


@pytest.mark.parametrize("key", KEYS)
def test_a_stream_folds_to_what_the_whole_reply_says(key: str) -> None:
    answer = ANSWERS[key]
    whole = PROVIDER.decode_reply(json.dumps(answer).encode())
    assert fold(read(sse(events_of(answer)))) == whole


@pytest.mark.parametrize("key", KEYS)
def test_any_cut_of_the_bytes_gives_the_same_events(key: str) -> None:
    data = sse(events_of(ANSWERS[key]))
    events = read(data)
    assert read(*[data[at : at + 1] for at in range(len(data))]) == events
    chance = random.Random(key)
    for _ in range(30):
        cuts = sorted(chance.sample(range(len(data)), 7))
        ends = [*cuts[1:], len(data)]
        assert (
            read(data[: cuts[0]], *[data[a:b] for a, b in zip(cuts, ends, strict=True)]) == events
        )


def test_every_cut_of_a_short_stream() -> None:
    data = sse(events_of(ANSWERS["refusal"]))[-2500:]
    events = read(data)
    for at in range(len(data)):
        assert read(data[:at], data[at:]) == events


@pytest.mark.parametrize("key", KEYS)
def test_line_ends_comments_pings_and_a_byte_order_mark_change_nothing(key: str) -> None:
    data = sse(events_of(ANSWERS[key]))
    events = read(data)
    assert read(data.replace(b"\n", b"\r\n")) == events
    assert read(b"\xef\xbb\xbf" + data.replace(b"\n\n", b"\n\n: ping\n\n")) == events
    assert read(data + b"data: [DONE]\n\n") == events
    assert read(data[:-1]) == events, "the last blank line may be missing"


def test_what_an_answer_is_in_the_common_language() -> None:
    reply = PROVIDER.decode_reply(json.dumps(ANSWERS["thoughts"]).encode())
    assert reply == Reply(
        begin=Begin(
            id="resp_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b",
            model="gpt-5.6-sol",
            created=1756315696,
            service_tier="default",
        ),
        choices=(
            Choice(
                blocks=(
                    Thinking(
                        text="**First**\n\nI look.\n\nThen.",
                        signature=Signature("gAAAAABotEzS", NAME),
                        id="rs_68af40333fd88193ad1f4e1",
                    ),
                    Text(text="Done."),
                ),
                finish=Finish(reason=FinishReason.STOP),
            ),
        ),
        usage=Usage(12, 100, 8, 0, 0, 13, 32),
    )


@pytest.mark.parametrize(
    ("key", "reason", "detail"),
    [
        ("text", FinishReason.STOP, ""),
        ("parallel calls", FinishReason.TOOL_CALLS, ""),
        ("free text", FinishReason.TOOL_CALLS, ""),
        ("refusal", FinishReason.REFUSAL, ""),
        ("limit", FinishReason.LENGTH, ""),
        ("filter", FinishReason.CONTENT_FILTER, "content_filter"),
        ("steered", FinishReason.OTHER, "steered"),
        ("ran by the provider", FinishReason.STOP, ""),
    ],
)
def test_why_an_answer_ended(key: str, reason: FinishReason, detail: str) -> None:
    finish = Finish(reason=reason, detail=detail)
    assert PROVIDER.decode_reply(json.dumps(ANSWERS[key]).encode()).choices[0].finish == finish


def test_thoughts_without_words_are_encrypted_and_without_proof_nothing() -> None:
    hidden = PROVIDER.decode_reply(json.dumps(ANSWERS["hidden thoughts"]).encode())
    thought = hidden.choices[0].blocks[0]
    assert isinstance(thought, Thinking) and thought.encrypted and not thought.text
    empty = PROVIDER.decode_reply(json.dumps(ANSWERS["thoughts that say nothing"]).encode())
    assert empty.choices[0].blocks == (Text(text="Done."),)


def test_what_only_this_api_has_stays_as_it_is() -> None:
    answer = ANSWERS["ran by the provider"]
    first = PROVIDER.decode_reply(json.dumps(answer).encode()).choices[0].blocks[0]
    assert isinstance(first, Opaque)
    assert (first.origin, first.kind) == (NAME, "code_interpreter_call")
    assert json.loads(first.raw) == INTERPRETER


def test_raw_thoughts_are_read_as_well() -> None:
    item = {**reasoning(proof=None), "content": [{"type": "reasoning_text", "text": "hmm"}]}
    stream = [
        {"type": "response.output_item.added", "output_index": 0, "item": reasoning(proof=None)},
        {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0,
         "delta": "hm"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response([item])},
    ]  # fmt: skip
    reply = fold(read(sse(stream)))
    assert reply.choices[0].blocks == (Thinking(text="hmm", id=item["id"]),)


def delta(words: str, index: int = 0, content: int = 0, **fields: Any) -> Wire:
    kind = "response.output_text.delta"
    place = {"output_index": index, "content_index": content}
    return {"type": kind, **place, "delta": words, **fields}


def arguments(words: str, index: int) -> Wire:
    kind = "response.function_call_arguments.delta"
    return {"type": kind, "output_index": index, "delta": words}


def added(item: Wire, index: int = 0) -> Wire:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(item: Wire, index: int = 0) -> Wire:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


COMPLETED: Wire = {"type": "response.completed", "response": response([])}


def test_a_server_that_streams_only_the_end_says_it_all_there() -> None:
    answer = ANSWERS["call"]
    assert fold(read(sse([events_of(answer)[-1]]))) == PROVIDER.decode_reply(
        json.dumps(answer).encode()
    )


def test_what_done_says_beyond_the_fragments_is_told() -> None:
    cited = message(text("Hello you", CITED))
    events = [added(message()), delta("Hello"), done(cited), done(call("f", "{}"), 1), COMPLETED]
    blocks = fold(read(sse(events))).choices[0].blocks
    assert isinstance(blocks[0], Text)
    assert (blocks[0].text, len(blocks[0].citations)) == ("Hello you", 1)
    assert blocks[1] == ToolCall(id="call_f_1", name="f", arguments="{}")


def test_the_proof_that_counts_is_the_one_of_the_end() -> None:
    begin = reasoning(proof="early")
    events = [added(begin), done(reasoning("So.", proof="late")), COMPLETED]
    thought = fold(read(sse(events))).choices[0].blocks[0]
    assert isinstance(thought, Thinking) and thought.signature == Signature("late", NAME)


def test_servers_may_give_every_item_the_same_index() -> None:
    first, second = call("f", '{"a":1}', 1), call("g", '{"b":2}', 2)
    empty = [{**item, "arguments": ""} for item in (first, second)]
    events = [
        added(empty[0]), arguments('{"a":1}', 0), done(first),
        added(empty[1]), arguments('{"b":2}', 0), done(second), COMPLETED,
    ]  # fmt: skip
    names = [b.name for b in fold(read(sse(events))).choices[0].blocks if isinstance(b, ToolCall)]
    assert names == ["f", "g"]


def test_arguments_that_come_with_the_opening_too_are_not_doubled() -> None:
    whole = call("f", '{"a":1}')
    events = [added(whole), arguments('{"a":1}', 0), done(whole), COMPLETED]
    block = fold(read(sse(events))).choices[0].blocks[0]
    assert isinstance(block, ToolCall) and block.arguments == '{"a":1}'


def test_calls_may_be_done_together_at_the_end() -> None:
    one, two = call("f", "{}", 1), call("g", "[]", 2)
    empty = [{**item, "arguments": ""} for item in (one, two)]
    events = [added(empty[0]), arguments("{}", 0), added(empty[1], 1), arguments("[]", 1)]
    blocks = fold(read(sse([*events, done(one), done(two, 1), COMPLETED]))).choices[0].blocks
    assert [b.arguments for b in blocks if isinstance(b, ToolCall)] == ["{}", "[]"]
    lost = {**one, "arguments": '{"a": 1}'}
    assert isinstance(read(sse([*events, done(lost), COMPLETED]))[-1], Failed)


def test_calls_that_are_told_in_turns_end_the_stream() -> None:
    one, two = call("f", "", 1), call("g", "", 2)
    events = read(sse([added(one), added(two, 1), arguments("{", 0), COMPLETED]))
    assert isinstance(events[-1], Failed) and events[-1].kind is ErrorKind.UPSTREAM_PROTOCOL


def test_a_search_that_ends_while_words_come_is_told_after_them() -> None:
    events = [added(message()), delta("Hi"), added(SEARCH, 1), done(SEARCH, 1), delta(" you"),
              done(message(text("Hi you"))), COMPLETED]  # fmt: skip
    blocks = fold(read(sse(events))).choices[0].blocks
    assert blocks[0] == Text(text="Hi you") and isinstance(blocks[1], Opaque)


def test_one_broken_event_is_skipped_and_counted_and_a_second_ends_the_stream() -> None:
    decoder = ResponsesDecoder()
    good = sse([added(message()), delta("Hi")])
    bad = b'data: {"type":"response.output_text.delta","delta":\n\n'
    events = decoder.feed(good + bad + sse([delta(" you")]))
    assert decoder.broken == 1 and isinstance(events[-1], Delta)
    events = decoder.feed(b'data: {"type":"response.output_text.delta","delta":5}\n\n')
    assert isinstance(events[-1], Failed) and events[-1].kind is ErrorKind.UPSTREAM_PROTOCOL


def test_unknown_events_are_passed_over_whatever_they_hold() -> None:
    odd = [
        {"type": "response.shell_call_output_content.delta", "delta": {"stdout": "x"}},
        {"type": "response.hologram.delta", "output_index": "third", "item": 5},
        {"type": "keepalive", "sequence_number": 9},
    ]
    answer = events_of(ANSWERS["text"])
    assert read(sse([answer[0], *odd, *answer[1:]])) == read(sse(answer))


@pytest.mark.parametrize(
    ("event", "kind", "words", "code"),
    [
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down."},
            ErrorKind.UPSTREAM_RATE_LIMIT, "Slow down.", "rate_limit_exceeded",
        ),
        (
            {"type": "error", "error": {"code": "server_is_overloaded", "message": "Busy."}},
            ErrorKind.UPSTREAM_OVERLOADED, "Busy.", "server_is_overloaded",
        ),
        (
            {"type": "response.failed", "response": {**response([]), "status": "failed", "error":
             {"code": "server_error", "message": "Oops."}}},
            ErrorKind.UPSTREAM_ERROR, "Oops.", "server_error",
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "context_length_exceeded",
             "message": "Too long."}}},
            ErrorKind.CONTEXT_TOO_LONG, "Too long.", "context_length_exceeded",
        ),
    ],
)  # fmt: skip
def test_errors_within_a_stream(event: Wire, kind: ErrorKind, words: str, code: str) -> None:
    events = read(sse([*events_of(ANSWERS["text"])[:6], event, delta("more")]))
    assert events[-1] == Failed(kind=kind, message=words, code=code)


def test_a_stream_without_its_end_has_failed() -> None:
    data = sse(events_of(ANSWERS["text"])[:-1])
    for cut in (0, 10, len(data) // 2, len(data)):
        last = read(data[:cut])[-1]
        assert isinstance(last, Failed) and last.kind is ErrorKind.UPSTREAM_TRUNCATED


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ErrorKind.UPSTREAM_PROTOCOL),
        (b"<html>", ErrorKind.UPSTREAM_PROTOCOL),
        (b"[]", ErrorKind.UPSTREAM_PROTOCOL),
        (b"{}", ErrorKind.UPSTREAM_PROTOCOL),
        (b'{"output":3}', ErrorKind.UPSTREAM_PROTOCOL),
        (b'{"output":[{"type":"message","content":"no"}]}', ErrorKind.UPSTREAM_PROTOCOL),
        (b'{"output":[3]}', ErrorKind.UPSTREAM_PROTOCOL),
        (b'{"output":[],"status":"in_progress"}', ErrorKind.UPSTREAM_PROTOCOL),
        (b'{"output":' + b"[" * 100_000, ErrorKind.UPSTREAM_PROTOCOL),
        (b'{"output":[],"status":"cancelled"}', ErrorKind.UPSTREAM_ERROR),
        (b'{"error":{"code":"insufficient_quota","message":"x"}}', ErrorKind.UPSTREAM_NO_CREDIT),
        (b'{"output":[],"status":"failed","error":{"code":"server_error","message":"x"}}',
         ErrorKind.UPSTREAM_ERROR),
    ],
)  # fmt: skip
def test_replies_that_are_none(body: bytes, kind: ErrorKind) -> None:
    with pytest.raises(ReplyError) as caught:
        PROVIDER.decode_reply(body)
    assert caught.value.kind is kind


# --- whatever comes -------------------------------------------------------------------------------

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
KINDS = sorted({event["type"] for answer in ANSWERS.values() for event in events_of(answer)})
NAMES = sorted({n for a in ANSWERS.values() for e in events_of(a) for n in e} | {"error"})
odd_events = st.fixed_dictionaries(
    {"type": st.sampled_from([*KINDS, "error", "response.failed", "nonsense"])},
    optional={name: values for name in NAMES if name != "type"},
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2), st.randoms(), st.data())
def test_mangled_streams_end_in_grammar(keys: list[str], chance: Any, data: Any) -> None:
    events = [event for key in keys for event in events_of(ANSWERS[key])]
    for _ in range(3):
        match chance.randrange(4):
            case 0:
                events.pop(chance.randrange(len(events)))
            case 1:
                events.insert(chance.randrange(len(events)), data.draw(odd_events))
            case 2:
                at, to = chance.randrange(len(events)), chance.randrange(len(events))
                events[at], events[to] = events[to], events[at]
            case _:
                at = chance.randrange(len(events))
                name = chance.choice(sorted(events[at]))
                events[at] = {**events[at], name: data.draw(values)}
        if not events:
            return
    stream = sse([{**event, "type": str(event.get("type"))} for event in events])
    made = read(stream)
    cut = chance.randrange(len(stream))
    assert read(stream[:cut], stream[cut:]) == made
    encoder = CLIENT.stream_encoder(context())
    for event in made:
        encoder.encode(event)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_stream(data: bytes) -> None:
    assert isinstance(read(data)[-1], Failed)
    with pytest.raises(ReplyError):
        PROVIDER.decode_reply(data)


odd_replies = st.fixed_dictionaries(
    {"output": st.lists(values, max_size=3)},
    optional={name: values for name in response([]) if name != "output"},
)


@settings(max_examples=150, deadline=None)
@given(odd_replies)
def test_odd_replies(body: Wire) -> None:
    try:
        reply = PROVIDER.decode_reply(json.dumps(body).encode())
    except ReplyError:
        return
    CLIENT.encode_reply(reply, context())
