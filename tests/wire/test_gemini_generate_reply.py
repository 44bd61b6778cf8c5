"""Answers of the generateContent format: whole and streamed, in both directions."""

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st
from msgspec import Raw

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import (
    Begin,
    Choice,
    Close,
    Count,
    Delta,
    End,
    Event,
    Failed,
    Finish,
    FinishReason,
    Open,
    Reply,
    Seal,
)
from ferryman.ir.fold import fold, unfold
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
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.format import ReplyError
from ferryman.wire.gemini_generate.array import ArrayWriter
from ferryman.wire.gemini_generate.encoder import StreamEncoder
from ferryman.wire.gemini_generate.errors import error_body, error_event
from ferryman.wire.gemini_generate.types import NAME, UsageMetadata
from ferryman.wire.gemini_generate.usage import usage_of, wire_usage
from tests.wire.generate import (
    AIM,
    CLIENT,
    PROVIDER,
    ask,
    checked,
    context,
    events_of,
    heard,
    listen,
    parts,
    plain,
    sse,
)

USED = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
BEGIN = Begin(id="resp-1", model="gemini-2.5-flash")
STOP = Finish(reason=FinishReason.STOP)
CALLS = Finish(reason=FinishReason.TOOL_CALLS)
OWN = Signature("c2ln", NAME)


def reply(*blocks: Any, finish: Finish = STOP, **more: Any) -> Reply:
    choice = Choice(blocks=blocks, finish=finish, logprobs=more.pop("logprobs", ()))
    return Reply(begin=BEGIN, choices=(choice,), usage=Usage(input=10, output=5))


def whole(*said: Any, **more: Any) -> dict[str, Any]:
    return parts(*said, **{"finishReason": "STOP"} | more) | {"usageMetadata": USED}


def decoded(body: Any) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return PROVIDER.decode_reply(data)


PNG = {"mimeType": "image/png", "data": "iVBORw0KGgo="}
GROUNDING = {
    "groundingChunks": [{"web": {"uri": "https://a.test", "title": "A"}},
                        {"retrievedContext": {"uri": "b", "title": "B", "text": "words"}}],
    "groundingSupports": [
        {"segment": {"endIndex": 5, "text": "Grüß"[:4]}, "groundingChunkIndices": [0]},
        {"segment": {"startIndex": 7, "endIndex": 11, "text": "Gott"},
         "groundingChunkIndices": [0, 1]},
    ],
}  # fmt: skip

BOTH_WAYS: list[tuple[str, dict[str, Any], Reply]] = [
    ("text", whole({"text": "Hi"}), reply(Text(text="Hi"))),
    (
        "thoughts, text, signatures",
        whole(
            {"text": "hm", "thought": True},
            {"text": "Hi", "thoughtSignature": "c2ln"},
            {"text": "more"},
        ),
        reply(Thinking(text="hm"), Text(text="Hi", signature=OWN), Text(text="more")),
    ),
    (
        "a signature alone",
        whole({"text": "", "thoughtSignature": "c2ln"}),
        reply(Text(text="", signature=OWN)),
    ),
    (
        "calls",
        whole(
            {
                "functionCall": {"id": "1", "name": "f", "args": {"a": 1}},
                "thoughtSignature": "c2ln",
            },
            {"functionCall": {"id": "2", "name": "f", "args": {}}},
        ),
        reply(
            ToolCall(id="1", name="f", arguments='{"a":1}', signature=OWN),
            ToolCall(id="2", name="f", arguments="{}"),
            finish=CALLS,
        ),
    ),
    (
        "code and media",
        whole(
            {"executableCode": {"code": "1"}},
            {"codeExecutionResult": {"output": "1"}},
            {"inlineData": PNG, "thoughtSignature": "c2ln"},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://a.test/b"}},
        ),
        reply(
            Opaque(origin=NAME, kind="executableCode", raw=b'{"executableCode":{"code":"1"}}'),
            Opaque(
                origin=NAME,
                kind="codeExecutionResult",
                raw=b'{"codeExecutionResult":{"output":"1"}}',
            ),
            Media(
                kind=MediaKind.IMAGE,
                source=Source(media_type="image/png", data="iVBORw0KGgo="),
                signature=OWN,
            ),
            Media(
                kind=MediaKind.VIDEO,
                source=Source(media_type="video/mp4", url="https://a.test/b"),
            ),
        ),
    ),
    (
        "sources",
        whole({"text": "Grüß Gott!"}, groundingMetadata=GROUNDING),
        reply(
            Text(
                text="Grüß Gott!",
                citations=(
                    Citation(url="https://a.test", title="A", start=0, end=4, origin=NAME),
                    Citation(url="https://a.test", title="A", start=5, end=9, origin=NAME),
                    Citation(url="b", title="B", quote="words", start=5, end=9, origin=NAME),
                ),
            )
        ),
    ),
    (
        "log-probabilities",
        whole(
            {"text": "Hi"},
            logprobsResult={
                "chosenCandidates": [{"token": "Hi", "logProbability": -0.5}],
                "topCandidates": [{"candidates": [{"token": "Ho", "logProbability": -1.5}]}],
            },
        ),
        reply(
            Text(text="Hi"),
            logprobs=(
                Raw(
                    b'{"token":"Hi","logprob":-0.5,"bytes":null,"top_logprobs":'
                    b'[{"token":"Ho","logprob":-1.5,"bytes":null}]}'
                ),
            ),
        ),
    ),
    (
        "the output limit",
        whole({"text": "Hi"}, finishReason="MAX_TOKENS"),
        reply(Text(text="Hi"), finish=Finish(reason=FinishReason.LENGTH)),
    ),
    *[
        (
            word,
            whole(finishReason=word, finishMessage="why"),
            reply(finish=Finish(reason=reason, detail=f"{word}: why")),
        )
        for word, reason in (
            ("SAFETY", FinishReason.CONTENT_FILTER),
            ("RECITATION", FinishReason.CONTENT_FILTER),
            ("BLOCKLIST", FinishReason.CONTENT_FILTER),
            ("PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
            ("SPII", FinishReason.CONTENT_FILTER),
            ("IMAGE_SAFETY", FinishReason.CONTENT_FILTER),
            ("MALFORMED_FUNCTION_CALL", FinishReason.ERROR),
            ("UNEXPECTED_TOOL_CALL", FinishReason.ERROR),
            ("LANGUAGE", FinishReason.OTHER),
            ("OTHER", FinishReason.OTHER),
            ("CONTINUATION", FinishReason.PAUSE),
        )
    ],
]


@pytest.mark.parametrize(("name", "wire", "said"), BOTH_WAYS, ids=[row[0] for row in BOTH_WAYS])
def test_answers_both_ways(name: str, wire: dict[str, Any], said: Reply) -> None:
    assert plain(decoded(wire)) == plain(said), name
    out = json.loads(CLIENT.encode_reply(said, context()))
    if not wire["candidates"][0]["content"]["parts"]:
        del wire["candidates"][0]["content"]
    if name == "sources":  # a start of 0 is not written
        assert plain(decoded(out)) == plain(said)
    else:
        assert out == json.loads(json.dumps(wire))
    assert plain(heard(sse(wire))) == plain(said)
    stream = encoded(list(unfold(said)))
    if name not in ("log-probabilities",):
        assert plain(heard(stream)) == plain(said)


def encoded(events: list[Event], request: Request | None = None) -> bytes:
    encoder = StreamEncoder(context(request))
    return b"".join([encoder.encode(event) for event in checked(events)])


def chunks(data: bytes) -> list[dict[str, Any]]:
    pieces = data.split(b"\r\n\r\n")
    assert pieces.pop() == b""
    return [json.loads(piece.removeprefix(b"data: ")) for piece in pieces]


# --- streams from providers ---------------------------------------------------------------------


def test_a_stream_goes_on_where_it_was() -> None:
    used = [USED | {"candidatesTokenCount": n} for n in range(6)]
    data = sse(
        parts({"text": "h", "thought": True}) | {"usageMetadata": used[0]},
        parts({"text": "m", "thought": True}) | {"usageMetadata": used[1]},
        parts({"text": "", "thought": True, "thoughtSignature": "c2ln"}),
        b": a comment\r\n\r\n",
        parts({"text": "It "}) | {"usageMetadata": used[2]},
        parts({"text": "is."}),
        parts({"functionCall": {"name": "f", "args": {"a": 1}}}, {"functionCall": {"name": "f"}}),
        parts({"text": "", "thoughtSignature": "c2ln"}, finishReason="STOP")
        | {"usageMetadata": used[5]},
    )
    events = listen(data)
    ids = [e.block.id for e in events if isinstance(e, Open) and isinstance(e.block, ToolCall)]
    assert len(set(ids)) == 2 and all(len(name) == 29 for name in ids)
    assert [e.usage.output for e in events if isinstance(e, Count)] == [0, 1, 2, 5]
    assert plain(fold(events)) == plain(
        Reply(
            begin=BEGIN,
            choices=(
                Choice(
                    blocks=(
                        Thinking(text="hm", signature=OWN),
                        Text(text="It is."),
                        ToolCall(id=ids[0], name="f", arguments='{"a":1}'),
                        ToolCall(id=ids[1], name="f", arguments="{}"),
                        Text(text="", signature=OWN),
                    ),
                    finish=CALLS,
                ),
            ),
            usage=Usage(input=10, output=5),
        )
    )


def test_ids_that_are_made_stay_and_differ_between_answers() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}

    def made(response_id: str | None) -> list[str]:
        said = decoded(whole(call, call) | {"responseId": response_id})
        return [block.id for block in said.choices[0].blocks if isinstance(block, ToolCall)]

    assert made("a") == made("a") != made("b")
    assert len({*made("a"), *made("b"), *made(None)}) == 6


def test_a_reason_in_every_event_is_one_end() -> None:
    data = sse(*[parts({"text": word}, finishReason="STOP") for word in ("a", "b", "c")])
    said = heard(data)
    assert plain(said.choices[0].blocks) == plain((Text(text="abc"),))
    assert said.usage is None


def text_of(choice: Choice) -> str:
    return "".join(block.text for block in choice.blocks if isinstance(block, Text))


def test_several_answers_in_one_stream() -> None:
    def chunk(index: int, text: str, **more: Any) -> dict[str, Any]:
        return parts({"text": text}, index=index, **more)

    data = sse(
        chunk(0, "a"), chunk(1, "x"), chunk(0, "b", finishReason="STOP"),
        chunk(1, "y"), chunk(1, "z", finishReason="MAX_TOKENS"),
    )  # fmt: skip
    said = heard(data)
    assert [text_of(choice) for choice in said.choices] == ["ab", "xyz"]
    assert [c.finish.reason for c in said.choices] == [FinishReason.STOP, FinishReason.LENGTH]
    cut = events_of([sse(chunk(0, "a"), chunk(1, "x"), chunk(0, "b", finishReason="STOP"))])
    assert isinstance(cut[-1], Failed) and cut[-1].kind is ErrorKind.UPSTREAM_TRUNCATED


@pytest.mark.parametrize("word", ["SAFETY", "PROHIBITED_CONTENT", "SOMETHING_NEW"])
def test_a_blocked_prompt_is_a_filter_and_no_empty_stop(word: str) -> None:
    wire = {
        "promptFeedback": {"blockReason": word, "blockReasonMessage": "why"},
        "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3},
        "responseId": "resp-1", "modelVersion": "gemini-2.5-flash",
    }  # fmt: skip
    finish = Finish(reason=FinishReason.CONTENT_FILTER, detail=f"{word}: why")
    said = decoded(wire)
    assert said == Reply(begin=BEGIN, choices=(Choice(finish=finish),), usage=Usage(input=3))
    assert heard(sse(wire)) == said


def test_grounding_that_comes_last_finds_its_text() -> None:
    data = sse(
        parts({"text": "Grüß "}), parts({"text": "Gott!"}),
        parts({"text": ""}, finishReason="STOP", groundingMetadata=GROUNDING),
    )  # fmt: skip
    (block,) = heard(data).choices[0].blocks
    assert isinstance(block, Text)
    assert [(c.start, c.end) for c in block.citations] == [(0, 4), (5, 9), (5, 9)]


def test_citations_whose_place_is_elsewhere_keep_their_source() -> None:
    metadata = {
        "groundingChunks": [{"web": {"uri": "u"}}, {"maps": {"uri": "m"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 900, "endIndex": 999, "text": "gone"},
             "groundingChunkIndices": [0, 7]},
        ],
    }  # fmt: skip
    cited = {"citationSources": [{"startIndex": 1, "endIndex": 3, "uri": "c"}, {"uri": "d"}]}
    said = decoded(whole({"text": "äb"}, groundingMetadata=metadata, citationMetadata=cited))
    (block,) = said.choices[0].blocks
    assert isinstance(block, Text)
    assert [(c.url, c.start, c.end) for c in block.citations] == [
        ("u", -1, -1), ("m", -1, -1), ("c", 0, 2), ("d", -1, -1),
    ]  # fmt: skip
    assert decoded(whole({"text": "a"}, groundingMetadata=5)).choices[0].blocks


BROKEN: list[tuple[bytes, ErrorKind, str]] = [
    (b"", ErrorKind.UPSTREAM_TRUNCATED, "ended"),
    (sse(parts({"text": "a"})), ErrorKind.UPSTREAM_TRUNCATED, "ended"),
    (sse({"usageMetadata": USED}), ErrorKind.UPSTREAM_TRUNCATED, "ended"),
    (sse(parts({"text": "a"})) + b'data: {"candidates":[{"fin', ErrorKind.UPSTREAM_TRUNCATED, ""),
    (sse(parts({"text": "a"}),
         {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}),
     ErrorKind.UPSTREAM_OVERLOADED, "busy"),
    (sse({"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}),
     ErrorKind.UPSTREAM_RATE_LIMIT, "slow"),
    (sse({"error": {"message": "late", "status": "DEADLINE_EXCEEDED"}}),
     ErrorKind.UPSTREAM_TIMEOUT, "late"),
    (sse(parts({"text": "a"})) + b'{\n "error": {\n  "code": 500,\n  "message": "oh"\n }\n}\n',
     ErrorKind.UPSTREAM_ERROR, "oh"),
    (sse(b'data: [{"error": {"code": 500, "message": "oh"}}]\n\n'), ErrorKind.UPSTREAM_ERROR, "oh"),
    (sse(b"data: oops\n\n", b"data: [1]\n\n"), ErrorKind.UPSTREAM_PROTOCOL, "two events"),
    (sse(parts({"functionCall": {"name": "f", "args": [1]}})), ErrorKind.UPSTREAM_PROTOCOL, "f"),
    (sse(parts({"functionCall": {"name": "f", "partialArgs": [{}]}})),
     ErrorKind.UPSTREAM_PROTOCOL, "pieces"),
    (sse(parts({"text": "a"}, index=-1)), ErrorKind.UPSTREAM_PROTOCOL, "index"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "kind", "words"), BROKEN)
def test_what_is_no_whole_answer_is_a_failure(data: bytes, kind: ErrorKind, words: str) -> None:
    last = listen(data)[-1]
    assert isinstance(last, Failed)
    assert last.kind is kind
    assert words in last.message


def test_one_broken_event_is_skipped_and_a_last_one_may_lack_its_blank_line() -> None:
    data = sse(parts({"text": "a"}), b"data: oops\n\n", parts({"text": "b"}, finishReason="STOP"))
    assert text_of(heard(data.rstrip(b"\r\n")).choices[0]) == "ab"
    assert text_of(heard(b"\xef\xbb\xbf" + data.replace(b"\r\n", b"\n")).choices[0]) == "ab"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", ErrorKind.UPSTREAM_PROTOCOL, "format"),
        (b"<html>", ErrorKind.UPSTREAM_PROTOCOL, "format"),
        (b"[]", ErrorKind.UPSTREAM_PROTOCOL, "format"),
        (b"{}", ErrorKind.UPSTREAM_PROTOCOL, "no candidates"),
        (b'{"candidates":' + b"[" * 100_000, ErrorKind.UPSTREAM_PROTOCOL, "format"),
        (json.dumps(parts({"text": "a"})).encode(), ErrorKind.UPSTREAM_PROTOCOL, "finishReason"),
        (b'{"error":{"code":429,"message":"slow"}}', ErrorKind.UPSTREAM_RATE_LIMIT, "slow"),
        (json.dumps(whole({"functionCall": {"name": "f", "args": 5}})).encode(),
         ErrorKind.UPSTREAM_PROTOCOL, "arguments"),
    ],
)  # fmt: skip
def test_replies_that_are_none(body: bytes, kind: ErrorKind, words: str) -> None:
    with pytest.raises(ReplyError) as caught:
        decoded(body)
    assert caught.value.kind is kind
    assert words in caught.value.message


# --- streams to callers -------------------------------------------------------------------------


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
            source=Source(media_type="audio/wav", data="AAAA"),
            transcript="hi",
        ),
        Text(text="x", citations=(Citation(document=1),)),
    )
    held = context()
    (candidate,) = json.loads(CLIENT.encode_reply(said, held))["candidates"]
    assert candidate["content"]["parts"] == [
        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}, {"text": "x"},
    ]  # fmt: skip
    assert held.receipt.dropped == ("web_search_call", "audio.transcript", "citations")


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
         Usage(input=4, cache_read=5, audio_input=1)),
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


# --- anything at all ----------------------------------------------------------------------------

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
