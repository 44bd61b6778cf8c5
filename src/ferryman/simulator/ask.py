"""What a request asks for, as far as the simulator cares."""

from typing import Any

import msgspec

from ferryman.simulator.directives import Behaviour, from_field, from_model


class Ask(msgspec.Struct, kw_only=True):
    """The fields of all endpoints in one; absent ones have their defaults."""

    model: str = ""
    stream: bool | None = False
    messages: list[Any] = []
    prompt: Any = None
    input: Any = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    response_format: Any = None
    text: Any = None
    stream_options: Any = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    dimensions: int | None = None
    encoding_format: str | None = None
    sim: Any = None
    behaviour: Behaviour = Behaviour()
    """Filled in by :func:`read`."""

    @property
    def limit(self) -> int | None:
        """The output limit, by whichever name it was given."""
        for value in (self.max_completion_tokens, self.max_output_tokens, self.max_tokens):
            if value is not None:
                return value
        return None

    @property
    def include_usage(self) -> bool:
        options = self.stream_options
        return isinstance(options, dict) and options.get("include_usage") is True


_decoder = msgspec.json.Decoder(Ask)


def read(body: bytes, header: Behaviour, default: Behaviour) -> Ask:
    """Decode a request. Its ``sim`` field wins over ``header``, that over the model name, that over
    ``default``.

    Raises :class:`msgspec.DecodeError` (wrong JSON or types) and
    :class:`~ferryman.simulator.directives.DirectiveError`.
    """
    ask = _decoder.decode(body)
    named = from_model(ask.model).over(default)
    ask.behaviour = from_field(ask.sim).over(header.over(named))
    return ask


def words(value: Any) -> list[str]:
    """All words of the texts in ``value``: messages, content parts, prompts, lists of tokens."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [word for item in value for word in words(item)]
    if isinstance(value, dict):
        return [w for key in ("content", "text", "input_text") for w in words(value.get(key))]
    return [] if value is None else [str(value)]


def last_text(ask: Ask) -> str:
    """The text of the last message or prompt."""
    for source in (ask.messages, ask.input, ask.prompt):
        if source:
            return " ".join(words(source[-1] if isinstance(source, list) else source))
    return ""
