"""Models at other hosts than their maker's, judged by the SDKs: Vertex AI and Azure OpenAI."""

from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from tests.simulator.conftest import Sim
from tests.simulator.wire import request, talk

HELLO: Any = [{"role": "user", "content": "one two three"}]
PLACE = "/v1/projects/p/locations/l/publishers"


# -- Vertex AI


@pytest.fixture
def gemini(sim: Sim) -> genai.Client:
    options = types.HttpOptions(base_url=sim.url, client_args={"trust_env": False})
    return genai.Client(
        vertexai=True,
        project="p",
        location="l",
        credentials=Credentials(token="any"),  # type: ignore[no-untyped-call]
        http_options=options,
    )


@pytest.fixture
def claude(sim: Sim) -> anthropic.AnthropicVertex:
    return anthropic.AnthropicVertex(
        base_url=f"{sim.url}/v1", region="l", project_id="p", access_token="any", max_retries=0
    )


def test_gemini_at_vertex(gemini: genai.Client) -> None:
    asked: Any = {"model": "sim-tokens=4", "contents": "one two three"}
    assert gemini.models.generate_content(**asked).text == "The ferry leaves the"
    pieces = list(gemini.models.generate_content_stream(**asked))
    assert "".join(piece.text or "" for piece in pieces) == "The ferry leaves the"
    assert gemini.models.count_tokens(**asked).total_tokens == 3
    with pytest.raises(errors.ClientError) as caught:
        gemini.models.generate_content(model="sim-429", contents="a")
    assert caught.value.status == "RESOURCE_EXHAUSTED"


def test_claude_at_vertex(claude: anthropic.AnthropicVertex) -> None:
    asked: Any = {"model": "sim-tokens=4+think", "max_tokens": 99, "messages": HELLO}
    whole = claude.messages.create(**asked)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    with claude.messages.stream(**asked) as events:
        streamed = events.get_final_message()
    assert [block.type for block in streamed.content] == ["thinking", "text"]
    assert (streamed.usage.input_tokens, streamed.usage.output_tokens) == (3, 4 + 8)
    counted = claude.messages.count_tokens(model="sim", messages=HELLO)
    assert counted.input_tokens == 3
    with pytest.raises(anthropic.RateLimitError):
        claude.messages.create(**asked | {"model": "sim-429"})


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({}, "anthropic_version: Field required"),
        ({"anthropic_version": "2023-06-01"}, "vertex-2023-10-16"),
        ({"anthropic_version": "vertex-2023-10-16", "model": "sim"}, "model: Extra inputs"),
        ({"anthropic_version": "2026-10-21", "top_p": 0.5}, "top_p: Extra inputs"),
    ],
)
def test_claude_at_vertex_refuses(sim: Sim, fields: dict[str, Any], match: str) -> None:
    body = {"max_tokens": 9, "messages": HELLO, **fields}
    bearer = {"authorization": "Bearer any"}
    reply = talk(sim.port, request(f"{PLACE}/anthropic/models/sim:rawPredict", body, bearer))
    assert reply.status == 400
    assert match in reply.json()["error"]["message"]


def test_vertex_wants_a_token(sim: Sim) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}
    path = f"{PLACE}/google/models/sim:generateContent"
    reply = talk(sim.port, request(path, body, {"x-goog-api-key": "any"}))
    assert (reply.status, reply.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert talk(sim.port, request(path, body, {"authorization": "Bearer any"})).status == 200


# -- Azure OpenAI


def azure(sim: Sim, key: str = "any") -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=sim.url, api_key=key, api_version="2024-10-21", max_retries=0
    )


def v1(sim: Sim) -> openai.OpenAI:
    headers = {"api-key": "any"}
    return openai.OpenAI(
        base_url=f"{sim.url}/openai/v1", api_key="other", default_headers=headers, max_retries=0
    )


@pytest.fixture(params=["deployments", "v1"])
def chat(sim: Sim, request: pytest.FixtureRequest) -> openai.OpenAI:
    return v1(sim) if request.param == "v1" else azure(sim)


def test_chat_tells_of_its_filter(chat: openai.OpenAI) -> None:
    asked: Any = {"model": "sim-tokens=4", "messages": HELLO}
    whole = chat.chat.completions.create(**asked)
    assert whole.choices[0].message.content == "The ferry leaves the"
    told: Any = whole.model_extra
    assert told["prompt_filter_results"][0]["content_filter_results"]["hate"]["filtered"] is False
    first, *chunks = list(chat.chat.completions.create(**asked, stream=True))
    assert (first.choices, first.id, first.model) == ([], "", "")
    assert first.model_extra == {"prompt_filter_results": told["prompt_filter_results"]}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "The ferry leaves the"
    asked["model"] = "sim-filtered"
    last = list(chat.chat.completions.create(**asked, stream=True))[-1].choices[0]
    assert last.finish_reason == "content_filter"
    results: Any = last.model_extra
    assert results["content_filter_results"]["violence"]["filtered"] is True


def test_other_endpoints(chat: openai.OpenAI) -> None:
    assert chat.completions.create(model="sim-tokens=2", prompt="a").choices[0].text == "The ferry"
    assert len(chat.embeddings.create(model="sim", input="a").data[0].embedding) == 256
    assert chat.responses.create(model="sim-tokens=2", input="a").output_text == "The ferry"


def test_deployment_decides(sim: Sim) -> None:
    path = "/openai/deployments/sim-tokens=1/chat/completions"
    body = {"model": "sim-tokens=2", "messages": HELLO}
    reply = talk(sim.port, request(f"{path}?api-version=2024-10-21", body))
    assert reply.json()["choices"][0]["message"]["content"] == "The"
    undated = talk(sim.port, request(path, body))
    assert undated.status == 404
    assert undated.json() == {"error": {"code": "404", "message": "Resource not found"}}


def test_errors(chat: openai.OpenAI) -> None:
    for word, kind, code in (
        ("401", openai.AuthenticationError, "401"),
        ("404", openai.NotFoundError, "DeploymentNotFound"),
        ("429", openai.RateLimitError, "429"),
        ("filter", openai.BadRequestError, "content_filter"),
        ("503", openai.InternalServerError, "NoCapacity"),
    ):
        with pytest.raises(kind) as caught:
            chat.chat.completions.create(model=f"sim-{word}", messages=HELLO)
        assert isinstance(caught.value, openai.APIStatusError)
        assert caught.value.code == code
        assert caught.value.response.headers["apim-request-id"]


def test_keys_of_azure(start: Callable[..., Sim]) -> None:
    sim = start("--key", "right")
    assert azure(sim, "right").chat.completions.create(model="sim", messages=HELLO).choices
    with pytest.raises(openai.AuthenticationError, match="invalid subscription key"):
        azure(sim, "wrong").chat.completions.create(model="sim", messages=HELLO)


def test_models_at_azure(sim: Sim) -> None:
    assert "sim-tools" in [model.id for model in v1(sim).models.list()]
    assert v1(sim).models.retrieve("sim-429").id == "sim-429"
