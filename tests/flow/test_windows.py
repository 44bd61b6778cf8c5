"""Requests that don't fit into a model's window, and counts of tokens that callers ask for."""

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ferryman.flow.measure import LARGEST
from tests.gateway import Stack, error_of
from tests.simulator import wire

CONFIG = """\
models:
  grows: { targets: [openai/gpt-4, openai/gpt-4o-mini] }
policies:
  - when: { metadata.task: archive }
    too_long: error
  - when: { metadata.task: chat }
    too_long: compress
"""
ENV = {
    "OPENAI_API_KEY": "sk-test", "FERRYMAN_OPENAI_BASE_URL": "SIM/v1",
    "GEMINI_API_KEY": "sk-test", "FERRYMAN_GEMINI_BASE_URL": "SIM/v1beta",
}  # fmt: skip
LONG = "The river is wide, and the ferry is slow. " * 60
"""Some 600 tokens; gpt-4 takes 8,192."""


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("windows"), CONFIG, **ENV).served() as running:
        yield running


def talk(turns: int) -> list[dict[str, Any]]:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "The task"}]
    for number in range(turns):
        said.append({"role": "assistant", "content": f"{number}: {LONG}"})
        said.append({"role": "user", "content": f"go on {number}"})
    return said


def ask(stack: Stack, model: str, turns: int, **more: Any) -> wire.Reply:
    headers = more.pop("headers", None)
    fields = {"model": model, "messages": talk(turns), **more}
    return stack.post(fields, headers=headers)


def test_what_cannot_fit_is_not_sent(narrow: Stack) -> None:
    narrow.forget()
    reply = ask(narrow, "openai/gpt-4", 30)
    assert reply.status == 400
    error = error_of(reply)
    assert error["code"] == "context_length_exceeded"
    assert "8192" in error["message"]
    assert narrow.stats()["requests"] == 0
    assert narrow.row(reply)["cost_usd"] == "0"


def test_what_fits_goes_through_untouched(narrow: Stack) -> None:
    reply = ask(narrow, "openai/gpt-4", 3)
    assert reply.status == 200
    assert reply.header("x-ferryman-altered") is None


def test_the_next_target_with_room_is_asked(narrow: Stack) -> None:
    reply = ask(narrow, "grows", 30)
    assert reply.status == 200
    assert reply.header("x-ferryman-model") == "gpt-4o-mini"
    assert len(json.loads(narrow.last_body())["messages"]) == 62


def test_a_policy_can_refuse_instead(narrow: Stack) -> None:
    reply = ask(narrow, "grows", 30, metadata={"task": "archive"})
    assert reply.status == 400
    assert error_of(reply)["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "more",
    [{"headers": {"x-ferryman-too-long": "compress"}}, {"metadata": {"task": "chat"}}],
    ids=["header", "policy"],
)
def test_the_middle_is_left_out_when_that_is_wanted(narrow: Stack, more: dict[str, Any]) -> None:
    reply = ask(narrow, "openai/gpt-4", 30, **more)
    assert reply.status == 200
    told = str(reply.header("x-ferryman-altered"))
    assert "left out of the middle" in told
    kept = json.loads(narrow.last_body())["messages"]
    assert 4 < len(kept) < 62
    assert [m["content"] for m in kept[:2]] == ["Be brief.", "The task"]
    assert kept[-1]["content"] == "go on 29"
    assert narrow.row(reply)["tries"][0]["altered"]


def test_what_cannot_be_made_to_fit_is_refused(narrow: Stack) -> None:
    fields = {"model": "openai/gpt-4", "messages": [{"role": "user", "content": LONG * 30}]}
    reply = narrow.post(fields, headers={"x-ferryman-too-long": "compress"})
    assert reply.status == 400


CHAT = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hello!"},
]


def test_counts_are_exact_where_the_vocabulary_and_the_frame_are_published(narrow: Stack) -> None:
    """19 tokens: https://platform.openai.com/docs/api-reference/chat/create."""
    asked = {"model": "openai/gpt-4o-mini", "system": CHAT[0]["content"], "messages": CHAT[1:]}
    reply = narrow.post(asked, "/v1/messages/count_tokens")
    assert reply.json() == {"input_tokens": 19}
    assert reply.header("x-ferryman-altered") == "count=exact"
    contents = {
        "generateContentRequest": {
            "model": "models/openai/gpt-4o-mini",
            "systemInstruction": {"parts": [{"text": CHAT[0]["content"]}]},
            "contents": [{"role": "user", "parts": [{"text": CHAT[1]["content"]}]}],
        }
    }
    other = narrow.post(contents, "/v1beta/models/openai/gpt-4o-mini:countTokens")
    assert other.json() == {"totalTokens": 19}
    assert other.header("x-ferryman-altered") == "count=exact"


@pytest.mark.parametrize(
    "asked",
    [
        {"model": "openai/gpt-5", "messages": CHAT[1:]},
        {
            "model": "openai/gpt-4o",
            "messages": CHAT[1:],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        },
    ],
    ids=["frame", "tool"],
)
def test_counts_are_not_called_exact_where_a_part_is_guessed(
    narrow: Stack, asked: dict[str, Any]
) -> None:
    reply = narrow.post(asked, "/v1/messages/count_tokens")
    assert 5 < reply.json()["input_tokens"] < 60
    assert reply.header("x-ferryman-altered") == "count=estimated"


def test_pictures_count_although_their_tokens_are_no_text(narrow: Stack) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 40_000}
    picture = {"role": "user", "content": [{"type": "image", "source": source}]}
    asked = {"model": "openai/gpt-4o", "messages": [picture]}
    reply = narrow.post(asked, "/v1/messages/count_tokens")
    assert 1_000 < reply.json()["input_tokens"] < 2_000
    assert reply.header("x-ferryman-altered") == "count=estimated"


def test_the_window_is_held_against_the_count_not_the_ratio(narrow: Stack) -> None:
    """Eight bytes a token, and one: the ratio takes both for some four."""
    sparse = "a" * 50_000  # 6,250 tokens, estimated at 12,500
    reply = narrow.post(
        {"model": "openai/gpt-4", "messages": [{"role": "user", "content": sparse}]}
    )
    assert reply.status == 200
    dense = "\u0e01\u0e47\u0e48 7 " * 3_000
    reply = narrow.post({"model": "openai/gpt-4", "messages": [{"role": "user", "content": dense}]})
    assert reply.status == 400
    assert "The request has 1" in error_of(reply)["message"]  # and not: about


def test_other_calls_are_answered_while_a_long_text_is_counted(narrow: Stack) -> None:
    text = "".join(f"{n:x}-" for n in range(1_300_000))  # nothing in it is a word
    asked = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": text}]}
    assert len(text) < LARGEST
    order: list[str] = []

    def long() -> None:
        assert narrow.post(asked, "/v1/messages/count_tokens").json()["input_tokens"] > 3_000_000
        order.append("long")

    thread = threading.Thread(target=long)
    thread.start()
    while "long" not in order:
        assert ask(narrow, "openai/gpt-4o-mini", 0).status == 200
        order.append("short")
    thread.join()
    assert order.count("short") > 2


def test_texts_that_fit_nowhere_are_not_counted(narrow: Stack) -> None:
    text = "a" * (LARGEST + 1)  # an eighth of that, if it was
    asked = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": text}]}
    reply = narrow.post(asked, "/v1/messages/count_tokens")
    assert reply.json()["input_tokens"] > LARGEST / 7
    assert reply.header("x-ferryman-altered") == "count=estimated"
    refusal = narrow.post({**asked, "model": "openai/gpt-4"})
    assert refusal.status == 400
    assert "The request has about " in error_of(refusal)["message"]


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """As ``narrow``, but the extra isn't installed."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "toktok.py").write_text("raise ImportError('not installed')\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    with Stack(folder, CONFIG, **ENV, PYTHONPATH=path).served() as running:
        yield running


def test_without_the_extra_counts_are_estimates(without: Stack) -> None:
    asked = {"model": "openai/gpt-4", "messages": [{"role": "user", "content": LONG}]}
    reply = without.post(asked, "/v1/messages/count_tokens")
    assert reply.status == 200
    counted = reply.json()["input_tokens"]
    assert 400 < counted < 1000
    assert reply.header("x-ferryman-altered") == "count=estimated"
    contents = {"contents": [{"parts": [{"text": LONG}]}]}
    other = without.post(contents, "/v1beta/models/openai/gpt-4:countTokens")
    assert abs(other.json()["totalTokens"] - counted) < 10


def test_without_the_extra_windows_hold_by_estimate(without: Stack) -> None:
    reply = ask(without, "openai/gpt-4", 30)
    assert "The request has about " in error_of(reply)["message"]
    assert (
        ask(without, "openai/gpt-4", 30, headers={"x-ferryman-too-long": "compress"}).status == 200
    )


def test_the_estimate_is_held_against_what_providers_count(narrow: Stack) -> None:
    for _ in range(20):
        ask(narrow, "openai/gpt-4", 1)
    page = narrow.get("/metrics").body.decode()
    [count] = [line for line in page.splitlines() if "token_estimate_ratio_count" in line]
    assert int(count.split()[-1]) >= 1


# -- limits of output: gpt-4 gives 4,096 tokens, gpt-4o-mini 16,384

MESSAGES, GENERATE = "/v1/messages", "/v1beta/models/MODEL:generateContent"
COMPRESS = {"x-ferryman-too-long": "compress"}


def wanting(model: str, tokens: int, path: str) -> tuple[dict[str, Any], str]:
    """A short request for so much output, and its path."""
    if path == GENERATE:
        body = {
            "contents": [{"parts": [{"text": "Go."}]}],
            "generationConfig": {"maxOutputTokens": tokens, "temperature": 0},
        }
        return body, path.replace("MODEL", model)
    said = [{"role": "user", "content": "Go."}]
    return {"model": model, "messages": said, "max_tokens": tokens, "temperature": 0}, path


EACH = pytest.mark.parametrize("path", ["/v1/chat/completions", MESSAGES, GENERATE])


@EACH
def test_the_first_target_that_gives_as_much_is_asked(narrow: Stack, path: str) -> None:
    for tokens, model in ((4_096, "gpt-4"), (4_097, "gpt-4o-mini"), (99_999, "gpt-4")):
        reply = narrow.post(*wanting("grows", tokens, path))
        assert (reply.status, reply.header("x-ferryman-model")) == (200, model)
        sent = json.loads(narrow.last_body())
        assert tokens in (sent.get("max_tokens"), sent.get("max_completion_tokens"))


@EACH
def test_too_much_output_can_be_refused(narrow: Stack, path: str) -> None:
    narrow.forget()
    asked = wanting("openai/gpt-4", 5_000, path)
    reply = narrow.post(*asked, headers={"x-ferryman-too-long": "error"})
    assert reply.status == 400
    assert "gives 4096 at most" in reply.json()["error"]["message"]
    assert narrow.stats()["requests"] == 0


@EACH
def test_too_much_output_can_be_lowered(narrow: Stack, path: str) -> None:
    reply = narrow.post(*wanting("openai/gpt-4", 5_000, path), headers=COMPRESS)
    assert reply.status == 200
    assert "max_output=4096" in str(reply.header("x-ferryman-altered"))
    sent = json.loads(narrow.last_body())
    assert 4_096 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    assert sent["temperature"] == 0
    reply = narrow.post(*wanting("openai/gpt-4", 4_000, path), headers=COMPRESS)
    assert "max_output" not in str(reply.header("x-ferryman-altered"))


def test_output_is_lowered_in_the_callers_own_format(narrow: Stack) -> None:
    reply = narrow.post(*wanting("gemini/gemini-2.5-flash", 70_000, GENERATE), headers=COMPRESS)
    assert "max_output=65536" in str(reply.header("x-ferryman-altered"))
    configuration = json.loads(narrow.last_body())["generationConfig"]
    assert configuration == {"maxOutputTokens": 65_536, "temperature": 0}
