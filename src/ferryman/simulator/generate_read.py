"""Reading requests for Google's generateContent API, as strictly as a protocol buffer does.

https://ai.google.dev/api/generate-content, https://ai.google.dev/api/caching#Schema,
https://ai.google.dev/gemini-api/docs/thought-signatures
"""

import re
from functools import partial
from typing import Any

import msgspec

from ferryman.simulator.answer import ANYTHING
from ferryman.simulator.ask import (
    Ask,
    RefusedError,
    Request,
    Result,
    Tool,
    decoded,
    media,
    told,
    words,
)
from ferryman.simulator.directives import Behaviour
from ferryman.simulator.event import ARRAY, Framing, server_sent
from ferryman.simulator.generate import SAID, sign
from ferryman.simulator.made import modes

SSE_CRLF = Framing(
    "text/event-stream",
    partial(server_sent, newline=b"\r\n"),
    b": keep-alive\r\n\r\n",
)
OLD = re.compile(r"\b[12]\.\d\b")
"""In names of models that know neither ids of calls nor levels of thinking."""
DUMMIES = {"context_engineering_is_the_way_to_go", "skip_thought_signature_validator"}
"""Signatures for calls that come from elsewhere, as documented."""
DATA = (
    "text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode",
    "codeExecutionResult", "toolCall", "toolResponse",
)  # fmt: skip
"""Members of a part of which one must be there."""

Spec = dict[str, Any]
LEAVES: dict[type, tuple[Any, str]] = {
    str: (str, "TYPE_STRING"),
    bool: (bool, "TYPE_BOOL"),
    int: (int, "TYPE_INT32"),
    float: ((int, float), "TYPE_FLOAT"),
}
"""What a member without members of its own may be, and the name of its type."""
SCHEMA: Spec = dict.fromkeys(
    [
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "enum",
        "maxItems",
        "minItems",
        "required",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "example",
        "propertyOrdering",
        "default",
        "minimum",
        "maximum",
    ]
)
SCHEMA |= {"properties": {"*": SCHEMA}, "anyOf": SCHEMA, "items": SCHEMA}
BLOB: Spec = dict.fromkeys(["mimeType", "data", "displayName", "fileUri"])
PART: Spec = dict.fromkeys(
    [
        "executableCode",
        "codeExecutionResult",
        "videoMetadata",
        "mediaResolution",
        "partMetadata",
        "toolCall",
        "toolResponse",
    ]
) | {
    "text": str,
    "thought": bool,
    "thoughtSignature": str,
    "inlineData": BLOB,
    "fileData": BLOB,
    "functionCall": dict.fromkeys(["id", "name", "args", "partialArgs", "willContinue"]),
    "functionResponse": dict.fromkeys(["id", "name", "response", "willContinue", "scheduling"])
    | {"parts": {"inlineData": BLOB, "fileData": BLOB}},
}
CONTENT: Spec = {"parts": PART, "role": str}
FUNCTION: Spec = dict.fromkeys(
    ["name", "description", "parametersJsonSchema", "responseJsonSchema", "behavior"]
) | {"parameters": SCHEMA, "response": SCHEMA}
TOOLS: Spec = dict.fromkeys(
    [
        "googleSearch",
        "googleSearchRetrieval",
        "codeExecution",
        "urlContext",
        "computerUse",
        "fileSearch",
        "googleMaps",
        "enterpriseWebSearch",
        "retrieval",
        "mcpServers",
    ]
) | {"functionDeclarations": FUNCTION}
VOICE: Spec = {"prebuiltVoiceConfig": {"voiceName": str}, "replicatedVoiceConfig": None}
MEDIA: Spec = {
    "speechConfig": {"voiceConfig": VOICE, "languageCode": str, "multiSpeakerVoiceConfig": None},
    "imageConfig": dict.fromkeys(["aspectRatio", "imageSize", "personGeneration"], str),
}
CONFIG: Spec = dict.fromkeys(
    [
        "stopSequences",
        "responseJsonSchema",
        "responseModalities",
        "enableEnhancedCivicAnswers",
        "mediaResolution",
        "audioTimestamp",
        "routingConfig",
        "modelConfig",
        "responseFormat",
        "audioTranscriptionConfig",
        "translationConfig",
        "_responseJsonSchema",
    ]
) | {
    **dict.fromkeys(["maxOutputTokens", "candidateCount", "seed", "logprobs"], int),
    **dict.fromkeys(["temperature", "topP", "topK", "presencePenalty", "frequencyPenalty"], float),
    **MEDIA,
    "responseLogprobs": bool,
    "responseMimeType": str,
    "responseSchema": SCHEMA,
    "thinkingConfig": {"includeThoughts": bool, "thinkingBudget": int, "thinkingLevel": str},
}
CALLING: Spec = dict.fromkeys(["mode", "allowedFunctionNames", "streamFunctionCallArguments"])
REQUEST: Spec = dict.fromkeys(
    [
        "safetySettings",
        "cachedContent",
        "labels",
        "serviceTier",
        "store",
        "continuationToken",
        "model",
        "sim",
        "modelArmorConfig",
    ]
) | {
    "contents": CONTENT,
    "systemInstruction": CONTENT,
    "tools": TOOLS,
    "toolConfig": {
        "functionCallingConfig": CALLING,
        "retrievalConfig": None,
        "includeServerSideToolInvocations": None,
    },
    "generationConfig": CONFIG,
}
EMBED: Spec = dict.fromkeys(
    ["model", "taskType", "title", "outputDimensionality", "embedContentConfig", "sim"]
) | {"content": CONTENT}
COUNT: Spec = REQUEST | {"generateContentRequest": REQUEST}


def checked(value: Any, spec: Spec | type | None, where: str = "") -> Any:
    """``value`` with its members named as the documentation has them.

    Both spellings that protocol buffers allow are read; members that are in neither are refused,
    and those that are null count as left out. Raises :class:`RefusedError`.
    https://protobuf.dev/programming-guides/json/
    """
    if spec is None:
        return value
    if isinstance(spec, type):
        return _leaf(value, spec, where)
    if isinstance(value, list):
        return [checked(item, spec, f"{where}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, dict):
        raise RefusedError(
            f"Invalid value at '{where}': Proto field is not repeating, cannot start list."
        )
    found: dict[str, Any] = {}
    for name, inner in value.items():
        known = name if name in spec else _camel(name)
        if known not in spec and "*" not in spec:
            raise RefusedError(
                f'Invalid JSON payload received. Unknown name "{name}"'
                + (f" at '{where}'" if where else "")
                + ": Cannot find field."
            )
        if inner is None:
            continue
        place = f"{where}.{_snake(name)}" if where else _snake(name)
        if "*" in spec:
            found[name] = checked(inner, spec["*"], f"{where}[{len(found)}].value")
        else:
            found[known] = checked(inner, spec[known], place)
    return found


def _leaf(value: Any, kind: type, where: str) -> Any:
    """A member without members; numbers may be written as strings."""
    allowed, name = LEAVES[kind]
    if isinstance(value, str) and kind in (int, float) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        value = float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        shown = msgspec.json.encode(value).decode()
        raise RefusedError(f"Invalid value at '{where}' ({name}), {shown}")
    return value


def _camel(name: str) -> str:
    return re.sub(r"(?<=[a-z])_([a-z])", lambda match: match[1].upper(), name)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda match: "_" + match[1].lower(), name)


def read(request: Request) -> Ask:
    """A request to generate content."""
    body = checked(request.json(), REQUEST)
    behaviour = request.wishes(request.model, body.get("sim"))
    if OLD.search(request.model) and "old" not in behaviour:
        behaviour = Behaviour({"old": 1}).over(behaviour)
    config = body.get("generationConfig") or {}
    _ranges(config)
    tools = _tools(body.get("tools") or [])
    choice = _choice(body, tools)
    behaviour = modes(config, behaviour)
    mode = request.query.get("alt")
    return Ask(
        model=request.model,
        body=body,
        behaviour=behaviour,
        stream=request.action == "streamGenerateContent",
        prompt=len(words(body.get("contents"))) + len(words(body.get("systemInstruction"))),
        last=_conversation(body.get("contents"), "old" in behaviour),
        tools=tools,
        choice=choice,
        schema=_schema(config),
        unquoted=config.get("responseMimeType") == "text/x.enum",
        limit=config.get("maxOutputTokens"),
        stops=config.get("stopSequences") or [],
        choices=max(1, config.get("candidateCount") or 1),
        think=_thinks(config.get("thinkingConfig") or {}, "old" in behaviour),
        framing=SSE_CRLF if mode == "sse" else ARRAY,
    )


def read_count(request: Request) -> Ask:
    """A request to count the tokens of one."""
    body = checked(request.json(), COUNT)
    inner = body.get("generateContentRequest") or body
    total = len(words(inner.get("contents"))) + len(words(inner.get("systemInstruction")))
    behaviour = request.wishes(request.model, body.get("sim"))
    return Ask(model=request.model, body=body, behaviour=behaviour, prompt=total)


def read_embed(request: Request) -> Ask:
    """A request for one vector or for many."""
    given = request.json()
    many = request.action == "batchEmbedContents"
    body = checked(given, {"requests": EMBED, "sim": None} if many else EMBED)
    total = sum(len(words(one.get("content"))) for one in (body["requests"] if many else [body]))
    behaviour = request.wishes(request.model, body.get("sim"))
    return Ask(model=request.model, body=body, behaviour=behaviour, prompt=total)


RANGES: dict[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0, 2),
    "topP": ("top_p", 0, 1),
    "candidateCount": ("candidate_count", 1, 8),
    "maxOutputTokens": ("max_output_tokens", 1, 65_536),
}
STOPS = 5
"""Stop sequences at most."""


def _ranges(config: dict[str, Any]) -> None:
    where = "* GenerateContentRequest.generation_config"
    for name, (proto, low, high) in RANGES.items():
        if not low <= config.get(name, low) <= high:
            raise RefusedError(f"{where}.{proto}: must be in the range [{low}, {high}]")
    if len(config.get("stopSequences") or []) > STOPS:
        raise RefusedError(f"{where}.stop_sequences: at most {STOPS} can be given")


LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH")


def _thinks(config: dict[str, Any], old: bool) -> bool:
    if "thinkingLevel" in config:
        if old:
            raise RefusedError("Thinking level is not supported for this model.")
        if "thinkingBudget" in config:
            raise RefusedError("You can only set only one of thinking budget and thinking level.")
        if config["thinkingLevel"].upper() not in LEVELS:
            raise RefusedError(
                "Invalid value at 'generation_config.thinking_config.thinking_level' "
                f'(type.googleapis.com/google.ai.ThinkingLevel), "{config["thinkingLevel"]}"'
            )
    return config.get("includeThoughts") is True


def _schema(config: dict[str, Any]) -> Any:
    """The schema that the text has to fit."""
    names = ("responseSchema", "responseJsonSchema", "_responseJsonSchema")
    given = [config[name] for name in names if config.get(name) is not None]
    kind = config.get("responseMimeType", "text/plain")
    if len(given) > 1:
        raise RefusedError("Only one of response_schema and response_json_schema can be set.")
    if given and kind not in ("application/json", "text/x.enum"):
        raise RefusedError(
            "Response schema is only supported with response mime type application/json or "
            "text/x.enum."
        )
    if given:
        return given[0]
    return ANYTHING if kind == "application/json" else None


def _tools(tools: list[dict[str, Any]]) -> list[Tool]:
    found = []
    for index, tool in enumerate(tools):
        for number, one in enumerate(tool.get("functionDeclarations") or []):
            where = f"GenerateContentRequest.tools[{index}].function_declarations[{number}]"
            if not re.fullmatch(r"[a-zA-Z_][\w.:-]{0,63}", str(one.get("name")), re.ASCII):
                raise RefusedError(
                    f"* {where}.name: [FIELD_INVALID] Invalid function name. Must start with a "
                    "letter or an underscore."
                )
            if "parameters" in one and "parametersJsonSchema" in one:
                raise RefusedError(f"* {where}: parameters and parameters_json_schema are both set")
            found.append(
                Tool(one["name"], one.get("parameters") or one.get("parametersJsonSchema"))
            )
    return found


def _choice(body: dict[str, Any], tools: list[Tool]) -> str:
    config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = str(config.get("mode") or "AUTO").upper()
    names = config.get("allowedFunctionNames") or []
    if mode not in ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"):
        raise RefusedError(
            "Invalid value at 'tool_config.function_calling_config.mode' "
            f'(type.googleapis.com/google.ai.Mode), "{mode}"'
        )
    if names and mode not in ("ANY", "VALIDATED"):
        raise RefusedError("allowed_function_names should be set only when mode is ANY")
    if unknown := set(names) - {tool.name for tool in tools}:
        raise RefusedError(f"allowed_function_names: {min(unknown)} is not declared")
    if mode == "ANY":
        return f"={names[0]}" if len(names) == 1 else "required"
    return "none" if mode == "NONE" else "auto"


def _conversation(contents: Any, old: bool) -> str:
    """Check the contents. Returns what ``echo`` answers."""
    if not contents:
        raise RefusedError("* GenerateContentRequest.contents: contents is not specified")
    turns = contents if isinstance(contents, list) else [contents]
    calls: list[dict[str, Any]] = []
    last = ""
    for index, content in enumerate(turns):
        where = f"GenerateContentRequest.contents[{index}]"
        if content.get("role") not in (None, "", "user", "model", "function"):
            raise RefusedError("Please use a valid role: user, model.")
        parts = content.get("parts") or []
        parts = parts if isinstance(parts, list) else [parts]
        if not parts:
            raise RefusedError(f"* {where}.parts: contents.parts must not be empty.")
        for number, part in enumerate(parts):
            if not any(name in part for name in DATA):
                raise RefusedError(
                    f"* {where}.parts[{number}].data: required oneof field 'data' must have one "
                    "initialized field"
                )
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        results = _answered(calls, answers)
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        if calls and content.get("role") != "model":
            raise RefusedError("Function calls must come from the role model.")
        _signed(parts, index, required=not old and _current(turns, index))
        last = told(results) + "".join(_part(part) for part in parts)
    if calls:
        raise RefusedError(UNANSWERED)
    return last


UNANSWERED = (
    "Please ensure that the number of function response parts is equal to the number of function "
    "call parts of the function call turn."
)


def _current(turns: list[dict[str, Any]], index: int) -> bool:
    """Whether a content belongs to the turn that goes on: nothing but results came after it."""
    return all(
        "functionResponse" in part or later.get("role") == "model"
        for later in turns[index + 1 :]
        for part in later.get("parts") or []
    )


def _answered(calls: list[dict[str, Any]], answers: list[dict[str, Any]]) -> list[Result]:
    """Results answer the calls of the content before: by id where there is one, else in order."""
    if answers and not calls:
        raise RefusedError(
            "Please ensure that function response turn comes immediately after a function call "
            "turn."
        )
    if len(answers) != len(calls):
        raise RefusedError(UNANSWERED)
    left = list(enumerate(calls, 1))
    results: list[Result] = []
    for answer in answers:
        ident = answer.get("id")
        fits = [
            pair
            for pair in left
            if pair[1]["name"] == answer.get("name")
            and (ident is None or pair[1].get("id") in (None, ident))
        ]
        if not fits:
            raise RefusedError(
                f"Function response {answer.get('name')} {ident or ''} doesn't answer any function "
                "call of the turn before."
            )
        left.remove(fits[0])
        results.append((fits[0][0], str(answer["name"]), *_result(answer)))
    return results


def _result(answer: dict[str, Any]) -> tuple[str, bool]:
    """What a function response says, and whether it tells of a failure."""
    response = answer.get("response")
    if not isinstance(response, dict):
        raise RefusedError("Invalid value at 'contents.parts.function_response.response'")
    seen = "".join(_part(part) for part in answer.get("parts") or [])
    if len(response) == 1:
        ((name, value),) = response.items()
        if name in ("result", "output", "content", "error"):
            said = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            return said + seen, name == "error"
    return msgspec.json.encode(response).decode() + seen, "error" in response


def _part(part: dict[str, Any]) -> str:
    """What ``echo`` says of a part that is no result."""
    if part.get("thought"):
        return ""
    if "inlineData" in part:
        blob = part["inlineData"]
        if not blob.get("mimeType"):
            raise RefusedError("Unable to process input: inline_data.mime_type is missing")
        return media(blob["mimeType"], _plain(blob.get("data")))
    if "fileData" in part:
        return f"[{part['fileData'].get('mimeType')} {part['fileData'].get('fileUri')}]"
    return str(part.get("text") or "")


def _plain(data: Any) -> str:
    """Base64 in the usual alphabet; protocol buffers read the other one, and without padding."""
    text = str(data or "").replace("-", "+").replace("_", "/")
    return text + "=" * (-len(text) % 4)


def _signed(parts: list[dict[str, Any]], index: int, *, required: bool) -> None:
    """Signatures belong to their parts; the first call of a step needs one."""
    calls = 0
    for number, part in enumerate(parts):
        call = part.get("functionCall")
        calls += call is not None
        given = part.get("thoughtSignature")
        if given is None:
            if call is not None and calls == 1 and required:
                raise RefusedError(
                    "Function call is missing a thought_signature in functionCall parts. This is "
                    "required for tools to work correctly. Additional data, function call "
                    f"`default_api:{call['name']}`, position {index + 1}."
                )
            continue
        if given in DUMMIES or decoded(_plain(given)).decode("latin-1") in DUMMIES:
            continue
        right = SAID if call is None else sign(call["name"], call.get("args") or {})
        if _plain(given) != right:
            place = f"contents[{index}].parts[{number}]"
            raise RefusedError(f"Thought signature is not valid at {place}")
