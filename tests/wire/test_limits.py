"""Names of the application's own that are longer than a format takes them."""

import json
from typing import Any

import pytest

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Message, Request, Role, Text
from ferryman.wire.format import Aim
from ferryman.wire.formats import FORMATS

LONG = "user_" + "a" * 300
HI = Message(role=Role.USER, blocks=(Text(text="hi"),))


def sent(name: str, *quirks: str, origin: str = "foreign", **more: Any) -> tuple[Any, Receipt]:
    provider, receipt = FORMATS[name].provider, Receipt()
    assert provider is not None
    request = Request(model="m", messages=(HI,), origin=origin, **more)
    body = provider.encode_request(request, Aim(model="m", quirks=quirks), receipt)
    return json.loads(body), receipt


PLACES: list[tuple[str, tuple[str, ...], str, str, int]] = [
    ("openai_chat", (), "user", "user", 64),
    ("openai_chat", ("safety_identifier",), "user", "safety_identifier", 64),
    ("openai_chat", (), "cache_key", "prompt_cache_key", 64),
    ("openai_responses", (), "user", "user", 64),
    ("openai_responses", ("safety_identifier",), "user", "safety_identifier", 64),
    ("openai_responses", (), "cache_key", "prompt_cache_key", 64),
    ("anthropic_messages", (), "user", "user_id", 256),
]


@pytest.mark.parametrize(("name", "quirks", "field", "member", "longest"), PLACES)
def test_a_name_that_is_too_long_becomes_its_hash(
    name: str, quirks: tuple[str, ...], field: str, member: str, longest: int
) -> None:
    def told(body: dict[str, Any]) -> str:
        return str(body.get("metadata", {}).get(member) or body.get(member))

    found = {}
    for said in (LONG, LONG + "b", "a" * longest, "a" * (longest + 1)):
        body, receipt = sent(name, *quirks, **{field: said})
        found[said] = told(body)
        assert len(found[said]) <= longest
        path = "prompt_cache_key" if field == "cache_key" else field
        assert (f"{path}=its hash" in receipt.altered) is (len(said) > longest)
    assert found["a" * longest] == "a" * longest
    assert len(set(found.values())) == len(found), "different users must stay different"
    own, receipt = sent(name, *quirks, origin=name, **{field: LONG})
    assert (told(own), receipt.altered) == (LONG, receipt.altered)


PAIRS = (("a", "b"), ("Big", "b"), ("a" * 65, "b"), ("c", "d" * 513), ("e", ""), ("", "f"))
METADATA: list[tuple[str, tuple[str, ...], str, list[str]]] = [
    ("openai_chat", ("metadata",), "metadata", ["a", "Big", "e"]),
    ("openai_responses", (), "metadata", ["a", "Big", "e"]),
    ("gemini_generate", ("labels",), "labels", ["a", "e"]),
    ("bedrock_converse", (), "requestMetadata", ["a", "Big", "a" * 65, "e"]),
]


@pytest.mark.parametrize(("name", "quirks", "member", "kept"), METADATA)
def test_metadata_that_does_not_fit_is_left_out(
    name: str, quirks: tuple[str, ...], member: str, kept: list[str]
) -> None:
    body, receipt = sent(name, *quirks, metadata=PAIRS)
    assert list(body[member]) == kept
    assert list(receipt.dropped) == [f"metadata.{key}"[:120] for key, _ in PAIRS if key not in kept]
    many = tuple((f"k{number}", "v") for number in range(70))
    body, receipt = sent(name, *quirks, metadata=many)
    assert len(body[member]) == (64 if member == "labels" else 16)
    assert len(body[member]) + len(receipt.dropped) + receipt.more == len(many)
    body, _ = sent(name, *quirks, metadata=(("", "x"),))
    assert member not in body


@pytest.mark.parametrize("name", ["openai_chat", "gemini_generate"])
def test_likely_tokens_are_asked_for_with_log_probabilities_only(name: str) -> None:
    """The vendors refuse the one without the other, which the Responses format may ask for."""
    assert "logprobs" not in json.dumps(sent(name, top_logprobs=2)[0])
    assert '"logprobs": ' in json.dumps(sent(name, logprobs=True, top_logprobs=2)[0])
