"""Reading requests for Amazon Bedrock: Converse, and other formats by way of InvokeModel.

What the service refuses is refused here, in its words where they are known:
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import frames, messages_read
from ferryman.simulator.answer import ANYTHING
from ferryman.simulator.ask import Ask, RefusedError, Request, Tool, media, told, words
from ferryman.simulator.memory import Unit
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
MEDIA = {"image": "image", "document": "application", "video": "video", "audio": "audio"}
TYPES = {"txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html"}
"""Formats of documents whose type is not ``application/`` and their name."""
FORMATS = {
    "image": ("png", "jpeg", "gif", "webp"),
    "document": ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
    "video": ("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"),
    "audio": ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "m4a", "mpeg",
              "mpga", "pcm", "webm", "x-aac"),
}  # fmt: skip
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
    config = body.get("toolConfig") or {}
    if "toolConfig" in body and not config.get("tools"):
        raise _violated("toolConfig.tools", "Member must have length greater than or equal to 1")
    choice = _choice(config.get("toolChoice") or {})
    last = _conversation(body.get("messages"))
    parts = [part for message in body["messages"] for part in message["content"]]
    if not config and any("toolUse" in part or "toolResult" in part for part in parts):
        raise RefusedError(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        )
    system = body.get("system") or []
    for index, block in enumerate(system):
        _block(f"system.{index}", block)
    inference = _inference(body.get("inferenceConfig") or {})
    ask = Ask(
        model=request.model,
        body=body,
        behaviour=request.wishes(request.model, body.get("sim")),
        stream=request.action == "converse-stream",
        prompt=len(words([*system, *body["messages"]])),
        last=last,
        tools=_tools(config),
        choice=choice,
        schema=_schema(body.get("outputConfig") or {}),
        limit=inference.get("maxTokens"),
        stops=inference.get("stopSequences") or [],
        think=_thinks(body.get("additionalModelRequestFields") or {}, inference, choice),
        framing=frames.CONVERSE,
        fresh=bool(config) or "x-amz-date" in request.headers,
    )
    units = list(_units(body))
    if any(stay for _, _, stay in units):
        ask.cached, ask.written, ask.written_hour = request.memory.prompt(units)
        ask.fresh = True
    return ask


def _violated(member: str, constraint: str) -> RefusedError:
    return RefusedError(
        f"1 validation error detected: Value at '{member}' failed to satisfy constraint: "
        f"{constraint}"
    )


def _inference(config: dict[str, Any]) -> dict[str, Any]:
    for name in config:
        if name not in ("maxTokens", "temperature", "topP", "stopSequences"):
            raise RefusedError(f"inferenceConfig has a member that is not known: {name}")
    for name in ("temperature", "topP"):
        if not 0 <= config.get(name, 0) <= 1:
            raise _violated(
                f"inferenceConfig.{name}", "Member must have value less than or equal to 1"
            )
    if config.get("maxTokens", 1) < 1:
        raise _violated(
            "inferenceConfig.maxTokens", "Member must have value greater than or equal to 1"
        )
    return config


def _thinks(fields: dict[str, Any], inference: dict[str, Any], choice: str) -> bool:
    """Whether the model's own setting turns thinking on; what the model refuses of it."""
    wanted = fields.get("thinking") or fields.get("reasoning_config") or {}
    thinks = wanted.get("type") in ("enabled", "adaptive")
    said = "The model returned the following errors: "
    if thinks and choice != "auto":
        raise RefusedError(said + "Thinking may not be enabled when tool_choice forces tool use.")
    budget = wanted.get("budget_tokens", 0)
    if budget >= inference.get("maxTokens", budget + 1):
        raise RefusedError(said + "`max_tokens` must be greater than `thinking.budget_tokens`.")
    return thinks


def _units(body: dict[str, Any]) -> Iterator[Unit]:
    """The pieces of a prompt; a cache point keeps what stands before it."""
    found: list[tuple[str, Any]] = [
        ("tool", tool) for tool in (body.get("toolConfig") or {}).get("tools") or []
    ]
    found += [("system", block) for block in body.get("system") or []]
    for message in body["messages"]:
        found += [(message["role"], block) for block in message["content"]]
    for index, (role, block) in enumerate(found):
        if "cachePoint" in block:
            continue
        after = found[index + 1][1] if index + 1 < len(found) else {}
        point = after.get("cachePoint")
        size = 0 if role == "tool" else len(words(block))
        text = msgspec.json.encode([role, block], order="sorted")
        yield text, size, point.get("ttl", "5m") if point else ""


def read_invoke(request: Request) -> Ask:
    """A request in Anthropic's format, which the path sends to the model as it is:
    https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
    """
    known = messages_read.KNOWN | {"anthropic_beta"}
    ask = messages_read.hosted(request, "bedrock-2023-05-31", known - {"stream"})
    ask.stream = request.action == "invoke-with-response-stream"
    ask.framing = frames.INVOKE
    ask.fresh = True  # each reply bears its number under a checksum
    return ask


def _tools(config: dict[str, Any]) -> list[Tool]:
    found = []
    for number, tool in enumerate(config.get("tools") or []):
        spec = tool.get("toolSpec")
        if spec is None:
            continue  # a cache point, or a tool of the service's own
        if not NAME.fullmatch(str(spec.get("name"))):
            raise _violated(
                f"toolConfig.tools.{number + 1}.member.toolSpec.name",
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+",
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
    """What may stand in whose message; and that documents come with text, no two of one name."""
    wrong = FROM_USER if role == "assistant" else FROM_MODEL
    for part in content:
        if wrong & set(part):
            raise RefusedError(
                f"{where}: {min(wrong & set(part))} blocks can't be in messages of the role {role}"
            )
    names = [part["document"]["name"] for part in content if "document" in part]
    if len(set(names)) < len(names):
        raise RefusedError(f"{where}: the names of documents must be unique")
    if names and not any("text" in part for part in content):
        raise RefusedError(f"{where}: add a text block to the document")


def _answered(index: int, content: list[Any], calls: Calls) -> None:
    """The results of the turn before must all be here, and no others."""
    given = [part["toolResult"].get("toolUseId") for part in content if "toolResult" in part]
    if len(given) > len(set(given)):
        raise RefusedError(
            f"The toolResult blocks at messages.{index}.content contain duplicate Ids."
        )
    if len(given) > len(calls):
        raise RefusedError(
            f"The number of toolResult blocks at messages.{index}.content exceeds the number of "
            "toolUse blocks of previous turn."
        )
    if set(given) != set(calls):
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
    form, source = str(inner.get("format")), inner["source"]
    if kind == "document" and not DOCUMENT.fullmatch(str(inner.get("name"))):
        raise RefusedError(
            f"The document file name at {where} can only contain alphanumeric characters, "
            "whitespace characters, hyphens, parentheses, and square brackets. The name can't "
            "contain more than one consecutive whitespace character."
        )
    if form not in FORMATS[kind]:
        wanted = ", ".join(FORMATS[kind])
        raise _violated(f"{where}.{kind}.format", f"Member must satisfy enum value set: [{wanted}]")
    found = TYPES.get(form, f"{MEDIA[kind]}/{form}")
    if "text" in source:
        return f"[{found} {len(str(source['text']).encode())} bytes]"
    if "s3Location" in source:
        return f"[{found} {source['s3Location']['uri']}]"
    if not source.get("bytes"):
        raise _violated(f"{where}.{kind}.source", "Member must have length greater than 0")
    return media(found, source["bytes"])


def _thought(where: str, inner: dict[str, Any]) -> None:
    """Thoughts come back as they went, or not at all."""
    text = inner.get("reasoningText")
    if text is not None:
        good = sealed(text.get("signature"), "thinking", text.get("text", ""))
    else:
        good = wrapped(inner.get("redactedContent"))
    if not good:
        raise RefusedError(f"{where}: Invalid signature in reasoningContent block")
