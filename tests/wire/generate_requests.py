"""Requests of the generateContent format, in JSON and in the common language."""

import json
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.request import (
    HostedTool,
    Media,
    MediaKind,
    Message,
    Opaque,
    OutputFormat,
    OutputKind,
    Reasoning,
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from ferryman.wire.gemini_generate.types import NAME
from tests.wire.turns import model, user

PNG = "iVBORw0KGgo="
OWN = Signature("c2ln", NAME)
SCHEMA = Raw(b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}')


def call(call_id: str, name: str = "f", arguments: str = '{"a":1}', **more: Any) -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments, **more)


def result(call_id: str, *blocks: Any, name: str = "f", **more: Any) -> ToolResult:
    return ToolResult(call_id=call_id, name=name, blocks=blocks, **more)


def request(*messages: Message, **more: Any) -> Request:
    """A request as one of this format is read."""
    facts: dict[str, Any] = {"model": "gemini-2.5-flash", "origin": NAME, "include_usage": True}
    return Request(messages=messages or (user("hi"),), **facts | more)


def foreign(*messages: Message, **more: Any) -> Request:
    """A request of another format."""
    return request(*messages, **{"origin": "openai_chat"} | more)


def media(kind: MediaKind, media_type: str, **more: Any) -> Media:
    return Media(kind=kind, source=Source(media_type=media_type, **more))


IMAGE = media(MediaKind.IMAGE, "image/png", data=PNG)

BOTH_WAYS: list[tuple[str, dict[str, Any], Request]] = [
    ("text", {"contents": [{"parts": [{"text": "hi"}], "role": "user"}]}, request()),
    (
        "system",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "systemInstruction": {"parts": [{"text": "be"}, {"text": "brief"}]},
        },
        request(
            Message(role=Role.SYSTEM, blocks=(Text(text="be"), Text(text="brief"))), user("hi")
        ),
    ),
    (
        "media",
        {
            "contents": [
                {
                    "parts": [
                        {"inlineData": {"mimeType": "image/png", "data": PNG}},
                        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
                        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
                        {
                            "inlineData": {
                                "mimeType": "application/pdf", "data": "AAAA",
                                "displayName": "a.pdf",
                            }
                        },
                        {"fileData": {"fileUri": "gs://b/x.png", "mimeType": "image/png"}},
                        {"fileData": {"fileUri": "https://x.test/y.pdf",
                                      "mimeType": "application/pdf"}},
                        {
                            "inlineData": {"mimeType": "image/png", "data": PNG},
                            "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
                        },
                    ],
                    "role": "user",
                }
            ]
        },
        request(
            user(
                IMAGE,
                media(MediaKind.AUDIO, "audio/wav", data="AAAA"),
                media(MediaKind.VIDEO, "video/mp4", data="AAAA"),
                replace(media(MediaKind.DOCUMENT, "application/pdf", data="AAAA"), name="a.pdf"),
                media(MediaKind.IMAGE, "image/png", file_id="gs://b/x.png", origin=NAME),
                media(MediaKind.DOCUMENT, "application/pdf", url="https://x.test/y.pdf"),
                replace(IMAGE, detail="low"),
            )
        ),
    ),
    (
        "a tool loop with thoughts and signatures",
        {
            "contents": [
                {"parts": [{"text": "hi"}], "role": "user"},
                {
                    "parts": [
                        {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
                        {"text": "I look."},
                        {
                            "functionCall": {"id": "1", "name": "f", "args": {"a": 1}},
                            "thoughtSignature": "c2ln",
                        },
                        {"functionCall": {"id": "2", "name": "f", "args": {}}},
                    ],
                    "role": "model",
                },
                {
                    "parts": [
                        {"functionResponse": {"id": "1", "name": "f", "response": {"output": "x"}}},
                        {"functionResponse": {"id": "2", "name": "f", "response": {"error": "y"}}},
                    ],
                    "role": "user",
                },
                {
                    "parts": [
                        {"executableCode": {"language": "PYTHON", "code": "1"},
                         "thoughtSignature": "c2ln"},
                        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                        {"text": "done", "thoughtSignature": "c2ln"},
                    ],
                    "role": "model",
                },
                {"parts": [{"text": "thanks"}], "role": "user"},
            ]
        },
        request(
            user("hi"),
            model(
                Thinking(text="hm", signature=OWN),
                Text(text="I look."),
                call("1", signature=OWN),
                call("2", arguments="{}"),
            ),
            user(result("1", Text(text="x")), result("2", Text(text="y"), error=True)),
            model(
                Opaque(
                    origin=NAME,
                    kind="executableCode",
                    raw=b'{"executableCode":{"language":"PYTHON","code":"1"},'
                    b'"thoughtSignature":"c2ln"}',
                ),
                Opaque(
                    origin=NAME,
                    kind="codeExecutionResult",
                    raw=b'{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}}',
                ),
                Text(text="done", signature=OWN),
            ),
            user("thanks"),
        ),
    ),
    (
        "media in a result",
        {
            "contents": [
                {
                    "parts": [{"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}}],
                    "role": "model",
                },
                {
                    "parts": [
                        {
                            "functionResponse": {
                                "id": "1", "name": "f", "response": {"output": ["a", "b"]},
                                "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                            }
                        }
                    ],
                    "role": "user",
                },
            ]
        },
        request(model(call("1")), user(result("1", Text(text="a"), Text(text="b"), IMAGE))),
    ),
    (
        "tools",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "f", "description": "d",
                         "parametersJsonSchema": json.loads(bytes(SCHEMA))},
                        {"name": "g"},
                    ]
                },
                {"googleSearch": {"timeRangeFilter": {}}},
            ],
            "toolConfig": {
                "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}
            },
        },
        request(
            tools=(
                Tool(name="f", description="d", parameters=SCHEMA),
                Tool(name="g"),
                HostedTool(
                    origin=NAME,
                    kind="googleSearch",
                    raw=b'{"googleSearch":{"timeRangeFilter":{}}}',
                ),
            ),
            tool_choice=ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",)),
        ),
    ),
    *[
        (
            f"mode {mode}",
            {
                "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
                "tools": [{"functionDeclarations": [{"name": "f"}]}],
                "toolConfig": {"functionCallingConfig": {"mode": mode}},
            },
            request(tools=(Tool(name="f", strict=strict),), tool_choice=ToolChoice(mode=said)),
        )
        for mode, said, strict in (
            ("AUTO", ToolMode.AUTO, None),
            ("NONE", ToolMode.NONE, None),
            ("VALIDATED", ToolMode.AUTO, True),
        )
    ],
    (
        "configuration",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "cachedContent": "cachedContents/1",
            "labels": {"team": "a"},
            "serviceTier": "flex",
            "store": False,
            "safetySettings": [{"category": "C", "threshold": "T"}],
            "generationConfig": {
                "temperature": 0.5, "topP": 0.9, "topK": 40, "candidateCount": 2,
                "maxOutputTokens": 100, "stopSequences": ["a", "b"], "seed": 7,
                "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseLogprobs": True,
                "logprobs": 3, "responseModalities": ["TEXT", "AUDIO"],
                "speechConfig": {"voiceConfig": {}}, "imageConfig": {"aspectRatio": "1:1"},
                "responseMimeType": "application/json",
                "responseJsonSchema": json.loads(bytes(SCHEMA)),
                "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1024},
            },
        },
        request(
            cached_content="cachedContents/1",
            metadata=(("team", "a"),),
            service_tier="flex",
            store=False,
            temperature=0.5, top_p=0.9, top_k=40, choices=2, max_output=100, stop=("a", "b"),
            seed=7, presence_penalty=0.1, frequency_penalty=0.2, logprobs=True, top_logprobs=3,
            modalities=("text", "audio"),
            audio=Raw(b'{"voiceConfig":{}}'),
            output=OutputFormat(kind=OutputKind.SCHEMA, schema=SCHEMA),
            reasoning=Reasoning(budget=1024, summary="auto"),
            extra=(
                ("safetySettings", Raw(b'[{"category":"C","threshold":"T"}]')),
                ("generationConfig.imageConfig", Raw(b'{"aspectRatio":"1:1"}')),
            ),
        ),
    ),
    *[
        (
            f"thinking {config}",
            {
                "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
                "generationConfig": {"thinkingConfig": config},
            },
            request(reasoning=said),
        )
        for config, said in (
            ({"thinkingLevel": "LOW"}, Reasoning(effort="low")),
            ({"thinkingLevel": "XHIGH"}, Reasoning(effort="xhigh")),
            ({"thinkingBudget": 0}, Reasoning(budget=0)),
            ({"thinkingBudget": -1}, Reasoning(adaptive=True)),
            ({"includeThoughts": False}, Reasoning(summary="none")),
        )
    ],
    (
        "JSON",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "generationConfig": {"responseMimeType": "application/json"},
        },
        request(output=OutputFormat(kind=OutputKind.JSON)),
    ),
    (
        "a word from an enumeration",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "generationConfig": {
                "responseMimeType": "text/x.enum",
                "responseSchema": {"type": "STRING", "enum": ["a"]},
            },
        },
        request(
            extra=(
                ("generationConfig.responseMimeType", Raw(b'"text/x.enum"')),
                ("generationConfig.responseSchema", Raw(b'{"type":"STRING","enum":["a"]}')),
            )
        ),
    ),
]  # fmt: skip
