"""Guards on the common language: a request, a whole reply, and a stream of events."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.guard.engine import (
    REPLY,
    REQUEST,
    TOOLS,
    BlockedError,
    JsonCheck,
    Session,
    TextCheck,
)
from ferryman.guard.reading import Clean, checked, medium
from ferryman.guard.reading import text as read
from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Cite, Close, Delta, Event, Failed, Open, Probs, Reply, Seal
from ferryman.ir.request import (
    Block,
    Citation,
    HostedTool,
    Media,
    Opaque,
    OutputFormat,
    Reasoning,
    Refusal,
    Request,
    Role,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

_Part = TypeVar("_Part", bound=msgspec.Struct)


def guarded_request(request: Request, session: Session) -> Request:
    """``request`` as it may go on. Raises :class:`BlockedError`."""
    messages = [
        replace(
            each,
            blocks=tuple(_asked(block, session, REQUEST, each.role) for block in each.blocks),
            name=_plain(session, REQUEST, each.name),
        )
        for each in request.messages
    ]

    def clean(text: str) -> str:
        return _plain(session, REQUEST, text)

    settings = {name: clean(getattr(request, name)) for name in _SETTINGS}
    return replace(
        request,
        messages=tuple(messages),
        metadata=tuple((clean(name), clean(value)) for name, value in request.metadata),
        stop=tuple(clean(each) for each in request.stop),
        modalities=tuple(clean(each) for each in request.modalities),
        tools=tuple(_tool(each, session) for each in request.tools),
        output=_output(request.output, session),
        reasoning=_reasoning(request.reasoning, clean),
        audio=_schema(request.audio, session),
        extra=tuple((clean(name), _json(raw, clean)) for name, raw in request.extra),
        **settings,
    )


_SETTINGS: Final = ("user", "service_tier", "verbosity", "cache_key", "cached_content")
"""Of a request, texts that providers read."""


def _reasoning(wanted: Reasoning | None, clean: Clean) -> Reasoning | None:
    if wanted is None:
        return None
    return _with(wanted, effort=clean(wanted.effort), summary=clean(wanted.summary))


def _tool(tool: Tool | HostedTool, session: Session) -> Tool | HostedTool:
    """A definition as it may go on. Its name stays, as what the model calls it by."""
    if isinstance(tool, HostedTool):
        return _with(tool, raw=_raw(tool.raw, lambda text: _plain(session, REQUEST, text)))
    # Others may have written what it says: a tool's server, as well as the application.
    check = TextCheck(session, REQUEST, answer=False, main=True, defines=True)
    said = check.whole(tool.description)
    return _with(
        tool, description=said, parameters=_schema(tool.parameters, session),
        grammar=_schema(tool.grammar, session),
    )  # fmt: skip


def _output(output: OutputFormat | None, session: Session) -> OutputFormat | None:
    if output is None:
        return None
    said = _plain(session, REQUEST, output.description)
    return _with(output, description=said, schema=_schema(output.schema, session))


def _schema(raw: Raw | None, session: Session) -> Raw | None:
    return raw if raw is None else _json(raw, lambda text: _plain(session, REQUEST, text))


def _json(raw: Raw, clean: Clean) -> Raw:
    given = bytes(raw)
    got = _raw(given, clean)
    return raw if got is given else Raw(got)


def _asked(block: Block, session: Session, station: str, role: Role) -> Block:
    def clean(text: str) -> str:
        return _plain(session, station, text) if text else text

    if isinstance(block, Text):
        # What the application itself says to the model takes nothing over.
        main = role is Role.USER or station == TOOLS
        text = TextCheck(session, station, answer=False, main=main).whole(block.text)
        return _with(block, text=text, citations=_cited(block.citations, clean))
    if isinstance(block, Refusal):
        return _with(block, text=clean(block.text))
    if isinstance(block, ToolCall):
        return _with(
            block, arguments=_arguments(block, session, answer=False).whole(block.arguments)
        )
    if isinstance(block, ToolResult):
        return replace(
            block,
            blocks=tuple(_asked(each, session, TOOLS, role) for each in block.blocks),
        )
    if isinstance(block, Thinking) and block.signature is None:
        return _with(block, text=clean(block.text))
    if isinstance(block, Media):
        texts = {name: clean(getattr(block, name)) for name in _OF_MEDIA}
        return _with(
            block, source=_source(block.source, clean), raw=_raw(block.raw, clean), **texts
        )
    if isinstance(block, Opaque):
        return _with(block, raw=_raw(block.raw, clean))
    return block


def _plain(session: Session, station: str, text: str, *, answer: bool = False) -> str:
    return TextCheck(session, station, answer=answer).whole(text)


_OF_MEDIA: Final = ("name", "context", "transcript", "detail")


def _source(source: Source, clean: Clean) -> Source:
    return _with(
        source, text=clean(source.text), url=read(source.url, clean) if source.url else "",
        data=medium(source.data, clean) if source.data else "",
        media_type=clean(source.media_type),
    )  # fmt: skip


def _raw(raw: bytes, clean: Clean) -> bytes:
    """A part's own JSON, its texts clean. Raises :class:`BlockedError`."""
    try:
        return checked(raw, clean) if raw else raw
    except (ValueError, RecursionError):
        why = "a part of its body can't be read, or is nested too deep"
        raise BlockedError(f"The guards stop this call: {why}.") from None


def _with(block: _Part, **members: object) -> _Part:
    """``block`` with members in place of its own; itself, where they are the same."""
    changed = {name: value for name, value in members.items() if getattr(block, name) != value}
    return replace(block, **changed) if changed else block


def text_of(request: Request) -> str:
    """All that a request says, for what must not stand in it already, and for its length."""
    return "\n".join(part for each in request.messages for part in _spoken(each.blocks))


def _spoken(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, ToolResult):
            yield from _spoken(block.blocks)
        elif isinstance(block, Text | Refusal | Thinking):
            yield block.text
        elif isinstance(block, ToolCall):
            yield block.arguments
        elif isinstance(block, Media):
            yield block.source.text
            yield block.context


def definitions_of(request: Request) -> str:
    """What the definitions of tools and of the answer's form say, also for what stands in them."""
    said = [bytes(raw).decode("utf-8", "replace") for raw in _schemas(request)]
    described = [each.description for each in request.tools if isinstance(each, Tool)]
    return "\n".join((*described, *said))


def _schemas(request: Request) -> Iterator[Raw]:
    for tool in request.tools:
        if isinstance(tool, Tool):
            yield from (raw for raw in (tool.parameters, tool.grammar) if raw is not None)
    if request.output is not None and request.output.schema is not None:
        yield request.output.schema


def answer_text(reply: Reply) -> str:
    """What a whole answer says to its reader."""
    blocks = (block for choice in reply.choices for block in choice.blocks)
    return "\n".join(block.text for block in blocks if isinstance(block, Text | Refusal))


def heard(request: Request, turns: str) -> str:
    """What a classifier judges of a request.

    ``last``: what is new, as the caller has it: what user and tools have said since the model has
    spoken last, and what it is to go on from; ``said``: all but what system and developer say;
    ``all``: that too.
    """
    messages = list(request.messages)
    if turns == "last":
        begin = len(messages)
        while begin and messages[begin - 1].role is Role.ASSISTANT:
            begin -= 1
        while begin and messages[begin - 1].role is not Role.ASSISTANT:
            begin -= 1
        messages = messages[begin:]
    if turns != "all":
        messages = [each for each in messages if each.role in (Role.USER, Role.ASSISTANT)]
    return "\n".join(part for each in messages for part in _spoken(each.blocks) if part)


def guarded_reply(reply: Reply, session: Session) -> Reply:
    """A whole reply as the caller may have it. Raises :class:`BlockedError`."""
    return replace(
        reply,
        choices=tuple(
            replace(
                choice,
                blocks=tuple(_answered(block, session) for block in choice.blocks),
                logprobs=(),
            )
            for choice in reply.choices
        ),
    )


def _arguments(block: ToolCall, session: Session, *, answer: bool) -> JsonCheck | TextCheck:
    def check() -> TextCheck:
        return TextCheck(session, TOOLS, answer=answer, restore=answer)

    return check() if block.free else JsonCheck(check)


def check_of(block: Block, session: Session) -> JsonCheck | TextCheck:
    """What checks the main text of a block of an answer."""
    if isinstance(block, ToolCall):
        return _arguments(block, session, answer=True)
    # Thoughts are proven by a signature over what the provider said: they keep what stands there.
    return TextCheck(
        session,
        REPLY,
        answer=True,
        restore=not isinstance(block, Thinking),
        main=isinstance(block, Text),
    )


def _answered(block: Block, session: Session) -> Block:
    check = check_of(block, session)
    clean = _answering(session)
    if isinstance(block, ToolCall):
        return _with(block, arguments=check.whole(block.arguments))
    if isinstance(block, Text):
        cited = _cited(block.citations, clean)
        return _with(block, text=check.whole(block.text), citations=cited)
    if isinstance(block, Refusal | Thinking):
        return _with(block, text=check.whole(block.text))
    if isinstance(block, Media):
        return _with(block, transcript=check.whole(block.transcript))
    if isinstance(block, Opaque):
        return _with(block, raw=_raw(block.raw, clean))
    return block


def _answering(session: Session) -> Clean:
    return lambda text: _plain(session, REPLY, text, answer=True)


_OF_CITATIONS: Final = ("url", "title", "quote", "unit")


def _cited(cited: tuple[Citation, ...], clean: Clean) -> tuple[Citation, ...]:
    return tuple(
        _with(
            each, raw=_raw(each.raw, clean),
            **{name: clean(getattr(each, name)) for name in _OF_CITATIONS},
        )
        for each in cited
    )  # fmt: skip


class EventGuard:
    """A stream of events as the caller may have them.

    What a guard can't let go yet is held back until more has come, or its block ends. Once a guard
    stops the stream, its last event is Failed.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._checks: dict[int, JsonCheck | TextCheck] = {}
        """By choice, of the open block."""
        self.over = False
        self._heard: set[int] = set()
        """Choices whose open block says something to the reader."""

    def take(self, events: list[Event]) -> list[Event]:
        """What may go on after ``events``."""
        out: list[Event] = []
        try:
            for event in events:
                if self.over:
                    break
                out += self._one(event)
        except BlockedError as why:
            self.over = True
            out.append(Failed(kind=ErrorKind.GUARDRAIL, message=str(why)))
        return out

    def _one(self, event: Event) -> list[Event]:
        if isinstance(event, Open):
            return self._open(event)
        if isinstance(event, Probs):
            return []  # they say the text, token by token, before it was checked
        if isinstance(event, Delta):
            text = self._checks[event.choice].feed(event.text)
            return [self._hear(replace(event, text=text))] if text else []
        if isinstance(event, Cite):
            [cited] = _cited((event.citation,), _answering(self._session))
            return [replace(event, citation=cited)]
        if isinstance(event, Seal | Close):
            rest = self._rest(event.choice, event.index)
            if isinstance(event, Close):
                self._checks.pop(event.choice, None)
            return [*rest, event]
        return [event]

    def _open(self, event: Open) -> list[Event]:
        block = event.block
        check = self._checks[event.choice] = check_of(block, self._session)
        name = _main(block)
        self._heard.discard(event.choice)
        if isinstance(block, Text | Refusal):
            self._heard.add(event.choice)
            self._session.hear("\n")
        if not name:
            return [replace(event, block=_answered(block, self._session))]
        text = check.feed(getattr(block, name))
        opened = replace(event, block=_with(block, **{name: ""}))
        said = Delta(index=event.index, text=text, choice=event.choice)
        return [opened, self._hear(said)] if text else [opened]

    def _rest(self, choice: int, index: int) -> list[Event]:
        check = self._checks.get(choice)
        text = check.close() if check is not None else ""
        return [self._hear(Delta(index=index, text=text, choice=choice))] if text else []

    def _hear(self, event: Delta) -> Delta:
        if event.choice in self._heard:
            self._session.hear(event.text)
        return event


def _main(block: Block) -> str:
    """The member that deltas add to."""
    if isinstance(block, Text | Refusal | Thinking):
        return "text"
    if isinstance(block, ToolCall):
        return "arguments"
    return "transcript" if isinstance(block, Media) else ""
