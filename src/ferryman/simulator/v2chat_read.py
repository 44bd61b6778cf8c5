"""Reading requests for Cohere's chat, version 2: https://docs.cohere.com/reference/chat."""

from typing import Any

from ferryman.simulator.answer import ANYTHING
from ferryman.simulator.ask import Ask, RefusedError, Request, Result, Tool, media, told, words
from ferryman.simulator.event import LINES, SSE

KNOWN = {
    "model", "messages", "stream", "tools", "strict_tools", "documents", "citation_options",
    "response_format", "safety_mode", "max_tokens", "stop_sequences", "temperature", "seed",
    "frequency_penalty", "presence_penalty", "k", "p", "logprobs", "tool_choice", "thinking",
    "priority", "raw_prompting", "sim",
}  # fmt: skip
RANGES = {
    "temperature": (0, 1),
    "p": (0.01, 0.99),
    "k": (0, 500),
    "frequency_penalty": (0, 1),
    "presence_penalty": (0, 1),
}
Calls = dict[str, tuple[int, str]]
"""Calls that wait for their results: by id, the place among those of the turn, and the name."""


def read(request: Request) -> Ask:
    """A request for a chat."""
    body = request.json()
    unknown = [name for name in body if name not in KNOWN]
    if unknown:
        raise RefusedError(f"invalid request: unknown field: parameter {unknown[0]!r}", status=422)
    if not body.get("model"):
        raise RefusedError("invalid request: model is a required field")
    for name, (least, most) in RANGES.items():
        value = body.get(name)
        if value is not None and not least <= value <= most:
            raise RefusedError(
                f"invalid request: {name} must be between {least} and {most} inclusive."
            )
    wanted = body.get("thinking") or {}
    form = body.get("response_format") or {}
    schema = form.get("json_schema") or form.get("schema")
    if body.get("tools") and form.get("type") == "json_object":
        raise RefusedError("invalid request: response_format is not supported with tools")
    return Ask(
        model=body["model"],
        body=body,
        behaviour=request.wishes(body["model"], body.get("sim")),
        stream=body.get("stream") is True,
        prompt=len(words(body["messages"])),
        last=_conversation(body["messages"]),
        tools=[
            Tool(tool["function"]["name"], tool["function"].get("parameters"))
            for tool in body.get("tools") or []
        ],
        choice={"REQUIRED": "required", "NONE": "none"}.get(str(body.get("tool_choice")), "auto"),
        schema=(schema or ANYTHING) if form.get("type") == "json_object" else None,
        limit=body.get("max_tokens"),
        stops=body.get("stop_sequences") or [],
        think=wanted.get("type") == "enabled",
        framing=LINES if request.headers.get("accept") == "application/json" else SSE,
    )


def _conversation(messages: Any) -> str:
    """Check the messages. Returns what ``echo`` answers."""
    if not isinstance(messages, list) or not messages:
        raise RefusedError("invalid request: messages must not be empty")
    calls: Calls = {}
    waiting: set[str] = set()
    results: list[Result] = []
    said = ""
    for index, message in enumerate(messages):
        role = message.get("role")
        if role not in ("system", "user", "assistant", "tool"):
            raise RefusedError(f"invalid request: invalid role at messages[{index}]")
        content = _said(message.get("content"), index)
        if role == "tool":
            ident = message.get("tool_call_id")
            if ident not in calls:
                raise RefusedError(
                    f"invalid request: tool call id {ident!r} not found in the previous tool calls"
                )
            results.append((*calls[ident], content, False))
            waiting.discard(ident)
            said = told(results)
            continue
        if waiting:
            raise RefusedError(_unanswered(waiting))
        if role != "system":
            said, results = content, []
        uses = message.get("tool_calls") or []
        if not content and not uses:
            raise RefusedError(f"invalid request: message at messages[{index}] has no content")
        calls = {use["id"]: (n, use["function"]["name"]) for n, use in enumerate(uses, 1)}
        waiting = set(calls)
    if waiting:
        raise RefusedError(_unanswered(waiting))
    return said


def _unanswered(waiting: set[str]) -> str:
    return f"invalid request: missing tool results for tool calls: {', '.join(sorted(waiting))}"


def _said(content: Any, index: int) -> str:
    if isinstance(content, str):
        return content
    out = ""
    for part in content or []:
        kind = part.get("type")
        if kind == "text":
            out += str(part["text"])
        elif kind == "image_url":
            out += media("image", part["image_url"]["url"])
        elif kind == "document":
            out += "".join(words((part["document"].get("data") or {}).get("content")))
        elif kind != "thinking":
            raise RefusedError(f"invalid request: unknown content type at messages[{index}]")
    return out
