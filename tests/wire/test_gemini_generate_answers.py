"""Answers for callers of the generateContent format, with usage, errors and arrays."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st
from msgspec import Raw

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import (
    Begin,
    Close,
    Delta,
    End,
    Event,
    Finish,
    FinishReason,
    Open,
    Seal,
)
from ferryman.ir.fold import unfold
from ferryman.ir.request import (
    Citation,
    Media,
    MediaKind,
    Opaque,
    Refusal,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Extras, Usage
from ferryman.wire.format import ReplyError
from ferryman.wire.gemini_generate.array import ArrayWriter
from ferryman.wire.gemini_generate.errors import error_body, error_event
from ferryman.wire.gemini_generate.types import NAME, UsageMetadata
from ferryman.wire.gemini_generate.usage import usage_of, wire_usage
from tests.wire.generate import CLIENT, ask, context, heard, parts, plain, sse
from tests.wire.generate_answers import (
    BEGIN,
    CALLS,
    OWN,
    STOP,
    USED,
    chunks,
    decoded,
    encoded,
    reply,
    whole,
)


def test_text_goes_out_as_it_comes_and_the_rest_when_it_is_whole() -> None:
    said = list(
        unfold(
            reply(
                Thinking(text="hm", signature=Signature("s", "anthropic_messages")),
                Text(text="Hi"),
                ToolCall(id="1", name="f", arguments='{"a": 1, "a": 2}'),
                finish=CALLS,
            )
        )
    )
    out = chunks(encoded(said))
    assert all(chunk["responseId"] == "resp-1" and chunk["modelVersion"] for chunk in out)
    shown = [chunk["candidates"][0]["content"]["parts"][0] for chunk in out]
    assert shown[0] == {"text": "hm", "thought": True}
    assert shown[1]["text"] == "" and shown[1]["thought"] and shown[1]["thoughtSignature"]
    assert shown[2:] == [
        {"text": "Hi"},
        {"functionCall": {"id": "1", "name": "f", "args": {"a": 2}}},
        {"text": ""},
    ]
    assert b'"args":{"a": 1, "a": 2}' in encoded(said)
    assert [chunk.get("usageMetadata") for chunk in out] == [None] * 4 + [USED]
    assert [chunk["candidates"][0].get("finishReason") for chunk in out] == [None] * 4 + ["STOP"]


@pytest.mark.parametrize(
    ("finish", "word", "message"),
    [
        (STOP, "STOP", None),
        (CALLS, "STOP", None),
        (Finish(reason=FinishReason.STOP_SEQUENCE, stop_sequence="x"), "STOP", None),
        (Finish(reason=FinishReason.LENGTH), "MAX_TOKENS", None),
        (Finish(reason=FinishReason.CONTEXT), "MAX_TOKENS", "The context window is full."),
        (Finish(reason=FinishReason.REFUSAL), "SAFETY", "The model declined to answer."),
        (Finish(reason=FinishReason.CONTENT_FILTER), "SAFETY", None),
        (Finish(reason=FinishReason.CONTENT_FILTER, detail="hate"), "SAFETY", "hate"),
        (Finish(reason=FinishReason.CONTENT_FILTER, detail="SPII"), "SPII", None),
        (Finish(reason=FinishReason.ERROR, detail="boom"), "OTHER", "boom"),
        (Finish(reason=FinishReason.OTHER, detail="eos"), "OTHER", "eos"),
        (Finish(reason=FinishReason.PAUSE, detail="pause_turn"), "OTHER", "pause_turn"),
    ],
)
def test_endings_never_stand_in_for_each_other(
    finish: Finish, word: str, message: str | None
) -> None:
    said = reply(Text(text="x"), finish=finish)
    (candidate,) = json.loads(CLIENT.encode_reply(said, context()))["candidates"]
    assert (candidate["finishReason"], candidate.get("finishMessage")) == (word, message)
    last = chunks(encoded(list(unfold(said))))[-1]["candidates"][0]
    assert (last["finishReason"], last.get("finishMessage")) == (word, message)
    assert ("content" in last) == (word in ("STOP", "MAX_TOKENS"))


def test_a_refusal_arrives_with_its_words() -> None:
    said = reply(Refusal(text="I won't."), finish=Finish(reason=FinishReason.REFUSAL))
    (candidate,) = json.loads(CLIENT.encode_reply(said, context()))["candidates"]
    assert candidate["content"]["parts"] == [{"text": "I won't."}]
    first, last = chunks(encoded(list(unfold(said))))
    assert first["candidates"][0]["content"]["parts"] == [{"text": "I won't."}]
    assert last["candidates"][0]["finishReason"] == "SAFETY"


@pytest.mark.parametrize("arguments", ["{oops", "[1]", '"x"', "{} {}"])
def test_arguments_that_are_no_object_are_the_providers_fault(arguments: str) -> None:
    said = reply(ToolCall(id="1", name="f", arguments=arguments), finish=CALLS)
    with pytest.raises(ReplyError) as caught:
        CLIENT.encode_reply(said, context())
    assert caught.value.kind is ErrorKind.UPSTREAM_PROTOCOL
    with pytest.raises(ReplyError):
        encoded(list(unfold(said)))


def test_arguments_may_come_in_any_pieces_and_be_empty() -> None:
    text = '{"a":"%s"}' % ("x" * 100_000)
    pieces: list[Event] = [BEGIN, Open(index=0, block=ToolCall(id="1", name="f", arguments=""))]
    pieces += [Delta(index=0, text=text[at : at + 7]) for at in range(0, len(text), 7)]
    pieces += [Close(index=0), Open(index=1, block=ToolCall(id="2", name="g", arguments=""))]
    pieces += [Close(index=1), CALLS, End()]
    said = heard(encoded(pieces))
    assert [b.arguments for b in said.choices[0].blocks if isinstance(b, ToolCall)] == [text, "{}"]
    assert said.usage is None


@pytest.mark.parametrize(
    "thought",
    [
        Thinking(text="hm", signature=Signature("a+/=", "anthropic_messages")),
        Thinking(signature=Signature("xx:y", "anthropic_messages"), encrypted=True),
        Thinking(text="s", signature=Signature("e", "openai_responses"), encrypted=True, id="rs_1"),
        Thinking(text="hm", signature=OWN),
    ],
)
def test_thoughts_of_other_formats_come_back_as_they_were(thought: Thinking) -> None:
    said = reply(thought, Text(text="Hi"))
    body = json.loads(CLIENT.encode_reply(said, context()))
    again = ask({"contents": [body["candidates"][0]["content"]]})
    assert plain(again.messages[0].blocks) == plain((thought, Text(text="Hi")))
    events: list[Event] = [BEGIN, Open(index=0, block=msgspec.structs.replace(
        thought, text="", signature=None))]  # fmt: skip
    events += [Delta(index=0, text=thought.text)] if thought.text else []
    assert thought.signature is not None
    events += [Seal(index=0, signature=thought.signature), Close(index=0), STOP, End()]
    contents = [c["candidates"][0]["content"] for c in chunks(encoded(events))]
    # the Python SDK sends signatures back in the other alphabet
    text = json.dumps(contents).replace("+", "-").replace("/", "_")
    (block,) = ask({"contents": json.loads(text)}).messages[0].blocks
    if thought.signature.origin != NAME:
        assert plain(block) == plain(thought)


def test_what_the_format_cannot_say_of_an_answer_is_in_the_receipt() -> None:
    said = reply(
        Opaque(origin="openai_responses", kind="web_search_call", raw=b"{}"),
        Media(
            kind=MediaKind.AUDIO,
            source=Source(media_type="audio/wav", data="AAAA", file_id="a", origin="openai_chat"),
            transcript="hi",
        ),
        Media(kind=MediaKind.AUDIO, source=Source(file_id="audio_1", origin="openai_chat")),
        Text(text="x", citations=(Citation(document=1),)),
    )
    held = context()
    (candidate,) = json.loads(CLIENT.encode_reply(said, held))["candidates"]
    assert candidate["content"]["parts"] == [
        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}, {"text": "x"},
    ]  # fmt: skip
    assert held.receipt.dropped == ("web_search_call", "audio.transcript", "audio", "citations")


def test_log_probabilities_go_with_the_words_they_belong_to() -> None:
    said = reply(
        Text(text="Hi"), logprobs=(Raw(b'{"token":"Hi","logprob":-0.5,"top_logprobs":[]}'),)
    )
    first, last = chunks(encoded(list(unfold(said))))
    assert first["candidates"][0]["logprobsResult"] == {
        "chosenCandidates": [{"token": "Hi", "logProbability": -0.5}]
    }
    assert "logprobsResult" not in last["candidates"][0]


def test_without_a_word_of_the_provider_the_gateways_own_names_stand_in() -> None:
    (chunk,) = chunks(encoded([Begin(), STOP, End()]))
    assert (chunk["responseId"], chunk["modelVersion"]) == ("req-1", "gemini-2.5-flash")
    assert "usageMetadata" not in chunk


# --- usage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 5}, Usage(input=10, output=5)),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5,
          "thoughtsTokenCount": 7}, Usage(input=6, cache_read=4, output=5, reasoning=7)),
        ({"promptTokenCount": 10, "toolUsePromptTokenCount": 3}, Usage(input=13)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 8,
          "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4},
                                  {"modality": "AUDIO", "tokenCount": 6}],
          "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}]},
         Usage(input=4, audio_input=6, audio_output=8)),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 5,
          "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 6}],
          "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}]},
         Usage(input=4, audio_input=1, extras=Extras(audio_cache_read=5))),
        ({"promptTokenCount": 5, "candidatesTokenCount": 1300, "serviceTier": "flex",
          "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]},
         Usage(input=5, output=10, extras=Extras(service="flex", image_output=1290))),
        ({"promptTokenCount": 5, "candidatesTokenCount": 1, "trafficType": "ON_DEMAND_PRIORITY"},
         Usage(input=5, output=1, extras=Extras(service="priority"))),
        ({"totalTokenCount": 9}, Usage(input=9)),
        ({}, None),
        ({"promptTokenCount": 1, "cachedContentTokenCount": 5}, None),
        ({"promptTokenCount": -1}, None),
        ({"promptTokenCount": 1 << 50}, None),
    ],
)  # fmt: skip
def test_usage_in_disjoint_classes(wire: dict[str, Any], usage: Usage | None) -> None:
    said = msgspec.convert(wire, UsageMetadata)
    assert usage_of(said) == usage
    assert decoded(whole({"text": "x"}) | {"usageMetadata": wire}).usage == usage


@examples(st.lists(st.integers(0, 1000), min_size=5, max_size=5))
def test_usage_comes_back_as_it_was(counts: list[int]) -> None:
    fresh, cached, heard_, said, thought = counts
    usage = Usage(fresh, cached, 0, 0, heard_, said, thought, 3)
    assert usage_of(wire_usage(usage)) == usage
    assert wire_usage(usage).total_token_count == usage.total_input + usage.total_output


def test_tokens_written_to_a_cache_count_among_the_prompts() -> None:
    wire = wire_usage(Usage(input=1, cache_write=2, cache_write_1h=3, output=4))
    assert (wire.prompt_token_count, wire.total_token_count) == (6, 10)


def test_odd_usage_is_unknown_and_never_zero() -> None:
    for odd in ("x", {"promptTokenCount": "many"}, [1], None):
        assert decoded(whole({"text": "x"}) | {"usageMetadata": odd}).usage is None


# --- errors and arrays --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "INVALID_ARGUMENT"), (401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"),
     (404, "NOT_FOUND"), (429, "RESOURCE_EXHAUSTED"), (500, "INTERNAL"), (502, "UNAVAILABLE"),
     (503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED"), (418, "INVALID_ARGUMENT"),
     (599, "INTERNAL")],
)  # fmt: skip
def test_errors_in_the_formats_shape(status: int, name: str) -> None:
    error = GatewayError(status, ErrorKind.INVALID_REQUEST, "Wrong.", param="contents")
    said = json.loads(error_body(error, "req-1"))["error"]
    assert (said["code"], said["status"], said["message"]) == (status, name, "Wrong.")
    (detail,) = said["details"]
    assert detail["metadata"] == {
        "code": "invalid_request", "request_id": "req-1", "param": "contents",
    }  # fmt: skip
    assert error_event(error, "req-1") == b"data: %b\r\n\r\n" % error_body(error, "req-1")


def array(pieces: list[bytes]) -> bytes:
    writer = ArrayWriter()
    out = b"".join([writer.feed(piece) for piece in pieces])
    end = writer.end()
    assert (writer.end(), writer.feed(b"data: {}\n\n")) == (b"", b"")
    return out + end


def test_the_stream_as_an_array_however_it_comes() -> None:
    objects: list[Any] = [parts({"text": "a"}), parts({"text": "b"}, finishReason="STOP")]
    error = GatewayError(502, ErrorKind.UPSTREAM_ERROR, "Oh.")
    data = sse(objects[0], b": a comment\n\n", objects[1]) + error_event(error, "r")
    whole_array = array([data])
    said = json.loads(whole_array)
    assert said[:2] == objects
    assert said[2]["error"]["code"] == 502
    for cut in range(len(data)):
        assert array([data[:cut], data[cut:]]) == whole_array
    assert array([bytes([b]) for b in data.rstrip()]) == whole_array
    assert array([]) == b"[]"
