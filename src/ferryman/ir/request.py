"""Requests of a conversation in the common language: what every format's decoder makes of one.

A decoder fills in what its format says and leaves the rest at its default, which means "not said".
An encoder writes what its format can carry and puts the rest into a
:class:`~ferryman.ir.receipt.Receipt`. Nothing here is mutable; JSON that no one needs to read
(schemas, arguments) stays the bytes or text that it came as.
"""

from enum import StrEnum
from typing import TypeAlias

from msgspec import Raw, Struct


class Role(StrEnum):
    """Who says a message. Results of tools stand in messages of the user, as blocks."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"


class CacheMark(Struct, frozen=True):
    """The prompt may be cached up to and including what carries the mark."""

    ttl: int = 0
    """Seconds to keep it; 0 = the provider's default."""


class Source(Struct, frozen=True, kw_only=True):
    """Where the bytes of a medium are: exactly one of the fields but ``media_type`` is set."""

    media_type: str = ""
    """Such as ``image/png``; empty = not said."""
    data: str = ""
    """Base64, standard alphabet, as it came: it is checked, never decoded and encoded anew."""
    url: str = ""
    file_id: str = ""
    """A file stored at a provider: means something within ``origin`` only."""
    text: str = ""
    """Plain text of a document."""
    origin: str = ""
    """The format that ``file_id`` belongs to."""


class MediaKind(StrEnum):
    """What a medium is to the model."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    DOCUMENT = "document"


class Citation(Struct, frozen=True, kw_only=True):
    """Where a piece of an answer comes from. Numbers are -1 where a format doesn't say."""

    url: str = ""
    """Empty for a document of the request."""
    title: str = ""
    quote: str = ""
    """The cited words of the source."""
    start: int = -1
    """First character of the answer's block that the citation is about, and the one after the last;
    characters are Unicode code points."""
    end: int = -1
    document: int = -1
    """Index of the document within the request."""
    unit: str = ""
    """What ``first`` and ``last`` count in the document: ``char``, ``page`` or ``block``."""
    first: int = -1
    last: int = -1
    origin: str = ""
    """The format it came in, and its own JSON there: so that a next turn can repeat it exactly."""
    raw: bytes = b""


class Signature(Struct, frozen=True):
    """A provider's proof of its model's thoughts: opaque, returned unchanged on the next turn."""

    value: str
    origin: str
    """The format whose provider made it; to others it means nothing."""


class Text(Struct, frozen=True, kw_only=True, tag="text"):
    """Words of a person, of the model, or of the application."""

    text: str
    citations: tuple[Citation, ...] = ()
    signature: Signature | None = None
    """Where a provider ties the proof of its thoughts to text."""
    cache: CacheMark | None = None


class Media(Struct, frozen=True, kw_only=True, tag="media"):
    """An image, sound, film or document."""

    kind: MediaKind
    source: Source
    name: str = ""
    """File name or title."""
    context: str = ""
    """What the application says about a document."""
    cite: bool = False
    """The model is asked to cite from the document."""
    detail: str = ""
    """``low``, ``high``, ``auto``: how closely an image is looked at."""
    transcript: str = ""
    """Of sound that the model made."""
    signature: Signature | None = None
    cache: CacheMark | None = None
    origin: str = ""
    """The format it came in, and its own JSON there, where that says more than the other members
    do (a search result's paragraphs, say): so that it can be repeated exactly."""
    raw: bytes = b""


class Thinking(Struct, frozen=True, kw_only=True, tag="thinking"):
    """What the model thought before it spoke; must come back unchanged on the next turn."""

    text: str = ""
    """Thoughts or their summary; may be empty."""
    signature: Signature | None = None
    """With ``encrypted`` it is the thought itself."""
    encrypted: bool = False
    """The provider hides the thoughts (redacted or encrypted); only ``signature`` says them."""
    id: str = ""
    """The item's id, where the format names one."""


class ToolCall(Struct, frozen=True, kw_only=True, tag="tool_call"):
    """The model asks the application to run a tool."""

    id: str
    name: str
    arguments: str
    """A JSON object as text, as the model wrote it: not parsed, not repaired. Free text when
    ``free``."""
    free: bool = False
    """True for a tool that takes free text instead of JSON."""
    signature: Signature | None = None
    """Where a provider ties the proof of its thoughts to the call."""
    cache: CacheMark | None = None


class ToolResult(Struct, frozen=True, kw_only=True, tag="tool_result"):
    """What the tool gave back."""

    call_id: str
    name: str = ""
    """The tool's name, where the format repeats it."""
    blocks: "tuple[Text | Media | Opaque, ...]" = ()
    error: bool = False
    """The tool failed, and ``blocks`` say how."""
    cache: CacheMark | None = None


class Refusal(Struct, frozen=True, kw_only=True, tag="refusal"):
    """The model's words when it declines."""

    text: str


class Opaque(Struct, frozen=True, kw_only=True, tag="opaque"):
    """A part that only its own format can express, such as a search that the provider ran itself.

    Goes back to providers of ``origin`` as it came; other encoders refuse or drop it by ``kind``.
    """

    origin: str
    kind: str
    """Its type's name in the format, for messages: ``web_search_call``, ``server_tool_use``…"""
    raw: bytes
    """Its JSON."""


Block: TypeAlias = Text | Media | Thinking | ToolCall | ToolResult | Refusal | Opaque


class Message(Struct, frozen=True, kw_only=True):
    """One turn, or part of one: neighbours of the same role are allowed."""

    role: Role
    blocks: tuple[Block, ...]
    name: str = ""
    """Which of several participants speaks."""


class Tool(Struct, frozen=True, kw_only=True, tag="function"):
    """A function of the application's that the model may call."""

    name: str
    description: str = ""
    parameters: Raw | None = None
    """JSON Schema of the arguments, as it came; None = no arguments said."""
    strict: bool | None = None
    """Arguments must fit the schema exactly."""
    free: bool = False
    """Takes free text instead of JSON."""
    grammar: Raw | None = None
    """What the free text must look like (its format's own JSON)."""
    namespace: str = ""
    """Group that the tool belongs to, where the format has such: ``name`` begins with it and two
    underscores, so that it is unique without."""
    cache: CacheMark | None = None


class HostedTool(Struct, frozen=True, kw_only=True, tag="hosted"):
    """A tool that the provider runs itself: web search, code execution… Only its format has it."""

    origin: str
    kind: str
    """Its type's name in the format."""
    raw: bytes


class ToolMode(StrEnum):
    """Whether the model may, must, or must not call tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    """At least one of the tools, or of those ``allowed``."""


class ToolChoice(Struct, frozen=True, kw_only=True):
    """Which tools the model may call. One name in ``allowed`` and REQUIRED: that very tool."""

    mode: ToolMode
    allowed: tuple[str, ...] = ()
    """Names; empty = all."""


class OutputKind(StrEnum):
    """What the model's text must be."""

    TEXT = "text"
    JSON = "json_object"
    SCHEMA = "json_schema"


class OutputFormat(Struct, frozen=True, kw_only=True):
    """The form that the answer's text must have."""

    kind: OutputKind
    name: str = ""
    description: str = ""
    schema: Raw | None = None
    strict: bool | None = None


class Reasoning(Struct, frozen=True, kw_only=True):
    """How much the model shall think."""

    effort: str = ""
    """``none``, ``minimal``, ``low``, ``medium``, ``high``, ``xhigh``, ``max``; or not said."""
    budget: int = -1
    """Tokens for thinking: 0 = off, -1 = not said."""
    adaptive: bool = False
    """The model decides itself how much."""
    summary: str = ""
    """``auto``, ``concise``, ``detailed``: the caller wants to see a summary; ``none``: nothing."""
    encrypted: bool = False
    """The caller wants the encrypted thoughts, to send them back on the next turn."""


class Request(Struct, frozen=True, kw_only=True):
    """One request for an answer. None, empty or -1 means: not said."""

    model: str
    messages: tuple[Message, ...]
    """System and developer text stands where the caller put it, at the front as a rule."""
    stream: bool = False
    max_output: int = 0
    """Most tokens to make, thoughts included; 0 = not said."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    choices: int = 1
    """Answers wanted (``n``)."""
    logprobs: bool = False
    top_logprobs: int = 0
    tools: tuple[Tool | HostedTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    output: OutputFormat | None = None
    reasoning: Reasoning | None = None
    verbosity: str = ""
    """``low``, ``medium``, ``high``."""
    modalities: tuple[str, ...] = ()
    """Kinds of output wanted besides or instead of text: ``text``, ``audio``, ``image``."""
    audio: Raw | None = None
    """Voice and form of sound output, in the format's own JSON."""
    user: str = ""
    """The application's name for its end user."""
    metadata: tuple[tuple[str, str], ...] = ()
    service_tier: str = ""
    """``auto``, ``default``, ``flex``, ``priority``, ``standard_only``, as the format says it."""
    store: bool | None = None
    """The provider is asked to keep the answer."""
    cache_key: str = ""
    """Requests with the same key shall meet the same prompt cache (``prompt_cache_key``)."""
    cache_seconds: int = 0
    """How long the provider shall keep the prompt cached; 0 = not said."""
    cached_content: str = ""
    """Name of a prompt stored at the provider (of ``origin``)."""
    include_usage: bool = False
    """The caller wants usage in the stream, where its format makes that a choice."""
    origin: str = ""
    """The format that the request came in."""
    dialect: str = ""
    """Which older form of that format the caller speaks, where it has several: for its own encoder
    of replies. Empty = today's."""
    extra: tuple[tuple[str, Raw], ...] = ()
    """Top-level members that the common language has no word for, for encoders of ``origin``."""
    unknown: tuple[str, ...] = ()
    """Paths of members further down that could not be carried (``messages[3].audio``): every
    encoder reports them as dropped."""
