"""Embeddings and rankings through a whole gateway: each caller's SDK, each provider's dialect."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import cohere
import httpx
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from ferryman.simulator.lists import vector
from tests.gateway import KEY, Stack, error_of, whole

TITAN, MANY = "amazon.titan-embed-text-v2:0", "cohere.embed-english-v3"
PROVIDERS = ("vectors/sim", "generate/sim", "cohere-like/sim", f"converse/{MANY}", "jina/sim")
"""A model in each dialect that takes many inputs, one of them relayed to OpenAI's callers."""
EACH = pytest.mark.parametrize("model", PROVIDERS)
TEXTS = ["a slow green river", "ferry", "größe 😀"]
RERANKERS = ("vectors/sim", "cohere-like/sim", "voyage/sim", "converse/cohere.rerank-v3-5:0",
             "converse/amazon.rerank-v1:0", "jina/sim")  # fmt: skip
DOCUMENTS = ["goats", "the slow green river", "green apples"]
QUERY = "green river"


def near(found: list[float], text: str, size: int = 256) -> bool:
    return len(found) == size and found == pytest.approx(vector(text, size), rel=1e-6)


@pytest.fixture
def sdk(formats: Stack) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(
        base_url=formats.endpoint, api_key=KEY, max_retries=0, http_client=http
    ) as client:
        yield client


@pytest.fixture
def google(formats: Stack) -> genai.Client:
    options = genai.types.HttpOptions(base_url=formats.url, client_args={"trust_env": False})
    return genai.Client(api_key=KEY, http_options=options)


@pytest.fixture
def ranker(formats: Stack) -> Iterator[cohere.ClientV2]:
    with httpx.Client(trust_env=False, timeout=10) as http:
        yield cohere.ClientV2(api_key=KEY, base_url=formats.url, httpx_client=http)


# --- vectors --------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("size", [256, 512])
def test_openais_callers_get_the_same_vectors_of_everybody(
    sdk: openai.OpenAI, formats: Stack, model: str, size: int
) -> None:
    if model.startswith("converse") and size != 256:
        model = "converse/cohere.embed-v4:0"  # the others have one size
    more: Any = {} if size == 256 else {"dimensions": size}
    for encoding in (openai.omit, "float"):  # unsaid, it asks for base64 and unpacks it
        found = sdk.embeddings.create(model=model, input=TEXTS, encoding_format=encoding, **more)
        assert [one.index for one in found.data] == [0, 1, 2]
        assert all(near(one.embedding, t, size) for one, t in zip(found.data, TEXTS, strict=True))
        assert (found.object, found.usage.prompt_tokens, found.usage.total_tokens) == ("list", 7, 7)
    single = sdk.embeddings.create(model=model, input="ferry", **more)
    assert near(single.data[0].embedding, "ferry", size)


@EACH
def test_googles_callers_do_too(google: genai.Client, model: str) -> None:
    found = google.models.embed_content(
        model=model, contents=TEXTS, config={"task_type": "RETRIEVAL_QUERY"}
    )
    assert [near(one.values or [], t) for one, t in zip(found.embeddings or [], TEXTS, strict=True)]
    assert found.usage_metadata is not None
    assert found.usage_metadata.prompt_token_count == 7


@EACH
def test_coheres_callers_do_too(ranker: cohere.ClientV2, model: str) -> None:
    found = ranker.embed(
        model=model, texts=TEXTS, input_type="search_query", embedding_types=["float", "base64"]
    )
    vectors, packed = found.embeddings.float_, found.embeddings.base64
    assert vectors and packed
    assert all(near(one, text) for one, text in zip(vectors, TEXTS, strict=True))
    assert near(list(struct.unpack("<256f", base64.b64decode(packed[1]))), "ferry")
    assert found.meta and found.meta.billed_units
    assert found.meta.billed_units.input_tokens == 7
    assert found.texts == TEXTS


def test_one_content_and_no_sdk(formats: Stack) -> None:
    body = {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "output_dimensionality": 64}
    reply = formats.post(body, "/v1beta/models/vectors/sim:embedContent")
    assert near(reply.json()["embedding"]["values"], "a b", 64)
    assert reply.header("x-ferryman-altered") == "inputs[0]=parts joined by line breaks"
    assert json.loads(formats.last_body())["input"] == ["a\nb"]
    relayed = formats.post({**body, "model": "models/x"}, "/v1/models/generate/sim:embedContent")
    assert near(relayed.json()["embedding"]["values"], "a b", 64)
    assert json.loads(formats.last_body()) == {**body, "model": "models/sim"}
    assert relayed.header("x-ferryman-altered") is None


def test_googles_batches_name_the_providers_model(google: genai.Client, formats: Stack) -> None:
    google.models.embed_content(model="generate/sim", contents=["a", "b"])
    sent = json.loads(formats.last_body())["requests"]
    assert [one["model"] for one in sent] == ["models/sim", "models/sim"]


def test_compact_vectors_go_where_they_are_offered(ranker: cohere.ClientV2, formats: Stack) -> None:
    asked: Any = {"texts": ["ferry"], "input_type": "classification"}
    found = ranker.embed(
        model=f"converse/{MANY}", embedding_types=["int8", "ubinary", "base64"], **asked
    ).embeddings
    assert found.int8 and found.ubinary and found.base64
    assert (len(found.int8[0]), len(found.ubinary[0])) == (256, 32)
    assert json.loads(formats.last_body())["embedding_types"] == ["int8", "ubinary", "float"]
    formats.forget()
    with pytest.raises(cohere.BadRequestError, match="no vectors of the kind 'int8'"):
        ranker.embed(model="generate/sim", embedding_types=["int8"], **asked)
    assert formats.stats()["requests"] == 0


def test_pictures_go_where_they_can_be_seen(ranker: cohere.ClientV2, formats: Stack) -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    mixed: Any = [{"content": [{"type": "text", "text": "a"},
                               {"type": "image_url", "image_url": {"url": url}}]}]  # fmt: skip
    ranker.embed(model="generate/sim", inputs=mixed, input_type="search_document")
    [one] = json.loads(formats.last_body())["requests"]
    assert one["content"]["parts"] == [
        {"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    ]  # fmt: skip
    ranker.embed(model="converse/cohere.embed-v4:0", inputs=mixed, input_type="search_document")
    [one] = json.loads(formats.last_body())["inputs"]
    assert one["content"][1] == {"type": "image_url", "image_url": url}
    ranker.embed(model=f"converse/{MANY}", images=[url], input_type="image")
    assert json.loads(formats.last_body())["images"] == [url]
    with pytest.raises(cohere.BadRequestError, match="embeds text only"):
        ranker.embed(model="vectors/sim", images=[url], input_type="image")


def test_what_vectors_are_for_is_said_in_the_providers_words(
    google: genai.Client, formats: Stack
) -> None:
    config: Any = {"task_type": "RETRIEVAL_QUERY"}
    for model, name, word in (
        ("cohere-like/sim", "input_type", "search_query"),
        ("voyage/sim", "input_type", "query"),
        ("jina/sim", "task", "retrieval.query"),
        (f"converse/{MANY}", "input_type", "search_query"),
    ):
        google.models.embed_content(model=model, contents=["a"], config=config)
        assert json.loads(formats.last_body())[name] == word
    google.models.embed_content(model="vectors/sim", contents=["a"], config=config)
    assert json.loads(formats.last_body()) == {"model": "sim", "input": ["a"]}


def test_a_relayed_request_is_the_callers_but_for_names(formats: Stack) -> None:
    body = {"model": "vectors/sim", "input": ["a"], "x": 1.50}
    assert formats.post(body, "/v1/embeddings").status == 200
    assert formats.last_body() == json.dumps({**body, "model": "sim"}).encode()
    asked = {"model": "voyage/sim", "input": "a", "dimensions": 64, "encoding_format": "float",
             "user": "me"}  # fmt: skip
    reply = formats.post(asked, "/v1/embeddings")
    sent = json.loads(formats.last_body())
    assert sent == {"model": "sim", "input": "a", "output_dimension": 64}
    assert reply.header("x-ferryman-dropped") == "user"
    formats.post({**asked, "model": "jina/sim"}, "/v1/embeddings")
    assert json.loads(formats.last_body())["embedding_type"] == "float"


def test_googles_callers_see_which_models_make_vectors(google: genai.Client) -> None:
    found = google.models.get(model="gemini/gemini-embedding-001").supported_actions
    assert found == ["embedContent", "batchEmbedContents"]
    talks = google.models.get(model="gemini/gemini-2.5-flash").supported_actions
    assert talks and "generateContent" in talks


# --- rankings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", RERANKERS)
def test_everybody_ranks_alike(ranker: cohere.ClientV2, formats: Stack, model: str) -> None:
    found = ranker.rerank(model=model, query=QUERY, documents=DOCUMENTS, top_n=2)
    assert [(one.index, one.relevance_score) for one in found.results] == [(1, 0.991), (2, 0.496)]
    asked = {"model": model, "query": QUERY, "documents": DOCUMENTS}
    reply = formats.post(asked, "/v1/rerank")
    assert [one["index"] for one in reply.json()["results"]] == [1, 2, 0]
    assert formats.post(asked, "/rerank").json()["results"] == reply.json()["results"]


def test_documents_come_back_as_they_went(formats: Stack) -> None:
    objects: list[Any] = [{"text": "a river", "id": 7.50}, "a lake"]
    asked = {"model": "voyage/sim", "query": "lake", "documents": objects,
             "return_documents": True, "rank_fields": ["text"],
             "max_tokens_per_doc": 9}  # fmt: skip
    reply = formats.post(asked, "/v1/rerank")
    best, other = reply.json()["results"]
    assert (best["document"], other["document"]) == ({"text": "a lake"}, objects[0])
    assert json.loads(formats.last_body())["documents"] == ["a river", "a lake"]
    assert reply.header("x-ferryman-dropped") == "max_tokens_per_doc, rank_fields"
    assert reply.header("x-ferryman-altered") == "documents=their text alone"


# --- accounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "tokens", "cost"),
    [
        ("vectors/sim", 3, "0.000003"),
        ("gemini/gemini-embedding-001", 3, "0.00000045"),
        ("voyage/voyage-3.5", 3, "0.00000018"),
        (f"bedrock/{TITAN}", 3, "0.00000006"),
        ("generate/sim", 3, None),
        ("cohere-like/sim", 3, None),
        (f"converse/{MANY}", 3, None),
    ],
)
@pytest.mark.parametrize("path", ["openai", "google", "cohere"])
def test_vectors_are_in_the_ledger(
    formats: Stack, model: str, tokens: int, cost: str | None, path: str
) -> None:
    texts = ["one two three"]
    if path == "google":
        body: Any = {"requests": [{"content": {"parts": [{"text": texts[0]}]}}]}
        reply = formats.post(body, f"/v1beta/models/{model}:batchEmbedContents")
    elif path == "cohere":
        body = {"model": model, "texts": texts, "input_type": "clustering"}
        reply = formats.post(body, "/v2/embed")
    else:
        reply = formats.post({"model": model, "input": texts}, "/v1/embeddings")
    assert reply.status == 200, reply.body
    row = formats.row(reply)
    assert (row["tokens"]["input"], row["tokens"]["output"]) == (tokens, 0)
    assert row["cost_usd"] == cost
    assert reply.header("x-ferryman-cost-usd") == cost
    assert row["model"] == model


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("vectors/sim", 4), ("voyage/sim", 4), ("converse/cohere.rerank-v3-5:0", 4),
     ("cohere-like/sim", 0)],
)  # fmt: skip
def test_rankings_are_in_the_ledger(formats: Stack, model: str, tokens: int) -> None:
    asked = {"model": model, "query": "a b", "documents": ["c", "d"]}
    row = formats.row(formats.post(asked, "/v2/rerank"))
    assert (row["endpoint"], row["status"]) == ("rerank", 200)
    assert row["tokens"]["input"] == tokens


def test_unsaid_usage_is_unknown_not_nothing(formats: Stack) -> None:
    for model in ("generate/sim?no-usage", "cohere-like/sim?no-usage", "vectors/sim?no-usage"):
        body = {"requests": [{"content": {"parts": [{"text": "a"}]}}]}
        reply = formats.post(body, f"/v1beta/models/{model}:batchEmbedContents".replace("?", "%3F"))
        assert reply.status == 200, reply.body
        assert "usageMetadata" not in reply.json()
        assert formats.row(reply)["tokens"] is None


# --- what can't be had ----------------------------------------------------------------------------


def test_a_purpose_is_added_or_lost_in_the_open(formats: Stack) -> None:
    reply = formats.post({"model": "cohere-like/sim", "input": "a", "user": "u"}, "/v1/embeddings")
    assert reply.header("x-ferryman-altered") == "purpose=search_document"
    assert reply.header("x-ferryman-dropped") == "user"
    [attempt] = formats.row(reply)["tries"]
    assert (attempt["dropped"], attempt["altered"]) == (["user"], ["purpose=search_document"])
    strict = {"x-ferryman-on-unsupported": "reject"}
    formats.forget()
    refused = formats.post(
        {"model": "cohere-like/sim", "input": "a", "user": "u"}, "/v1/embeddings", headers=strict
    )
    assert (refused.status, error_of(refused)["code"]) == (400, "unsupported_by_model")
    assert "user" in error_of(refused)["message"]
    assert formats.stats()["requests"] == 0
    told = {"model": "cohere-like/sim", "input": "a", "input_type": "query"}
    assert formats.post(told, "/v1/embeddings", headers=strict).status == 200
    assert json.loads(formats.last_body())["input_type"] == "search_query"


def test_one_text_a_call_is_refused_with_the_way_out(formats: Stack) -> None:
    asked = {"model": f"bedrock/{TITAN}", "input": ["a", "b"]}
    reply = formats.post(asked, "/v1/embeddings")
    assert (reply.status, error_of(reply)["code"]) == (400, "unsupported_by_model")
    assert "Send each in a call of its own" in error_of(reply)["message"]
    elsewhere = formats.post({**asked, "model": "any-vectors"}, "/v1/embeddings")
    assert elsewhere.header("x-ferryman-provider") == "generate"
    alone = formats.post({**asked, "model": "any-vectors", "input": ["a"]}, "/v1/embeddings")
    assert alone.header("x-ferryman-provider") == "bedrock"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": ["a", ""]}, "input[1]"),
        ("/v1/embeddings", {"input": [[]]}, "input[0]"),
        ("/v1/embeddings", {"input": ["a", 3]}, "input[1]"),
        ("/v1/embeddings", {"input": [1, -3]}, "input"),
        ("/v1/embeddings", {"input": [{"text": "a"}]}, "input[0]"),
        ("/v1/embeddings", {"input": [[1, 2]]}, "inputs[0]"),
        ("/v1/embeddings", {"input": ["a"] * 2049}, "input"),
        ("/v1/embeddings", {"input": "a", "dimensions": 0}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "dimensions": 2.5}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "input_type": "poetry"}, "input_type"),
        ("/v1/embeddings", {}, "input"),
        ("/v2/embed", {"texts": ["a"]}, "input_type"),
        ("/v2/embed", {"texts": ["a"], "images": [], "input_type": "image"}, None),
        ("/v2/embed", {"texts": [], "input_type": "image"}, None),
        ("/v2/embed", {"images": ["https://x.example/a.png"], "input_type": "image"}, "images[0]"),
        ("/v2/embed", {"texts": ["a"], "input_type": "image", "truncate": "BOTH"}, "truncate"),
        ("/v2/embed", {"texts": ["a"] * 101, "input_type": "image"}, "inputs"),
    ],
)
def test_bad_vectors_are_refused_by_name(
    formats: Stack, path: str, body: Any, param: str | None
) -> None:
    formats.forget()
    reply = formats.post({"model": "generate/sim", **body}, path)
    assert reply.status == 400, reply.body
    assert error_of(reply)["param"] == param
    assert formats.stats()["requests"] == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"[", "JSON"),
        (b'{"requests":[]}', "requests"),
        (b'{"requests":[{"content":{"parts":[]}}]}', "requests[0].content"),
        (b'{"requests":[{"content":{"parts":[{"text":3}]}}]}', "text"),
        (b'{"requests":[{"content":{"parts":[{"fileData":{"fileUri":"x"}}]}}]}', "parts[0]"),
        (b'{"requests":[{"content":{"parts":[{"text":"a"}]},"taskType":"POETRY"}]}', "taskType"),
        (b'{"requests":[{"content":{"parts":[{"text":"a"}]}},'
         b'{"content":{"parts":[{"text":"a"}]},"taskType":"CLUSTERING"}]}', "requests[1]"),
    ],
)  # fmt: skip
def test_googles_callers_get_googles_errors(formats: Stack, body: bytes, words: str) -> None:
    reply = formats.post(body, "/v1beta/models/vectors/sim:batchEmbedContents")
    error = reply.json()["error"]
    assert (reply.status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert words in error["message"]


def test_googles_sdk_reads_them(google: genai.Client) -> None:
    for model, status in (("vectors/sim-429", 429), ("generate/sim-429", 429), ("nobody/x", 404)):
        with pytest.raises(genai_errors.ClientError) as caught:
            google.models.embed_content(model=model, contents=["a"])
        assert caught.value.code == status


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"query": "a", "documents": []}, "documents"),
        ({"query": "a", "documents": "a"}, "documents"),
        ({"query": "a"}, "documents"),
        ({"documents": ["a"]}, "query"),
        ({"query": {"image": "x"}, "documents": ["a"]}, "query"),
        ({"query": "a", "documents": ["a", 3]}, "documents[1]"),
        ({"query": "a", "documents": [{"title": "a"}]}, "documents[0]"),
        ({"query": "a", "documents": ["a"], "top_n": 0}, "top_n"),
        ({"query": "a", "documents": ["a"], "top_n": "2"}, "top_n"),
        ({"query": "a", "documents": ["a"] * 10_001}, "documents"),
    ],
)
def test_bad_rankings_are_refused_by_name(formats: Stack, body: Any, param: str) -> None:
    formats.forget()
    reply = formats.post({"model": "voyage/sim", **body}, "/v1/rerank")
    assert (reply.status, error_of(reply)["param"]) == (400, param)
    assert formats.stats()["requests"] == 0


@pytest.mark.parametrize(
    "said",
    [b"", b"[]", b"{}", b'{"data":[]}', b'{"data":[{"embedding":null,"index":0}]}',
     b'{"data":[{"embedding":"****","index":0}]}', b'{"data":[{"embedding":{}}]}',
     b'{"data":[{"embedding":[1]},{"embedding":[2]}]}', b'{"error":{"message":"No"}}'],
)  # fmt: skip
def test_replies_that_are_none_are_not_passed_on(formats: Stack, said: bytes) -> None:
    formats.canned.answers.append(whole(said))
    body = {"content": {"parts": [{"text": "a"}]}}
    reply = formats.post(body, "/v1beta/models/beside/m:embedContent")
    assert reply.status == 502, reply.body
    assert reply.json()["error"]["status"] == "UNAVAILABLE"


def test_nobody_is_asked_for_what_they_do_not_have(formats: Stack) -> None:
    for path, body in (
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/rerank", {"query": "a", "documents": ["a"]}),
    ):
        reply = formats.post({"model": "messages/sim", **body}, path)
        assert "does not offer" in error_of(reply)["message"]


def test_vectors_of_many_texts(formats: Stack) -> None:
    """A large batch goes through as numbers that nobody reads, and base64 that is made of them."""
    texts = [f"text {n}" for n in range(96)]
    asked = {"model": "cohere-like/sim", "input": texts, "dimensions": 1536}
    found = formats.post(asked, "/v1/embeddings").json()["data"]
    assert near(found[95]["embedding"], "text 95", 1536)
    packed = formats.post({**asked, "encoding_format": "base64"}, "/v1/embeddings").json()["data"]
    assert near(list(struct.unpack("<1536f", base64.b64decode(packed[95]["embedding"]))), "text 95",
                1536)  # fmt: skip
