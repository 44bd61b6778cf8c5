"""Vectors and rankings, judged by Cohere's SDK; what Cohere's chat demands of a conversation."""

import json
import math
from collections.abc import Iterator
from typing import Any

import cohere
import httpx
import pytest
from botocore.exceptions import ClientError

from tests.simulator.conftest import Sim
from tests.simulator.test_amazon import client
from tests.simulator.wire import request, talk

HELLO: Any = [{"role": "user", "content": "one two three"}]
TOOLS: Any = [{"type": "function", "function": {"name": "row", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def sdk(sim: Sim) -> Iterator[cohere.ClientV2]:
    with httpx.Client(trust_env=False, timeout=5) as http:
        yield cohere.ClientV2(api_key="key", base_url=sim.url, httpx_client=http)


def test_results_answer_calls(sdk: cohere.ClientV2) -> None:
    message = sdk.chat(model="sim-tools=2", messages=HELLO, tools=TOOLS).message
    one, two = message.tool_calls or []
    assert one.id != two.id
    results: Any = [
        {"role": "tool", "tool_call_id": two.id, "content": "rain"},
        {"role": "tool", "tool_call_id": one.id, "content": [
            {"type": "document", "document": {"data": {"content": "sun"}}}]},
    ]  # fmt: skip
    back: Any = [*HELLO, message, *results]
    told: Any = sdk.chat(model="sim-echo", messages=back, tools=TOOLS).message.content
    assert told[0].text == "[2 row: rain][1 row: sun]"
    with pytest.raises(cohere.BadRequestError, match="missing tool results"):
        sdk.chat(model="sim", messages=back[:-1], tools=TOOLS)


@pytest.mark.parametrize(
    ("name", "value"), [("p", 1.0), ("temperature", 2), ("k", 501), ("frequency_penalty", 2)]
)
def test_settings_have_limits(sim: Sim, name: str, value: float) -> None:
    reply = talk(sim.port, request("/v2/chat", {"model": "sim", "messages": HELLO, name: value}))
    assert (reply.status, list(reply.json())) == (400, ["id", "message"])
    assert name in reply.json()["message"]


def test_vectors(sdk: cohere.ClientV2) -> None:
    found = sdk.embed(
        model="sim", input_type="classification", texts=["a", "b", "a"],
        embedding_types=["float", "int8", "ubinary", "base64"], output_dimension=64,
    )  # fmt: skip
    vectors = found.embeddings
    assert vectors.float_ and vectors.int8 and vectors.ubinary and vectors.base64
    one, two, again = vectors.float_
    assert one == again != two
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-6)
    assert (len(vectors.int8[0]), len(vectors.ubinary[0])) == (64, 8)


def test_rankings(sdk: cohere.ClientV2, sim: Sim) -> None:
    texts = ["goats", "the slow green river", "green apples"]
    found = sdk.rerank(model="sim", query="green river", documents=texts, top_n=2)
    assert [result.index for result in found.results] == [1, 2]
    assert found.results[0].relevance_score == 0.991
    asked: dict[str, Any] = {"model": "sim", "query": "green river", "documents": texts}
    jina = talk(sim.port, request("/v1/rerank", asked)).json()
    assert jina["results"][0]["document"] == {"text": texts[1]}
    voyage = talk(sim.port, request("/v1/rerank", asked | {"top_k": 1})).json()
    assert voyage["data"] == [{"index": 1, "relevance_score": 0.991}]
    missing = talk(sim.port, request("/v1/rerank", {"model": "sim"}))
    assert (missing.status, missing.json()) == (422, {"detail": "query: Field required"})


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/v2/embed", {"input_type": "poetry", "texts": ["a"]}, 400),
        ("/v2/embed", {"input_type": "classification"}, 400),
        ("/v2/embed", {"input_type": "classification", "texts": ["a"], "colour": 1}, 422),
        ("/v2/rerank", {"query": "a", "documents": [{"text": "a"}]}, 422),
        ("/v2/rerank", {"query": "a"}, 400),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "sim": "429"}, 429),
    ],
)
def test_wrong_requests_are_refused(sim: Sim, path: str, fields: Any, status: int) -> None:
    assert talk(sim.port, request(path, {"model": "sim", **fields})).status == status


def test_amazon_has_them_by_invoke(sim: Sim) -> None:
    """botocore sends it; the bodies are the models' own, and tokens are counted in a header."""
    aws = client(sim.url)

    def invoke(model: str, **body: Any) -> tuple[Any, Any]:
        reply = aws.invoke_model(modelId=model, body=json.dumps(body))
        return json.loads(reply["body"].read()), reply["ResponseMetadata"]["HTTPHeaders"]

    titan, headers = invoke("amazon.titan-embed-text-v2:0", inputText="a b", dimensions=256)
    assert (titan["inputTextTokenCount"], headers["x-amzn-bedrock-input-token-count"]) == (2, "2")
    many, _ = invoke("cohere.embed-english-v3", texts=["a b", "c"], input_type="search_query")
    assert many["embeddings"][0] == titan["embedding"]
    assert many["response_type"] == "embeddings_floats"
    by_type, _ = invoke(
        "cohere.embed-v4:0", texts=["a b"], input_type="search_query", truncate="LEFT",
        embedding_types=["float", "int8"], output_dimension=256,
    )  # fmt: skip
    assert by_type["embeddings"]["float"] == [titan["embedding"]]
    ranks, _ = invoke(
        "cohere.rerank-v3-5:0", query="river", documents=["a", "river"], top_n=1, api_version=2
    )
    assert ranks == {"results": [{"index": 1, "relevance_score": 0.991}]}
    for model, body in (
        ("amazon.titan-embed-text-v2:0", {"inputText": ["a"]}),
        ("amazon.titan-embed-text-v2:0", {"inputText": "a", "dimensions": 7}),
        ("cohere.embed-english-v3", {"texts": ["a"]}),
        ("cohere.embed-english-v3", {"texts": ["a"], "input_type": "image", "max_tokens": 3}),
        ("cohere.rerank-v3-5:0", {"query": "a", "documents": ["a"]}),
    ):
        with pytest.raises(ClientError, match="Validation"):
            invoke(model, **body)
