"""Streams that are cut where a budget is used up, with an error that their callers' SDKs raise."""

import json
from collections.abc import Iterator

import anthropic
import openai
import pytest

from tests.gateway import KEY, Stack, error_of

CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    auth: none
    prices:
      "sim?tokens=3000&tps=300": { input: 1, output: 2 }
      "sim?tokens=5": { input: 1, output: 2 }
      sim: { input: 1, output: 2 }
    models: { "sim?tokens=3000&tps=300": { max_output: 8000 }, sim: { max_output: 8000 } }
models:
  long: "lab/sim?tokens=3000&tps=300"
  short: "lab/sim?tokens=5"
limits:
  - name: cuts
    when: { metadata.cut: { exists: true } }
    by: metadata.cut
    budget: { usd: 0.001, per: month, on_exceeded: cut }
  - name: tokens
    when: { metadata.tokens: yes }
    budget: { tokens: 600, per: month, on_exceeded: cut }
    status: 429
  - name: firm
    when: { metadata.cut: firm }
    budget: { usd: 0.002, per: month }
"""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("cut"), CONFIG).served() as running:
        yield running


def of(**said: str) -> dict[str, str]:
    return {"x-ferryman-metadata": json.dumps(said)}


def test_a_stream_ends_with_an_error_where_its_budget_does_and_is_billed_for_what_it_used(
    short: Stack,
) -> None:
    client = openai.OpenAI(base_url=short.endpoint, api_key=KEY, max_retries=0)
    words = 0
    with pytest.raises(openai.APIError, match="'cuts' is used up") as caught:
        for chunk in client.chat.completions.create(
            model="long", stream=True, messages=[{"role": "user", "content": "Hi"}],
            extra_headers=of(cut="chat"),
        ):  # fmt: skip
            words += bool(chunk.choices and chunk.choices[0].delta.content)
    assert caught.value.code == "budget_exceeded"
    assert 50 < words < 3000
    row = short.row(short.chat("short", headers=of(cut="chat"), max_tokens=2000))
    assert row["error"] == "budget_exceeded", "whole answers can't be cut, and so don't begin"
    rows = short.admin("GET", "/api/v1/calls?model=long").json()["data"]
    assert rows[0]["error"] == "budget_exceeded"
    assert rows[0]["unknown_cost"] == 1
    assert 0.0007 < float(rows[0]["cost_usd"]) < 0.0011
    again = short.stream("long", headers=of(cut="chat"))
    assert (again.status, error_of(again)["code"]) == (402, "budget_exceeded")


def test_streams_that_end_within_it_are_not_disturbed(short: Stack) -> None:
    for _ in range(3):  # each may need more than there is
        reply = short.stream("short", headers=of(cut="calm"), max_tokens=4000)
        assert reply.status == 200
        assert b"[DONE]" in reply.body
        assert b"used up" not in reply.body
    assert short.stream("long", headers=of(cut="firm")).status == 402, "another one holds firm"


def test_callers_of_other_formats_get_an_error_of_theirs(short: Stack) -> None:
    client = anthropic.Anthropic(base_url=short.url, api_key=KEY, max_retries=0)
    with (
        pytest.raises(anthropic.APIStatusError, match="'cuts' is used up"),
        client.messages.stream(
            model="long", max_tokens=8000, messages=[{"role": "user", "content": "Hi"}],
            extra_headers=of(cut="messages"),
        ) as stream,
    ):  # fmt: skip
        for _ in stream:
            pass
    body = {"model": "long", "stream": True, "input": "Hi"}
    said = short.post(body, "/v1/responses", headers=of(cut="responses"))
    assert said.status == 200
    assert b"is used up" in said.body


def test_tokens_are_a_budget_too(short: Stack) -> None:
    reply = short.stream("long", headers=of(tokens="yes"))
    assert reply.status == 200
    assert b"'tokens' is used up" in reply.body
    assert reply.body.count(b"chat.completion.chunk") < 1500
    assert short.stream("long", headers=of(tokens="yes")).status == 429
