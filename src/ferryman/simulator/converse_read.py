"""Reading requests for Amazon Bedrock: Converse, and other formats by way of InvokeModel.

What the service refuses is refused here, in its words where they are known:
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import re
from typing import Any

import msgspec

from ferryman.simulator import frames, messages_read
from ferryman.simulator.answer import ANYTHING
from ferryman.simulator.ask import Ask, RefusedError, Request, Tool, media, told, words
from ferryman.simulator.seals import sealed, wrapped

KNOWN = {
    "messages", "system", "inferenceConfig", "toolConfig", "guardrailConfig", "promptVariables",
    "additionalModelRequestFields", "additionalModelResponseFieldPaths", "requestMetadata",
    "performanceConfig", "serviceTier", "outputConfig", "sim",
}  # fmt: skip
BLOCKS = {
    "text", "image", "document", "video", "audio", "toolUse", "toolResult", "guardContent",
    "cachePoint", "reasoningContent", "citationsContent", "searchResult",
}  # fmt: skip
INFERENCE = {"maxTokens", "temperature", "topP", "stopSequences"}
MEDIA = {"image": "image", "document": "application", "video": "video", "audio": "audio"}
FROM_USER = {"toolResult", "document"}
FROM_MODEL = {"toolUse", "reasoningContent"}
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
DOCUMENT = re.compile(r"(?!.*\s\s)[a-zA-Z0-9\s\-()\[\]]{1,200}")
Calls = dict[str, tuple[int, str]]
"""Calls that wait for their results: by id, the place among those of the turn, and the name."""


def read(request: Request) -> Ask:
    """A request to Converse or ConverseStream."""
    body = request.json()
    for name in body:
        if name not in KNOWN:
            raise RefusedError(f"The request has a member that is not known: {name}")
    last = _conversation(body.get("messages"))
    inference = body.get("inferenceConfig") or {}
    config = body.get("toolConfig") or {}
    _settings(inference, config, body)
    fields = body.get("additionalModelRequestFields") or {}
    return Ask(
        model=request.model,
        body=body,
        behaviour=request.wishes(request.model, body.get("sim")),
        stream=request.action == "converse-stream",
        prompt=len(words([*(body.get("system") or []), *body["messages"]])),
        last=last,
        tools=_tools(config),
        choice=_choice(config.get("toolChoice") or {}),
        schema=_schema(body.get("outputConfig") or {}),
        limit=inference.get("maxTokens"),
        stops=inference.get("stopSequences") or [],
        think=(fields.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        framing=frames.CONVERSE,
    )


def read_invoke(request: Request) -> Ask:
    """A request in Anthropic's format, which the path sends to the model as it is:
    https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
    """
    known = messages_read.KNOWN | {"anthropic_beta"}
    ask = messages_read.hosted(request, "bedrock-2023-05-31", known - {"stream"})
    ask.stream = request.action == "invoke-with-response-stream"
    ask.framing = frames.INVOKE
    return ask


def _settings(inference: dict[str, Any], config: dict[str, Any], body: dict[str, Any]) -> None:
    """What the shapes of a request say of its numbers, and which parts need each other."""
    unknown = set(inference) - INFERENCE
    if unknown:
        raise RefusedError(f"inferenceConfig has a member that is not known: {min(unknown)}")
    for name in ("temperature", "topP"):
        value = inference.get(name)
        if value is not None and not 0 <= value <= 1:
            raise RefusedError(
                f"1 validation error detected: Value at 'inferenceConfig.{name}' failed to satisfy "
                "constraint: Member must have value between 0 and 1"
            )
    if inference.get("maxTokens", 1) < 1:
        raise RefusedError(
            "1 validation error detected: Value at 'inferenceConfig.maxTokens' failed to satisfy "
            "constraint: Member must have value greater than or equal to 1"
        )
    parts = [part for message in body["messages"] for part in message["content"]]
    if not config and any("toolUse" in part or "toolResult" in part for part in parts):
        raise RefusedError(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        )
    for index, part in enumerate(body.get("system") or []):
        _block(f"system.{index}", part)


def _tools(config: dict[str, Any]) -> list[Tool]:
    found = []
    for number, tool in enumerate(config.get("tools") or []):
        spec = tool.get("toolSpec")
        if spec is None:
            continue  # a cache point, or a tool of the service's own
        if not NAME.fullmatch(str(spec.get("name"))):
            raise RefusedError(
                f"1 validation error detected: Value at 'toolConfig.tools.{number + 1}.member."
                "toolSpec.name' failed to satisfy constraint: Member must satisfy regular "
                "expression pattern: [a-zA-Z0-9_-]+"
            )
        found.append(Tool(spec["name"], spec["inputSchema"]["json"]))
    return found


def _choice(choice: dict[str, Any]) -> str:
    if "tool" in choice:
        return "=" + str(choice["tool"]["name"])
    return "required" if "any" in choice else "auto"


def _schema(config: dict[str, Any]) -> Any:
    form = config.get("textFormat") or {}
    structure = (form.get("structure") or {}).get("jsonSchema") or {}
    schema = structure.get("schema")
    if form.get("type") != "json_schema":
        return None
    return msgspec.json.decode(schema) if isinstance(schema, str) else schema or ANYTHING


def _conversation(messages: Any) -> str:
    """Check the messages. Returns what ``echo`` answers."""
    if not isinstance(messages, list) or not messages:
        raise RefusedError("The messages field is required and must not be empty")
    if messages[0].get("role") != "user":
        raise RefusedError("A conversation must start with a user message. Try again with one.")
    calls: Calls = {}
    said = ""
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role != ("assistant" if index % 2 else "user"):
            raise RefusedError(
                "A conversation must alternate between user and assistant roles. Make sure the "
                "conversation alternates between user and assistant roles and try again."
            )
        if not isinstance(content, list) or not content:
            raise RefusedError(
                f"The content field in the Message object at messages.{index} is empty. Add a "
                "ContentBlock object to the content field and try again."
            )
        if role == "user":
            _answered(index, content, calls)
        parts = [_block(f"messages.{index}.content.{i}", part) for i, part in enumerate(content)]
        results = [
            (*calls[use["toolUseId"]], _result(use), use.get("status") == "error")
            for use in (part["toolResult"] for part in content if "toolResult" in part)
        ]
        said, calls = told(results) + "".join(parts), {}
        uses = [part["toolUse"] for part in content if "toolUse" in part]
        calls = {use["toolUseId"]: (n, use["name"]) for n, use in enumerate(uses, 1)}
        if len(calls) < len(uses):
            raise RefusedError(f"messages.{index}.content: duplicate toolUse Ids")
        _places(f"messages.{index}.content", role, content)
    return said


def _places(where: str, role: str, content: list[Any]) -> None:
    """What may stand in whose message, and that no two documents share a name."""
    wrong = FROM_USER if role == "assistant" else FROM_MODEL
    for part in content:
        if wrong & set(part):
            raise RefusedError(
                f"{where}: {min(wrong & set(part))} blocks can't be in messages of the role {role}"
            )
    names = [part["document"]["name"] for part in content if "document" in part]
    if len(set(names)) < len(names):
        raise RefusedError(f"{where}: the names of documents must be unique")


def _answered(index: int, content: list[Any], calls: Calls) -> None:
    """The results of the turn before must all be here, and no others."""
    given = {part["toolResult"].get("toolUseId") for part in content if "toolResult" in part}
    if given != set(calls):
        raise RefusedError(
            f"Expected toolResult blocks at messages.{index}.content for the following Ids: "
            f"{', '.join(calls) or 'none'}"
        )


def _result(result: dict[str, Any]) -> str:
    out = ""
    for part in result.get("content") or []:
        if "json" in part:
            out += msgspec.json.encode(part["json"]).decode()
        else:
            out += _block("toolResult.content", part)
    return out


def _block(where: str, block: dict[str, Any]) -> str:
    """What ``echo`` says of one block. Raises :class:`RefusedError`."""
    kind = next(iter(block), "")
    if kind not in BLOCKS or len(block) != 1:
        raise RefusedError(f"The content block at {where} must hold one known member")
    inner = block[kind]
    if kind == "text":
        if not inner.strip():
            raise RefusedError(
                f"The text field in the ContentBlock object at {where} is blank. Add text to the "
                "text field, and try again."
            )
        return str(inner)
    if kind == "toolUse" and not ID.fullmatch(str(inner["toolUseId"])):
        raise RefusedError(f"Value at '{where}.toolUse.toolUseId' failed to satisfy constraint")
    if kind == "reasoningContent":
        _thought(where, inner)
    return _medium(where, kind, inner) if kind in MEDIA else ""


def _medium(where: str, kind: str, inner: dict[str, Any]) -> str:
    if kind == "document" and not DOCUMENT.fullmatch(str(inner.get("name"))):
        raise RefusedError(
            f"The document file name at {where} can only contain alphanumeric characters, "
            "whitespace characters, hyphens, parentheses, and square brackets. The name can't "
            "contain more than one consecutive whitespace character."
        )
    source = inner["source"]
    if "text" in source:
        return str(source["text"])
    return media(f"{MEDIA[kind]}/{inner['format']}", source.get("bytes"))


def _thought(where: str, inner: dict[str, Any]) -> None:
    """Thoughts come back as they went, or not at all."""
    text = inner.get("reasoningText")
    if text is not None:
        good = sealed(text.get("signature"), "thinking", text.get("text", ""))
    else:
        good = wrapped(inner.get("redactedContent"))
    if not good:
        raise RefusedError(f"{where}: Invalid signature in reasoningContent block")
