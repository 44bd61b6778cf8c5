"""Answers of the Responses API: whole, as events, byte by byte, and back again."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import (
    Begin,
    Choice,
    Close,
    Delta,
    End,
    Event,
    Failed,
    Finish,
    FinishReason,
    Open,
    Reply,
)
from ferryman.ir.fold import fold, unfold
from ferryman.ir.grammar import Grammar
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Citation,
    Media,
    MediaKind,
    Opaque,
    Refusal,
    Request,
    Signature,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.format import ReplyContext, ReplyError
from ferryman.wire.openai_responses.format import FORMAT
from ferryman.wire.openai_responses.request import decode_request
from ferryman.wire.openai_responses.stream import ResponsesDecoder
from tests.wire.responses_api import (
    ANSWERS,
    CITED,
    INTERPRETER,
    SEARCH,
    Wire,
    call,
    custom,
    events_of,
    message,
    reasoning,
    response,
    sse,
    text,
)

assert FORMAT.client is not None and FORMAT.provider is not None
CLIENT, PROVIDER = FORMAT.client, FORMAT.provider
NAME = "openai_responses"
KEYS = sorted(ANSWERS)


def read(*pieces: bytes) -> list[Event]:
    """The events of a stream, which keep the grammar."""
    decoder = ResponsesDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    assert grammar.over, "neither End nor Failed"
    assert decoder.feed(b"data: {}\n\n") == [] == decoder.close()
    return events


def joined(events: list[Event]) -> list[Event]:
    """Deltas that follow each other as one: where they are cut says nothing."""
    out: list[Event] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Delta) and isinstance(last, Delta):
            out[-1] = msgspec.structs.replace(last, text=last.text + event.text)
        else:
            out.append(event)
    return out


def context(**fields: Any) -> ReplyContext:
    request = decode_request(
        json.dumps({"model": "m", "input": "hi", "stream": True, **fields}).encode(), "", False
    )
    return ReplyContext(request=request, receipt=Receipt(), request_id="req-1", now=1700000000)


def told(reply: Reply, asked: ReplyContext | None = None) -> bytes:
    """A reply as the stream that callers get."""
    encoder = CLIENT.stream_encoder(asked or context())
    return b"".join([encoder.encode(event) for event in unfold(reply)])


def said(data: bytes) -> list[Wire]:
    """The events of a stream of ours, each with its type as event name."""
    out = []
    for block in data.decode().removesuffix("\n\n").split("\n\n"):
        name, line = block.split("\n")
        out.append(json.loads(line.removeprefix("data: ")))
        assert name == f"event: {out[-1]['type']}"
    return out


# --- provider side --------------------------------------------------------------------------------


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


# --- client side ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_an_answer_told_and_read_again_is_the_same(key: str) -> None:
    reply = PROVIDER.decode_reply(json.dumps(ANSWERS[key]).encode())
    if reply.choices[0].finish.reason is FinishReason.OTHER:
        return  # the API's word for it can't be made up
    assert PROVIDER.decode_reply(CLIENT.encode_reply(reply, context())) == reply
    assert fold(read(told(reply))) == reply
    calls = context(tools=[{"type": "custom", "name": "apply_patch"}])
    assert fold(read(told(reply, calls))) == reply


@pytest.mark.parametrize("key", KEYS)
def test_events_are_numbered_balanced_and_repeated_at_the_end(key: str) -> None:
    reply = PROVIDER.decode_reply(json.dumps(ANSWERS[key]).encode())
    events = said(told(reply))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    for start, end in (
        ("response.output_item.added", "response.output_item.done"),
        ("response.content_part.added", "response.content_part.done"),
        ("response.reasoning_summary_part.added", "response.reasoning_summary_part.done"),
    ):
        assert [e["output_index"] for e in events if e["type"] == start] == [
            e["output_index"] for e in events if e["type"] == end
        ]
    items = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == items
    assert all(event["delta"] for event in events if event["type"].endswith(".delta"))
    whole = json.loads(CLIENT.encode_reply(reply, context()))
    assert events[-1]["response"] == whole
    names = [item["id"] for item in items if "id" in item]
    assert len(set(names)) == len(names) and all(len(name) <= 64 for name in names)


def test_foreign_ids_make_stable_ids() -> None:
    reply = Reply(
        begin=Begin(id="chatcmpl:" + "x" * 90, model="other"),
        choices=(Choice(blocks=(Text(text="a"),), finish=Finish(reason=FinishReason.STOP)),),
    )
    body = json.loads(CLIENT.encode_reply(reply, context()))
    assert body["id"].startswith("resp_") and len(body["output"][0]["id"]) <= 64
    assert body == json.loads(CLIENT.encode_reply(reply, context()))
    assert body["created_at"] == 1700000000 and body["usage"] is None


def answer(*blocks: Any, reason: FinishReason = FinishReason.STOP, detail: str = "") -> Reply:
    finish = Finish(reason=reason, detail=detail)
    return Reply(begin=Begin(id="x", model="m"), choices=(Choice(blocks=blocks, finish=finish),))


def test_what_the_request_said_is_repeated() -> None:
    tool = {"type": "function", "name": "f", "description": "d", "strict": True,
            "parameters": {"type": "object"}}  # fmt: skip
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True,
            "description": None}  # fmt: skip
    asked: Wire = {
        "instructions": "Be brief.", "tools": [tool, {"type": "web_search"}], "temperature": 0.5,
        "top_p": 0.9, "tool_choice": {"type": "function", "name": "f"}, "max_output_tokens": 99,
        "parallel_tool_calls": False, "truncation": "auto", "metadata": {"a": "b"}, "user": "u",
        "reasoning": {"effort": "low", "summary": "auto"}, "prompt_cache_key": "k",
        "text": {"format": form, "verbosity": "low"}, "max_tool_calls": 3, "top_logprobs": 2,
    }  # fmt: skip
    body = json.loads(CLIENT.encode_reply(answer(), context(**asked)))
    assert {name: body[name] for name in asked} == asked
    assert (body["store"], body["previous_response_id"]) == (False, None)


@pytest.mark.parametrize(
    ("reason", "status", "word"),
    [
        (FinishReason.STOP, "completed", None),
        (FinishReason.STOP_SEQUENCE, "completed", None),
        (FinishReason.TOOL_CALLS, "completed", None),
        (FinishReason.LENGTH, "incomplete", "max_output_tokens"),
        (FinishReason.CONTEXT, "incomplete", "max_output_tokens"),
        (FinishReason.CONTENT_FILTER, "incomplete", "content_filter"),
        (FinishReason.PAUSE, "incomplete", None),
        (FinishReason.OTHER, "incomplete", None),
    ],
)
def test_how_an_answer_ends(reason: FinishReason, status: str, word: str | None) -> None:
    events = said(told(answer(Text(text="a"), reason=reason)))
    assert events[-1]["type"] == f"response.{status}"
    last = events[-1]["response"]
    assert last["status"] == last["output"][0]["status"] == status
    assert last["incomplete_details"] == ({"reason": word} if status == "incomplete" else None)


@pytest.mark.parametrize("detail", ["", "I won't."])
def test_a_refusal_without_a_block_is_still_one(detail: str) -> None:
    reply = answer(Text(text="a"), reason=FinishReason.REFUSAL, detail=detail)
    part = said(told(reply))[-1]["response"]["output"][0]["content"][1]
    assert part == {"type": "refusal", "refusal": detail or "The model declined to answer."}


def test_a_provider_that_gives_up_makes_a_failed_response() -> None:
    reply = answer(Text(text="a"), reason=FinishReason.ERROR, detail="power cut")
    last = said(told(reply))[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "power cut"}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ErrorKind.UPSTREAM_RATE_LIMIT, "rate_limit_exceeded"),
        (ErrorKind.CONTEXT_TOO_LONG, "context_length_exceeded"),
        (ErrorKind.UPSTREAM_TRUNCATED, "server_error"),
    ],
)
def test_a_stream_that_fails_says_so_in_the_formats_own_event(kind: ErrorKind, code: str) -> None:
    for start in ([], [Begin(id="x")], [Begin(id="x"), Open(index=0, block=Text(text="a"))]):
        encoder = CLIENT.stream_encoder(context())
        data = b"".join(encoder.encode(event) for event in start)
        events = said(data + encoder.encode(Failed(kind=kind, message="no")))
        assert events[-1]["type"] == "response.failed"
        error = events[-1]["response"]["error"]
        assert error == {"code": code, "message": "no", "type": kind}
        numbers = [event["sequence_number"] for event in events]
        assert numbers == list(range(len(events)))


def test_signatures_of_other_formats_come_back_where_they_were() -> None:
    foreign = Signature("c2ln", "gemini_generate")
    blocks = (
        Thinking(text="hm", signature=Signature("s/1=", "anthropic_messages")),
        Thinking(signature=Signature("red", "anthropic_messages"), encrypted=True),
        Text(text="I call", signature=foreign),
        Text(text="both"),
        ToolCall(id="1", name="f", arguments='{"a": 1}', signature=foreign),
        ToolCall(id="2", name="f", arguments="{}"),
    )
    events = said(told(answer(*blocks, reason=FinishReason.TOOL_CALLS)))
    output = events[-1]["response"]["output"]
    body = json.dumps({"model": "m", "input": output}).encode()
    again = decode_request(body, "", False).messages[0].blocks
    assert [msgspec.structs.replace(b, id="") if isinstance(b, Thinking) else b for b in again] == [
        *blocks
    ]


FREE = {"tools": [{"type": "custom", "name": "apply_patch"}]}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ('{"input":"*** Begin\\n+ü"}', "*** Begin\n+ü"),
        ('{ "input" : "a", "more": 1 }', "a"),
        ('{"patch":"a"}', '{"patch":"a"}'),
        ("not json", "not json"),
        ("", ""),
    ],
)
def test_free_text_given_as_an_argument_is_unwrapped(given: str, wanted: str) -> None:
    block = ToolCall(id="1", name="apply_patch", arguments=given)
    reply = answer(block, reason=FinishReason.TOOL_CALLS)
    events = said(told(reply, context(**FREE)))
    item = events[-1]["response"]["output"][0]
    assert (item["type"], item["input"], item["call_id"]) == ("custom_tool_call", wanted, "1")
    deltas = [e["delta"] for e in events if e["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == wanted


def test_a_call_of_a_tool_in_a_namespace_names_both() -> None:
    tools = [{"type": "namespace", "name": "mcp__git", "description": "", "tools": [
        {"type": "function", "name": "log", "parameters": {"type": "object"}}]}]  # fmt: skip
    reply = answer(ToolCall(id="1", name="mcp__git__log", arguments=""))
    item = json.loads(CLIENT.encode_reply(reply, context(tools=tools)))["output"][0]
    assert (item["namespace"], item["name"], item["arguments"]) == ("mcp__git", "log", "{}")


def test_images_become_items_and_sound_its_transcript() -> None:
    asked = context()
    image = Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data="iVBO"))
    sound = Media(
        kind=MediaKind.AUDIO, source=Source(media_type="audio/wav", data="UklG"), transcript="Hi."
    )
    foreign = Opaque(origin="anthropic_messages", kind="server_tool_use", raw=b"{}")
    body = json.loads(CLIENT.encode_reply(answer(image, sound, foreign), asked))
    assert body["output"][0]["result"] == "iVBO" and body["output"][0]["output_format"] == "png"
    assert body["output"][1]["content"][0]["text"] == "Hi."
    assert asked.receipt.dropped == ("output.server_tool_use",)
    assert asked.receipt.altered == ("output.audio=transcript",)


def test_citations_of_other_formats() -> None:
    asked = context()
    cited = Text(
        text="The sky is blue.",
        citations=(
            Citation(url="https://a.example/", title="A", start=4, end=7),
            Citation(url="https://b.example/", quote="sky"),
            Citation(document=0, title="a.pdf", quote="blue"),
        ),
    )
    events = said(told(answer(cited), asked))
    found = [e for e in events if e["type"] == "response.output_text.annotation.added"]
    assert [e["annotation_index"] for e in found] == [0, 1]
    assert [(e["annotation"]["start_index"], e["annotation"]["end_index"]) for e in found] == [
        (4, 7),
        (0, 16),
    ]
    assert asked.receipt.dropped == ("output.citation",)


def test_only_one_choice_can_be_told() -> None:
    asked = context()
    one = answer(Text(text="a"))
    two = msgspec.structs.replace(one, choices=one.choices * 2)
    assert len(json.loads(CLIENT.encode_reply(two, asked))["output"]) == 1
    assert asked.receipt.dropped == ("choices",)
    asked = context()
    assert said(told(two, asked)) == said(told(one))
    assert asked.receipt.dropped == ("choices",)


def test_chat_log_probabilities_get_their_bytes() -> None:
    token = Raw(b'{"token":"H\\u00e9","logprob":-0.5,"bytes":null,"top_logprobs":[]}')
    choice = Choice(
        blocks=(Text(text="Hé"),), finish=Finish(reason=FinishReason.STOP), logprobs=(token,)
    )
    reply = Reply(begin=Begin(), choices=(choice,))
    events = said(told(reply))
    part = events[-1]["response"]["output"][0]["content"][0]
    assert part["logprobs"][0]["bytes"] == [72, 195, 169]
    deltas = [e for e in events if e["type"] == "response.output_text.delta"]
    assert [t["token"] for e in deltas for t in e["logprobs"]] == ["Hé"]


def test_five_megabytes_of_arguments_pass() -> None:
    piece = '{"a": "' + "x" * 4089
    events: list[Event] = [
        Begin(id="x"),
        Open(index=0, block=ToolCall(id="1", name="f", arguments="")),
    ]
    events += [Delta(index=0, text=piece)] * 1280
    events += [Close(index=0), Finish(reason=FinishReason.TOOL_CALLS), End()]
    encoder = CLIENT.stream_encoder(context())
    data = b"".join(encoder.encode(event) for event in events)
    block = fold(read(data)).choices[0].blocks[0]
    assert isinstance(block, ToolCall) and block.arguments == piece * 1280


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
    assert joined(read(stream[:cut], stream[cut:])) == joined(made)
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


def test_a_request_of_another_format_is_echoed_without_what_only_it_has() -> None:
    tools = (Tool(name="f"),)
    request = Request(model="m", messages=(), tools=tools, origin="openai_chat")
    asked = ReplyContext(request=request, receipt=Receipt(), request_id="1")
    body = json.loads(CLIENT.encode_reply(answer(Refusal(text="no")), asked))
    assert body["tools"][0]["parameters"] is None and body["instructions"] is None


def test_free_text_of_the_provider_stays_free() -> None:
    reply = PROVIDER.decode_reply(json.dumps(response([custom("p", '{"input":1}')])).encode())
    item = json.loads(CLIENT.encode_reply(reply, context()))["output"][0]
    assert (item["type"], item["input"]) == ("custom_tool_call", '{"input":1}')
