"""Requests of the generateContent format, read into the common language.

https://ai.google.dev/api/generate-content. Model and streaming stand in the URL. Calls have no ids
in older versions of the API: they get some here, and results find their calls by name and order.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from ferryman.ir.errors import GatewayError
from ferryman.ir.request import (
    Block,
    HostedTool,
    Media,
    Message,
    OutputFormat,
    OutputKind,
    Reasoning,
    Request,
    Role,
    Signature,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.addresses import public
from ferryman.wire.carry import bad_request, checked_base64, shape_error
from ferryman.wire.gemini_generate.blocks import (
    compact,
    file_source,
    given,
    kind_of,
    opaque_of,
    signature_of,
    thinking_of,
)
from ferryman.wire.gemini_generate.lenient import Reader, Strays
from ferryman.wire.gemini_generate.results import read_result
from ferryman.wire.gemini_generate.schema import to_json_schema
from ferryman.wire.gemini_generate.types import (
    CONFIG_EXTRAS,
    NAME,
    OPAQUE,
    Blob,
    Body,
    Content,
    FileData,
    FunctionCall,
    FunctionDeclaration,
    FunctionResponse,
    GenerationConfig,
    Part,
    ThinkingConfig,
    ToolConfig,
)

_body: Reader[Body] = Reader(Body)
_declaration: Reader[FunctionDeclaration] = Reader(FunctionDeclaration)
_items = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode

_CONFIG = "generationConfig."
_ROLES = {"user": Role.USER, "function": Role.USER, "model": Role.ASSISTANT, "": Role.USER}
_MODES = {
    "AUTO": ToolMode.AUTO,
    "VALIDATED": ToolMode.AUTO,
    "ANY": ToolMode.REQUIRED,
    "NONE": ToolMode.NONE,
}
_UNSAID = ("", "MODE_UNSPECIFIED", "THINKING_LEVEL_UNSPECIFIED", "UNSPECIFIED")
LEVELS = ("minimal", "low", "medium", "high", "xhigh")
"""Efforts that the format has a level for."""
_DETAILS = {"MEDIA_RESOLUTION_LOW": "low", "MEDIA_RESOLUTION_HIGH": "high"}


def decode_request(body: bytes, model: str, stream: bool) -> Request:
    """The request. Raises :class:`GatewayError` (400) that names the member."""
    strays: Strays = []
    said = _body.read(body, "", strays)
    try:
        return _request(said, model, stream, strays)
    except RecursionError as error:
        raise shape_error(error) from None


def _request(said: Body, model: str, stream: bool, strays: Strays) -> Request:
    if not said.contents:
        raise bad_request(
            "'contents' is empty; it must hold at least one content with role and parts.",
            "contents",
        )
    config = said.generation_config or GenerationConfig()
    reader = _Contents(strays)
    if said.system_instruction is not None:
        reader.system(said.system_instruction)
    for place, content in enumerate(said.contents):
        reader.take(content, place)
    messages = reader.messages()
    if not any(message.role is not Role.SYSTEM for message in messages):
        raise bad_request(
            "'contents' has no parts at all; it must hold at least one content with a part.",
            "contents",
        )
    validated, choice = _tool_choice(said.tool_config)
    output = _output(config, strays)
    modalities = tuple(word.lower() for word in config.response_modalities or ())
    if given(said.safety_settings):
        strays.append(("safetySettings", said.safety_settings))
    for name, wire_name in CONFIG_EXTRAS.items():
        raw: Raw = getattr(config, name)
        if given(raw):
            strays.append((_CONFIG + wire_name, raw))
    speech = given(config.speech_config)
    if speech and not modalities:
        strays.append((_CONFIG + "speechConfig", config.speech_config))
    return Request(
        model=model or (said.model or "").removeprefix("models/"),
        messages=tuple(messages),
        stream=stream,
        max_output=max(config.max_output_tokens or 0, 0),
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=_top_k(config),
        stop=tuple(config.stop_sequences or ()),
        seed=config.seed,
        presence_penalty=config.presence_penalty,
        frequency_penalty=config.frequency_penalty,
        choices=_choices(config),
        logprobs=bool(config.response_logprobs),
        top_logprobs=config.logprobs or 0,
        tools=tuple(_tools(said.tools or [], validated, strays)),
        tool_choice=choice,
        output=output,
        reasoning=_reasoning(config.thinking_config),
        modalities=modalities,
        audio=config.speech_config if speech and modalities else None,
        metadata=tuple((said.labels or {}).items()),
        service_tier=_tier(said.service_tier),
        store=said.store,
        cached_content=said.cached_content or "",
        include_usage=True,
        origin=NAME,
        extra=tuple(stray for stray in strays if _is_extra(stray[0])),
        unknown=tuple(path for path, _ in strays if not _is_extra(path)),
    )


def _is_extra(path: str) -> bool:
    """True for members that an encoder of this format can put back where they were."""
    return "." not in path.removeprefix(_CONFIG) and "[" not in path


def _top_k(config: GenerationConfig) -> int | None:
    value = config.top_k
    if value is None:
        return None
    if not value.is_integer():
        raise bad_request(
            f"'generationConfig.topK' is {value}; it must be a whole number.",
            "generationConfig.topK",
        )
    return int(value)


def _choices(config: GenerationConfig) -> int:
    count = config.candidate_count
    if count is not None and count < 1:
        raise bad_request(
            f"'generationConfig.candidateCount' is {count}; it must be 1 or more.",
            "generationConfig.candidateCount",
        )
    return count or 1


def _tier(said: str | None) -> str:
    tier = (said or "").lower().removeprefix("service_tier_")
    return "" if tier == "unspecified" else tier


# --- tools, output, thinking --------------------------------------------------------------------


def _tools(
    entries: list[dict[str, Raw]], strict: bool, strays: Strays
) -> Iterator[Tool | HostedTool]:
    for place, entry in enumerate(entries):
        for name, raw in entry.items():
            at = f"tools[{place}].{name}"
            if name not in ("functionDeclarations", "function_declarations"):
                yield HostedTool(
                    origin=NAME, kind=name, raw=b"{%b:%b}" % (_encode(name), bytes(raw))
                )
                continue
            for index, item in enumerate(_list(raw, at)):
                yield _tool(item, f"{at}[{index}]", strict, strays)


def _list(raw: Raw, at: str) -> list[Raw]:
    if bytes(raw)[:1] == b"{":
        return [raw]
    try:
        return _items(raw)
    except UNREADABLE as error:
        raise shape_error(error, at) from None


def _tool(raw: Raw, at: str, strict: bool, strays: Strays) -> Tool:
    said = _declaration.read(raw, at, strays)
    if not said.name:
        raise bad_request(f"'{at}.name' is empty; a function needs a name.", f"{at}.name")
    parameters = said.parameters_json_schema
    if not given(parameters):
        parameters = Raw()
    if not parameters and given(said.parameters):
        parameters = _schema(said.parameters, f"{at}.parameters")
    return Tool(
        name=said.name,
        description=said.description or "",
        parameters=parameters or None,
        strict=True if strict else None,
    )


def _schema(raw: Raw, at: str) -> Raw:
    try:
        return to_json_schema(raw)
    except UNREADABLE as error:
        raise shape_error(error, at) from None


def _tool_choice(said: ToolConfig | None) -> tuple[bool, ToolChoice | None]:
    """Whether calls are held to their schemas, and which may be made."""
    config = said.function_calling_config if said is not None else None
    if config is None:
        return False, None
    word = (config.mode or "").upper()
    allowed = tuple(config.allowed_function_names or ())
    if word in _UNSAID:
        return False, ToolChoice(mode=ToolMode.AUTO, allowed=allowed) if allowed else None
    mode = _MODES.get(word)
    if mode is None:
        raise bad_request(
            f"'toolConfig.functionCallingConfig.mode' is '{config.mode}'; it must be one of"
            f" {', '.join(_MODES)}.",
            "toolConfig.functionCallingConfig.mode",
        )
    return word == "VALIDATED", ToolChoice(mode=mode, allowed=allowed)


def _output(config: GenerationConfig, strays: Strays) -> OutputFormat | None:
    media_type = (config.response_mime_type or "").lower()
    json_schema, schema = config.response_json_schema, config.response_schema
    if media_type not in ("", "text/plain", "application/json"):
        # Such as text/x.enum: no other format has a word for it.
        strays.append((_CONFIG + "responseMimeType", Raw(_encode(config.response_mime_type))))
        if schema:
            strays.append((_CONFIG + "responseSchema", schema))
        return None
    if given(json_schema):
        return OutputFormat(kind=OutputKind.SCHEMA, schema=json_schema)
    if given(schema):
        made = _schema(schema, "generationConfig.responseSchema")
        return OutputFormat(kind=OutputKind.SCHEMA, schema=made)
    return OutputFormat(kind=OutputKind.JSON) if media_type == "application/json" else None


def _reasoning(config: ThinkingConfig | None) -> Reasoning | None:
    if config is None:
        return None
    level = (config.thinking_level or "").upper()
    effort = "" if level in _UNSAID else level.lower()
    if effort and effort not in LEVELS:
        raise bad_request(
            f"'generationConfig.thinkingConfig.thinkingLevel' is '{config.thinking_level}'; it must"
            f" be one of {', '.join(LEVELS).upper()}.",
            "generationConfig.thinkingConfig.thinkingLevel",
        )
    budget = config.thinking_budget
    shown = config.include_thoughts
    return Reasoning(
        effort=effort,
        budget=-1 if budget is None or budget < 0 else budget,
        adaptive=budget == -1,
        summary="" if shown is None else "auto" if shown else "none",
    )


# --- contents -----------------------------------------------------------------------------------


class _Pending:
    """A call that waits for its result."""

    __slots__ = ("id", "name", "said")

    def __init__(self, call_id: str, name: str, said: bool) -> None:
        self.id = call_id
        self.name = name
        self.said = said
        """True when the caller gave the id."""


class _Contents:
    """Turns contents into messages."""

    __slots__ = ("_blocks", "_calls", "_content", "_made", "_messages", "_place", "_role",
                 "_strays", "_thought", "_words")  # fmt: skip

    def __init__(self, strays: Strays) -> None:
        self._strays = strays
        self._messages: list[Message] = []
        self._blocks: list[Block] = []
        self._role: Role | None = None
        self._calls: list[_Pending] = []
        self._made = 0
        self._words: list[str] = []
        self._thought = False
        """Whether the words are thoughts."""
        self._content = -1
        """Index of the content being read; -1 = the system instruction."""
        self._place = 0
        """Index of the part."""

    def _at(self) -> str:
        """Path of the part being read."""
        content = "systemInstruction" if self._content < 0 else f"contents[{self._content}]"
        return f"{content}.parts[{self._place}]"

    def messages(self) -> list[Message]:
        """All messages; the reader is used up."""
        self._flush()
        return self._messages

    def _flush(self) -> None:
        if self._words:
            self._stop(None)
        if self._role is not None and self._blocks:
            self._messages.append(Message(role=self._role, blocks=tuple(self._blocks)))
            self._blocks = []
        self._role = None

    def system(self, content: Content) -> None:
        """The system instruction."""
        self._role = Role.SYSTEM
        for self._place, part in enumerate(content.parts or ()):
            self._part(part)
        self._flush()

    def take(self, content: Content, place: int) -> None:
        """The next content. The model's neighbours become one message: callers who stream keep
        every piece of an answer as a content of its own."""
        said = content.role
        role = Role.USER if said is None else _ROLES.get(said) or _ROLES.get(said.lower())
        if role is None:
            at = f"contents[{place}].role"
            raise bad_request(
                f"'{at}' is '{said}'; it must be user or model (system text belongs into"
                " 'systemInstruction').",
                at,
            )
        if role is not Role.ASSISTANT or self._role is not Role.ASSISTANT:
            self._flush()
            parts = content.parts
            if role is Role.USER and parts is not None and len(parts) == 1:
                text = parts[0].text
                if text is not None and parts[0] == Part(text=text):  # as most are
                    self._messages.append(Message(role=role, blocks=(Text(text=text),)))
                    return
            if role is Role.ASSISTANT:
                self._calls = []
            self._role = role
        self._content = place
        for self._place, part in enumerate(content.parts or ()):
            self._part(part)

    def _part(self, part: Part) -> None:
        text = part.text
        if text is not None:
            if self._role is Role.ASSISTANT:
                self._say(text, bool(part.thought), part.thought_signature)
            elif not part.thought:
                self._add(Text(text=text, signature=signature_of(part.thought_signature)))
            else:
                at = f"{self._at()}.thought"
                raise bad_request(
                    f"'{at}' is true in a content whose role is not model; only the model has"
                    " thoughts.",
                    at,
                )
            if _kinds(part):
                raise _two(self._at())
            return
        at = self._at()
        if part.function_call is not None:
            self._call(part.function_call, signature_of(part.thought_signature), at)
        elif part.function_response is not None:
            self._result(part.function_response, at)
        elif part.inline_data is not None:
            self._add(self._media(part.inline_data, part, at))
        elif part.file_data is not None:
            self._add(self._file(part.file_data, part, at))
        else:
            self._rest(part, at)
        if _kinds(part) > 1:
            raise _two(at)

    def _rest(self, part: Part, at: str) -> None:
        block = opaque_of(part)
        if block is not None:
            self._add(block)
        elif part.thought_signature:
            self._say("", False, part.thought_signature)
        else:
            raise bad_request(
                f"'{at}' has no data; it must have one of text, inlineData, fileData, functionCall,"
                " functionResponse, executableCode, codeExecutionResult.",
                at,
            )

    def _say(self, text: str, thought: bool, signed: str | None) -> None:
        """More of the model's words or thoughts: pieces are one block until a signature ends it."""
        if self._words and self._thought is not thought:
            self._stop(None)
        self._thought = thought
        self._words.append(text)
        if signed:
            self._stop(signed)

    def _stop(self, signed: str | None) -> None:
        """The words so far are a block, if there are any."""
        text = "".join(self._words)
        if text or signed:
            if self._thought:
                self._blocks.append(thinking_of(text, signed))
            else:
                self._blocks.append(Text(text=text, signature=signature_of(signed)))
        self._words = []

    def _add(self, block: Block) -> None:
        if self._words:
            self._stop(None)
        self._blocks.append(block)

    def _media(self, blob: Blob, part: Part, at: str) -> Media:
        if not blob.mime_type:
            raise bad_request(
                f"'{at}.inlineData.mimeType' is missing, such as image/png.",
                f"{at}.inlineData.mimeType",
            )
        path = f"{at}.inlineData.data"
        data = checked_base64(blob.data or "", path, url_safe=True)
        return Media(
            kind=kind_of(blob.mime_type),
            source=Source(media_type=blob.mime_type, data=data),
            name=blob.display_name or "",
            detail=self._detail(part, at),
            signature=signature_of(part.thought_signature),
        )

    def _file(self, file: FileData, part: Part, at: str) -> Media:
        if not file.file_uri:
            raise bad_request(f"'{at}.fileData.fileUri' is missing.", f"{at}.fileData.fileUri")
        uri = public(file.file_uri, f"{at}.fileData.fileUri")
        kind, source = file_source(uri, file.mime_type or "")
        return Media(
            kind=kind,
            source=source,
            name=file.display_name or "",
            detail=self._detail(part, at),
            signature=signature_of(part.thought_signature),
        )

    def _detail(self, part: Part, at: str) -> str:
        level = part.media_resolution.level if part.media_resolution is not None else None
        if not level:
            return ""
        detail = _DETAILS.get(level, "")
        if not detail:
            self._strays.append((f"{at}.mediaResolution", Raw()))
        return detail

    def _call(self, call: FunctionCall, signature: Signature | None, at: str) -> None:
        if self._role is not Role.ASSISTANT:
            raise bad_request(
                f"'{at}.functionCall' stands in a content whose role is not model; only the model"
                " calls functions.",
                f"{at}.functionCall",
            )
        if not call.name:
            raise bad_request(f"'{at}.functionCall.name' is missing.", f"{at}.functionCall.name")
        if given(call.args) and bytes(call.args)[:1] != b"{":
            raise bad_request(
                f"'{at}.functionCall.args' must be an object.", f"{at}.functionCall.args"
            )
        call_id = call.id or self._new_id()
        self._calls.append(_Pending(call_id, call.name, bool(call.id)))
        self._add(
            ToolCall(id=call_id, name=call.name, arguments=compact(call.args), signature=signature)
        )

    def _new_id(self) -> str:
        self._made += 1
        return f"call_{self._made}"

    def _result(self, said: FunctionResponse, at: str) -> None:
        if self._role is not Role.USER:
            raise bad_request(
                f"'{at}.functionResponse' stands in a content whose role is not user; results of"
                " functions come from the application.",
                f"{at}.functionResponse",
            )
        self._add(read_result(said, self._answers(said), at))

    def _answers(self, said: FunctionResponse) -> str:
        """Id of the call that a result answers: by its own id, else by name and order."""
        found: _Pending | None = None
        if said.id:
            found = next((call for call in self._calls if call.id == said.id), None)
        if found is None:
            found = next(
                (c for c in self._calls if c.name == said.name and not (said.id and c.said)), None
            )
        if found is None:
            return said.id or self._new_id()
        self._calls.remove(found)
        return found.id


def _kinds(part: Part) -> int:
    """How many kinds of data a part has beside text."""
    kinds = (
        (part.function_call is not None)
        + (part.inline_data is not None)
        + (part.function_response is not None)
        + (part.file_data is not None)
    )
    if part.executable_code or part.code_execution_result or part.tool_call or part.tool_response:
        kinds += sum(given(getattr(part, name)) for name in OPAQUE)
    return kinds


def _two(at: str) -> GatewayError:
    return bad_request(f"'{at}' has more than one kind of data; split it into parts of one.", at)
