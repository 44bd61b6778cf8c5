"""The content of an answer, before it takes any API's shape."""

from typing import Any

import msgspec

from ferryman.simulator import text
from ferryman.simulator.ask import Ask, last_text, words

DEFAULT_TOKENS = 16


class Call(msgspec.Struct, frozen=True):
    """A tool call; ``arguments`` is JSON text."""

    name: str
    arguments: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is said, in tokens, and what it counts."""

    tokens: list[str]
    calls: list[Call] = []
    thought: list[str] = []
    refusal: bool = False
    finish: str = "stop"
    choices: int = 1
    prompt: int = 0
    cached: int = 0
    reasoning: int = 0

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def output(self) -> int:
        """Output tokens of all choices, reasoning included."""
        called = sum(len(text.pieces(call.arguments)) for call in self.calls)
        return (len(self.tokens) + called) * self.choices + self.reasoning


def answer(ask: Ask) -> Answer:
    """What the simulator says to ``ask``; the same for the same request."""
    wish = ask.behaviour
    counted = sum(len(words(source)) for source in (ask.messages, ask.prompt, ask.input))
    cached = wish.count("cached")
    prompt = max(wish.count("prompt", counted), cached)
    calls = _calls(ask)
    tokens = [] if calls else _tokens(ask)
    finish = "tool_calls" if calls else "stop"
    if ask.limit is not None and len(tokens) > ask.limit:
        tokens, finish = tokens[: max(ask.limit, 0)], "length"
    if "filtered" in wish:
        finish = "content_filter"
    return Answer(
        tokens=tokens,
        calls=calls,
        thought=text.tokens(wish.count("reasoning", 8), text.THOUGHT) if "think" in wish else [],
        refusal="refusal" in wish,
        finish=finish,
        choices=max(1, ask.n or 1),
        prompt=prompt,
        cached=cached,
        reasoning=wish.count("reasoning", 8 if "think" in wish else 0),
    )


def _tokens(ask: Ask) -> list[str]:
    """The visible text: JSON when a format asks for it, else words."""
    wish = ask.behaviour
    schema = _schema(ask)
    if schema is not None:
        return text.pieces(msgspec.json.encode(text.instance(schema)).decode())
    if "refusal" in wish:
        return ["I'm", " sorry,", " I", " can't", " help", " with", " that."]
    if "echo" in wish:
        said = last_text(ask).split()
        return text.tokens(len(said), said)
    source = text.UNICODE if "unicode" in wish else text.PLAIN
    return text.tokens(wish.count("tokens", DEFAULT_TOKENS), source)


def _schema(ask: Ask) -> Any:
    """The JSON Schema that the reply has to fit; None when plain text will do."""
    wanted = ask.response_format
    if isinstance(ask.text, dict):
        wanted = ask.text.get("format")
    if not isinstance(wanted, dict):
        return None
    if wanted.get("type") == "json_object":
        return {"properties": {"answer": {"type": "string"}}}
    if wanted.get("type") == "json_schema":
        return (wanted.get("json_schema") or wanted).get("schema", {})
    return None


def _calls(ask: Ask) -> list[Call]:
    """Tool calls: with the word ``tools``, or when the request insists."""
    offered = [t.get("function", t) for t in ask.tools or [] if isinstance(t, dict)]
    choice = ask.tool_choice
    if not offered or choice == "none":
        return []
    if isinstance(choice, dict):
        name = choice.get("function", choice).get("name")
        offered = [tool for tool in offered if tool.get("name") == name]
        count = len(offered[:1])
    else:
        count = ask.behaviour.count("tools", 1 if choice == "required" else 0)
    made = []
    for i in range(count):
        tool = offered[i % len(offered)]
        arguments = text.instance(tool.get("parameters") or {"type": "object"})
        made.append(Call(str(tool.get("name")), msgspec.json.encode(arguments).decode()))
    return made
