"""The content of an answer, before it takes any API's shape."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import text
from ferryman.simulator.ask import Ask, Tool

DEFAULT_TOKENS = 16
ANYTHING = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
"""What JSON looks like where no schema says more."""


class Call(msgspec.Struct, frozen=True):
    """A tool call; ``arguments`` is JSON text, or plain text for a tool of the kind ``custom``."""

    name: str
    arguments: str
    kind: str = "function"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is said, in tokens, and what it counts."""

    tokens: list[str] = []
    calls: list[Call] = []
    thought: list[str] = []
    redacted: bool = False
    """Whether reasoning comes encrypted as well."""
    refusal: bool = False
    finish: str = "stop"
    """``stop``, ``sequence``, ``length``, ``calls``, ``filter``, ``refusal`` or ``pause``."""
    sequence: str | None = None
    """The stop sequence that ended it."""
    choices: int = 1
    prompt: int = 0
    """All prompt tokens, those read from and written to a cache among them."""
    cached: int = 0
    written: int = 0
    written_hour: int = 0
    """Of ``written``, what is kept for an hour."""
    reasoning: int = 0
    citations: bool = False
    image: bool = False
    audio: bool = False

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def musing(self) -> str:
        """The reasoning as text."""
        return "".join(self.thought)

    @property
    def visible(self) -> int:
        """Output tokens of all choices without reasoning."""
        called = sum(len(text.pieces(call.arguments)) for call in self.calls)
        return (len(self.tokens) + called) * self.choices

    @property
    def output(self) -> int:
        """Output tokens of all choices, reasoning included."""
        return self.visible + self.reasoning


NOTHING = Answer()


def answer(ask: Ask) -> Answer:
    """What the simulator says to ``ask``; the same for the same request."""
    wish = ask.behaviour
    cached = wish.count("cached", ask.cached)
    written = wish.count("cache-write", ask.written)
    calls = _calls(ask)
    thinks = ask.think or "think" in wish
    tokens = [] if calls and "preamble" not in wish else _tokens(ask)
    tokens, sequence = _stopped(tokens, ask.stops)
    finish = "calls" if calls else "sequence" if sequence else "stop"
    if ask.limit is not None and len(tokens) > ask.limit:
        tokens, finish, calls, sequence = tokens[: max(ask.limit, 0)], "length", [], None
    for word, end in (("pause", "pause"), ("refusal", "refusal"), ("filtered", "filter")):
        if word in wish:
            finish = end
    return Answer(
        tokens=tokens,
        calls=calls,
        thought=text.tokens(wish.count("reasoning", 8), text.THOUGHT) if thinks else [],
        redacted="redacted" in wish,
        refusal="refusal" in wish,
        finish=finish,
        sequence=sequence,
        choices=ask.choices,
        prompt=max(wish.count("prompt", ask.prompt), cached + written),
        cached=cached,
        written=written,
        written_hour=min(ask.written_hour, written),
        reasoning=wish.count("reasoning", 8 if thinks else 0),
        citations="citations" in wish,
        image="image" in wish,
        audio="audio" in wish,
    )


def _tokens(ask: Ask) -> list[str]:
    """The visible text: JSON when a format asks for it, else words."""
    wish = ask.behaviour
    if "refusal" in wish:
        return ["I'm", " sorry,", " I", " can't", " help", " with", " that."]
    if ask.schema is not None or "json" in wish:
        found = text.instance(ask.schema if ask.schema is not None else ANYTHING)
        if ask.unquoted and isinstance(found, str):
            return text.pieces(found)
        return text.pieces(msgspec.json.encode(found).decode())
    if "echo" in wish:
        return re.findall(r"\s*\S+|\s+", ask.last)
    source = text.UNICODE if "unicode" in wish else text.PLAIN
    found = text.tokens(wish.count("tokens", DEFAULT_TOKENS), source)
    said = [i for i in range(len(found) + 1) if "".join(found[:i]) == ask.begun]
    return found[said[0] :] if said else found


def _stopped(tokens: list[str], stops: list[str]) -> tuple[list[str], str | None]:
    """``tokens`` up to the first of ``stops`` that they contain, and that one."""
    if not stops:
        return tokens, None
    said = "".join(tokens)
    hits = [(said.find(stop), stop) for stop in stops if stop and stop in said]
    if not hits:
        return tokens, None
    end, stop = min(hits)
    kept: list[str] = []
    for token in tokens:
        if end <= 0:
            break
        kept.append(token[:end])
        end -= len(token)
    return kept, stop


def _calls(ask: Ask) -> list[Call]:
    """Tool calls: with the word ``tools``, or when the request insists."""
    offered = ask.tools
    planned = _planned(ask)
    if planned is not None:
        return planned
    if not offered or ask.choice == "none" or ask.behaviour.first("refusal", "filtered"):
        return []
    if ask.choice.startswith("="):
        offered = [tool for tool in offered if tool.name == ask.choice[1:]]
        count = len(offered[:1])
    else:
        count = ask.behaviour.count("tools", 1 if ask.choice == "required" else 0)
    if not ask.parallel:
        count = min(count, 1)
    return [_call(offered[i % len(offered)]) for i in range(count)]


_STEP = re.compile(r"^sim call (\S+) (\{.*\})\s*$", re.MULTILINE)
_RESULTS = ("tool_result", "function_call_output", "custom_tool_call_output")
_RESULT_KEYS = ("functionResponse", "function_response", "toolResult")


def _planned(ask: Ask) -> list[Call] | None:
    """The step of a plan that is due: lines ``sim call NAME {arguments}`` in a message of the user.

    With each result the next line is due, and after the last one the answer is text: so an agent
    can be led through a loop. None = the request has no plan.
    """
    found = (_STEP.findall(text) for text in _strings(ask.body))
    plan: list[tuple[str, str]] = next(filter(None, found), [])
    if not plan:
        return None
    done = _count_results(ask.body)
    return [Call(*step) for step in plan[done : done + 1]]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _count_results(value: Any) -> int:
    """How many results of tools a body holds, in whichever format."""
    if isinstance(value, list):
        return sum(_count_results(item) for item in value)
    if not isinstance(value, dict):
        return 0
    if value.get("role") == "tool" or value.get("type") in _RESULTS:
        return 1
    if any(key in value for key in _RESULT_KEYS):
        return 1
    return sum(_count_results(item) for item in value.values())


def _call(tool: Tool) -> Call:
    if tool.kind == "custom":
        return Call(tool.name, "ferry", tool.kind)
    arguments = text.instance(tool.schema or {"type": "object"})
    return Call(tool.name, msgspec.json.encode(arguments).decode())
