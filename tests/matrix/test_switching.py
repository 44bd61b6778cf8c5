"""A conversation that goes from a provider of another format to one of the caller's own, and back.

Thoughts and calls of the first lack a proof that only the second makes, and must not be sent on as
if it were there: the simulator refuses that as the vendors do.
"""

import pytest

from tests.gateway import KEY, Stack
from tests.matrix.callers import CALLERS, Caller, Generate, Messages, Responses
from tests.matrix.said import Said, Wish

OWN = {
    Responses.name: ("responses", "openai/gpt-5.5"),
    Messages.name: ("messages", "bedrock-invoke", "anthropic/claude-opus-4-8"),
    Generate.name: ("generate", "gemini/gemini-3.5-flash"),
}
"""Caller's format → providers of the same."""
PAIRS = [(kind, own) for kind in CALLERS for own in OWN.get(kind.name, ())]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("words", ["think+tools=1+tokens=3", "tools=1+tokens=3"])
@pytest.mark.parametrize("other", ["chat", "cohere-like"])
@pytest.mark.parametrize(("kind", "own"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_thoughts_without_proof_stop_nobody(
    formats: Stack, kind: type[Caller], own: str, other: str, words: str, stream: bool
) -> None:
    caller = kind(formats.url, KEY, formats.sim_url)
    said: list[Said] = []
    for provider in (own, other, own, other):
        wish = Wish(words, tools=1, think=True, history=tuple(said))
        answer = caller.ask(provider, wish, stream=stream)
        assert not answer.error[0], (provider, answer.error)
        assert [call.name for call in answer.calls] == ["timetable"]
        said.append(answer)


@pytest.mark.parametrize("words", ["tools=1", "tools=2"])
def test_an_older_model_of_the_same_format_may_stand_in(formats: Stack, words: str) -> None:
    caller = Generate(formats.url, KEY, formats.sim_url)
    said: list[Said] = []
    for model in ("3.5", "2.5", "3.5", "2.5", "3.5"):
        wish = Wish(words, tools=2, history=tuple(said))
        answer = caller.ask(f"gemini/gemini-{model}-flash", wish, stream=False)
        assert not answer.error[0], (model, answer.error)
        said.append(answer)
