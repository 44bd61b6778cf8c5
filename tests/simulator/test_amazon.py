"""Who may call Bedrock, judged by botocore's signatures; its caches, citations and images."""

import json
from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.simulator.conftest import Sim
from tests.simulator.wire import request, talk

ACCESS, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
PATH = "/model/sim/converse"
HELLO: Any = {"messages": [{"role": "user", "content": [{"text": "one two three"}]}]}


def client(url: str, access: str = ACCESS, secret: str = SECRET, **more: Any) -> Any:
    """Amazon's client."""
    return botocore.session.get_session().create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 0}, proxies={}, read_timeout=5),
        **more,
    )


@pytest.fixture
def aws(sim: Sim) -> Any:
    return client(sim.url)


def content(aws: Any, model: str, **more: Any) -> Any:
    return aws.converse(modelId=model, **HELLO | more)["output"]["message"]["content"]


def deltas(aws: Any, model: str) -> list[Any]:
    events = aws.converse_stream(modelId=model, **HELLO)["stream"]
    return [next(iter(event.values())) for event in events]


def refused(aws: Any) -> str:
    with pytest.raises(ClientError) as caught:
        content(aws, "sim")
    return str(caught.value.response["Error"]["Code"])


def test_signatures_are_computed_anew(sim: Sim) -> None:
    assert content(client(sim.url), "sim?tokens=2") == [{"text": "The ferry"}]
    assert content(client(sim.url, aws_session_token="a token"), "sim?tokens=2")
    assert refused(client(sim.url, secret="wrong")) == "InvalidSignatureException"
    assert refused(client(sim.url, access="AKIDOTHER")) == "UnrecognizedClientException"


def test_other_keys_can_be_set(start: Callable[..., Sim]) -> None:
    sim = start("--aws-key", "AKIDMINE:mine", "--key", "ABSKright")
    assert refused(client(sim.url)) == "UnrecognizedClientException"
    assert content(client(sim.url, "AKIDMINE", "mine"), "sim?tokens=2") == [{"text": "The ferry"}]
    for token, status in {"ABSKright": 200, "ABSKwrong": 403}.items():
        headers = {"Authorization": f"Bearer {token}"}
        assert talk(sim.port, request(PATH, HELLO, headers)).status == status


SIGNED = (
    f"AWS4-HMAC-SHA256 Credential={ACCESS}/20261126/us-east-1/bedrock/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64
)
DATE = {"x-amz-date": "20261126T000000Z"}


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=a"}, "IncompleteSignatureException"),
        ({"authorization": SIGNED}, "InvalidSignatureException"),
        ({"authorization": SIGNED, "x-amz-date": "20261125T000000Z"}, "InvalidSignatureException"),
        ({"authorization": SIGNED.replace("20261126/", "20200101/"),
          "x-amz-date": "20200101T000000Z"}, "InvalidSignatureException"),
        ({"authorization": SIGNED.replace("/bedrock/", "/s3/"), **DATE},
         "InvalidSignatureException"),
    ],
)  # fmt: skip
def test_other_credentials_are_refused(sim: Sim, headers: dict[str, str], kind: str) -> None:
    reply = talk(sim.port, request(PATH, HELLO, headers))
    assert (reply.status, reply.header("x-amzn-errortype")) == (403, kind)
    assert reply.json()["message"]


def test_prompts_are_cached_up_to_the_mark(aws: Any) -> None:
    parts = [{"text": "one two three four"}, {"cachePoint": {"type": "default"}}, {"text": "five"}]
    asked = {"modelId": "sim", "messages": [{"role": "user", "content": parts}]}
    first, second = (aws.converse(**asked)["usage"] for _ in range(2))
    assert (first["cacheWriteInputTokens"], first["cacheReadInputTokens"]) == (4, 0)
    assert (second["cacheWriteInputTokens"], second["cacheReadInputTokens"]) == (0, 4)
    assert (first["inputTokens"], second["inputTokens"]) == (1, 1)


def test_citations_and_images(aws: Any) -> None:
    (cited,) = content(aws, "sim-citations")
    (citation,) = cited["citationsContent"]["citations"]
    assert {"contentBlockIndex": 0, "delta": {"citation": citation}} in deltas(aws, "sim-citations")
    image = content(aws, "sim-image")[1]["image"]
    assert (image["format"], image["source"]["bytes"][:4]) == ("png", b"\x89PNG")
    streamed = [said["delta"]["image"] for said in deltas(aws, "sim-image")
                if "image" in said.get("delta", {})]  # fmt: skip
    assert streamed == [{"source": image["source"]}]


def test_structured_output_and_thinking(aws: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema)}}}
    assert content(aws, "sim", outputConfig={"textFormat": form}) == [{"text": '{"a":7}'}]
    thinking: Any = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    more = {"additionalModelRequestFields": thinking, "inferenceConfig": {"maxTokens": 2048}}
    assert "reasoningContent" in content(aws, "sim", **more)[0]
    with pytest.raises(ClientError, match="must be greater than"):
        content(aws, "sim", **more | {"inferenceConfig": {"maxTokens": 1024}})


def test_documents_have_names_as_the_service_wants_them(aws: Any) -> None:
    document: Any = {"format": "txt", "name": "Time table [1]", "source": {"text": "at dawn"}}
    asked = [{"role": "user", "content": [{"text": "read "}, {"document": document}]}]
    assert content(aws, "sim-echo", messages=asked) == [{"text": "read [text/plain 7 bytes]"}]
    for name in ("time_table", "a  b", "table.pdf"):
        document["name"] = name
        with pytest.raises(ClientError, match="document file name"):
            content(aws, "sim", messages=asked)
