"""Google's generateContent API, judged by its official SDK."""

import base64
import json
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.simulator.conftest import Sim
from tests.simulator.wire import request, talk

ROW = types.FunctionDeclaration(
    name="row",
    parameters=types.Schema(
        type=types.Type.OBJECT, properties={"strokes": types.Schema(type=types.Type.INTEGER)}
    ),
)
TOOLS: Any = [types.Tool(function_declarations=[ROW])]
OFF = types.AutomaticFunctionCallingConfig(disable=True)
HELLO: Any = [{"role": "user", "parts": [{"text": "one two three"}]}]
PNG = base64.b64decode("iVBORw0KGgo=")


@pytest.fixture
def sdk(sim: Sim) -> genai.Client:
    options = types.HttpOptions(base_url=sim.url, retry_options=None)
    return genai.Client(api_key="any", http_options=options)


def config(**more: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(automatic_function_calling=OFF, **more)


def ask(sdk: genai.Client, model: str, contents: Any = HELLO, **more: Any) -> Any:
    return sdk.models.generate_content(model=model, contents=contents, config=config(**more))


def parts(chunks: list[Any]) -> list[Any]:
    return [p for c in chunks for p in c.candidates[0].content.parts or []]


def both(sdk: genai.Client, model: str, contents: Any = HELLO, **more: Any) -> Any:
    """The whole reply, whose text, calls and usage the stream must have, too."""
    whole = ask(sdk, model, contents, **more)
    chunks = list(
        sdk.models.generate_content_stream(model=model, contents=contents, config=config(**more))
    )
    left, right = parts(chunks), parts([whole])
    for thought in (True, None):
        assert "".join(p.text or "" for p in left if p.thought == thought) == "".join(
            p.text or "" for p in right if p.thought == thought
        )
    called = [
        [
            (p.function_call.name, p.function_call.args, p.thought_signature)
            for p in side
            if p.function_call
        ]
        for side in (left, right)
    ]
    assert called[0] == called[1]
    assert chunks[-1].usage_metadata == whole.usage_metadata
    assert chunks[-1].candidates[0].finish_reason == whole.candidates[0].finish_reason
    assert [c.candidates[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    return whole


def test_text_and_usage(sdk: genai.Client) -> None:
    found = both(sdk, "sim+tokens=4+cached=2+reasoning=5+prompt=9")
    assert found.text == "The ferry leaves the"
    usage = found.usage_metadata
    counts = (usage.prompt_token_count, usage.cached_content_token_count)
    assert counts == (9, 2)
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (4, 5)
    assert usage.total_token_count == 18
    assert found.candidates[0].finish_reason == types.FinishReason.STOP


def test_thoughts_and_their_signature(sdk: genai.Client) -> None:
    thinking = types.ThinkingConfig(include_thoughts=True)
    found = both(sdk, "sim", thinking_config=thinking)
    thought, said = found.candidates[0].content.parts
    assert thought.thought
    assert thought.text.startswith("Let me think")
    assert said.thought_signature
    back = [*HELLO, found.candidates[0].content, HELLO[0]]
    assert ask(sdk, "sim-echo", back).text == "one two three"
    said.thought_signature = b"forged" * 8
    with pytest.raises(errors.ClientError, match="Thought signature is not valid"):
        ask(sdk, "sim", back)


def test_parallel_calls_go_round(sdk: genai.Client) -> None:
    found = both(sdk, "sim-tools=2", tools=TOOLS)
    one, two = found.candidates[0].content.parts
    assert (one.function_call.args, two.function_call.name) == ({"strokes": 7}, "row")
    assert one.function_call.id != two.function_call.id
    assert one.thought_signature
    assert two.thought_signature is None
    answers = [
        {"function_response": {"id": call.id, "name": "row", "response": response}}
        for call, response in (
            (two.function_call, {"error": "rain"}),
            (one.function_call, {"result": "sun"}),
        )
    ]
    back: Any = [*HELLO, found.candidates[0].content, {"role": "user", "parts": answers}]
    assert ask(sdk, "sim-echo", back, tools=TOOLS).text == "[2 row failed: rain][1 row: sun]"
    with pytest.raises(errors.ClientError, match="number of function response parts"):
        ask(sdk, "sim", [*back[:-1], {"role": "user", "parts": answers[:1]}], tools=TOOLS)
    one.thought_signature = None
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        ask(sdk, "sim", back, tools=TOOLS)
    one.thought_signature = b"skip_thought_signature_validator"
    assert ask(sdk, "sim", back, tools=TOOLS).text


def test_older_models_have_no_ids_and_no_levels(sdk: genai.Client) -> None:
    found = both(sdk, "sim-tools=2+old", tools=TOOLS)
    calls = found.function_calls
    assert [call.id for call in calls] == [None, None]
    answers = [{"function_response": {"name": "row", "response": {"x": n}}} for n in (1, 2)]
    back: Any = [*HELLO, found.candidates[0].content, {"role": "user", "parts": answers}]
    assert ask(sdk, "sim-echo+old", back, tools=TOOLS).text == '[1 row: {"x":1}][2 row: {"x":2}]'
    level = types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW)
    assert ask(sdk, "sim", thinking_config=level).text
    for model in ("gemini-2.5-flash", "sim-old"):
        with pytest.raises(errors.ClientError, match="Thinking level is not supported"):
            ask(sdk, model, thinking_config=level)


def test_forced_calls(sdk: genai.Client) -> None:
    calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
    chosen = types.ToolConfig(function_calling_config=calling)
    assert both(sdk, "sim", tools=TOOLS, tool_config=chosen).function_calls[0].name == "row"


def test_media_arrive_and_leave(sdk: genai.Client) -> None:
    seen: Any = [
        types.Part.from_text(text="see "),
        types.Part.from_bytes(data=PNG, mime_type="image/png"),
    ]
    assert ask(sdk, "sim-echo", [types.UserContent(parts=seen)]).text == "see [image/png 8 bytes]"
    blob = both(sdk, "sim-image").candidates[0].content.parts[1].inline_data
    assert (blob.mime_type, blob.data[:4]) == ("image/png", b"\x89PNG")
    sound = both(sdk, "sim", response_modalities=["AUDIO"]).candidates[0].content.parts[0]
    assert sound.inline_data.mime_type.startswith("audio/L16")


def test_endings(sdk: genai.Client) -> None:
    def reason(model: str, **more: Any) -> Any:
        return both(sdk, model, **more).candidates[0].finish_reason.value

    assert reason("sim", max_output_tokens=2) == "MAX_TOKENS"
    assert reason("sim-filtered") == "SAFETY"
    assert both(sdk, "sim", stop_sequences=[" dawn"]).text == "The ferry leaves the bank at"
    blocked = ask(sdk, "sim-filter")
    assert not blocked.candidates
    assert blocked.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
    refused = ask(sdk, "sim-refusal").candidates[0]
    assert refused.finish_reason == types.FinishReason.PROHIBITED_CONTENT
    assert len(ask(sdk, "sim", candidate_count=2).candidates) == 2
    logs = both(sdk, "sim", response_logprobs=True, logprobs=1).candidates[0].logprobs_result
    assert len(logs.chosen_candidates) == 16


def test_structured_output(sdk: genai.Client) -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}, "required": ["a"]}
    kind = "application/json"
    assert both(sdk, "sim", response_mime_type=kind, response_schema=schema).text == '{"a":7}'
    loose = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert both(sdk, "sim", response_mime_type=kind, response_json_schema=loose).text == '{"a":7}'


def test_counting_embedding_models(sdk: genai.Client) -> None:
    assert sdk.models.count_tokens(model="sim", contents=HELLO).total_tokens == 3
    found = sdk.models.embed_content(model="sim", contents=["a", "b", "a"])
    assert found.embeddings
    one, two, again = [e.values for e in found.embeddings]
    assert one == again != two
    assert "models/sim-tools" in [model.name for model in sdk.models.list()]
    assert sdk.models.get(model="sim-429").name == "models/sim-429"


def test_errors(sdk: genai.Client) -> None:
    for model, kind, code in (
        ("sim-429", errors.ClientError, 429),
        ("sim-context", errors.ClientError, 400),
        ("sim-503", errors.ServerError, 503),
    ):
        with pytest.raises(kind) as caught:
            ask(sdk, model)
        assert caught.value.code == code
    limited = errors.ClientError
    with pytest.raises(limited) as caught:
        ask(sdk, "sim-429")
    assert caught.value.status == "RESOURCE_EXHAUSTED"
    with pytest.raises(errors.APIError, match="overloaded"):
        list(sdk.models.generate_content_stream(model="sim-error-event", contents=HELLO))


def post(sim: Sim, path: str, fields: Any, headers: dict[str, str] | None = None) -> Any:
    return talk(sim.port, request(path, fields, headers))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"colour": 1}, 'Unknown name "colour": Cannot find field.'),
        ({"generationConfig": {"colour": 1}}, "Unknown name \"colour\" at 'generation_config'"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": [{}]}]}, "required oneof field 'data'"),
        (
            {
                "tools": [
                    {
                        "functionDeclarations": [
                            {
                                "name": "a",
                                "parameters": {"type": "object", "additionalProperties": False},
                            }
                        ]
                    }
                ]
            },
            "at 'tools[0].function_declarations[0].parameters'",
        ),
        (
            {
                "generationConfig": {
                    "responseSchema": {"type": "object", "additionalProperties": False}
                }
            },
            "at 'generation_config.response_schema'",
        ),
        ({"generationConfig": {"responseSchema": {"type": "object"}}}, "response mime type"),
        (
            {
                "contents": [
                    {"role": "user", "parts": [{"functionResponse": {"name": "a", "response": {}}}]}
                ]
            },
            "immediately after",
        ),
    ],
)
def test_refusals(sim: Sim, fields: dict[str, Any], match: str) -> None:
    reply = post(sim, "/v1beta/models/sim:generateContent", {"contents": HELLO, **fields})
    assert reply.status == 400, reply.body
    error = reply.json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert match in error["message"]


def test_snake_case_is_read_too(sim: Sim) -> None:
    fields = {"contents": HELLO, "generation_config": {"max_output_tokens": 1}}
    reply = post(sim, "/v1beta/models/sim%3Ftokens%3D5:generateContent", fields).json()
    assert reply["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_streams_are_events_or_one_array(sim: Sim) -> None:
    path = "/v1/models/sim%3Ftokens%3D2:streamGenerateContent"
    array = post(sim, path, {"contents": HELLO})
    assert array.header("content-type") == "application/json; charset=UTF-8"
    events = post(sim, path + "?alt=sse", {"contents": HELLO})
    said = [
        [c["candidates"][0]["content"]["parts"][0]["text"] for c in chunks]
        for chunks in (json.loads(array.body), events.data)
    ]
    assert said == [["The", " ferry", ""]] * 2
    assert events.body.count(b"\r\n\r\n") == 3


def test_vertex_wants_a_token(sim: Sim) -> None:
    path = "/v1/projects/p/locations/l/publishers/google/models/sim:generateContent"
    refused = post(sim, path, {"contents": HELLO})
    assert (refused.status, refused.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    token = {"authorization": "Bearer ya29.any"}
    assert "candidates" in post(sim, path, {"contents": HELLO}, token).json()


def test_messages_by_way_of_vertex(sim: Sim) -> None:
    base = "/v1/projects/p/locations/l/publishers/anthropic/models/sim"
    token = {"authorization": "Bearer ya29.any"}
    asked: dict[str, Any] = {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "a"}],
    }
    whole = post(sim, base + ":rawPredict", asked, token).json()
    assert (whole["type"], whole["model"]) == ("message", "sim")
    events = post(sim, base + ":streamRawPredict", {**asked, "stream": True}, token)
    assert events.data[-1] == {"type": "message_stop"}
    for wrong in ({"model": "sim"}, {"anthropic_version": "bedrock-2023-05-31"}):
        assert post(sim, base + ":rawPredict", {**asked, **wrong}, token).status == 400
