"""Vectors and rankings, judged by Cohere's SDK."""

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


@pytest.fixture(scope="module")
def sdk(sim: Sim) -> Iterator[cohere.ClientV2]:
    with httpx.Client(trust_env=False, timeout=5) as http:
        yield cohere.ClientV2(api_key="key", base_url=sim.url, httpx_client=http)


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
