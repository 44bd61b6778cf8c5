"""What callers of the Responses API are told: events, and the response that they make."""

import json

import msgspec
import pytest
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
from ferryman.ir.fold import fold
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
from ferryman.wire.format import ReplyContext
from ferryman.wire.openai_responses.request import decode_request
from tests.wire.responses_api import (
    ANSWERS,
    CITED,
    CLIENT,
    PROVIDER,
    SEARCH,
    Wire,
    answer,
    context,
    custom,
    message,
    read,
    response,
    said,
    text,
    told,
)

KEYS = sorted(ANSWERS)


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


def test_the_words_of_a_filter_are_told() -> None:
    reply = answer(Text(text="a"), reason=FinishReason.CONTENT_FILTER, detail="SAFETY: I won't.")
    last = said(told(reply))[-1]["response"]
    assert last["output"][0]["content"][1] == {"type": "refusal", "refusal": "I won't."}
    assert last["incomplete_details"] == {"reason": "content_filter"}


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


def test_line_ends_within_json_of_others_dont_cut_events() -> None:
    pretty = json.dumps(response([SEARCH, message(text("See there for it", CITED))]), indent=2)
    reply = PROVIDER.decode_reply(pretty.replace("\n", "\r\n").encode())
    body = json.dumps(
        {"model": "m", "input": "hi", "tools": [{"type": "function", "name": "f", "parameters":
         {"type": "object"}}, {"type": "web_search"}]}, indent=1
    )  # fmt: skip
    asked = context()
    asked.request = decode_request(body.encode(), "", False)
    events = said(told(reply, asked))
    assert events[-1]["response"]["output"][0] == SEARCH
    assert events[0]["response"]["tools"][0]["parameters"] == {"type": "object"}


@pytest.mark.parametrize("ident", ['rs_"', "rs_" + "x" * 62, "th_1", "rs_"])
def test_ids_of_thoughts_that_are_none_of_this_api_are_made_anew(ident: str) -> None:
    item = said(told(answer(Thinking(text="a", id=ident))))[-1]["response"]["output"][0]
    assert item["id"] == "rs_x_0"
