"""Whom and what calls are for, and what those have used that no provider told of."""

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flow.test_bad_input import CHAT
from tests.gateway import KEY, Stack, asked
from tests.simulator import wire

PRICES = "prices: { '*': { input: 1, output: 2 } }"
CONFIG = """\
timeouts: { first_byte: 1s, cancelled: NONE }
providers:
  lab: { base_url: SIM/v1, auth: none, prices: PRICES }
  silent: { base_url: SIM/v1, auth: none, quirks: [no_stream_options], prices: PRICES }
  messages: { format: anthropic_messages, base_url: SIM/v1, auth: none, prices: PRICES }
  responses: { format: openai_responses, base_url: SIM/v1, auth: none, prices: PRICES }
  generate: { format: gemini_generate, base_url: SIM/v1beta, auth: none, prices: PRICES }
  converse: { format: bedrock_converse, base_url: SIM, key: sk-lab, prices: PRICES }
models:
  rescued: { targets: [lab/sim-cut?at=6&tokens=12, lab/sim], rescue: true }
"""
MODELS = (
    "sim", "sim-no-usage", "sim?tokens=300&tps=200", "sim-cut?at=6&tokens=12", "sim-hang?at=0",
    "sim?tokens=80&tps=100",
)  # fmt: skip
LONG, SHORT = "sim?tokens=300&tps=200", "sim?tokens=80&tps=100"


def config(cancelled: str) -> str:
    priced = ", ".join(f'"{model}": {{ input: 1, output: 2 }}' for model in MODELS)
    return CONFIG.replace("NONE", cancelled).replace("PRICES", f"{{ {priced} }}")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("labels"), config("0s")).served() as running:
        yield running


def test_a_call_says_for_whom_and_what_it_is(labelled: Stack) -> None:
    headers = {
        "x-ferryman-run-id": "run-7",
        "x-ferryman-tags": "batch, web",
        "x-ferryman-metadata": '{"task": "summarise", "tier": 2, "vip": true, "none": null}',
    }
    body: dict[str, Any] = {"user": "ada", "metadata": {"task": "theirs", "app": "shop"}}
    row = labelled.row(labelled.chat("lab/sim", headers=headers, **body))
    assert {name: row[name] for name in ("end_user", "run", "task", "tags", "metadata")} == {
        "end_user": "ada", "run": "run-7", "task": "summarise", "tags": ["batch", "web"],
        "metadata": {"task": "summarise", "app": "shop", "tier": "2", "vip": "true"},
    }  # fmt: skip
    messages = {"model": "messages/sim", "max_tokens": 9, "metadata": {"user_id": "bob"},
                "messages": [{"role": "user", "content": "Hi"}]}  # fmt: skip
    assert labelled.row(labelled.post(messages, "/v1/messages"))["end_user"] == "bob"
    safe = {"model": "responses/sim", "input": "Hi", "safety_identifier": "eve"}
    assert labelled.row(labelled.post(safe, "/v1/responses"))["end_user"] == "eve"
    for query in ("end_user=ada", "run=run-7", "tag=web", "metadata.app=shop", "task=summarise"):
        found = labelled.admin("GET", f"/api/v1/calls?{query}").json()["data"]
        assert [each["request_id"] for each in found] == [row["request_id"]], query


def test_labels_are_bounded_and_never_words_of_the_prompt(labelled: Stack) -> None:
    secret = "a very private sentence"
    body = asked("lab/sim", user=[secret], metadata={"long": "x" * 500, "deep": {"a": secret}})
    body["messages"] = [{"role": "user", "content": secret}]
    row = labelled.row(labelled.post(body))
    assert secret not in str(row)
    assert (row["end_user"], row["metadata"]) == (None, {"long": "x" * 200})
    many = {f"name{n}": str(n) for n in range(100)}
    assert len(labelled.row(labelled.chat("lab/sim", metadata=many))["metadata"]) == 32
    nul = labelled.row(labelled.chat("lab/sim", user="a\0b", metadata={"x": "c\0d"}))
    assert "\0" not in str(nul)
    plain = labelled.row(labelled.chat("lab/sim"))
    assert (plain["end_user"], plain["tags"], plain["metadata"]) == (None, [], {})
    bad = labelled.chat("lab/sim", headers={"x-ferryman-metadata": "{"})
    assert bad.status == 400


PATHS = {
    "lab": (CHAT, lambda model: asked(model, stream=True)),
    "messages": ("/v1/messages", lambda model: asked(model, stream=True, max_tokens=500)),
    "responses": ("/v1/responses", lambda model: {"model": model, "stream": True, "input": "Hi"}),
}


def _leave(stack: Stack, provider: str, model: str, words: int) -> tuple[str, int]:
    """Read some of a stream, and hang up. Returns the request id, and how many words had come."""
    path, body = PATHS.get(provider, PATHS["lab"])
    request = wire.request(path, body(f"{provider}/{model}"), {"Authorization": f"Bearer {KEY}"})
    with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as link:
        link.sendall(request)
        raw = b""
        while (count := len(_said(raw))) < words:
            piece = link.recv(65536)
            assert piece, raw
            raw += piece
    ident = re.search(rb"x-ferryman-request-id: (\S+)", raw)
    assert ident
    return ident[1].decode(), count


def _said(raw: bytes) -> list[bytes]:
    return re.findall(rb'"(?:content|text|delta)":"([^"]+)"', raw)


@pytest.mark.parametrize("provider", ["lab", "messages", "responses", "generate", "converse"])
def test_a_stream_that_is_left_is_estimated_beside_what_is_known(
    labelled: Stack, provider: str
) -> None:
    ident, words = _leave(labelled, provider, LONG, 40)
    row = labelled.row(ident)
    assert (row["status"], row["unknown_cost"]) == (499, 1)
    about = row["estimate"]
    known = row["tokens"] or {"input": 0, "output": 0}
    assert words // 2 < about["output"] + known["output"] < 600, "300 words at most"
    assert (about["input"] > 0) is (known["input"] == 0), "one of the two has the input"
    assert float(about["cost_usd"]) == pytest.approx(
        (about["input"] + 2 * about["output"]) / 1e6, rel=1e-6
    )
    if row["tokens"] is None:
        assert row["cost_usd"] is None


def test_what_failed_attempts_may_have_cost_is_estimated(labelled: Stack) -> None:
    cut = labelled.row(labelled.stream("lab/sim-cut?at=6&tokens=12"))
    assert (cut["error"], cut["tokens"], cut["cost_usd"]) == (
        "upstream_stream_truncated",
        None,
        None,
    )
    assert 3 <= cut["estimate"]["output"] <= 18
    late = labelled.row(labelled.chat("lab/sim-hang?at=0"))
    assert late["error"] == "upstream_timeout"
    assert late["estimate"]["input"] > 0
    assert 10 < late["estimate"]["output"] <= 500
    rescued = labelled.row(labelled.stream("rescued"))
    assert (rescued["status"], rescued["attempts"], rescued["unknown_cost"]) == (200, 2, 1)
    assert rescued["tokens"]["output"] > 0, "of the one that went on"
    first, second = rescued["tries"]
    assert "estimate" not in second
    assert first["estimate"] == rescued["estimate"]
    refused = labelled.row(labelled.chat("lab/sim-503"))
    assert (refused["estimate"], refused["cost_usd"]) == (None, "0")


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_without_usage_is_estimated_from_its_words(labelled: Stack, stream: bool) -> None:
    row = labelled.row(labelled.chat("silent/sim-no-usage", stream=stream, max_tokens=40))
    assert (row["status"], row["tokens"], row["cost_usd"]) == (200, None, None)
    assert 10 < row["estimate"]["output"] < 120
    assert 10 < row["estimate"]["input"] < 60
    total = labelled.admin("GET", "/api/v1/usage?model=silent/sim-no-usage").json()["total"]
    assert total["tokens"]["output"] == 0
    assert total["cost_usd"] == "0"
    assert total["estimated_calls"] == total["unknown_usage"] > 0


def test_a_provider_may_be_heard_out_when_its_caller_has_left(labelled: Stack) -> None:
    def set_to(patience: str, adopted: int) -> None:
        labelled.write(config(patience))
        labelled.up.wait_for("gateway +serving configuration", adopted)

    set_to("20s", 2)
    for provider in ("lab", "messages"):
        ident, _ = _leave(labelled, provider, SHORT, 10)
        row = labelled.row(ident)
        assert (row["status"], row["error"]) == (499, "client_closed_request")
        assert (row["tokens"]["output"], row["estimate"], row["unknown_cost"]) == (80, None, 0)
    set_to("100ms", 3)
    ident, _ = _leave(labelled, "lab", LONG, 10)
    row = labelled.row(ident)
    assert (row["tokens"], row["unknown_cost"]) == (None, 1)
    assert row["duration_ms"] < 1400, "it is not waited for"
