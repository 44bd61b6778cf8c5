"""Guards on the common language: a request, a whole reply, and a stream of events."""

from collections.abc import Callable, Iterator
from typing import TypeVar

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
    walked,
)
from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Cite, Close, Delta, Event, Failed, Open, Probs, Reply, Seal
from ferryman.ir.request import (
    Block,
    Citation,
    HostedTool,
    Media,
    Opaque,
    OutputFormat,
    Refusal,
    Request,
    Role,
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
            each, blocks=tuple(_asked(block, session, REQUEST, each.role) for block in each.blocks)
        )
        for each in request.messages
    ]

    def clean(text: str) -> str:
        return _plain(session, REQUEST, text)

    return replace(
        request,
        messages=tuple(messages),
        user=clean(request.user),
        metadata=tuple((name, clean(value)) for name, value in request.metadata),
        tools=tuple(_tool(each, session) for each in request.tools),
        output=_output(request.output, session),
    )


def _tool(tool: Tool | HostedTool, session: Session) -> Tool | HostedTool:
    """A definition as it may go on. Its name stays, as what the model calls it by; tools that the
    provider runs have none of the application's words."""
    if isinstance(tool, HostedTool):
        return tool
    # Others may have written what it says: a tool's server, as well as the application.
    said = TextCheck(session, REQUEST, answer=False, main=True).whole(tool.description)
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
    if raw is None:
        return None
    given = bytes(raw)
    checked = _raw(given, lambda text: _plain(session, REQUEST, text))
    return raw if checked == given else Raw(checked)


def _asked(block: Block, session: Session, station: str, role: Role) -> Block:
    if isinstance(block, Text):
        # What the application itself says to the model takes nothing over.
        main = role is Role.USER or station == TOOLS
        text = TextCheck(session, station, answer=False, main=main).whole(block.text)
        return _with(block, text=text)

    def clean(text: str) -> str:
        return _plain(session, station, text) if text else text

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
        source = _with(block.source, text=clean(block.source.text), url=_link(block, clean))
        return _with(
            block, source=source, name=clean(block.name), context=clean(block.context),
            transcript=clean(block.transcript), raw=_raw(block.raw, clean),
        )  # fmt: skip
    if isinstance(block, Opaque):
        return _with(block, raw=_raw(block.raw, clean))
    return block


def _plain(session: Session, station: str, text: str, *, answer: bool = False) -> str:
    return TextCheck(session, station, answer=answer).whole(text)


def _link(block: Media, clean: Callable[[str], str]) -> str:
    url = block.source.url
    return url if url.startswith("data:") else clean(url)


def _raw(raw: bytes, clean: Callable[[str], str]) -> bytes:
    """A part's own JSON, its texts clean; media and proofs in it are no texts."""
    if not raw:
        return raw
    said = msgspec.json.decode(raw)
    checked = walked(said, clean, ("data", "signature", "encrypted_content", "thoughtSignature"))
    return raw if checked == said else msgspec.json.encode(checked)


def _with(block: _Part, **members: object) -> _Part:
    """``block`` with members in place of its own; itself, where they are the same."""
    changed = {name: value for name, value in members.items() if getattr(block, name) != value}
    return replace(block, **changed) if changed else block


def text_of(request: Request) -> str:
    """All that a request says, for what must not stand in it already, and for its length."""
    said: list[str] = []
    for message in request.messages:
        for block in message.blocks:
            for each in block.blocks if isinstance(block, ToolResult) else (block,):
                if isinstance(each, Text | Refusal | Thinking):
                    said.append(each.text)
                elif isinstance(each, ToolCall):
                    said.append(each.arguments)
                elif isinstance(each, Media):
                    said += (each.source.text, each.context)
    return "\n".join(said)


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


def last_turn(request: Request) -> str:
    """What is new in a request: what user and tools have said since the model has spoken last."""
    said: list[str] = []
    for message in reversed(request.messages):
        if message.role is Role.ASSISTANT:
            break
        if message.role is not Role.USER:
            continue
        for block in reversed(message.blocks):
            for each in reversed(block.blocks) if isinstance(block, ToolResult) else (block,):
                if isinstance(each, Text):
                    said.append(each.text)
    return "\n".join(reversed(said))


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
    if isinstance(block, ToolCall):
        return _with(block, arguments=check.whole(block.arguments))
    if isinstance(block, Text):
        cited = tuple(_cited(each, session) for each in block.citations)
        return _with(block, text=check.whole(block.text), citations=cited)
    if isinstance(block, Refusal | Thinking):
        return _with(block, text=check.whole(block.text))
    if isinstance(block, Media):
        return _with(block, transcript=check.whole(block.transcript))
    if isinstance(block, Opaque):
        return _with(
            block, raw=_raw(block.raw, lambda text: _plain(session, REPLY, text, answer=True))
        )
    return block


def _cited(cited: Citation, session: Session) -> Citation:
    def clean(text: str) -> str:
        return _plain(session, REPLY, text, answer=True)

    return _with(
        cited, url=clean(cited.url), title=clean(cited.title), quote=clean(cited.quote),
        raw=_raw(cited.raw, clean),
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
            return [replace(event, citation=_cited(event.citation, self._session))]
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
