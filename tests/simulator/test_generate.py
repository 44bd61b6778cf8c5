"""Google's generateContent API, judged by its official SDK."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.simulator.conftest import Sim
from tests.simulator.wire import Reply, request, talk

HELLO = "one two three"
ROW: Any = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="row",
            parameters_json_schema={
                "type": "object",
                "properties": {"strokes": {"type": "integer"}},
                "required": ["strokes"],
            },
        )
    ]
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
PNG = b"\x89PNG\r\n\x1a\n"


def client(sim: Sim, version: str = "v1beta", key: str = "any") -> genai.Client:
    options = types.HttpOptions(
        base_url=sim.url, api_version=version, client_args={"trust_env": False}
    )
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture(params=["v1", "v1beta"])
def sdk(sim: Sim, request: pytest.FixtureRequest) -> genai.Client:
    return client(sim, request.param)


def config(**more: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(automatic_function_calling={"disable": True}, **more)


def joined(replies: list[types.GenerateContentResponse]) -> list[dict[str, Any]]:
    """All parts, neighbouring texts of one kind as one, without ids."""
    parts: list[dict[str, Any]] = []
    for reply in replies:
        [candidate] = reply.candidates or []
        for part in (candidate.content and candidate.content.parts) or []:
            found = part.model_dump(exclude_none=True)
            last = parts[-1] if parts else {}
            if call := found.get("function_call"):
                call.pop("id", None)
            if found == {"text": ""}:
                continue  # the last piece, which only tells of the end
            if "text" in found and "text" in last and found.get("thought") == last.get("thought"):
                last |= found | {"text": last["text"] + found["text"]}
            else:
                parts.append(found)
    return parts


def both(
    sdk: genai.Client, model: str, contents: Any = HELLO, **more: Any
) -> types.GenerateContentResponse:
    """The whole reply, which the pieces of the stream must amount to."""
    asked: Any = {"model": model, "contents": contents, "config": config(**more)}
    whole = sdk.models.generate_content(**asked)
    pieces = list(sdk.models.generate_content_stream(**asked))
    if whole.candidates and whole.candidates[0].content:
        assert joined(pieces) == joined([whole])
        assert pieces[-1].candidates
        assert pieces[-1].candidates[0].finish_reason == whole.candidates[0].finish_reason
    assert pieces[-1].usage_metadata == whole.usage_metadata
    assert {piece.response_id for piece in pieces} != {whole.response_id}
    return whole


def end(reply: types.GenerateContentResponse) -> str:
    assert reply.candidates
    assert reply.candidates[0].finish_reason
    return reply.candidates[0].finish_reason.value


def test_text_and_usage(sdk: genai.Client) -> None:
    found = both(sdk, "sim-tokens=4+cached=64+reasoning=9")
    assert found.text == "The ferry leaves the"
    assert end(found) == "STOP"
    usage = found.usage_metadata
    assert usage
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (64, 64)
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (4, 9)
    assert usage.total_token_count == 64 + 4 + 9
    assert found.model_version == "sim-tokens=4+cached=64+reasoning=9"


def results(calls: list[types.FunctionCall], *responses: dict[str, Any]) -> types.Content:
    parts = [
        types.Part(
            function_response=types.FunctionResponse(id=c.id, name=c.name, response=response)
        )
        for c, response in zip(calls, responses, strict=True)
    ]
    return types.Content(role="user", parts=parts)


def test_thinking_and_tools_go_round(sdk: genai.Client) -> None:
    more: Any = {"tools": [ROW], "thinking_config": {"include_thoughts": True}}
    found = both(sdk, "sim-tools=2+preamble", **more)
    assert found.candidates
    content = found.candidates[0].content
    assert content
    assert content.parts
    assert [bool(part.thought) for part in content.parts] == [True, False, False, False]
    first, second = calls = found.function_calls or []
    assert first.id != second.id
    assert first.args == {"strokes": 7}
    signed = [bool(part.thought_signature) for part in content.parts]
    assert signed == [False, False, True, False]  # of calls side by side only the first is signed
    user = types.Content(role="user", parts=[types.Part(text=HELLO)])
    back = results(calls[::-1], {"error": "rain"}, {"output": "sun"})
    assert back.parts
    assert back.parts[1].function_response
    picture = types.FunctionResponsePart.from_bytes(data=PNG, mime_type="image/png")
    back.parts[1].function_response.parts = [picture]
    told = both(sdk, "sim-echo", [user, content, back], **more).text
    assert told == "[2 row failed: rain][1 row: sun[image/png 8 bytes]]"
    content.parts[2].thought_signature = b"forged"
    with pytest.raises(errors.ClientError, match="Thought signature is not valid"):
        both(sdk, "sim", [user, content, back], **more)
    content.parts[2].thought_signature = None
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        both(sdk, "sim", [user, content, back], **more)
    content.parts[2].thought_signature = b"skip_thought_signature_validator"
    assert both(sdk, "sim", [user, content, back], **more).text
    later = types.Content(role="user", parts=[types.Part(text="and then?")])
    content.parts[2].thought_signature = None
    assert both(sdk, "sim", [user, content, back, content, back, later], **more).text


def test_signature_of_text_comes_back(sdk: genai.Client) -> None:
    found = both(sdk, "sim-think+tokens=2")
    assert found.candidates
    content = found.candidates[0].content
    assert content
    assert content.parts
    assert content.parts[-1].thought_signature
    user = types.Content(role="user", parts=[types.Part(text=HELLO)])
    assert both(sdk, "sim-echo", [user, content, user]).text == HELLO
    content.parts[-1].thought_signature = b"forged"
    with pytest.raises(errors.ClientError, match="not valid at contents\\[1\\]"):
        both(sdk, "sim-echo", [user, content, user])


def test_older_models_link_results_by_order(sdk: genai.Client) -> None:
    found = both(sdk, "sim-tools=2+old", tools=[ROW])
    calls = found.function_calls or []
    assert [call.id for call in calls] == [None, None]
    assert found.candidates
    assert found.candidates[0].content
    user = types.Content(role="user", parts=[types.Part(text=HELLO)])
    turns: Any = [
        user,
        found.candidates[0].content,
        results(calls, {"output": "a"}, {"output": "b"}),
    ]
    assert both(sdk, "sim-echo+old", turns, tools=[ROW]).text == "[1 row: a][2 row: b]"
    with pytest.raises(errors.ClientError, match="Thinking level is not supported"):
        both(sdk, "gemini-2.5-pro", thinking_config={"thinking_level": "low"})
    assert both(sdk, "gemini-3-pro", thinking_config={"thinking_level": "low"}).text


def test_endings(sdk: genai.Client) -> None:
    assert end(both(sdk, "sim", max_output_tokens=2)) == "MAX_TOKENS"
    stopped = both(sdk, "sim", stop_sequences=["dawn"])
    assert (end(stopped), stopped.text) == ("STOP", "The ferry leaves the bank at ")
    assert end(both(sdk, "sim-pause")) == "OTHER"
    cited = both(sdk, "sim-citations").candidates
    assert cited
    assert cited[0].citation_metadata
    for word in ("refusal", "filtered"):
        blocked = both(sdk, f"sim-{word}")
        assert end(blocked) == "SAFETY"
        assert blocked.candidates
        assert blocked.candidates[0].content is None
        [rating] = blocked.candidates[0].safety_ratings or []
        assert rating.blocked
        pieces = list(sdk.models.generate_content_stream(model=f"sim-{word}", contents=HELLO))
        assert end(pieces[-1]) == "SAFETY"
        said = "".join(piece.text or "" for piece in pieces)
        assert bool(said) == (word == "filtered")  # what had left before the filter saw it


def test_blocked_prompt(sdk: genai.Client) -> None:
    found = both(sdk, "sim-filter")
    assert not found.candidates
    assert found.prompt_feedback
    assert found.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


def test_structured_output(sdk: genai.Client) -> None:
    kind = "application/json"
    for name in ("response_json_schema", "response_schema"):
        assert both(sdk, "sim", response_mime_type=kind, **{name: SCHEMA}).text == '{"a":7}'
    enum = {"type": "STRING", "enum": ["north", "south"]}
    found = both(sdk, "sim", response_mime_type="text/x.enum", response_schema=enum)
    assert found.text == "north"
    assert both(sdk, "sim", response_mime_type=kind).text == '{"answer":"ferry"}'


def test_choice_of_tools(sdk: genai.Client) -> None:
    for mode, called in {"ANY": True, "NONE": False, "AUTO": False}.items():
        choice: Any = {"function_calling_config": {"mode": mode}}
        assert bool(both(sdk, "sim", tools=[ROW], tool_config=choice).function_calls) == called


def test_several_candidates(sdk: genai.Client) -> None:
    asked: Any = {"model": "sim-tokens=3", "contents": HELLO, "config": config(candidate_count=2)}
    whole = sdk.models.generate_content(**asked)
    assert [candidate.index for candidate in whole.candidates or []] == [0, 1]
    assert whole.usage_metadata
    assert whole.usage_metadata.candidates_token_count == 6
    said = {0: "", 1: ""}
    for piece in sdk.models.generate_content_stream(**asked):
        [candidate] = piece.candidates or []
        assert candidate.content
        assert candidate.index is not None
        said[candidate.index] += "".join(p.text or "" for p in candidate.content.parts or [])
    assert said == {0: "The ferry leaves", 1: "The ferry leaves"}


def test_media(sdk: genai.Client) -> None:
    parts = [
        types.Part(text="see "),
        types.Part.from_bytes(data=PNG, mime_type="image/png"),
        types.Part.from_bytes(data=b"\xfb\xff\xfe", mime_type="audio/wav"),
        types.Part.from_uri(file_uri="https://example.com/a.pdf", mime_type="application/pdf"),
    ]
    told = "see [image/png 8 bytes][audio/wav 3 bytes][application/pdf https://example.com/a.pdf]"
    assert both(sdk, "sim-echo", parts).text == told
    found = both(sdk, "sim-image").candidates
    assert found
    assert found[0].content
    blobs = [part.inline_data for part in found[0].content.parts or [] if part.inline_data]
    assert (blobs[0].data or b"").startswith(b"\x89PNG")
    spoken = both(sdk, "sim-audio").candidates
    assert spoken
    assert spoken[0].content
    [part] = spoken[0].content.parts or []
    assert part.inline_data
    assert (part.inline_data.mime_type or "").startswith("audio/")


def test_count_embed_and_models(sdk: genai.Client) -> None:
    assert sdk.models.count_tokens(model="sim", contents=HELLO).total_tokens == 3
    one = sdk.models.embed_content(model="sim", contents="a", config={"output_dimensionality": 8})
    many = sdk.models.embed_content(model="sim", contents=["a", "b"])
    assert one.embeddings
    assert len(one.embeddings[0].values or []) == 8
    assert many.embeddings
    assert many.embeddings[0].values != many.embeddings[1].values
    assert "models/sim-tools" in [model.name for model in sdk.models.list()]
    assert sdk.models.get(model="sim-429").name == "models/sim-429"


@pytest.mark.parametrize("word", ["split", "bytes", "crlf", "cr", "gzip"])
def test_unusual_streams(sim: Sim, word: str) -> None:
    sdk = client(sim)
    asked: Any = {"contents": HELLO}
    pieces = list(sdk.models.generate_content_stream(model=f"sim-unicode+{word}", **asked))
    whole = sdk.models.generate_content(model="sim-unicode", **asked).text
    assert "".join(piece.text or "" for piece in pieces) == whole


def test_errors(sdk: genai.Client) -> None:
    for word, status, name in (
        ("400", 400, "INVALID_ARGUMENT"),
        ("401", 401, "UNAUTHENTICATED"),
        ("429", 429, "RESOURCE_EXHAUSTED"),
        ("quota", 429, "RESOURCE_EXHAUSTED"),
        ("context", 400, "INVALID_ARGUMENT"),
        ("503", 503, "UNAVAILABLE"),
    ):
        with pytest.raises(errors.APIError) as caught:
            both(sdk, f"sim-{word}")
        assert (caught.value.code, caught.value.status) == (status, name)
        kinds = [detail["@type"] for detail in caught.value.details["error"].get("details", [])]
        retry = "type.googleapis.com/google.rpc.RetryInfo"
        assert (retry in kinds) == (word == "429")
    with pytest.raises(errors.APIError, match="overloaded"):
        list(sdk.models.generate_content_stream(model="sim-error-event", contents=HELLO))
    with pytest.raises(Exception, match=r"(?i)peer|incomplete|payload"):
        list(sdk.models.generate_content_stream(model="sim-cut", contents=HELLO))


def post(sim: Sim, body: Any, model: str = "sim", method: str = "generateContent") -> Reply:
    return talk(sim.port, request(f"/v1beta/models/{model}:{method}", body))


def asked(**fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": HELLO}]}], **fields}


CALL = {
    "role": "model",
    "parts": [
        {
            "functionCall": {"name": "row", "args": {}},
            "thoughtSignature": "skip_thought_signature_validator",
        }
    ],
}
ANSWER = {"role": "user", "parts": [{"functionResponse": {"name": "row", "response": {}}}]}


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ({}, "contents is not specified"),
        (asked(colour=1), 'Unknown name "colour": Cannot find field.'),
        (asked(generationConfig={"tempo": 1}), "Unknown name \"tempo\" at 'generation_config'"),
        (asked(generationConfig={"temperature": "hot"}), '(TYPE_FLOAT), "hot"'),
        (asked(generationConfig={"temperature": 2.5}), "must be in the range"),
        (asked(generationConfig={"maxOutputTokens": 1.5}), "(TYPE_INT32), 1.5"),
        (asked(generationConfig={"responseSchema": SCHEMA}), "only supported with response mime"),
        (asked(generationConfig={"stopSequences": list("abcdef")}), "stop_sequences"),
        (
            asked(generationConfig={"thinkingConfig": {"thinkingLevel": "steep"}}),
            'ThinkingLevel), "steep"',
        ),
        (
            asked(
                generationConfig={"thinkingConfig": {"thinkingLevel": "low", "thinkingBudget": 1}}
            ),
            "only set only one",
        ),
        (asked(generationConfig=[1]), "cannot start list"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}, "valid role"),
        ({"contents": [{"parts": []}]}, "must not be empty"),
        ({"contents": [{"parts": [{}]}]}, "required oneof field"),
        ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"text": "a", "type": "text"}]}]}, 'Unknown name "type"'),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "a/b", "data": "%"}}]}]},
            "Invalid base64",
        ),
        ({"contents": [*asked()["contents"], CALL]}, "number of function response parts"),
        ({"contents": [*asked()["contents"], ANSWER]}, "immediately after a function call"),
        (
            asked(tools=[{"functionDeclarations": [{"name": "1st"}]}]),
            "Invalid function name",
        ),
        (
            asked(
                tools=[
                    {
                        "functionDeclarations": [
                            {"name": "a", "parameters": {"type": "OBJECT", "$schema": "x"}}
                        ]
                    }
                ]
            ),
            "Unknown name \"$schema\" at 'tools[0].function_declarations[0].parameters'",
        ),
        (asked(toolConfig={"functionCallingConfig": {"mode": "MUST"}}), "Invalid value"),
    ],
)
def test_refusals(sim: Sim, body: dict[str, Any], match: str) -> None:
    reply = post(sim, body)
    assert reply.status == 400, reply.body
    error = reply.json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert match in error["message"]


def test_json_of_protocol_buffers_is_read(sim: Sim) -> None:
    body = {
        "contents": {"parts": {"text": HELLO}},
        "system_instruction": None,
        "generation_config": {"max_output_tokens": "2", "temperature": 1, "top_p": None},
    }
    reply = post(sim, body)
    [candidate] = reply.json()["candidates"]
    assert candidate["finishReason"] == "MAX_TOKENS"
    assert candidate["content"]["parts"] == [{"text": "The ferry"}]


def test_streams_are_events_or_an_array(sim: Sim) -> None:
    events = post(sim, asked(), "sim-tokens=2", "streamGenerateContent?alt=sse")
    assert events.header("content-type") == "text/event-stream"
    assert b"\r\n\r\n" in events.body
    array = post(sim, asked(), "sim-tokens=2", "streamGenerateContent")
    assert (array.header("content-type") or "").startswith("application/json")
    for chunks in (events.data, array.json()):
        texts = [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks]
        assert texts == ["The", " ferry", ""]
        ends = [chunk["candidates"][0].get("finishReason") for chunk in chunks]
        assert ends == [None, None, "STOP"]
        counts = [chunk["usageMetadata"]["candidatesTokenCount"] for chunk in chunks]
        assert counts == [1, 2, 2]
    unfinished = post(sim, asked(), "sim-no-done", "streamGenerateContent?alt=sse")
    assert all("finishReason" not in chunk["candidates"][0] for chunk in unfinished.data)
    broken = post(sim, asked(), "sim-error-event", "streamGenerateContent").json()
    assert broken[-1]["error"]["status"] == "UNAVAILABLE"


def test_keys(start: Callable[..., Sim]) -> None:
    sim = start("--key", "right")
    assert both(client(sim, key="right"), "sim").text
    with pytest.raises(errors.ClientError, match="API key not valid") as caught:
        both(client(sim, key="wrong"), "sim")
    assert caught.value.code == 400
    assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    path = "/v1beta/models/sim:generateContent?key="
    assert talk(sim.port, request(path + "right", asked())).status == 200
    assert talk(sim.port, request(path + "wrong", asked())).status == 400
    assert sim.get("/v1beta/models?key=right")["models"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        sim.get("/v1beta/models?key=wrong")
    assert json.load(refused.value)["error"]["status"] == "INVALID_ARGUMENT"
