"""Embeddings in each dialect: what goes out as the vendors' SDKs have it, and what may come in."""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec
import pytest
from cohere import EmbedByTypeResponse
from cohere.v2.client import V2Client
from google.genai import types as genai
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from openai.types import CreateEmbeddingResponse
from openai.types.embedding_create_params import EmbeddingCreateParams
from pydantic import TypeAdapter

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.tasks import (
    PURPOSES,
    EmbedReply,
    EmbedRequest,
    Mixed,
    Picture,
    Tokens,
)
from ferryman.ir.usage import Usage
from ferryman.wire.bedrock_converse import embeddings as invoked
from ferryman.wire.cohere_chat import embeddings as cohere
from ferryman.wire.format import Aim, ReplyError
from ferryman.wire.formats import relay_of
from ferryman.wire.gemini_generate import embeddings as gemini
from ferryman.wire.openai_chat import embeddings as openai
from ferryman.wire.task import TaskProvider
from ferryman.wire.vectors import vectors_of
from tests.wire.sdk_types import judge

PIXEL = "data:image/png;base64,iVBORw0KGgo="
TITAN, MANY, NEWER = "amazon.titan-embed-text-v2:0", "cohere.embed-english-v3", "cohere.embed-v4:0"
SIDES: dict[str, tuple[TaskProvider, str]] = {
    "openai": (openai.PROVIDER, "m"),
    "gemini": (gemini.PROVIDER, "m"),
    "cohere": (cohere.PROVIDER, "m"),
    "titan": (invoked.PROVIDER, TITAN),
    "many": (invoked.PROVIDER, MANY),
    "newer": (invoked.PROVIDER, NEWER),
}


def wanted(*inputs: Any, **more: Any) -> EmbedRequest:
    return EmbedRequest(model="p/m", inputs=inputs or ("a",), **more)


def sent(
    side: str, asked: EmbedRequest, *quirks: str
) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """The body, what was dropped, and what was altered."""
    provider, model = SIDES[side]
    receipt = Receipt()
    body = provider.encode_request(asked, Aim(model=model, quirks=quirks), receipt)
    return json.loads(body), receipt.dropped, receipt.altered


# --- what goes out --------------------------------------------------------------------------------

OPENAI = judge(EmbeddingCreateParams)
COHERE = get_type_hints(V2Client.embed, include_extras=True)


def judge_openai(body: dict[str, Any]) -> None:
    OPENAI.validate_python(body, strict=True)


def judge_gemini(body: dict[str, Any]) -> None:
    assert body.keys() == {"requests"}
    for one in body["requests"]:
        assert one.pop("model").startswith("models/")
        genai.Content.model_validate(one.pop("content"))
        genai.EmbedContentConfig.model_validate(one)


def judge_cohere(body: dict[str, Any]) -> None:
    for name, value in body.items():
        TypeAdapter(COHERE[name]).validate_python(value)


FULL: dict[str, Any] = {"dimensions": 256, "purpose": "query", "user": "u", "truncate": "end",
                        "max_tokens": 9}  # fmt: skip


@pytest.mark.parametrize(
    ("side", "judged", "dropped"),
    [
        ("openai", judge_openai, {"purpose", "truncate", "max_tokens"}),
        ("gemini", judge_gemini, {"truncate", "max_tokens", "user"}),
        ("cohere", judge_cohere, {"user"}),
    ],
)
def test_everything_at_once(
    side: str, judged: Callable[[dict[str, Any]], None], dropped: set[str]
) -> None:
    body, lost, altered = sent(side, wanted("a", Mixed(("b", "c")), **FULL))
    judged(body)
    assert set(lost) == dropped
    assert not altered or altered == ("inputs[1]=parts joined by line breaks",)
    assert set(sent(side, wanted(unknown=("colour",)))[1]) == {"colour"}


@pytest.mark.parametrize("purpose", PURPOSES)
def test_every_purpose_has_a_word_or_is_told(purpose: str) -> None:
    for side, quirks in (
        ("openai", ()), ("openai", ("embed_task",)), ("openai", ("embed_query_document",)),
        ("openai", ("embed_query_passage",)), ("gemini", ()), ("cohere", ()), ("titan", ()),
        ("many", ()),
    ):  # fmt: skip
        body, dropped, altered = sent(side, wanted(purpose=purpose), *quirks)
        said = {"task", "input_type"} & body.keys() or "taskType" in json.dumps(body)
        assert said or dropped == ("purpose",), side
        assert all(entry.startswith("purpose=") for entry in altered), side


def test_models_that_must_be_told_a_side_are_told_one() -> None:
    body, _, altered = sent("openai", wanted(truncate="end"), "embed_query_passage")
    assert body == {"model": "m", "input": ["a"], "input_type": "passage", "truncate": "END"}
    assert altered == ("purpose=passage",)
    assert sent("openai", wanted(truncate="none"), "embed_query_document")[0]["truncation"] is False
    assert sent("openai", wanted(truncate="end"), "embed_task")[0]["truncate"] is True
    assert sent("openai", wanted(truncate="start"), "embed_task")[1] == ("truncate",)
    assert sent("openai", wanted(truncate="none"))[1] == ()


def test_invoked_bodies() -> None:
    body, dropped, _ = sent("titan", wanted("a", **FULL))
    assert body == {"inputText": "a", "dimensions": 256}
    assert set(dropped) == {"purpose", "user", "truncate", "max_tokens"}
    full: Any = {
        "input_type": "search_query",
        "embedding_types": ["float"],
        "output_dimension": 256,
    }
    body, dropped, _ = sent("many", wanted("a", "b", **FULL))
    assert body == {"texts": ["a", "b"], "truncate": "END", **full}
    assert set(dropped) == {"user", "max_tokens"}
    body, _, _ = sent("newer", wanted("a", Mixed(("b", Picture(PIXEL))), **FULL))
    parts = [{"type": "text", "text": "b"}, {"type": "image_url", "image_url": PIXEL}]
    inputs = [{"content": [{"type": "text", "text": "a"}]}, {"content": parts}]
    assert body == {"inputs": inputs, "truncate": "RIGHT", "max_tokens": 9, **full}
    names = (TITAN, MANY, NEWER, "us.cohere.embed-v4:0", "amazon.nova-canvas-v1:0", "m")
    assert [invoked.embeds(name) for name in names] == [True, True, True, True, False, False]


@pytest.mark.parametrize(
    ("side", "inputs", "words"),
    [
        ("openai", ("a", Tokens((1, 2))), "either"),
        ("openai", (Mixed((Picture(PIXEL),)),), "embeds text only"),
        ("openai", ("a",) * 2049, "takes 2048 at once"),
        ("gemini", (Tokens((1, 2)),), "the text itself"),
        ("gemini", ("a",) * 101, "takes 100 at once"),
        ("cohere", ("a", Tokens((1, 2))), "the text itself"),
        ("cohere", (Tokens((1, 2)), Mixed((Picture(PIXEL),))), "the text itself"),
        ("cohere", ("a",) * 97, "takes 96 at once"),
        ("titan", ("a", "b"), "one text a call"),
        ("titan", (Mixed((Picture(PIXEL),)),), "embeds text only"),
    ],
)
def test_what_cannot_be_carried_is_refused(side: str, inputs: Any, words: str) -> None:
    with pytest.raises(GatewayError, match=words) as caught:
        sent(side, wanted(*inputs))
    assert (caught.value.status, caught.value.kind) == (400, ErrorKind.UNSUPPORTED)


def test_kinds_are_asked_for_where_they_are_offered() -> None:
    both = wanted(kinds=("base64", "float", "int8"))
    assert sent("cohere", both)[0]["embedding_types"] == ["base64", "float", "int8"]
    assert sent("many", both)[0]["embedding_types"] == ["float", "int8"]
    assert sent("openai", wanted(kinds=("base64",)))[0]["encoding_format"] == "base64"
    assert "encoding_format" not in sent("openai", wanted(kinds=("base64", "float")))[0]
    for side in ("openai", "gemini", "titan"):
        with pytest.raises(GatewayError, match="'ubinary'"):
            sent(side, wanted(kinds=("ubinary",)))


# --- what comes in --------------------------------------------------------------------------------


def read(side: str, said: Any, asked: EmbedRequest) -> EmbedReply:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    reply: EmbedReply = SIDES[side][0].decode_reply(body, asked)
    return reply


def numbers(reply: EmbedReply, kind: str = "float") -> list[Any]:
    return [json.loads(bytes(one)) if isinstance(one, Raw) else one for one in
            vectors_of(reply, kind)]  # fmt: skip


def packed(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def test_vectors_stay_the_bytes_they_were() -> None:
    reply = read("openai", b'{"data":[{"embedding":[0.10, 1e-3 ,-2]}]}', wanted())
    [vector] = vectors_of(reply, "float")
    assert isinstance(vector, Raw)
    assert bytes(vector) == b"[0.10, 1e-3 ,-2]"
    assert numbers(reply, "base64") == [packed(0.1, 1e-3, -2)]


def test_base64_is_read_where_floats_are_wanted() -> None:
    said = {"data": [{"embedding": packed(0.5, -0.25), "index": 0}]}
    assert numbers(read("openai", said, wanted())) == [[0.5, -0.25]]
    cohere_said = {"embeddings": {"base64": [packed(0.5)]}}
    assert numbers(read("cohere", cohere_said, wanted())) == [[0.5]]


def test_vectors_come_in_the_order_of_their_indices() -> None:
    said = {"data": [{"embedding": [n], "index": n} for n in (2, 0, 1)]}
    assert numbers(read("openai", said, wanted("a", "b", "c"))) == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("side", "said", "usage"),
    [
        ("openai", {"usage": {"prompt_tokens": 3, "total_tokens": 3}}, 3),
        ("openai", {"usage": {"total_tokens": 4}}, 4),
        ("openai", {"usage": {"total_tokens": "5"}}, 5),
        ("openai", {"usage": {"total_tokens": -5}}, None),
        ("openai", {"usage": [1]}, None),
        ("openai", {}, None),
        ("gemini", {"usageMetadata": {"promptTokenCount": 6}}, 6),
        ("gemini", {"usageMetadata": 6}, None),
        ("cohere", {"meta": {"billed_units": {"input_tokens": 7.0, "image_tokens": 2}}}, 9),
        ("cohere", {"meta": {"tokens": {"input_tokens": 7}}}, 7),
        ("cohere", {"meta": {"billed_units": {"images": 1}}}, None),
        ("cohere", {"meta": {"billed_units": {"input_tokens": -1}}}, None),
        ("cohere", {"meta": "none"}, None),
        ("titan", {"inputTextTokenCount": 8}, 8),
        ("titan", {"inputTextTokenCount": -8}, None),
    ],
)
def test_usage_is_what_was_counted_or_unknown(side: str, said: Any, usage: int | None) -> None:
    vectors = {
        "openai": {"data": [{"embedding": [1]}]},
        "gemini": {"embeddings": [{"values": [1]}]},
        "cohere": {"embeddings": [[1]]},
        "titan": {"embedding": [1]},
    }[side]
    reply = read(side, {**vectors, **said}, wanted())
    assert reply.usage == (Usage(usage) if usage is not None else None)
    if side != "titan":
        name = {"gemini": "embed_content", "cohere": "embed"}.get(side, "embeddings")
        body = json.dumps({**vectors, **said}).encode()
        assert relay_of(name).read_whole(body, ()) == (None, reply.usage)


def test_a_head_counts_where_the_body_does_not() -> None:
    name = b"x-amzn-bedrock-input-token-count"
    assert invoked.PROVIDER.counted([(b"content-type", b"x"), (name, b"12")]) == Usage(12)
    for value in (b"", b"-1", b"many", b"9" * 40):
        assert invoked.PROVIDER.counted([(name, value)]) is None
    assert openai.PROVIDER.counted([(name, b"12")]) is None


@pytest.mark.parametrize(
    ("side", "said"),
    [
        ("openai", b"{"), ("openai", b"\xff"), ("openai", {}), ("openai", {"data": None}),
        ("openai", {"data": [{"index": 0}]}), ("openai", {"data": [{"embedding": 3}]}),
        ("openai", {"data": []}), ("openai", {"data": [{"embedding": [1]}] * 2}),
        ("gemini", {}), ("gemini", {"embeddings": []}), ("gemini", {"embeddings": [{}]}),
        ("gemini", {"embedding": {"values": "x"}}), ("gemini", {"error": {"code": 400}}),
        ("cohere", {}), ("cohere", {"embeddings": 3}), ("cohere", {"embeddings": {"float": [3]}}),
        ("cohere", {"embeddings": {"float": [[1], [2]]}}), ("cohere", {"embeddings": []}),
        ("titan", {}), ("titan", {"embedding": None}), ("titan", {"embedding": {}}),
        ("many", {"embeddings": {"float": None}, "id": "x", "response_type": "x"}),
    ],
)  # fmt: skip
def test_replies_that_are_none(side: str, said: Any) -> None:
    with pytest.raises(ReplyError):
        vectors_of(read(side, said, wanted()), "float")


@pytest.mark.parametrize("vector", [b'["a"]', b"[null]", b"[1,[2]]", b"[1e999]", b"[1e39]"])
def test_what_is_no_vector_cannot_be_packed(vector: bytes) -> None:
    with pytest.raises(ReplyError):
        numbers(EmbedReply({"float": [Raw(vector)]}), "base64")


@pytest.mark.parametrize("vector", ["*", "AAA=", "AAAAAAA=", "größe", "AADAfw=="])
def test_what_is_no_base64_of_floats_cannot_be_unpacked(vector: str) -> None:
    with pytest.raises(ReplyError):
        numbers(EmbedReply({"base64": [vector]}))


def test_error_bodies_under_status_200_say_what_is_wrong() -> None:
    with pytest.raises(ReplyError, match="Rate limit") as caught:
        read("openai", {"error": {"message": "Rate limit reached", "code": "429"}}, wanted())
    assert caught.value.kind is ErrorKind.UPSTREAM_RATE_LIMIT
    for name in ("embed_content", "embed", "embeddings", "rerank"):
        assert relay_of(name).read_whole(b"[", ()) == (ErrorKind.UPSTREAM_PROTOCOL, None)
        assert relay_of(name).read_whole(b"[]", ()) == (ErrorKind.UPSTREAM_PROTOCOL, None)


# --- what callers get -----------------------------------------------------------------------------


def test_replies_are_the_sdks_own() -> None:
    reply = EmbedReply({"float": [Raw(b"[0.5]"), Raw(b"[1]")], "int8": [Raw(b"[1]")] * 2}, Usage(3))
    asked = wanted("a", "b", kinds=("float", "int8"))
    _, body = openai.encode_reply(reply, asked, Receipt())
    found = TypeAdapter(CreateEmbeddingResponse).validate_json(body, strict=False)
    assert ([one.embedding for one in found.data], found.model) == ([[0.5], [1.0]], "p/m")
    assert found.to_dict().keys() == {"object", "data", "model", "usage"}
    _, body = gemini.encode_batch(reply, asked, Receipt())
    google = genai.EmbedContentResponse.model_validate_json(body)
    assert google.embeddings and google.embeddings[1].values == [1.0]
    assert google.usage_metadata and google.usage_metadata.prompt_token_count == 3
    assert json.loads(gemini.encode_reply(reply, asked, Receipt())[1])["embedding"] == {
        "values": [0.5]
    }
    _, body = cohere.encode_reply(reply, asked, Receipt())
    kept = EmbedByTypeResponse.model_validate_json(body)
    assert (kept.embeddings.float_, kept.embeddings.int8) == ([[0.5], [1.0]], [[1], [1]])
    assert kept.meta and kept.meta.billed_units and kept.meta.billed_units.input_tokens == 3


def test_unknown_usage_is_not_told_as_zero() -> None:
    reply = EmbedReply({"float": [Raw(b"[1]")]})
    for encode in (openai.encode_reply, gemini.encode_batch, cohere.encode_reply):
        said = json.loads(encode(reply, wanted(), Receipt())[1])
        assert "usage" not in said and "usageMetadata" not in said
        assert "billed_units" not in said.get("meta", {})


# --- what callers say -----------------------------------------------------------------------------


def test_options_are_read_wherever_they_stand() -> None:
    old = {"taskType": "clustering", "title": "t", "output_dimensionality": 8}
    content = {"parts": [{"text": "a"}, {"inline_data": {"mimeType": "image/png", "data": "iVBO"}}]}
    first = gemini.decode_request(json.dumps({"content": content, **old}).encode(), "p/m")
    new = {"embedContentConfig": {**old, "autoTruncate": False}, "colour": 1}
    second = gemini.decode_request(json.dumps({"content": content, **new}).encode(), "p/m")
    picture = Picture("data:image/png;base64,iVBO")
    for found in (first, second):
        assert found.inputs == (Mixed(("a", picture)),)
        assert (found.purpose, found.titles, found.dimensions) == ("clustering", ("t",), 8)
    assert (first.truncate, second.truncate) == ("", "none")
    assert (first.unknown, second.unknown) == ((), ("colour",))


def test_tokens_are_one_input_or_many() -> None:
    def inputs(said: Any) -> Any:
        return openai.decode_request(json.dumps({"input": said}).encode(), "m").inputs

    assert inputs([1, 2]) == (Tokens((1, 2)),)
    assert inputs([[1, 2], [3]]) == (Tokens((1, 2)), Tokens((3,)))
    assert inputs("a") == inputs(["a"]) == ("a",)
    body, _, _ = sent("openai", wanted(Tokens((1, 2)), Tokens((3,))))
    judge_openai(body)
    assert body["input"] == [[1, 2], [3]]


def test_a_request_that_goes_through_names_the_providers_model() -> None:
    fields = msgspec.json.decode(
        b'{"model":"models/a","requests":[{"model":"models/a","x":1.50},{}],"y":1}',
        type=dict[str, Raw],
    )
    gemini.naming("b/c")(fields)
    named = {"model": "models/b/c"}
    said = {**named, "requests": [{**named, "x": 1.50}, named], "y": 1}
    assert json.loads(msgspec.json.encode(fields)) == said
    for odd in (b'{"requests":3}', b'{"requests":[3]}', b"{}"):
        fields = msgspec.json.decode(odd, type=dict[str, Raw])
        gemini.naming("b")(fields)
        assert json.loads(msgspec.json.encode(fields)) == json.loads(odd)


MEMBERS = [
    "input", "texts", "content", "parts", "text", "requests", "documents", "query", "values",
    "embedding", "embeddings", "data", "index", "meta", "float", "input_type", "url",
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_no_json_breaks_a_decoder(value: Any) -> None:
    body = json.dumps(value).encode()
    for decode in (
        openai.decode_request, gemini.decode_request, gemini.decode_batch, cohere.decode_request,
    ):  # fmt: skip
        try:
            assert decode(body, "m").inputs
        except GatewayError as error:
            assert error.status == 400
    for side in SIDES:
        try:
            assert read(side, body, wanted()).vectors
        except ReplyError as problem:
            assert problem.message
