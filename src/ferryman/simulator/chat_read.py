"""Reading requests for chat completions and completions.

Members that nobody knows are let through, since the format's many hosts have their own; what is
wrong between the members is refused as OpenAI does:
https://platform.openai.com/docs/api-reference/chat/create
"""

import re
from typing import Any

from ferryman.simulator.answer import ANYTHING
from ferryman.simulator.ask import (
    Ask,
    RefusedError,
    Request,
    Result,
    Tool,
    media,
    told,
    typed,
    words,
)
from ferryman.simulator.directives import Behaviour

LONGEST_ID = 40
"""Letters of a tool call's id."""
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

Calls = dict[str, tuple[int, str]]
"""Calls that wait for their results: by id, the place among those of the turn, and the name."""


def model(request: Request, body: dict[str, Any]) -> str:
    """The model, from the path or else the body. Raises :class:`RefusedError`."""
    found = request.model or typed(body, "model", str)
    if not found:
        raise RefusedError("you must provide a model parameter", code="missing_model")
    return str(found)


def read(request: Request) -> Ask:
    """A request for a chat completion."""
    body = request.json()
    named = model(request, body)
    messages = typed(body, "messages", list) or []
    last = _conversation(messages)
    limit = typed(body, "max_completion_tokens", int)
    modalities = body.get("modalities") or []
    behaviour = request.wishes(named, body.get("sim"))
    if "audio" in modalities and "audio" not in behaviour:
        behaviour = Behaviour({"audio": 1}).over(behaviour)
    options = body.get("stream_options")
    return Ask(
        model=named,
        body=body,
        behaviour=behaviour,
        stream=typed(body, "stream", bool) is True,
        prompt=len(words(messages)),
        last=last,
        tools=tools(body),
        choice=choice(body),
        parallel=body.get("parallel_tool_calls") is not False,
        schema=schema(body.get("response_format")),
        limit=typed(body, "max_tokens", int) if limit is None else limit,
        stops=stops(body),
        choices=max(1, typed(body, "n", int) or 1),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def read_old(request: Request) -> Ask:
    """A request for a completion."""
    body = request.json()
    named = model(request, body)
    prompt = body.get("prompt")
    options = body.get("stream_options")
    return Ask(
        model=named,
        body=body,
        behaviour=request.wishes(named, body.get("sim")),
        stream=typed(body, "stream", bool) is True,
        prompt=len(words(prompt)),
        last=" ".join(words(prompt[-1] if isinstance(prompt, list) and prompt else prompt)),
        limit=typed(body, "max_tokens", int),
        stops=stops(body),
        choices=max(1, typed(body, "n", int) or 1),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def stops(body: dict[str, Any]) -> list[str]:
    """The stop sequences: one, or up to four."""
    found = body.get("stop")
    listed = [found] if isinstance(found, str) else found or []
    if len(listed) > 4:
        raise RefusedError(
            "Invalid 'stop': array too long. Expected an array with maximum length 4"
        )
    return [str(stop) for stop in listed]


def schema(wanted: Any) -> Any:
    """The JSON Schema that the reply has to fit; None when plain text will do."""
    if not isinstance(wanted, dict):
        return None
    if wanted.get("type") == "json_object":
        return ANYTHING
    if wanted.get("type") != "json_schema":
        return None
    inner = wanted.get("json_schema") or wanted
    if inner.get("strict") is True:
        strict(inner.get("schema"), f"response_format '{inner.get('name')}'")
    return inner.get("schema", {})


def strict(found: Any, where: str) -> None:
    """What OpenAI demands of schemas to be followed strictly. Raises :class:`RefusedError`."""
    if isinstance(found, list):
        for item in found:
            strict(item, where)
    if not isinstance(found, dict):
        return
    if found.get("type") == "object":
        if found.get("additionalProperties") is not False:
            raise RefusedError(
                f"Invalid schema for {where}: 'additionalProperties' is required to be supplied "
                "and to be false.",
                code="invalid_schema",
            )
        if set(found.get("properties", {})) - set(found.get("required", [])):
            raise RefusedError(
                f"Invalid schema for {where}: 'required' is required to be supplied and to be an "
                "array including every key in properties.",
                code="invalid_schema",
            )
    for key in ("properties", "$defs", "definitions"):
        inner = found.get(key)
        strict(list(inner.values()) if isinstance(inner, dict) else None, where)
    for key in ("items", "anyOf"):
        strict(found.get(key), where)


def tools(body: dict[str, Any]) -> list[Tool]:
    """The tools on offer, in the shape of either OpenAI API."""
    found = []
    for tool in typed(body, "tools", list) or []:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in ("function", "custom"):
            continue  # run by the vendor itself
        inner = tool.get(kind) or tool
        name = inner.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise RefusedError(
                f"Invalid '{kind}.name': string does not match pattern. Expected a string that "
                "matches the pattern '^[a-zA-Z0-9_-]+$'.",
                code="invalid_value",
            )
        if inner.get("strict") is True:
            strict(inner.get("parameters"), f"function '{name}'")
        found.append(Tool(name, inner.get("parameters"), kind))
    return found


def choice(body: dict[str, Any]) -> str:
    """``tool_choice`` as :class:`Ask` has it."""
    wanted = body.get("tool_choice")
    if wanted is None:
        return "auto"
    if not body.get("tools"):
        raise RefusedError(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' "
            "are specified.",
            code="invalid_value",
        )
    if isinstance(wanted, dict):
        kind = wanted.get("type")
        if kind == "allowed_tools":
            inner = wanted.get("allowed_tools") or wanted
            return str(inner.get("mode", "auto"))
        return f"={(wanted.get(kind) or wanted).get('name')}"
    if wanted not in ("auto", "none", "required"):
        raise RefusedError(
            f"Invalid value: '{wanted}'. Supported values are: 'none', 'auto', and 'required'.",
            code="invalid_value",
        )
    return str(wanted)


def _conversation(messages: list[Any]) -> str:
    """Check that calls and results belong together. Returns what ``echo`` answers."""
    calls: Calls = {}
    waiting: set[str] = set()
    results: list[Result] = []
    last = ""
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("developer", "system", "user", "assistant", "tool", "function"):
            raise RefusedError(
                f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', "
                "'function', 'tool', and 'developer'."
            )
        content = _content(message.get("content"), f"messages[{index}].content")
        if role == "tool":
            ident = str(message.get("tool_call_id"))
            if ident not in waiting:
                raise RefusedError(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceeding message with 'tool_calls'."
                )
            waiting.discard(ident)
            results.append((*calls[ident], content, False))
            last = told(results)
            continue
        if waiting:
            raise RefusedError(_unanswered(waiting))
        results, last = [], content
        if role == "assistant":
            calls = _calls(message, index)
            waiting = set(calls)
    if waiting:
        raise RefusedError(_unanswered(waiting))
    return last


def _unanswered(waiting: set[str]) -> str:
    return (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        + ", ".join(sorted(waiting))
    )


def _calls(message: dict[str, Any], index: int) -> Calls:
    found: Calls = {}
    for number, call in enumerate(message.get("tool_calls") or []):
        where = f"messages[{index}].tool_calls[{number}]"
        kind = call.get("type", "function")
        inner = call.get(kind)
        if not isinstance(inner, dict):
            raise RefusedError(f"Missing required parameter: '{where}.{kind}'.")
        ident = str(call.get("id"))
        if len(ident) > LONGEST_ID:
            raise RefusedError(
                f"Invalid '{where}.id': string too long. Expected a string with maximum length "
                f"{LONGEST_ID}, but got a string with length {len(ident)} instead.",
                code="string_above_max_length",
            )
        if kind == "function" and not isinstance(inner.get("arguments"), str):
            raise RefusedError(f"Invalid type for '{where}.function.arguments': expected a string.")
        found[ident] = (number + 1, str(inner.get("name")))
    return found


def _content(content: Any, where: str) -> str:
    """What ``echo`` says of a message's content."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise RefusedError(
            f"Invalid type for '{where}': expected one of a string or array of objects."
        )
    return "".join(_part(part, f"{where}[{i}]") for i, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("text", "refusal"):
        return str(part.get(kind) or "")
    if kind == "image_url":
        inner = part.get("image_url")
        return media("image", inner.get("url") if isinstance(inner, dict) else inner)
    if kind == "input_audio":
        return media(f"audio/{part['input_audio'].get('format')}", part["input_audio"].get("data"))
    if kind == "file":
        inner = part.get("file") or {}
        return media("file", inner["file_data"]) if "file_data" in inner else "[file]"
    raise RefusedError(
        f"Invalid value: '{kind}' at '{where}.type'. Supported values are: 'text', "
        "'image_url', 'input_audio', 'refusal', and 'file'."
    )
