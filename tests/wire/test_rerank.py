"""Rankings in each dialect, judged by Cohere's SDK where it has types for them."""

import json
from typing import Any

import pytest
from cohere.v2.types import V2RerankResponse
from hypothesis import given

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.tasks import Ranked, RerankReply, RerankRequest
from ferryman.ir.usage import Extras, Usage
from ferryman.wire.bedrock_converse import embeddings as invoked
from ferryman.wire.cohere_chat import rerank
from ferryman.wire.format import Aim, ReplyError
from ferryman.wire.formats import relay_of
from ferryman.wire.task import TaskProvider
from tests.wire.test_embeddings import VALUES

COHERES, AMAZONS = "cohere.rerank-v3-5:0", "amazon.rerank-v1:0"
OBJECT = {"text": "b", "id": 1.5}


def asked(**more: Any) -> RerankRequest:
    body = {"query": "q", "documents": ["a", OBJECT, "c"], **more}
    return rerank.decode_request(json.dumps(body).encode(), "p/m")


def sent(provider: TaskProvider, model: str, request: RerankRequest) -> tuple[Any, Receipt]:
    receipt = Receipt()
    return json.loads(provider.encode_request(request, Aim(model=model), receipt)), receipt


def test_each_has_its_own_words() -> None:
    full = asked(top_n=2, max_tokens_per_doc=7, rank_fields=["text"], return_documents=True)
    said = {"query": "q", "documents": ["a", "b", "c"]}
    body, receipt = sent(rerank.TOP_K, "m", full)
    assert body == {**said, "model": "m", "top_k": 2}
    assert receipt.dropped == ("max_tokens_per_doc", "rank_fields")
    body, receipt = sent(invoked.RERANK, COHERES, full)
    assert body == {**said, "top_n": 2, "api_version": 2, "max_tokens_per_doc": 7}
    assert receipt.dropped == ("rank_fields",)
    body, receipt = sent(invoked.RERANK, AMAZONS, full)
    assert body == {**said, "top_n": 2}
    assert receipt.dropped == ("max_tokens_per_doc", "rank_fields")
    assert receipt.altered == ("documents=their text alone",)
    plain = rerank.decode_request(b'{"query":"q","documents":["a"]}', "m")
    body, receipt = sent(rerank.TOP_K, "m", plain)
    assert body == {"model": "m", "query": "q", "documents": ["a"]}
    assert (receipt.dropped, receipt.altered) == ((), ())
    assert [invoked.ranks(name) for name in (COHERES, AMAZONS, "cohere.embed-v4:0")] == [
        True, True, False,
    ]  # fmt: skip


def test_rankings_are_read_under_either_name() -> None:
    best = [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0}]
    found = (Ranked(2, 0.9), Ranked(0, 0.0))
    voyages = {"object": "list", "data": best, "usage": {"total_tokens": 5}}
    assert rerank.decode_reply(json.dumps(voyages).encode(), asked()) == RerankReply(
        found, Usage(5)
    )
    assert rerank.decode_reply(json.dumps({"results": best}).encode(), asked()).results == found


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"usage": {"total_tokens": 5}}, Usage(5)),
        ({"usage": {"prompt_tokens": 4, "total_tokens": 5}}, Usage(4)),
        ({"meta": {"billed_units": {"search_units": 1}}}, Usage(extras=Extras(searches=1))),
        ({"meta": {"billed_units": {"search_units": 3}}}, Usage(extras=Extras(searches=3))),
        ({"meta": {"billed_units": {"search_units": -3}}}, None),
        ({"meta": {"billed_units": {"search_units": 1e300}}}, None),
        ({"meta": {"tokens": {"input_tokens": 6, "output_tokens": 0}}}, Usage(6)),
        ({"meta": {"billed_units": {"input_tokens": 7, "search_units": 0}}}, Usage(7)),
        ({"meta": []}, None),
        ({"usage": "much", "meta": 3}, None),
        ({}, None),
    ],
)
def test_usage_is_what_was_counted_or_unknown(said: Any, usage: Usage | None) -> None:
    body = json.dumps({"results": [{"index": 0, "relevance_score": 1}], **said}).encode()
    assert rerank.decode_reply(body, asked()).usage == usage
    assert relay_of("rerank").read_whole(body, ()) == (None, usage)


@pytest.mark.parametrize(
    "said",
    [
        b"", b"[]", b"{}", b'{"results":null}', b'{"results":[{"index":0}]}',
        b'{"results":[{"index":3,"relevance_score":1}]}',
        b'{"results":[{"index":-1,"relevance_score":1}]}',
        b'{"data":[{"index":0,"relevance_score":1},{"index":0,"relevance_score":1}]}',
        b'{"data":[{"index":"0","relevance_score":1}]}',
    ],
)  # fmt: skip
def test_rankings_that_are_none(said: bytes) -> None:
    with pytest.raises(ReplyError) as caught:
        rerank.decode_reply(said, asked())
    assert caught.value.kind is ErrorKind.UPSTREAM_PROTOCOL


def test_callers_get_what_they_know() -> None:
    reply = RerankReply((Ranked(1, 0.5), Ranked(0, 0.25)), Usage(5))
    kind, body = rerank.encode_reply(reply, asked(return_documents=True), Receipt())
    assert kind == b"application/json"
    found = V2RerankResponse.model_validate_json(body)
    assert [(one.index, one.relevance_score) for one in found.results] == [(1, 0.5), (0, 0.25)]
    said = json.loads(body)
    assert [one["document"] for one in said["results"]] == [OBJECT, {"text": "a"}]
    assert (said["usage"], said["model"]) == ({"total_tokens": 5}, "p/m")
    bare = json.loads(rerank.encode_reply(RerankReply((Ranked(1, 0.5),)), asked(), Receipt())[1])
    assert bare["results"] == [{"index": 1, "relevance_score": 0.5}]
    assert "usage" not in bare


@given(VALUES)
def test_no_json_breaks_a_decoder(value: Any) -> None:
    body = json.dumps(value).encode()
    try:
        assert rerank.decode_request(body, "m").documents
    except GatewayError as error:
        assert error.status == 400
    try:
        rerank.decode_reply(body, asked())
    except ReplyError as problem:
        assert problem.message
