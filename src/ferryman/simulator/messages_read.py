"""Reading requests of Anthropic's Messages API, as strictly as the API itself does.

https://platform.claude.com/docs/en/api/messages/create
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator.ask import Ask, RefusedError, Request, Tool, decoded, media, told, words
from ferryman.simulator.event import PINGS
from ferryman.simulator.memory import Memory, Unit
from ferryman.simulator.seals import sealed, wrapped

WITHOUT_SAMPLING = "2026-10-21"
"""From this version of the API on, sampling is not up to the caller."""
VERTEX = "vertex-2023-10-16"
"""The version of the API at Vertex AI."""
SAMPLING = ("temperature", "top_p", "top_k")

COUNTED = {
    "messages", "model", "cache_control", "output_config", "speed", "system", "thinking",
    "tool_choice", "tools", "mcp_servers", "context_management", "output_format", "sim",
    "user_profile_id", "workspace_id",
}  # fmt: skip
"""Members of a request to ``count_tokens``."""
KNOWN = COUNTED | {
    "max_tokens", "container", "diagnostics", "inference_geo", "metadata", "service_tier",
    "stop_sequences", "stream", *SAMPLING,
}  # fmt: skip
NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
REQUIRED = ("model", "max_tokens", "messages")

BLOCKS: dict[str, set[str]] = {
    "text": {"text", "citations"},
    "image": {"source", "transformations"},
    "document": {"source", "title", "context", "citations"},
    "search_result": {"source", "title", "content", "citations"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
    "tool_use": {"id", "name", "input", "caller", "toolset_name"},
    "tool_result": {"tool_use_id", "content", "is_error"},
    "server_tool_use": {"id", "name", "input", "caller"},
    "web_search_tool_result": {"tool_use_id", "content", "caller"},
    "web_fetch_tool_result": {"tool_use_id", "content", "caller"},
    "code_execution_tool_result": {"tool_use_id", "content"},
    "bash_code_execution_tool_result": {"tool_use_id", "content"},
    "text_editor_code_execution_tool_result": {"tool_use_id", "content"},
    "tool_search_tool_result": {"tool_use_id", "content"},
    "container_upload": {"file_id"},
}
"""Kinds of content blocks and their members beside ``type`` and ``cache_control``."""


def read(request: Request) -> Ask:
    """A request to create a message."""
    body = request.json()
    _versioned(request, body)
    missing = [name for name in REQUIRED if name not in body]
    if missing:
        raise RefusedError(f"{missing[0]}: Field required")
    _only(body, KNOWN, "")
    return cached(fill(body, request.wishes(_model(body), body.get("sim"))), request.memory)


def read_vertex(request: Request) -> Ask:
    """The same by way of Vertex AI: https://platform.claude.com/docs/en/api/claude-on-vertex-ai."""
    return hosted(request, VERTEX, KNOWN | {"anthropic_beta"})


def hosted(request: Request, version: str, known: set[str]) -> Ask:
    """A request where the path names the model and the body the ``version``."""
    body = request.json()
    for name in ("anthropic_version", "max_tokens", "messages"):
        if name not in body:
            raise RefusedError(f"{name}: Field required")
    _platform(body, version)
    _only(body, (known | {"anthropic_version"}) - {"model"}, "")
    ask = fill(body, request.wishes(request.model, body.get("sim")))
    ask.model = request.model
    return cached(ask, request.memory)


def _platform(body: dict[str, Any], version: str) -> None:
    """The body's version: the platform's own, or the API's, which SDKs from 2.0 on send."""
    given = body.get("anthropic_version")
    if given not in (version, WITHOUT_SAMPLING):
        raise RefusedError(
            f"anthropic_version: Input should be '{version}' or '{WITHOUT_SAMPLING}'"
        )
    if given == WITHOUT_SAMPLING:
        _unsampled(body)


def _unsampled(body: dict[str, Any]) -> None:
    for name in SAMPLING:
        if name in body:
            raise RefusedError(f"{name}: Extra inputs are not permitted")


def read_count(request: Request) -> Ask:
    """A request to count the tokens of one."""
    body = request.json()
    _versioned(request, body)
    return _count(request, body, COUNTED)


def read_vertex_count(request: Request) -> Ask:
    """The same by way of Vertex AI, where the body names the model."""
    body = request.json()
    _platform(body, VERTEX)
    return _count(request, body, COUNTED | {"anthropic_version", "anthropic_beta"})


def _count(request: Request, body: dict[str, Any], known: set[str]) -> Ask:
    for name in ("model", "messages"):
        if name not in body:
            raise RefusedError(f"{name}: Field required")
    _only(body, known, "")
    return fill(body, request.wishes(_model(body), body.get("sim")))


def _model(body: dict[str, Any]) -> str:
    model = body["model"]
    if not isinstance(model, str) or not model:
        raise RefusedError("model: Input should be a valid string")
    return model


def _versioned(request: Request, body: dict[str, Any]) -> None:
    version = request.headers.get("anthropic-version")
    if not version:
        raise RefusedError("anthropic-version: header is required")
    if version >= WITHOUT_SAMPLING:
        _unsampled(body)


def fill(body: dict[str, Any], behaviour: Any) -> Ask:
    """What a body asks for, whatever way it came. Raises :class:`RefusedError`."""
    limit = body.get("max_tokens")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise RefusedError("max_tokens: Input should be greater than or equal to 0")
    for name, most in (("temperature", 1), ("top_p", 1)):
        value = body.get(name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= most):
            raise RefusedError(f"{name}: range: 0..{most}")
    choice, parallel = _choice(body)
    thinks = _thinks(body, choice)
    enabled = isinstance(body.get("thinking"), dict) and body["thinking"]["type"] == "enabled"
    last = _conversation(body["messages"], enabled)
    tools = _tools(body.get("tools"))
    config = body.get("output_config") or {}
    shape = config.get("format") if isinstance(config, dict) else None
    if shape is not None and shape.get("type") != "json_schema":
        raise RefusedError("output_config.format.type: Input should be 'json_schema'")
    stops = body.get("stop_sequences") or []
    if any(not str(stop).strip() for stop in stops):
        raise RefusedError("stop_sequences: each stop sequence must contain non-whitespace")
    return Ask(
        model=body.get("model", ""),
        body=body,
        behaviour=behaviour,
        stream=body.get("stream") is True,
        prompt=len(words(body.get("system"))) + len(words(body["messages"])),
        last=last,
        begun=last if body["messages"][-1]["role"] == "assistant" else "",
        tools=tools,
        choice=choice,
        parallel=parallel,
        schema=shape.get("schema", {}) if shape else None,
        limit=limit,
        stops=[str(stop) for stop in stops],
        think=thinks,
        framing=PINGS,
    )


def cached(ask: Ask, memory: Memory) -> Ask:
    """The same with what the prompt cache does for it."""
    units = list(_units(ask.body))
    marked = [stay for _, _, stay in units if stay]
    if len(marked) > 4:
        raise RefusedError(
            f"A maximum of 4 blocks with cache_control may be provided. Found {len(marked)}."
        )
    if marked:
        ask.cached, ask.written, ask.written_hour = memory.prompt(units)
        ask.fresh = True
    return ask


def _units(body: dict[str, Any]) -> Iterator[Unit]:
    """The pieces of a prompt, in the order in which they are cached: tools, system, messages."""
    found: list[tuple[str, Any]] = [("tool", tool) for tool in body.get("tools") or []]
    system = body.get("system")
    found += [("system", s) for s in ([system] if isinstance(system, str) else system or [])]
    for message in body["messages"]:
        content = message["content"]
        listed = [content] if isinstance(content, str) else content
        found += [(message["role"], block) for block in listed]
    whole = body.get("cache_control")
    for index, (role, block) in enumerate(found):
        control = block.get("cache_control") if isinstance(block, dict) else None
        if whole and index == len(found) - 1:
            control = control or whole
        plain = block
        if isinstance(block, dict):
            plain = {name: value for name, value in block.items() if name != "cache_control"}
        text = msgspec.json.encode([role, plain], order="sorted")
        size = 0 if role == "tool" else len(words(block))
        yield text, size, str(control.get("ttl") or "5m") if control else ""


def _only(given: dict[str, Any], known: set[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise RefusedError(f"{where}{name}: Extra inputs are not permitted")


def _choice(body: dict[str, Any]) -> tuple[str, bool]:
    """The tool choice, and whether several calls at once are welcome."""
    choice = body.get("tool_choice")
    if choice is None:
        return "auto", True
    kind = str(choice.get("type")) if isinstance(choice, dict) else ""
    if kind not in ("auto", "any", "tool", "none"):
        raise RefusedError("tool_choice: Input tag does not match 'auto', 'any', 'tool', 'none'")
    _only(choice, {"type", "name", "disable_parallel_tool_use"}, f"tool_choice.{kind}.")
    if kind != "none" and not body.get("tools"):
        raise RefusedError("tool_choice may only be specified while providing tools")
    if kind == "tool":
        names = [tool.get("name") for tool in body["tools"]]
        if choice.get("name") not in names:
            raise RefusedError(f"Tool '{choice.get('name')}' not found in provided tools")
    found = {"any": "required", "tool": f"={choice.get('name')}"}.get(kind, kind)
    return found, not choice.get("disable_parallel_tool_use", False)


def _thinks(body: dict[str, Any], choice: str) -> bool:
    """Whether thinking is on; what it excludes."""
    thinking = body.get("thinking")
    if thinking is None:
        return False
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind not in ("enabled", "disabled", "adaptive", "between_tools"):
        raise RefusedError("thinking: Input tag does not match 'enabled', 'disabled', 'adaptive'")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int):
            raise RefusedError("thinking.enabled.budget_tokens: Field required")
        if budget < 1024:
            raise RefusedError(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
        if budget >= body.get("max_tokens", budget + 1):
            raise RefusedError("`max_tokens` must be greater than `thinking.budget_tokens`.")
    elif "budget_tokens" in thinking:
        raise RefusedError(f"thinking.{kind}.budget_tokens: Extra inputs are not permitted")
    if kind in ("enabled", "adaptive"):
        if choice not in ("auto", "none"):
            raise RefusedError("Thinking may not be enabled when tool_choice forces tool use.")
        if kind == "enabled" and body.get("temperature") not in (None, 1):
            raise RefusedError("`temperature` may only be set to 1 when thinking is enabled.")
        if kind == "enabled" and "top_k" in body:
            raise RefusedError("`top_k` must be unset when thinking is enabled.")
    return kind in ("enabled", "adaptive")


def _tools(tools: Any) -> list[Tool]:
    found = []
    for index, tool in enumerate(tools or []):
        kind = tool.get("type", "custom")
        if kind != "custom":
            if not re.fullmatch(r"\w+_\d{8}|mcp_toolset", str(kind)):
                raise RefusedError(f"tools.{index}: Input tag '{kind}' does not match any tag")
            continue  # run by the vendor itself
        where = f"tools.{index}.custom."
        known = {
            "type", "name", "description", "input_schema", "cache_control", "strict",
            "allowed_callers", "defer_loading", "eager_input_streaming", "input_examples",
        }  # fmt: skip
        _only(tool, known, where)
        for name in ("name", "input_schema"):
            if name not in tool:
                raise RefusedError(f"{where}{name}: Field required")
        if tool["input_schema"].get("type") != "object":
            raise RefusedError(f"{where}input_schema.type: Input should be 'object'")
        if not NAME.fullmatch(str(tool["name"])):
            raise RefusedError(
                f"{where}name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )
        found.append(Tool(tool["name"], tool["input_schema"]))
    if len({tool.name for tool in found}) < len(found):
        raise RefusedError("tools: Tool names must be unique.")
    return found


Calls = dict[str, tuple[int, str]]
"""Calls that wait for their results: by id, the place among those of the turn, and the name."""


def _conversation(messages: Any, thinks: bool) -> str:
    """Check the messages. Returns what ``echo`` answers."""
    turns = _turns(messages)
    if turns[0][1] != "user":
        raise RefusedError('messages: first message must use the "user" role')
    calls: Calls = {}
    said = ""
    for number, (index, role, blocks) in enumerate(turns):
        where = f"messages.{index}"
        final = number == len(turns) - 1
        if not blocks and not (final and role == "assistant"):
            raise RefusedError(f"{where}: all messages must have non-empty content")
        if role == "user":
            _answered(where, blocks, calls)
        told_of = [
            _block(f"{where}.content.{i}", block, role, calls) for i, block in enumerate(blocks)
        ]
        results = [
            (*calls[block["tool_use_id"]], _result(where, block), block.get("is_error") is True)
            for block in blocks
            if block["type"] == "tool_result"
        ]
        if role != "system":
            said, calls = told(results) + "".join(told_of), {}
        if role == "assistant":
            uses = [block for block in blocks if block["type"] == "tool_use"]
            calls = {str(use["id"]): (i, str(use["name"])) for i, use in enumerate(uses, 1)}
            if len(calls) < len(uses):
                raise RefusedError("messages: `tool_use` ids must be unique")
            if thinks and uses and number >= len(turns) - 2:
                _thought_first(where, blocks[0]["type"])
            if final:
                _prefill(where, blocks, calls)
    return said


def _turns(messages: Any) -> list[tuple[int, str, list[Any]]]:
    """Messages with neighbours of one role joined: index of the first, role, content blocks."""
    if not isinstance(messages, list) or not messages:
        raise RefusedError("messages: at least one message is required")
    turns: list[tuple[int, str, list[Any]]] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "system"):
            raise RefusedError(f'{where}: Unexpected role "{role}". Allowed: "user" or "assistant"')
        _only(message, {"role", "content"}, f"{where}.")
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}] if content else []
        if not isinstance(content, list):
            raise RefusedError(f"{where}.content: Input should be a valid list")
        if turns and turns[-1][1] == role:
            turns[-1][2].extend(content)
        else:
            turns.append((index, role, list(content)))
    return turns


def _thought_first(where: str, kind: str) -> None:
    """While tools are used with thinking on, the turn has to come back with its thinking."""
    if kind not in ("thinking", "redacted_thinking"):
        raise RefusedError(
            f"{where}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
            f"`{kind}`. When `thinking` is enabled, a final `assistant` message must start with a "
            "thinking block (preceding the lastmost set of `tool_use` and `tool_result` blocks)."
        )


def _prefill(where: str, blocks: list[Any], calls: Calls) -> None:
    """What an answer may begin with."""
    if calls:
        raise RefusedError(_unanswered(where, calls))
    if blocks and str(blocks[-1].get("text", "a"))[-1:].isspace():
        raise RefusedError("messages: final assistant content cannot end with trailing whitespace")


def _unanswered(where: str, calls: Calls) -> str:
    return (
        f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` block "
        "in the next message."
    )


def _answered(where: str, blocks: list[Any], calls: Calls) -> None:
    """Results answer the calls right before them, each once, and come first."""
    results = [b for b in blocks if isinstance(b, dict) and b.get("type") == "tool_result"]
    given = [str(result.get("tool_use_id")) for result in results]
    for index, ident in enumerate(given):
        if ident not in calls:
            raise RefusedError(
                f"{where}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{ident}. Each `tool_result` block must have a corresponding `tool_use` block in "
                "the previous message."
            )
    if len(set(given)) < len(given):
        raise RefusedError(
            f"{where}.content: each tool_use must have a single result. Found multiple"
        )
    missing = {ident: call for ident, call in calls.items() if ident not in given}
    if missing:
        raise RefusedError(_unanswered(where, missing))
    if calls and any(b.get("type") != "tool_result" for b in blocks[: len(results)]):
        raise RefusedError(f"{where}: `tool_result` blocks must come first in the content")


def _block(where: str, block: Any, role: str, calls: Calls) -> str:
    """Check one content block. Returns what ``echo`` says of it."""
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in BLOCKS:
        raise RefusedError(f"{where}: Input tag '{kind}' found using 'type' does not match any")
    _only(block, BLOCKS[kind] | {"type", "cache_control"}, f"{where}.{kind}.")
    _place(where, kind, role)
    if kind == "text":
        if not isinstance(block.get("text"), str):
            raise RefusedError(f"{where}.text.text: Field required")
        if not block["text"]:
            raise RefusedError("messages: text content blocks must be non-empty")
        if not block["text"].strip():
            raise RefusedError("messages: text content blocks must contain non-whitespace text")
        return str(block["text"])
    if kind in ("image", "document"):
        return _source(where, kind, block)
    if kind == "thinking" and not sealed(
        block.get("signature"), "thinking", str(block.get("thinking"))
    ):
        raise RefusedError(f"{where}: Invalid `signature` in `thinking` block")
    if kind == "redacted_thinking" and not wrapped(block.get("data")):
        raise RefusedError(f"{where}: Invalid `data` in `redacted_thinking` block")
    if kind == "tool_use":
        for name, type_ in (("id", str), ("name", str), ("input", dict)):
            if not isinstance(block.get(name), type_):
                raise RefusedError(f"{where}.tool_use.{name}: Field required")
        if not NAME.fullmatch(block["id"]):
            raise RefusedError(
                f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            )
    if kind == "tool_result":
        _result(where, block)
    return ""


def _place(where: str, kind: str, role: str) -> None:
    """What may stand in whose message."""
    if kind in ("thinking", "redacted_thinking", "tool_use") and role != "assistant":
        raise RefusedError(f"{where}: `{kind}` blocks can only be in `assistant` messages")
    if kind in ("tool_result", "image", "document") and role != "user":
        raise RefusedError(f"{where}: `{kind}` blocks can only be in `user` messages")


def _result(where: str, block: dict[str, Any]) -> str:
    content = block.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(
        _block(f"{where}.tool_result.content.{i}", part, "user", {})
        for i, part in enumerate(content)
    )


def _source(where: str, kind: str, block: dict[str, Any]) -> str:
    """What an image or document holds."""
    source = block.get("source")
    if not isinstance(source, dict):
        raise RefusedError(f"{where}.{kind}.source: Field required")
    way = source.get("type")
    if way == "text" and kind == "document":
        return f"[text/plain {len(str(source.get('data')).encode())} bytes]"
    if way == "content" and kind == "document":
        inner = source.get("content")
        parts = inner if isinstance(inner, list) else [{"type": "text", "text": inner}]
        return "".join(_block(f"{where}.source", part, "user", {}) for part in parts)
    if way == "url":
        return f"[{kind} {source.get('url')}]"
    if way == "file":
        return f"[{kind} {source.get('file_id')}]"
    types = {
        "image": ("image/jpeg", "image/png", "image/gif", "image/webp"),
        "document": ("application/pdf",),
    }[kind]
    if way != "base64" or source.get("media_type") not in types:
        raise RefusedError(f"{where}.{kind}.source.base64.media_type: Input should be {types}")
    if not decoded(source.get("data")):
        raise RefusedError(f"{where}.{kind}.source.base64: {kind} cannot be empty")
    return media(source["media_type"], source["data"])
