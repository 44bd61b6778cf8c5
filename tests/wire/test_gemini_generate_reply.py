"""Answers of providers of the generateContent format: whole and streamed."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import (
    Choice,
    Count,
    Failed,
    Finish,
    FinishReason,
    Open,
    Reply,
)
from ferryman.ir.fold import fold, unfold
from ferryman.ir.request import (
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.format import ReplyError
from tests.wire.generate import CLIENT, context, events_of, heard, listen, parts, plain, sse
from tests.wire.generate_answers import (
    BEGIN,
    BOTH_WAYS,
    CALLS,
    GROUNDING,
    OWN,
    STOP,
    USED,
    beside,
    decoded,
    encoded,
    whole,
)


@pytest.mark.parametrize(("name", "wire", "said"), BOTH_WAYS, ids=[row[0] for row in BOTH_WAYS])
def test_answers_both_ways(name: str, wire: dict[str, Any], said: Reply) -> None:
    assert plain(decoded(wire)) == plain(said), name
    out = json.loads(CLIENT.encode_reply(said, context()))
    if not wire["candidates"][0]["content"]["parts"]:
        del wire["candidates"][0]["content"]
    assert out == json.loads(json.dumps(wire))
    assert plain(heard(sse(wire))) == plain(said)
    stream = encoded(list(unfold(said)))
    if name not in ("log-probabilities",):
        assert plain(heard(stream)) == plain(said)


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


def test_citations_of_other_formats_become_sources() -> None:
    (sources,) = [said for name, _, said in BOTH_WAYS if name == "sources"]
    (choice,) = sources.choices
    foreign = replace(sources, choices=(replace(choice, finish=STOP),))
    for out in (CLIENT.encode_reply(foreign, context()), encoded(list(unfold(foreign)))):
        said = decoded(out) if out[:1] == b"{" else heard(out)
        assert said.choices[0].blocks == choice.blocks


def test_metadata_that_come_after_their_text_are_told_to_be_lost() -> None:
    visited = {"urlMetadata": [{"retrievedUrl": "https://a.test"}]}
    data = sse(
        parts({"text": "Grüß "}), parts({"functionCall": {"name": "f", "args": {}}}),
        parts(finishReason="STOP", groundingMetadata=GROUNDING, urlContextMetadata=visited),
    )  # fmt: skip
    (choice,) = heard(data).choices
    assert plain(choice.finish.beside) == plain(
        (beside("groundingMetadata", GROUNDING), beside("urlContextMetadata", visited))
    )


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
