"""The grammar of an answer: which event may follow which.

    answer = Begin (block | Count | Probs)* Finish+ Count* (End | Failed)   Failed may come anywhere
    block  = Open (Delta | Data | Cite | Probs | Seal)* Close               one at a time per choice

A checker can sit between any decoder and encoder: always in tests, by switch in production.
"""

from ferryman.ir.events import (
    Begin,
    Cite,
    Close,
    Count,
    Data,
    Delta,
    End,
    Event,
    Failed,
    Finish,
    Open,
    Probs,
    Seal,
)
from ferryman.ir.request import Block, Media, Refusal, Text, Thinking, ToolCall, ToolResult

_DELTAS = (Text, Thinking, ToolCall, Refusal, Media)
_SEALED = (Text, Thinking, ToolCall, Media)


class GrammarError(ValueError):
    """An event that may not come here; the message says why."""


class Grammar:
    """Checks one answer, event by event."""

    __slots__ = ("_begun", "_counts", "_finished", "_open", "_sealed", "over")

    def __init__(self) -> None:
        self._begun = False
        self._open: dict[int, Block] = {}
        self._sealed: set[int] = set()
        self._counts: dict[int, int] = {}
        """Choice → blocks so far."""
        self._finished: set[int] = set()
        self.over = False
        """True after the last event."""

    def check(self, event: Event) -> None:
        """Take the next event. Raises :class:`GrammarError`."""
        if self.over:
            raise GrammarError(f"{_name(event)} after the end")
        if isinstance(event, Failed):
            self.over = True
        elif isinstance(event, Begin):
            if self._begun:
                raise GrammarError("a second Begin")
            self._begun = True
        elif not self._begun:
            raise GrammarError(f"{_name(event)} before Begin")
        elif isinstance(event, Finish):
            self._finish(event)
        elif isinstance(event, End):
            if not self._finished or set(self._counts) - self._finished:
                raise GrammarError("End before every choice has finished")
            self.over = True
        elif not isinstance(event, Count):
            self._within(event)

    def _finish(self, event: Finish) -> None:
        if event.choice in self._open:
            raise GrammarError("Finish while a block is open")
        if event.choice in self._finished:
            raise GrammarError("a second Finish of one choice")
        self._finished.add(event.choice)

    def _within(self, event: Open | Delta | Data | Cite | Probs | Seal | Close) -> None:
        choice = event.choice
        if choice in self._finished:
            raise GrammarError(f"{_name(event)} after its choice has finished")
        block = self._open.get(choice)
        if isinstance(event, Open):
            count = self._counts.get(choice, 0)
            if block is not None:
                raise GrammarError("Open while a block is open")
            if event.index != count:
                raise GrammarError(f"Open of block {event.index}; {count} is the next")
            if isinstance(event.block, ToolResult):
                raise GrammarError("an answer holds no tool results")
            self._open[choice] = event.block
            self._sealed.discard(choice)
            self._counts[choice] = count + 1
            return
        if isinstance(event, Probs) and block is None:
            self._counts.setdefault(choice, 0)
            return
        if block is None or event.index != self._counts[choice] - 1:
            raise GrammarError(f"{_name(event)} for block {event.index}, which is not open")
        if isinstance(event, Close):
            del self._open[choice]
        else:
            self._fits(event, block)

    def _fits(self, event: Delta | Data | Cite | Probs | Seal, block: Block) -> None:
        if isinstance(event, Delta):
            fits = isinstance(block, _DELTAS)
        elif isinstance(event, Data):
            fits = isinstance(block, Media)
        elif isinstance(event, Cite):
            fits = isinstance(block, Text)
        elif isinstance(event, Seal):
            fits = isinstance(block, _SEALED) and event.choice not in self._sealed
            self._sealed.add(event.choice)
        else:
            fits = True
        if not fits:
            raise GrammarError(f"{_name(event)} does not fit a {type(block).__name__}")


def _name(event: Event) -> str:
    return type(event).__name__
