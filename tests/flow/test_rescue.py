"""Streams that break off after their first words, and that another target goes on with."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest

from tests.gateway import KEY, Stack, asked, events, whole
from tests.matrix.test_broken import ENDS, body
from tests.simulator import wire

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, auth: none, endpoints: [chat.completions], PRICES }
  all: { base_url: SIM/v1, auth: none, PRICES }
  spare: { base_url: SIM/v1, auth: none, PRICES }
  messages: { format: anthropic_messages, base_url: SIM/v1, auth: x-api-key, key: env:LAB_KEY,
    headers: { anthropic-version: "2023-06-01" }, PRICES }
  generate: { format: gemini_generate, base_url: SIM/v1beta, key: env:LAB_KEY,
    auth: "header:x-goog-api-key", PRICES }
  converse: { format: bedrock_converse, base_url: SIM, key: env:LAB_KEY, PRICES }
  claude: { format: anthropic_messages, base_url: CANNED/v1, auth: none }
models:
  PAIRS
  stalls: { targets: ["lab/sim?stall&at=6&tokens=12", "spare/sim?tokens=12"], rescue: true }
  errs: { targets: ["lab/sim?error-event&at=6&tokens=12", "spare/sim?tokens=12"], rescue: true }
  twice: { targets: ["lab/sim?cut&at=4&tokens=12", "spare/sim?cut&at=8&tokens=12",
    "generate/sim?tokens=12"], rescue: true }
  array: { targets: ["lab/sim?cut&at=5&tokens=12", "spare/sim?tokens=12"], rescue: true }
  hopeless: { targets: ["lab/sim?cut&at=4&tokens=12", "spare/sim?500"], rescue: true }
  other-words: { targets: ["lab/sim?cut&at=6", "spare/sim?unicode"], rescue: true }
  shorter: { targets: ["lab/sim?cut&at=6", "spare/sim?tokens=4"], rescue: true }
  tools: { targets: ["lab/sim?tools&cut", "spare/sim?tools"], rescue: true }
  goes-on: { targets: ["lab/sim?cut&at=6&tokens=20", claude/m], rescue: true }
  unless-told: { targets: ["lab/sim?cut&at=6&tokens=21", spare/sim] }
timeouts: { idle: 1s }
responses: { keep: 1h }
"""
PRICE = "{ input: 1, output: 2 }"
PRICES = f'prices: {{ "sim?cut&at=6&tokens=12": {PRICE}, "sim?tokens=12": {PRICE} }}'
FIRST = ("lab", "all", "messages", "generate", "converse")
PAIRS = "\n".join(
    f"  {name}-cut: {{ targets: ['{name}/sim?cut&at=6&tokens=12', 'spare/sim?tokens=12'], "
    "rescue: true }"
    for name in FIRST
).strip()
CALLERS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini_generate": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
}
TEXT = "The ferry leaves the bank at dawn, crosses the slow green river,"
"""The simulator's first twelve words."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    config = CONFIG.replace("PAIRS", PAIRS).replace("PRICES", PRICES)
    folder = tmp_path_factory.mktemp("rescue")
    running = Stack(folder, config, FERRYMAN_CHECK_GRAMMAR="1")
    try:
        yield running.ready()
        assert not running.complaints()
    finally:
        running.end()


def words(caller: str, reply: wire.Reply) -> str:
    """The text that a stream brought."""
    found = []
    for event in reply.data:
        if not isinstance(event, dict):
            continue
        if caller == "openai_chat":
            found += [choice["delta"].get("content") or "" for choice in event["choices"]]
        elif caller == "openai_responses":
            found += [event["delta"]] if event["type"] == "response.output_text.delta" else []
        elif caller == "anthropic_messages":
            found += [event["delta"].get("text", "")] if "text" in event.get("delta", {}) else []
        else:
            parts = event["candidates"][0]["content"].get("parts", [])
            found += [part["text"] for part in parts]
    return "".join(found)


def dollars(tokens: dict[str, int]) -> str:
    """By the prices above."""
    micro = tokens.get("input", 0) + 2 * tokens.get("output", 0)
    return f"{Decimal(micro).scaleb(-6):f}"


TOLD = {"messages": {"input", "output"}, "generate": {"input", "output"}}
"""What a stream that broke off has told of its usage by then."""


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("caller", CALLERS)
def test_each_caller_gets_the_whole_text_once(stack: Stack, caller: str, first: str) -> None:
    model = f"{first}-cut"
    path = CALLERS[caller].replace("{model}", model)
    for _ in range(9):  # the one that breaks off may have to rest from the calls before
        reply = stack.post(body(caller, model, stream=True), path)
        if reply.header("x-ferryman-provider") == first:
            break
        stack.chat("spare/sim")
    assert reply.status == 200
    assert words(caller, reply) == TEXT
    text = reply.body.decode()
    assert text.count(ENDS[caller]) >= 1
    assert '"error":{' not in text
    assert ": ferryman: spare goes on\n\n" in text
    row = stack.row(reply)
    assert (row["status"], row["error"], row["provider"]) == (200, None, "spare")
    one, other = row["tries"]
    assert (one["provider"], one["error"]) == (first, "upstream_stream_truncated")
    assert (other["provider"], other["error"]) == ("spare", "")
    assert any(entry.startswith("stream=spare/sim?tokens=12 goes on") for entry in other["altered"])
    assert row["unknown_cost"] == 1, "nobody says what all of the first part cost"
    assert (one["unknown_cost"], other["unknown_cost"]) == (True, False)
    assert other["cost_usd"] == dollars(other["tokens"])
    assert one["cost_usd"] == (None if one["tokens"] is None else dollars(one["tokens"]))
    assert (one["tokens"] or {}).keys() == TOLD.get(first, set())
    assert Decimal(row["cost_usd"]) == Decimal(one["cost_usd"] or 0) + Decimal(other["cost_usd"])


@pytest.mark.parametrize(("model", "error"), [("stalls", "upstream_timeout"),
                                              ("errs", "upstream_error")])  # fmt: skip
def test_other_ways_to_break_off(stack: Stack, model: str, error: str) -> None:
    reply = stack.stream(model)
    assert reply.said == TEXT
    assert reply.data[-1] == "[DONE]"
    assert stack.row(reply)["tries"][0]["error"] == error


def test_a_rescue_is_rescued_too(stack: Stack) -> None:
    reply = stack.stream("twice")
    assert reply.said == TEXT
    assert reply.data[-1] == "[DONE]"
    assert [each["provider"] for each in stack.row(reply)["tries"]] == ["lab", "spare", "generate"]


@pytest.mark.parametrize("model", ["hopeless", "other-words", "shorter", "unless-told"])
def test_where_none_goes_on_the_stream_ends_in_its_error(stack: Stack, model: str) -> None:
    reply = stack.stream(model)
    assert reply.data[-1]["error"]["code"] == "upstream_stream_truncated"
    assert reply.said
    assert TEXT.startswith(reply.said), "nothing of the other's words"
    assert b"[DONE]" not in reply.body
    row = stack.row(reply)
    assert (row["provider"], row["error"]) == ("lab", "upstream_stream_truncated")
    assert row["attempts"] == (1 if model == "unless-told" else 2)


def test_never_after_a_tool_call_or_within_structured_output(stack: Stack) -> None:
    tool = {"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}
    called = stack.stream("tools", tools=[tool])
    assert called.data[-1]["error"]["code"] == "upstream_stream_truncated"
    assert stack.row(called)["attempts"] == 1
    structured = stack.stream("lab-cut", response_format={"type": "json_object"})
    if structured.header("x-ferryman-provider") == "lab":
        assert structured.data[-1]["error"]["code"] == "upstream_stream_truncated"
        assert stack.row(structured)["attempts"] == 1


# -- from the text so far -------------------------------------------------------------------------


def sse(*said: dict[str, Any]) -> bytes:
    pieces = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in said]
    return events(*pieces)


def claude(*texts: str) -> bytes:
    """An answer in Anthropic's format."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
               "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 0}}  # fmt: skip
    deltas = [{"type": "content_block_delta", "index": 0,
               "delta": {"type": "text_delta", "text": text}} for text in texts]  # fmt: skip
    block = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    return sse({"type": "message_start", "message": message}, block, *deltas,
               {"type": "content_block_stop", "index": 0},
               {**end, "usage": {"output_tokens": 7}}, {"type": "message_stop"})  # fmt: skip


SO_FAR = "The ferry leaves the bank at"


@pytest.mark.parametrize(
    ("texts", "all_of_it"),
    [((" noon,", " or later."), f"{SO_FAR} noon, or later."), ((), SO_FAR)],
)
def test_where_the_format_allows_it_the_text_so_far_is_gone_on_with(
    stack: Stack, texts: tuple[str, ...], all_of_it: str
) -> None:
    stack.canned.requests.clear()
    stack.canned.answers = [claude(*texts)]
    reply = stack.stream("goes-on")
    assert reply.said == all_of_it
    assert reply.data[-1] == "[DONE]"
    sent = json.loads(stack.canned.requests[-1][1].partition(b"\r\n\r\n")[2])
    said = sent["messages"][-1]["content"]
    assert sent["messages"][-1]["role"] == "assistant"
    assert (said if isinstance(said, str) else said[0]["text"]) == SO_FAR


def test_a_model_that_takes_no_beginning_is_asked_afresh(stack: Stack) -> None:
    refused = whole(b'{"type":"error","error":{"type":"invalid_request_error","message":'
                    b'"This model does not support assistant message prefill."}}',
                    status=b"400 Bad Request")  # fmt: skip
    stack.canned.requests.clear()
    stack.canned.answers = [refused, claude(SO_FAR[:9], SO_FAR[9:] + " noon", ".")]
    reply = stack.stream("goes-on")
    assert reply.said == f"{SO_FAR} noon."
    assert reply.data[-1] == "[DONE]"
    last = json.loads(stack.canned.requests[-1][1].partition(b"\r\n\r\n")[2])["messages"][-1]
    assert last["role"] == "user"


# -- for SDKs -------------------------------------------------------------------------------------


def test_a_relayed_response_goes_on_under_its_own_ids(stack: Stack) -> None:
    asked_of: list[str] = []
    hooks = {"response": [lambda r: asked_of.append(r.headers["x-ferryman-provider"])]}
    http = openai.DefaultHttpxClient(trust_env=False, event_hooks=hooks)
    with openai.OpenAI(base_url=stack.endpoint, api_key=KEY, http_client=http) as client:
        for _ in range(9):  # it may rest
            with client.responses.stream(model="all-cut", input="Hi") as stream:
                told: list[Any] = list(stream)
                final = stream.get_final_response()
            if asked_of[-1] == "all":
                break
            stack.chat("spare/sim")
        client.responses.create(model="spare/sim", input="And?", previous_response_id=final.id)
    assert asked_of[-2:] == ["all", "spare"]
    assert final.output_text == TEXT
    assert [each.sequence_number for each in told] == list(range(len(told)))
    assert {each.response.id for each in told if hasattr(each, "response")} == {final.id}
    sent = json.loads(stack.last_body())
    assert "previous_response_id" not in sent, "no provider knows it"
    assert sent["input"][-2]["content"][0]["text"] == TEXT
    [item] = final.output
    assert {each.item_id for each in told if hasattr(each, "item_id")} == {item.id}


def test_a_stream_in_an_array_stays_json(stack: Stack) -> None:
    path = "/v1beta/models/array:streamGenerateContent"
    reply = stack.post(body("gemini_generate", "array", stream=True), path)
    assert stack.row(reply)["attempts"] == 2
    pieces = reply.json()
    parts = [part for each in pieces for part in each["candidates"][0]["content"].get("parts", [])]
    assert "".join(part["text"] for part in parts) == TEXT


def test_sdks_see_one_answer(stack: Stack) -> None:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=stack.endpoint, api_key=KEY, http_client=http) as client:
        chunks = list(client.chat.completions.create(**asked("messages-cut"), stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == TEXT
    assert len({chunk.id for chunk in chunks}) == 1
    with (
        anthropic.Anthropic(
            base_url=stack.url,
            api_key=KEY,
            http_client=anthropic.DefaultHttpxClient(trust_env=False),
        ) as claude_client,
        claude_client.messages.stream(
            model="generate-cut", max_tokens=50, messages=[{"role": "user", "content": "Hi"}]
        ) as stream,
    ):
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["text"]
    assert stream.get_final_text() == TEXT
