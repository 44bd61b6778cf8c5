"""Answers of the Responses API that are kept here, for callers who go on from them."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway import KEY, Stack

CONFIG = """\
providers:
  chat: { base_url: SIM/v1, auth: none, endpoints: [chat.completions] }
  native: { base_url: SIM/v1, auth: none, endpoints: [responses] }
responses: { keep: 1h }
"""


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("keeping"), CONFIG).served() as running:
        yield running


def caller(stack: Stack, key: str = KEY) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=stack.endpoint, api_key=key, max_retries=0, http_client=http)


def asked(stack: Stack) -> list[dict[str, Any]]:
    """The messages that the provider saw last."""
    found: list[dict[str, Any]] = json.loads(stack.last_body())["messages"]
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_goes_on_from_a_kept_answer(keeping: Stack, stream: bool) -> None:
    client = caller(keeping)

    def say(text: str, **more: Any) -> Any:
        if not stream:
            return client.responses.create(model="chat/sim-tokens=3", input=text, **more)
        with client.responses.stream(model="chat/sim-tokens=3", input=text, **more) as events:
            for _ in events:
                pass
            return events.get_final_response()

    first = say("Good morning")
    second = say("And then?", previous_response_id=first.id)
    third = say("And then again?", previous_response_id=second.id)
    assert third.output_text == "The ferry leaves"
    said = [(m["role"], m["content"]) for m in asked(keeping)]
    assert [role for role, _ in said] == ["user", "assistant", "user", "assistant", "user"]
    assert "Good morning" in str(said[0])
    assert "The ferry leaves" in str(said[1])
    assert "And then again?" in str(said[4])


def test_what_was_not_to_be_kept_is_not(keeping: Stack) -> None:
    client = caller(keeping)
    first = client.responses.create(model="chat/sim", input="Hello", store=False)
    with pytest.raises(openai.BadRequestError, match="is not kept here") as refused:
        client.responses.create(model="chat/sim", input="?", previous_response_id=first.id)
    assert refused.value.param == "previous_response_id"


def test_another_key_does_not_see_it(keeping: Stack) -> None:
    made = keeping.admin("POST", "/api/v1/keys", {"name": "other"}).json()
    first = caller(keeping).responses.create(model="chat/sim", input="Hello")
    other = caller(keeping, made["key"])
    with pytest.raises(openai.BadRequestError, match="is not kept here"):
        other.responses.create(model="chat/sim", input="?", previous_response_id=first.id)


def test_a_provider_of_this_api_is_asked_for_its_own_answers(keeping: Stack) -> None:
    client = caller(keeping)
    with pytest.raises(openai.APIStatusError) as refused:
        client.responses.create(model="native/sim", input="?", previous_response_id="resp_theirs")
    assert "kept here" not in refused.value.message  # the provider's own words
    assert b'"previous_response_id":"resp_theirs"' in keeping.last_body().replace(b": ", b":")


def test_nothing_of_it_is_readable_on_the_disk(keeping: Stack) -> None:
    text = "canary-in-the-store"
    caller(keeping).responses.create(model="chat/sim-echo", input=text)
    files = list((keeping.data / "responses").iterdir())
    assert files
    assert not any(text.encode() in path.read_bytes() for path in files)
