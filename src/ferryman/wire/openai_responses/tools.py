"""Tools that a caller offers, and which of them the model may call.

https://platform.openai.com/docs/api-reference/responses/create (``tools``, ``tool_choice``). Tools
of a namespace are offered under the namespace's name and their own, with two underscores between.
"""

from msgspec import Raw

from ferryman.ir.request import HostedTool, Tool, ToolChoice, ToolMode
from ferryman.wire.carry import Reader, bad_request
from ferryman.wire.openai_responses.parts import NAME
from ferryman.wire.openai_responses.types import (
    Choice,
    CustomTool,
    FunctionTool,
    Head,
    NamedTool,
    NamespaceTool,
)

SEPARATOR = "__"

_head: Reader[Head] = Reader(Head)
_text: Reader[str] = Reader(str)
_function: Reader[FunctionTool] = Reader(FunctionTool)
_custom: Reader[CustomTool] = Reader(CustomTool)
_namespace: Reader[NamespaceTool] = Reader(NamespaceTool)
_choice: Reader[Choice] = Reader(Choice)
_named: Reader[NamedTool] = Reader(NamedTool)
_MODES = {mode.value: mode for mode in ToolMode}
_CALLED = ("function", "custom")
"""Types of the tools that the application runs."""


def flat_name(namespace: str | None, name: str) -> str:
    """The name by which other formats know the tool ``name`` of ``namespace``."""
    return f"{namespace}{SEPARATOR}{name}" if namespace else name


def read_tool(
    raw: Raw, path: str, unknown: list[str], namespace: str = ""
) -> list[Tool | HostedTool]:
    """A tool, or those of a namespace. Raises :class:`GatewayError`."""
    kind = _head.read(raw, path, unknown).type
    if kind == "function":
        function = _function.read(raw, path, unknown)
        return [
            Tool(
                name=flat_name(namespace, function.name),
                description=function.description or "",
                parameters=_schema(function.parameters, f"{path}.parameters"),
                strict=function.strict,
                namespace=namespace,
            )
        ]
    if kind == "custom":
        custom = _custom.read(raw, path, unknown)
        return [
            Tool(
                name=flat_name(namespace, custom.name),
                description=custom.description or "",
                free=True,
                grammar=_said(custom.format),
                namespace=namespace,
            )
        ]
    if kind == "namespace" and not namespace:
        return _members(raw, path, unknown)
    if not kind:
        raise bad_request(f"'{path}.type' is missing; name one, such as function.", f"{path}.type")
    return [HostedTool(origin=NAME, kind=kind, raw=bytes(raw))]


def _members(raw: Raw, path: str, unknown: list[str]) -> list[Tool | HostedTool]:
    group = _namespace.read(raw, path, unknown)
    if group.description:
        unknown.append(f"{path}.description")
    tools: list[Tool | HostedTool] = []
    for number, tool in enumerate(group.tools):
        tools += read_tool(tool, f"{path}.tools[{number}]", unknown, group.name)
    return tools


def _said(raw: Raw) -> Raw | None:
    return None if bytes(raw) in (b"", b"null") else raw


def _schema(raw: Raw, path: str) -> Raw | None:
    schema = _said(raw)
    if schema is not None and bytes(schema)[:1] != b"{":
        raise bad_request(f"'{path}' must be a JSON Schema: an object.", path)
    return schema


def read_choice(raw: Raw, unknown: list[str]) -> ToolChoice | None:
    """``tool_choice``; None for one that only this API can express.

    Raises :class:`GatewayError`.
    """
    path = "tool_choice"
    if bytes(raw)[:1] == b'"':
        mode = _MODES.get(_text.read(raw, path, unknown))
        if mode is None:
            raise bad_request(f"'{path}' must be one of {', '.join(_MODES)}, or an object.", path)
        return ToolChoice(mode=mode)
    if _head.read(raw, path, unknown).type not in (*_CALLED, "allowed_tools"):
        return None
    choice = _choice.read(raw, path, unknown)
    if choice.type in _CALLED:
        if not choice.name:
            raise bad_request("'tool_choice.name' must name the tool.", "tool_choice.name")
        return ToolChoice(mode=ToolMode.REQUIRED, allowed=(choice.name,))
    mode = _MODES.get(choice.mode or "")
    if mode is None or mode is ToolMode.NONE or not choice.tools:
        raise bad_request("'tool_choice' needs a mode, auto or required, and tools.", path)
    names = []
    for number, tool in enumerate(choice.tools):
        at = f"{path}.tools[{number}]"
        if _head.read(tool, at, unknown).type not in _CALLED:
            return None
        names.append(_named.read(tool, at, unknown).name)
    return ToolChoice(mode=mode, allowed=tuple(names))


def own_name(tool: Tool) -> str:
    """The tool's name within its namespace."""
    return tool.name.removeprefix(f"{tool.namespace}{SEPARATOR}") if tool.namespace else tool.name
