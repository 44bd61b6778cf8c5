"""Reading requests for the responses API, and what OpenAI refuses of them.

https://platform.openai.com/docs/api-reference/responses/create,
https://platform.openai.com/docs/guides/reasoning (reasoning items that come back)
"""

from typing import Any

from ferryman.simulator.ask import Ask, RefusedError, Request, Result, media, told, typed, words
from ferryman.simulator.chat_read import Calls, choice, model, schema, tools
from ferryman.simulator.memory import Memory
from ferryman.simulator.seals import sealed

CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
"""Kinds of items that call, and the kinds that answer them."""
OPAQUE = {
    "item_reference", "web_search_call", "file_search_call", "computer_call",
    "computer_call_output", "image_generation_call", "code_interpreter_call", "local_shell_call",
    "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call",
    "apply_patch_call_output", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response",
    "mcp_call", "compaction",
}  # fmt: skip
"""Kinds of items that are taken as they are."""
LONGEST_ID = 64


def read(request: Request) -> Ask:
    """A request for a response."""
    body = request.json()
    named = model(request, body)
    given = body.get("input")
    previous = _previous(body.get("previous_response_id"), request.memory)
    last = _items(given, previous, request.memory) if isinstance(given, list) else given or ""
    text = typed(body, "text", dict) or {}
    reasoning = typed(body, "reasoning", dict) or {}
    ask = Ask(
        model=named,
        body=body,
        behaviour=request.wishes(named, body.get("sim")),
        stream=typed(body, "stream", bool) is True,
        prompt=len(words(given)) + len(words(body.get("instructions"))),
        last=str(last),
        tools=tools(body),
        choice=choice(body),
        parallel=body.get("parallel_tool_calls") is not False,
        schema=schema(text.get("format")),
        limit=typed(body, "max_output_tokens", int),
        think=reasoning.get("summary") is not None or reasoning.get("effort") not in (None, "none"),
        fresh=body.get("previous_response_id") is not None or _referring(given),
    )
    if body.get("store") is not False:
        memory = request.memory

        def note(number: bytes, found: Any) -> None:
            memory.store(number.decode(), [call.name for call in found.calls])

        ask.note = note
    return ask


def _referring(given: Any) -> bool:
    """Whether there are items whose worth depends on what is stored."""
    return isinstance(given, list) and any(
        isinstance(item, dict) and item.get("type") in ("reasoning", "item_reference")
        for item in given
    )


def _previous(ident: Any, memory: Memory) -> Calls:
    """The calls of the response that this one goes on from."""
    if ident is None:
        return {}
    number = str(ident).removeprefix("resp_")
    if number not in memory.responses:
        raise RefusedError(
            f"Previous response with id '{ident}' not found.", code="previous_response_not_found"
        )
    names = memory.responses[number]
    return {f"call_{number}{i}": (i + 1, name) for i, name in enumerate(names)}


def _items(items: list[Any], calls: Calls, memory: Memory) -> str:
    """Check the items of ``input``. Returns what ``echo`` answers."""
    calls, waiting = dict(calls), set(calls)
    results: list[Result] = []
    last, turn = "", 0
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise RefusedError(f"Invalid type for 'input[{index}]': expected an object.")
        kind = item.get("type", "message")
        if kind in CALLS:
            turn += 1
            _call(item, index, turn, calls, waiting)
            continue
        if kind in CALLS.values():
            ident = str(item.get("call_id"))
            if ident not in calls:
                raise RefusedError(
                    f"No tool call found for function call output with call_id {ident}."
                )
            waiting.discard(ident)
            content = _content(item.get("output"), f"input[{index}].output")
            results.append((*calls[ident], content, False))
            last = told(results)
            continue
        turn, results = 0, []
        if kind == "reasoning":
            _reasoning(item, index, items, memory)
        elif kind == "message":
            if item.get("role") not in ("user", "assistant", "system", "developer"):
                raise RefusedError(f"Invalid value: '{item.get('role')}' at 'input[{index}].role'.")
            last = _content(item.get("content"), f"input[{index}].content")
        elif kind not in OPAQUE:
            raise RefusedError(f"Invalid value: '{kind}' at 'input[{index}].type'.")
    if waiting:
        raise RefusedError(f"No tool output found for function call {min(waiting)}.")
    return last


def _call(item: dict[str, Any], index: int, turn: int, calls: Calls, waiting: set[str]) -> None:
    for name in ("call_id", "name"):
        if not isinstance(item.get(name), str):
            raise RefusedError(f"Missing required parameter: 'input[{index}].{name}'.")
    ident = item["call_id"]
    if len(ident) > LONGEST_ID:
        raise RefusedError(
            f"Invalid 'input[{index}].call_id': string too long. Expected a string with maximum "
            f"length {LONGEST_ID}, but got a string with length {len(ident)} instead."
        )
    if item.get("id") is not None and not str(item["id"]).startswith(("fc_", "ctc_")):
        raise RefusedError(
            f"Invalid 'input[{index}].id': '{item['id']}'. Expected an ID that begins with 'fc'."
        )
    calls[ident] = (turn, item["name"])
    waiting.add(ident)


def _reasoning(item: dict[str, Any], index: int, items: list[Any], memory: Memory) -> None:
    """Reasoning comes back as it went out, and with what followed it."""
    ident = str(item.get("id"))
    said = "\n".join(str(part.get("text")) for part in item.get("summary") or [])
    secret = item.get("encrypted_content")
    if secret is not None and not sealed(secret, "reasoning", said):
        raise RefusedError(
            f"The encrypted content for item {ident} could not be verified. Reason: Encrypted "
            "content could not be decrypted or parsed.",
            code="invalid_encrypted_content",
        )
    if secret is None and ident.removeprefix("rs_") not in memory.responses:
        raise RefusedError(
            f"Item with id '{ident}' not found. Items are not persisted when `store` is set to "
            "false. Try again with `store` set to true, or remove this item from your input.",
            status=404,
        )
    after = items[index + 1] if index + 1 < len(items) else {}
    own = after.get("type") in (*CALLS, *OPAQUE, "reasoning") or after.get("role") == "assistant"
    if not own:
        raise RefusedError(
            f"Item '{ident}' of type 'reasoning' was provided without its required following item."
        )


def _content(content: Any, where: str) -> str:
    """What ``echo`` says of a message's content, or of what a tool gave."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise RefusedError(f"Invalid type for '{where}': expected a string or an array of objects.")
    return "".join(_part(part, f"{where}[{i}]") for i, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text", "text"):
        return str(part.get("text") or "")
    if kind == "refusal":
        return str(part.get("refusal") or "")
    if kind == "input_image":
        return media("image", part["image_url"]) if part.get("image_url") else "[image]"
    if kind == "input_file":
        data = part.get("file_data") or part.get("file_url")
        return media("file", data) if data else "[file]"
    if kind == "input_audio":
        inner = part.get("input_audio") or {}
        return media(f"audio/{inner.get('format')}", inner.get("data"))
    raise RefusedError(
        f"Invalid value: '{kind}' at '{where}.type'. Supported values are: 'input_text', "
        "'input_image', 'output_text', 'refusal', and 'input_file'."
    )
