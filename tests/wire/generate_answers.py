"""Answers of the generateContent format, in JSON and in the common language."""

import json
from typing import Any

from msgspec import Raw

from ferryman.ir.events import (
    Begin,
    Beside,
    Choice,
    Event,
    Finish,
    FinishReason,
    Reply,
)
from ferryman.ir.request import (
    Citation,
    Media,
    MediaKind,
    Opaque,
    Request,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Extras, Usage
from ferryman.wire.gemini_generate.encoder import StreamEncoder
from ferryman.wire.gemini_generate.types import NAME
from tests.wire.generate import PROVIDER, context, parts
from tests.wire.turns import checked

USED = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
BEGIN = Begin(id="resp-1", model="gemini-2.5-flash")
STOP = Finish(reason=FinishReason.STOP)
CALLS = Finish(reason=FinishReason.TOOL_CALLS)
OWN = Signature("c2ln", NAME)


def beside(name: str, said: Any, carried: str = "") -> Beside:
    raw = Raw(json.dumps(said, separators=(",", ":")).encode())
    return Beside(origin=NAME, name=name, raw=raw, carried=carried)


def reply(*blocks: Any, finish: Finish = STOP, **more: Any) -> Reply:
    choice = Choice(blocks=blocks, finish=finish, logprobs=more.pop("logprobs", ()))
    extras = Extras(searches=more["searches"]) if "searches" in more else None
    return Reply(begin=BEGIN, choices=(choice,), usage=Usage(input=10, output=5, extras=extras))


def whole(*said: Any, **more: Any) -> dict[str, Any]:
    return parts(*said, **{"finishReason": "STOP"} | more) | {"usageMetadata": USED}


def decoded(body: Any) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return PROVIDER.decode_reply(data)


PNG = {"mimeType": "image/png", "data": "iVBORw0KGgo="}
GROUNDING = {
    "webSearchQueries": ["ferry"],
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
            ),
            finish=Finish(
                reason=FinishReason.STOP,
                beside=(beside("groundingMetadata", GROUNDING, "citations"),),
            ),
            searches=1,
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


def encoded(events: list[Event], request: Request | None = None) -> bytes:
    encoder = StreamEncoder(context(request))
    return b"".join([encoder.encode(event) for event in checked(events)])


def chunks(data: bytes) -> list[dict[str, Any]]:
    pieces = data.split(b"\r\n\r\n")
    assert pieces.pop() == b""
    return [json.loads(piece.removeprefix(b"data: ")) for piece in pieces]
