"""Bedrock's Converse and InvokeModel, judged by Amazon's own client and service model."""

import json
from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from tests.simulator.conftest import Sim
from tests.simulator.wire import request, talk

HELLO: Any = [{"role": "user", "content": [{"text": "one two three"}]}]
TOOLS: Any = {"tools": [{"toolSpec": {"name": "row", "inputSchema": {"json": {
    "type": "object", "properties": {"strokes": {"type": "integer"}}}}}}]}  # fmt: skip
CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64,
          "messages": [{"role": "user", "content": "one two three"}]}  # fmt: skip
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def client(url: str, secret: str = SECRET, **more: Any) -> Any:
    """Amazon's client; ``more`` as its constructor has it."""
    made: dict[str, Any] = {
        "region_name": "us-east-1",
        "aws_access_key_id": "AKIDEXAMPLE",
        "aws_secret_access_key": secret,
        "config": Config(retries={"total_max_attempts": 1}),
    }
    session = botocore.session.get_session()
    return session.create_client("bedrock-runtime", endpoint_url=url, **made | more)


@pytest.fixture
def aws(sim: Sim) -> Any:
    return client(sim.url)


def folded(events: list[dict[str, Any]]) -> dict[str, Any]:
    """A stream's events as the whole reply they stand for."""
    assert [*events[0]] == ["messageStart"]
    assert [[*event] for event in events[-2:]] == [["messageStop"], ["metadata"]]
    blocks: list[dict[str, Any]] = []
    for event in events[1:-2]:
        ((kind, said),) = event.items()
        if kind == "contentBlockStop":
            continue
        if said["contentBlockIndex"] == len(blocks):
            blocks.append({})
        assert said["contentBlockIndex"] == len(blocks) - 1
        _grown(blocks[-1], said["start"] if kind == "contentBlockStart" else said["delta"])
    for block in blocks:
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
    return {
        "output": {"message": {"role": events[0]["messageStart"]["role"], "content": blocks}},
        "stopReason": events[-2]["messageStop"]["stopReason"],
        **events[-1]["metadata"],
    }


def _grown(block: dict[str, Any], more: dict[str, Any]) -> None:
    """``block`` with a delta added: texts are joined, objects merged."""
    for name, value in more.items():
        if isinstance(value, dict):
            _grown(block.setdefault(name, {}), value)
        elif isinstance(value, str | bytes):
            block[name] = block.get(name, type(value)()) + value
        else:
            block[name] = value


def flat(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """The content of a whole reply in the shape that a folded stream has."""
    out: list[dict[str, Any]] = []
    for block in reply["output"]["message"]["content"]:
        if "reasoningText" in block.get("reasoningContent", {}):
            out.append({"reasoningContent": block["reasoningContent"]["reasoningText"]})
        elif "toolUse" in block:
            use = {**block["toolUse"]}
            del use["toolUseId"]
            out.append({"toolUse": use})
        elif "citationsContent" in block:
            cited = block["citationsContent"]
            out.append({"text": cited["content"][0]["text"], "citation": cited["citations"][0]})
        else:
            out.append(block)
    return out


def both(aws: Any, model: str, messages: Any = HELLO, **more: Any) -> Any:
    """The whole reply, which the stream must add up to."""
    whole = aws.converse(modelId=model, messages=messages, **more)
    events = list(aws.converse_stream(modelId=model, messages=messages, **more)["stream"])
    streamed = folded(events)
    for block in streamed["output"]["message"]["content"]:
        block.get("toolUse", {}).pop("toolUseId", None)
    assert streamed["output"]["message"]["content"] == flat(whole)
    assert streamed["stopReason"] == whole["stopReason"]
    assert streamed["usage"] == whole["usage"]
    return whole


def text(reply: Any) -> str:
    return str(reply["output"]["message"]["content"][-1]["text"])


def test_text_and_usage(aws: Any) -> None:
    found = both(aws, "sim?tokens=4&cached=5&cache-write=6")
    assert text(found) == "The ferry leaves the"
    assert found["usage"] == {
        "inputTokens": 0,
        "outputTokens": 4,
        "totalTokens": 15,
        "cacheReadInputTokens": 5,
        "cacheWriteInputTokens": 6,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 6}],
    }
    assert found["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]


def test_thoughts_and_calls_go_round(aws: Any) -> None:
    more: Any = {
        "toolConfig": TOOLS,
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "inferenceConfig": {"maxTokens": 2048},
    }
    found = both(aws, "sim-tools=2+redacted+preamble", **more)
    content = found["output"]["message"]["content"]
    assert [next(iter(block)) for block in content] == [
        "reasoningContent", "reasoningContent", "text", "toolUse", "toolUse",
    ]  # fmt: skip
    assert found["stopReason"] == "tool_use"
    assert isinstance(content[1]["reasoningContent"]["redactedContent"], bytes)
    one, two = (block["toolUse"]["toolUseId"] for block in content[3:])
    assert one != two
    image = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
    results = [
        {"toolResult": {"toolUseId": two, "status": "error", "content": [{"text": "rain"}]}},
        {"toolResult": {"toolUseId": one, "content": [{"json": {"sun": 1}}, image]}},
    ]
    back = [*HELLO, found["output"]["message"], {"role": "user", "content": results}]
    told = text(aws.converse(modelId="sim-echo", messages=back, toolConfig=TOOLS))
    assert told == '[2 row failed: rain][1 row: {"sun":1}[image/png 4 bytes]]'
    with pytest.raises(ClientError, match="toolConfig field must be defined"):
        aws.converse(modelId="sim", messages=back)
    with pytest.raises(ClientError, match="Expected toolResult blocks"):
        fewer = [*back[:-1], {"role": "user", "content": results[:1]}]
        aws.converse(modelId="sim", messages=fewer, toolConfig=TOOLS)
    content[0]["reasoningContent"]["reasoningText"]["text"] += "!"
    with pytest.raises(ClientError, match="Invalid signature"):
        aws.converse(modelId="sim", messages=back, toolConfig=TOOLS)


def test_endings(aws: Any) -> None:
    assert both(aws, "sim", inferenceConfig={"maxTokens": 2})["stopReason"] == "max_tokens"
    stopped = both(aws, "sim", inferenceConfig={"stopSequences": ["dawn"]})
    assert stopped["stopReason"] == "stop_sequence"
    assert both(aws, "sim-filtered")["stopReason"] == "content_filtered"
    assert both(aws, "sim-image")["output"]["message"]["content"][1]["image"]["format"] == "png"
    (cited,) = both(aws, "sim-citations")["output"]["message"]["content"]
    assert cited["citationsContent"]["citations"][0]["title"] == "Timetable"
    form = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(
        {"type": "object", "properties": {"a": {"type": "integer"}}})}}}  # fmt: skip
    assert text(both(aws, "sim", outputConfig={"textFormat": form})) == '{"a":7}'


def test_documents_arrive(aws: Any) -> None:
    document = {"format": "pdf", "name": "Time table (1)", "source": {"bytes": b"%PDF"}}
    content = [{"text": "read "}, {"document": document}]
    messages = [{"role": "user", "content": content}]
    assert text(aws.converse(modelId="sim-echo", messages=messages)) == (
        "read [application/pdf 4 bytes]"
    )
    for name in ("time_table", "a  b", "table.pdf"):
        document["name"] = name
        with pytest.raises(ClientError, match="document file name"):
            aws.converse(modelId="sim-echo", messages=messages)


def test_cached_prefixes(aws: Any) -> None:
    content = [
        {"text": "one two three four"},
        {"cachePoint": {"type": "default"}},
        {"text": "five"},
    ]
    messages = [{"role": "user", "content": content}]
    first, second = (aws.converse(modelId="sim", messages=messages)["usage"] for _ in range(2))
    assert (first["cacheWriteInputTokens"], first["cacheReadInputTokens"]) == (4, 0)
    assert (second["cacheWriteInputTokens"], second["cacheReadInputTokens"]) == (0, 4)
    assert (first["inputTokens"], second["inputTokens"]) == (1, 1)


def test_errors(aws: Any) -> None:
    for model, kind in (
        ("sim-429", "ThrottlingException"),
        ("sim-context", "ValidationException"),
        ("sim-503", "ServiceUnavailableException"),
        ("sim-404", "ResourceNotFoundException"),
    ):
        with pytest.raises(ClientError) as caught:
            aws.converse(modelId=model, messages=HELLO)
        assert caught.value.response["Error"]["Code"] == kind
        assert caught.value.response["Error"]["Message"]
    for call in (
        lambda: aws.converse_stream(modelId="sim-error-event", messages=HELLO)["stream"],
        lambda: aws.invoke_model_with_response_stream(
            modelId="sim-error-event", body=json.dumps(CLAUDE)
        )["body"],
    ):
        with pytest.raises(EventStreamError, match="throttlingException"):
            list(call())


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([], "must not be empty"),
        ([{"role": "assistant", "content": [{"text": "a"}]}], "start with a user message"),
        ([*HELLO, *HELLO], "alternate"),
        ([{"role": "user", "content": [{"text": " "}]}], "blank"),
        ([{"role": "user", "content": []}], "empty"),
        ([{"role": "user", "content": [{"toolResult": {"toolUseId": "x", "content": []}}]}],
         "exceeds the number of toolUse blocks"),
    ],
)  # fmt: skip
def test_refusals(aws: Any, messages: Any, match: str) -> None:
    with pytest.raises(ClientError, match=match) as caught:
        aws.converse(modelId="sim", messages=messages, toolConfig=TOOLS)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_invoke(aws: Any) -> None:
    body = json.dumps(CLAUDE)
    whole = json.load(aws.invoke_model(modelId="sim?tokens=2", body=body)["body"])
    assert whole["content"] == [{"type": "text", "text": "The ferry"}]
    stream = aws.invoke_model_with_response_stream(modelId="sim?tokens=2", body=body)["body"]
    events = [json.loads(event["chunk"]["bytes"]) for event in stream]
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")
    for wrong in ({"stream": True}, {"model": "sim"}, {"anthropic_version": "2023-06-01"}):
        with pytest.raises(ClientError, match="ValidationException"):
            aws.invoke_model(modelId="sim", body=json.dumps(CLAUDE | wrong))


def test_who_may_call(sim: Sim, start: Callable[..., Sim]) -> None:
    def refused(url: str, **more: Any) -> str:
        with pytest.raises(ClientError) as caught:
            client(url, **more).converse(modelId="sim?tokens=2", messages=HELLO)
        return str(caught.value.response["Error"]["Code"])

    assert refused(sim.url, secret="wrong") == "InvalidSignatureException"
    assert refused(sim.url, aws_access_key_id="AKIDOTHER") == "UnrecognizedClientException"
    keyed = start("--aws-key", "AKIDMINE:mysecret", "--key", "ABSKright")
    assert refused(keyed.url) == "UnrecognizedClientException"
    mine = client(keyed.url, secret="mysecret", aws_access_key_id="AKIDMINE", aws_session_token="t")
    assert text(mine.converse(modelId="sim?tokens=2", messages=HELLO)) == "The ferry"
    path = "/model/sim/converse"
    bare = talk(keyed.port, request(path, {"messages": HELLO}))
    assert (bare.status, bare.header("x-amzn-errortype")) == (
        403,
        "MissingAuthenticationTokenException",
    )
    for token, status in {"ABSKright": 200, "ABSKwrong": 401}.items():
        bearer = {"Authorization": f"Bearer {token}"}
        assert talk(keyed.port, request(path, {"messages": HELLO}, bearer)).status == status
