"""The vendors' own SDKs on the simulator: what they parse and refuse judges its formats."""

from typing import Any

import botocore.session
import cohere
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from tests.simulator.conftest import Sim

SAID = "The ferry leaves the bank at"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"pier": {"type": "string"}},
    "required": ["pier"],
}


# -- Gemini


@pytest.fixture
def gemini(sim: Sim) -> genai.Client:
    options = types.HttpOptions(
        base_url=f"http://127.0.0.1:{sim.port}", client_args={"trust_env": False}
    )
    return genai.Client(api_key="key", http_options=options)


def test_gemini_whole_and_streamed(gemini: genai.Client) -> None:
    reply = gemini.models.generate_content(model="sim-tokens=6", contents="Good morning")
    assert reply.text == SAID
    assert reply.usage_metadata is not None
    assert reply.usage_metadata.candidates_token_count == 6
    pieces = gemini.models.generate_content_stream(model="sim-tokens=6", contents="Good morning")
    assert "".join(piece.text or "" for piece in pieces) == SAID


def test_gemini_thoughts_must_come_back_as_they_went(gemini: genai.Client) -> None:
    tool = types.Tool(
        function_declarations=[
            types.FunctionDeclaration(name="timetable", parameters_json_schema=SCHEMA)
        ]
    )
    config = types.GenerateContentConfig(
        tools=[tool], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )

    def ask(contents: Any) -> Any:
        return gemini.models.generate_content(model="sim-tools=1", contents=contents, config=config)

    user = types.Content(role="user", parts=[types.Part(text="When?")])
    model = ask([user]).candidates[0].content
    [call] = [part for part in model.parts if part.function_call]
    result = types.Part.from_function_response(name="timetable", response={"output": "noon"})
    result.function_response.id = call.function_call.id
    back = types.Content(role="user", parts=[result])
    assert ask([user, model, back]).candidates
    call.thought_signature = b"forged"
    with pytest.raises(genai_errors.ClientError, match="not valid"):
        ask([user, model, back])


@pytest.mark.parametrize(("words", "code"), [("429", 429), ("503", 503), ("401", 400)])
def test_gemini_errors(gemini: genai.Client, words: str, code: int) -> None:
    with pytest.raises(genai_errors.APIError) as caught:
        gemini.models.generate_content(model=f"sim-{words}", contents="Hello")
    assert caught.value.code in (code, int(words))
    assert caught.value.message


def test_gemini_refuses_what_it_does_not_know(sim: Sim) -> None:
    url = f"http://127.0.0.1:{sim.port}/v1beta/models/sim:generateContent"
    body = {"contents": [{"parts": [{"text": "Hi"}]}], "messages": []}
    reply = httpx.post(url, json=body, headers={"x-goog-api-key": "k"}, trust_env=False)
    assert reply.status_code == 400
    assert 'Unknown name "messages"' in reply.json()["error"]["message"]


# -- Bedrock


@pytest.fixture(scope="module")
def bedrock(sim: Sim) -> Any:
    session = botocore.session.get_session()
    return session.create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{sim.port}",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        config=Config(retries={"max_attempts": 0}, proxies={}),
    )


def asked(*content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content) or [{"text": "Good morning"}]}]


def test_converse_whole_and_streamed(bedrock: Any) -> None:
    reply = bedrock.converse(modelId="sim-tokens=6", messages=asked())
    assert reply["output"]["message"]["content"] == [{"text": SAID}]
    assert reply["stopReason"] == "end_turn"
    assert reply["usage"]["outputTokens"] == 6
    stream = bedrock.converse_stream(modelId="sim-tokens=6+think", messages=asked())["stream"]
    events = list(stream)
    text = [e["contentBlockDelta"]["delta"] for e in events if "contentBlockDelta" in e]
    assert "".join(delta.get("text", "") for delta in text) == SAID
    assert any("signature" in delta.get("reasoningContent", {}) for delta in text)
    assert "metadata" in events[-1]


def test_converse_tools(bedrock: Any) -> None:
    config = {"tools": [{"toolSpec": {"name": "timetable", "inputSchema": {"json": SCHEMA}}}]}
    first = bedrock.converse(modelId="sim-tools=1", messages=asked(), toolConfig=config)
    [use] = first["output"]["message"]["content"]
    result = {"toolUseId": use["toolUse"]["toolUseId"], "content": [{"text": "noon"}]}
    history = [*asked(), first["output"]["message"]]
    with pytest.raises(ClientError, match="Expected toolResult"):
        bedrock.converse(modelId="sim", messages=[*history, *asked()], toolConfig=config)
    after = [*history, *asked({"toolResult": result})]
    then = bedrock.converse(modelId="sim-echo", messages=after, toolConfig=config)
    assert then["output"]["message"]["content"] == [{"text": "noon"}]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([*asked(), *asked()], "alternate"),
        (asked({"text": "  "}), "blank"),
        (
            asked({"document": {"format": "pdf", "name": "a.b", "source": {"bytes": b"x"}}}),
            "document file name",
        ),
        (
            [
                *asked(),
                {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {
                    "text": "Hm.", "signature": "forged"}}}]},
                *asked(),
            ],
            "Invalid signature",
        ),
    ],
)  # fmt: skip
def test_converse_refuses_what_the_service_refuses(bedrock: Any, messages: Any, words: str) -> None:
    with pytest.raises(ClientError, match=words) as caught:
        bedrock.converse(modelId="sim", messages=messages)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_converse_errors_before_and_within(bedrock: Any) -> None:
    with pytest.raises(ClientError) as caught:
        bedrock.converse(modelId="sim-429", messages=asked())
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    stream = bedrock.converse_stream(modelId="sim-error-event", messages=asked())["stream"]
    with pytest.raises(Exception, match="throttlingException"):
        list(stream)


# -- Cohere


@pytest.fixture
def chat(sim: Sim) -> cohere.ClientV2:
    http = httpx.Client(trust_env=False, timeout=30)
    return cohere.ClientV2(
        api_key="key", base_url=f"http://127.0.0.1:{sim.port}", httpx_client=http
    )


def test_cohere_whole_and_streamed(chat: cohere.ClientV2) -> None:
    messages: Any = [{"role": "user", "content": "Good morning"}]
    reply = chat.chat(model="sim-tokens=6", messages=messages)
    assert reply.message.content is not None
    assert reply.message.content[0].text == SAID  # type: ignore[union-attr]
    assert reply.finish_reason == "COMPLETE"
    events = list(chat.chat_stream(model="sim-tokens=6", messages=messages))
    said = [e.delta.message.content.text for e in events if e.type == "content-delta"]
    assert "".join(said) == SAID
    assert events[-1].type == "message-end"


def test_cohere_errors(chat: cohere.ClientV2) -> None:
    with pytest.raises(cohere.errors.TooManyRequestsError, match="Trial key"):
        chat.chat(model="sim-429", messages=[{"role": "user", "content": "Hello"}])
