"""What a caller of each format makes of a reply on the wire: its words, how they end, what failed.

Read by hand, since an SDK would hide a second end, a lost word, or a cut.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.flow.fault_rows import CHAT, GENERATE, MESSAGES, RESPONSES
from tests.simulator.wire import Reply


@dataclass
class Heard:
    """An answer as its caller has it."""

    text: str = ""
    refusal: str = ""
    """In formats that tell it apart from text."""
    called: list[str] = field(default_factory=list)
    """Arguments of tool calls."""
    finishes: list[str] = field(default_factory=list)
    """The format's own words."""
    ends: int = 0
    """Marks of a good end."""
    error: str = ""
    """The code of the error in a stream, which must be its last event."""


def heard(caller: str, reply: Reply, *, streamed: bool) -> Heard:
    """What a caller of the format ``caller`` makes of a reply of status 200."""
    found = Heard()
    if not streamed:
        _WHOLE[caller](reply.json(), found)
        found.ends = 1
        return found
    last = len(reply.data) - 1
    numbers = []
    for place, event in enumerate(reply.data):
        assert not found.error, "nothing follows an error"
        assert not found.ends or caller == GENERATE, "nothing follows the end"
        if event == "[DONE]":
            assert caller == CHAT
            found.ends += 1
            continue
        assert isinstance(event, dict), event
        numbers += [event["sequence_number"]] if "sequence_number" in event else []
        _EVENT[caller](event, found)
        if caller == GENERATE and place == last and found.finishes and not found.error:
            found.ends = 1  # the format has no other mark
    assert numbers == sorted(set(numbers)), "numbers that increase"
    return found


def _error(event: dict[str, Any]) -> str:
    """The code of an error in OpenAI's or Anthropic's shape."""
    error = event["error"]
    assert error["message"] and (error["type"] or error["code"])
    return str(error.get("code") or error["type"])


def _chat(said: dict[str, Any], found: Heard) -> None:
    """A chunk, or a whole answer."""
    if "error" in said:
        found.error = _error(said)
        return
    for choice in said.get("choices") or ():
        message = choice.get("delta") or choice.get("message") or {}
        found.text += message.get("content") or ""
        found.refusal += message.get("refusal") or ""
        for call in message.get("tool_calls") or ():
            found.called += [""] if call.get("id") else []
            found.called[-1] += call["function"]["arguments"]
        if choice.get("finish_reason"):
            found.finishes.append(choice["finish_reason"])


def _message(said: dict[str, Any], found: Heard) -> None:
    """A whole answer of Anthropic's."""
    for block in said["content"]:
        if block["type"] == "text":
            found.text += block["text"]
        elif block["type"] == "tool_use":
            found.called.append(json.dumps(block["input"], separators=(",", ":")))
    found.finishes.append(said["stop_reason"])


def _message_event(event: dict[str, Any], found: Heard) -> None:
    kind, delta = event["type"], event.get("delta", {})
    if kind == "error":
        found.error = _error(event)
    elif kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
        found.called.append("")
    elif kind == "content_block_delta":
        found.text += delta.get("text", "") if delta["type"] == "text_delta" else ""
        if delta["type"] == "input_json_delta":
            found.called[-1] += delta["partial_json"]
    elif kind == "message_delta":
        found.finishes.append(delta["stop_reason"])
    elif kind == "message_stop":
        found.ends += 1


def _generated(said: dict[str, Any], found: Heard) -> None:
    """A whole answer of Gemini's, or a piece of one."""
    if "error" in said:
        assert said["error"]["message"] and said["error"]["status"]
        details = said["error"].get("details") or [{}]
        found.error = details[0].get("metadata", {}).get("code") or said["error"]["status"]
        return
    for one in said.get("candidates") or ():
        for part in one.get("content", {}).get("parts", ()):
            found.text += part.get("text", "")
            if "functionCall" in part:
                arguments = part["functionCall"].get("args")
                found.called.append(json.dumps(arguments, separators=(",", ":")))
        if one.get("finishReason"):
            found.finishes.append(one["finishReason"])
    if (said.get("promptFeedback") or {}).get("blockReason"):
        found.finishes.append(said["promptFeedback"]["blockReason"])


def _response(said: dict[str, Any], found: Heard) -> None:
    """A whole answer of the Responses API."""
    for item in said["output"]:
        if item["type"] == "function_call":
            found.called.append(item["arguments"])
        for part in item.get("content") or ():
            found.text += part.get("text", "")
            found.refusal += part.get("refusal", "")
    details = said.get("incomplete_details")
    found.finishes.append(details["reason"] if details else said["status"])


def _response_event(event: dict[str, Any], found: Heard) -> None:
    kind = event["type"]
    if kind == "error":
        found.error = str(event.get("code") or event["error"]["code"])
    elif kind == "response.failed":
        found.error = event["response"]["error"]["code"]
        assert event["response"]["status"] == "failed"
    elif kind == "response.output_text.delta":
        found.text += event["delta"]
    elif kind == "response.refusal.delta":
        found.refusal += event["delta"]
    elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
        found.called.append("")
    elif kind == "response.function_call_arguments.delta":
        found.called[-1] += event["delta"]
    elif kind in ("response.completed", "response.incomplete"):
        whole = Heard()
        _response(event["response"], whole)
        assert (whole.text, whole.refusal, whole.called) == (
            found.text,
            found.refusal,
            found.called,
        ), "the end repeats what was said"
        found.finishes += whole.finishes
        found.ends += 1


Reading = Callable[[dict[str, Any], Heard], None]
_WHOLE: dict[str, Reading] = {
    CHAT: _chat, MESSAGES: _message, GENERATE: _generated, RESPONSES: _response,
}  # fmt: skip
_EVENT: dict[str, Reading] = {
    CHAT: _chat, MESSAGES: _message_event, GENERATE: _generated, RESPONSES: _response_event,
}  # fmt: skip
