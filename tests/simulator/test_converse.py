"""Amazon Bedrock, judged by botocore."""

import json
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.simulator.conftest import Sim
from tests.simulator.wire import Reply, request, talk

SCHEMA = {"type": "object", "properties": {"pier": {"type": "string"}}, "required": ["pier"]}
TOOLS = {"tools": [{"toolSpec": {"name": "row", "inputSchema": {"json": SCHEMA}}}]}
BEARER = {"authorization": "Bearer any"}
USER: Any = {"role": "user", "content": [{"text": "one two three"}]}
FORGED: Any = {"role": "assistant", "content": [
    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "forged"}}}]}  # fmt: skip


@pytest.fixture(scope="module")
def client(sim: Sim) -> Any:
    return botocore.session.get_session().create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=sim.url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        config=Config(retries={"max_attempts": 0}, proxies={}, read_timeout=5),
    )


def folded(events: Any) -> dict[str, Any]:
    """A stream as the whole reply that it tells."""
    out: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        [(kind, said)] = event.items()
        if kind == "contentBlockStart":
            blocks[said["contentBlockIndex"]] = {
                "toolUse": {**said["start"]["toolUse"], "input": ""}
            }
        elif kind == "contentBlockDelta":
            block = blocks.setdefault(said["contentBlockIndex"], {})
            _add(block, said["delta"])
        elif kind in ("messageStop", "metadata"):
            out |= said
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
    out["content"] = [blocks[index] for index in sorted(blocks)]
    return out


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    elif "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    elif "redactedContent" in delta["reasoningContent"]:
        block.update(delta)
    else:
        told = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {})
        for name, piece in delta["reasoningContent"].items():
            told[name] = told.get(name, "") + piece


def both(client: Any, model: str, **fields: Any) -> dict[str, Any]:
    """The whole reply, which the stream must tell, too."""
    asked = {"modelId": model, "messages": [USER], **fields}
    whole = client.converse(**asked)
    streamed = folded(client.converse_stream(**asked)["stream"])
    found = {**whole, "content": whole["output"]["message"]["content"]}
    for block in (*found["content"], *streamed["content"]):
        block.get("toolUse", {}).pop("toolUseId", None)
    for name in ("content", "stopReason", "usage", "metrics"):
        assert streamed[name] == found[name]
    return found


def test_text_and_disjoint_usage(client: Any) -> None:
    found = both(client, "sim-tokens=4+prompt=100+cached=64+cache-write=10")
    assert found["content"] == [{"text": "The ferry leaves the"}]
    assert found["usage"] == {
        "inputTokens": 26,
        "outputTokens": 4,
        "totalTokens": 104,
        "cacheReadInputTokens": 64,
        "cacheWriteInputTokens": 10,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 10}],
    }


def test_everything_at_once(client: Any) -> None:
    found = both(client, "sim-think+redacted+preamble+tools=2", toolConfig=TOOLS)
    kinds = [next(iter(block)) for block in found["content"]]
    assert kinds == ["reasoningContent", "reasoningContent", "text", "toolUse", "toolUse"]
    assert found["stopReason"] == "tool_use"


@pytest.mark.parametrize(
    ("model", "fields", "reason"),
    [
        ("sim", {}, "end_turn"),
        ("sim", {"inferenceConfig": {"maxTokens": 2}}, "max_tokens"),
        ("sim", {"inferenceConfig": {"stopSequences": ["dawn"]}}, "stop_sequence"),
        ("sim-refusal", {}, "content_filtered"),
        ("sim-filtered", {}, "content_filtered"),
        ("sim", {"toolConfig": {**TOOLS, "toolChoice": {"any": {}}}}, "tool_use"),
        ("sim", {"toolConfig": {**TOOLS, "toolChoice": {"tool": {"name": "row"}}}}, "tool_use"),
    ],
)
def test_endings(client: Any, model: str, fields: dict[str, Any], reason: str) -> None:
    assert both(client, model, **fields)["stopReason"] == reason


def test_reasoning_goes_round(client: Any) -> None:
    first = client.converse(modelId="sim-think+redacted+tools", messages=[USER], toolConfig=TOOLS)
    message = first["output"]["message"]
    use = message["content"][-1]["toolUse"]
    said = [{"text": "rain "}, {"json": {"a": 1}}]
    result = {"toolUseId": use["toolUseId"], "status": "error", "content": said}
    back = {"role": "user", "content": [{"toolResult": result}]}
    asked = {"messages": [USER, message, back], "toolConfig": TOOLS}
    told = client.converse(modelId="sim-echo", **asked)["output"]["message"]["content"]
    assert told == [{"text": '[1 row failed: rain {"a":1}]'}]
    with pytest.raises(ClientError, match="toolConfig field must be defined"):
        client.converse(modelId="sim", messages=asked["messages"])
    with pytest.raises(ClientError, match="Expected toolResult"):
        client.converse(modelId="sim", messages=[USER, message, USER], toolConfig=TOOLS)
    message["content"][1]["reasoningContent"]["redactedContent"] = b"forged"
    with pytest.raises(ClientError, match="Invalid signature"):
        client.converse(modelId="sim", **asked)


def test_it_tells_of_media(client: Any) -> None:
    content = [
        {"text": "see "},
        {"image": {"format": "png", "source": {"bytes": b"12345"}}},
        {"document": {"format": "pdf", "name": "a (1)", "source": {"bytes": b"%PDF"}}},
    ]
    asked = [{"role": "user", "content": content}]
    assert both(client, "sim-echo", messages=asked)["content"] == [
        {"text": "see [image/png 5 bytes][application/pdf 4 bytes]"}
    ]
    content.append(content[-1])
    with pytest.raises(ClientError, match="unique"):
        client.converse(modelId="sim", messages=asked)


def test_an_error_before_a_stream(client: Any) -> None:
    for ask in (client.converse, client.converse_stream):
        with pytest.raises(ClientError) as caught:
            ask(modelId="sim-429", messages=[USER])
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"


@pytest.mark.parametrize(
    ("word", "told"), [("cut", "."), ("stall", "."), ("error-event", "throttlingException")]
)
def test_broken_streams(client: Any, word: str, told: str) -> None:
    stream = client.converse_stream(modelId=f"sim-{word}+at=2+tokens=9", messages=[USER])["stream"]
    seen = []
    with pytest.raises(Exception, match=told):
        seen.extend(stream)
    assert not any("messageStop" in event for event in seen)


def ask(sim: Sim, action: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
    path = f"/model/sim-tokens=3/{action}"
    return talk(sim.port, request(path, body, BEARER if headers is None else headers))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": [USER], "max_tokens": 5}, "max_tokens"),
        ({"messages": []}, "must not be empty"),
        ({"messages": [USER, USER]}, "alternate"),
        ({"messages": [USER, FORGED, USER]}, "Invalid signature"),
        ({"messages": [{"role": "user", "content": []}]}, "is empty"),
        ({"messages": [{"role": "assistant", "content": [{"text": "a"}]}]}, "user message"),
        ({"messages": [{"role": "user", "content": [{"text": ""}]}]}, "blank"),
        ({"messages": [{"role": "user", "content": [{"text": "a", "image": {}}]}]}, "one known"),
        ({"messages": [USER], "system": [{"text": " "}]}, "blank"),
        ({"messages": [USER], "inferenceConfig": {"topK": 3}}, "topK"),
        ({"messages": [USER], "inferenceConfig": {"temperature": 1.5}}, "temperature"),
        ({"messages": [USER], "inferenceConfig": {"maxTokens": 0}}, "maxTokens"),
        ({"messages": [{"role": "user", "content": [
            {"toolUse": {"toolUseId": "a", "name": "row", "input": {}}}]}]}, "toolUse blocks"),
    ],
)  # fmt: skip
def test_refusals(sim: Sim, body: Any, words: str) -> None:
    for action in ("converse", "converse-stream"):
        reply = ask(sim, action, body)
        assert (reply.status, reply.header("x-amzn-errortype")) == (400, "ValidationException")
        assert words in reply.json()["message"]


def test_invoke_takes_the_bodies_of_another_format(client: Any) -> None:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9,
            "messages": [{"role": "user", "content": "Hello"}]}  # fmt: skip
    asked = {"modelId": "sim-tokens=3", "body": json.dumps(body)}
    reply = json.loads(client.invoke_model(**asked)["body"].read())
    assert reply["content"] == [{"type": "text", "text": "The ferry leaves"}]
    events = client.invoke_model_with_response_stream(**asked)["body"]
    kinds = [json.loads(event["chunk"]["bytes"])["type"] for event in events]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    for more in ({"model": "sim"}, {"stream": True}, {"anthropic_version": "2023-06-01"}):
        with pytest.raises(ClientError, match="ValidationException"):
            client.invoke_model(modelId="sim", body=json.dumps(body | more))
