"""Streams that break off, fall silent or hold a broken event, and answers that are none."""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from ferryman.routing.health import RETRY_FLOOR
from ferryman.store.journal import read_segment
from ferryman.telemetry.record import OPENED, Opened
from tests.gateway import KEY, Stack, asked, error_of
from tests.matrix.test_broken import ENDS, body
from tests.processes import until
from tests.simulator import wire

PRICES = "prices: { sim: { input: 1, output: 2 } }"
CONFIG = f"""\
providers:
  lab: {{ base_url: SIM/v1, auth: none, {PRICES} }}
  spare: {{ base_url: SIM/v1, auth: none, {PRICES} }}
  messages: {{ format: anthropic_messages, base_url: SIM/v1, auth: x-api-key, key: env:LAB_KEY,
    headers: {{ anthropic-version: "2023-06-01" }} }}
  generate: {{ format: gemini_generate, base_url: SIM/v1beta, key: env:LAB_KEY,
    auth: "header:x-goog-api-key" }}
  canned: {{ base_url: CANNED/v1, auth: none }}
  openai: {{ base_url: SIM/v1, auth: none, headers: {{ x-sim: context }} }}
  gemini: {{ base_url: SIM/v1beta, key: env:LAB_KEY }}
models:
  cuts: {{ targets: ["lab/sim?cut&tokens=8", spare/sim] }}
  errs: {{ targets: ["lab/sim?error-event&tokens=8", spare/sim] }}
  late: {{ targets: ["lab/sim?tps=4&tokens=40", spare/sim] }}
  plain: {{ targets: ["lab/sim?tokens=0", spare/sim] }}
  empty: {{ targets: ["lab/sim?tokens=0", spare/sim], retry_empty: true }}
  refuses: {{ targets: ["lab/sim?refusal", "messages/sim?tokens=3"], retry_empty: true }}
  all-empty: {{ targets: ["lab/sim?tokens=0", "spare/sim?tokens=0"], retry_empty: true }}
  then-fails: {{ targets: ["lab/sim?tokens=0", "spare/sim?400"], retry_empty: true }}
  filtered: {{ targets: ["lab/sim?filter"], on_content_filter: "messages/sim?tokens=3" }}
  stopped: {{ targets: ["lab/sim?filtered&tokens=0"], on_content_filter: "spare/sim?tokens=3" }}
  both: {{ targets: ["lab/sim?filter"], on_content_filter: "spare/sim?filter" }}
  by-policy: {{ targets: ["lab/sim?filter"] }}
  grows: {{ targets: [openai/gpt-4, lab/sim, gemini/gemini-2.5-flash] }}
  slow: {{ targets: ["lab/sim?delay=5000", spare/sim], hedge: 300ms }}
  slow-stream: {{ targets: ["lab/sim?ttft=5000", spare/sim], hedge: 300ms }}
  slow-fails: {{ targets: ["lab/sim?delay=900", "spare/sim?500"], fallbacks: [spare/sim],
    hedge: 300ms }}
  two-paid: {{ targets: [lab/sim, spare/sim], hedge: 300ms }}
  paced: {{ targets: ["lab/sim?prompt=7", spare/sim], hedge: true }}
  eager: {{ targets: ["lab/sim?delay=150", "spare/sim?delay=100"], hedge: 20ms }}
  fails: {{ targets: ["lab/sim?500&tokens=2", spare/sim] }}
policies:
  - when: {{ metadata.task: careful }}
    on_content_filter: spare/sim
  - when: {{ metadata.task: picky }}
    on_content_filter: spare/sim
    filter: {{ ignore: [spare] }}
timeouts: {{ first_byte: 4s, idle: 1s }}
"""
CALLERS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini_generate": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("midstream"), CONFIG)
    try:
        yield running.ready()
        assert not running.complaints()
    finally:
        running.end()


def tries(stack: Stack, reply: wire.Reply) -> list[tuple[str, str]]:
    return [(each["provider"], each["error"]) for each in stack.row(reply)["tries"]]


def said(reply: wire.Reply) -> str:
    text: str = reply.json()["choices"][0]["message"]["content"]
    return text


# -- after the first word -------------------------------------------------------------------------


def broken_events(stack: Stack) -> int:
    page = stack.get("/metrics").body.decode()
    return sum(
        int(n) for n in re.findall(r"^ferryman_broken_events_total\{.*\} (\d+)$", page, re.M)
    )


@pytest.mark.parametrize("provider", ["lab", "messages", "generate"])
@pytest.mark.parametrize("caller", CALLERS)
def test_one_broken_event_is_left_out_and_counted(stack: Stack, caller: str, provider: str) -> None:
    before = broken_events(stack)
    model = f"{provider}/sim-bad-event+tokens=6+at=3"
    reply = stack.post(body(caller, model, stream=True), CALLERS[caller].replace("{model}", model))
    text = reply.body.decode()
    assert reply.status == 200
    assert ENDS[caller] in text
    assert '"error":{' not in text
    words = [word for word in ("The", "ferry", "leaves", "bank", "at") if word in text]
    assert words == ["The", "ferry", "leaves", "bank", "at"], "all but the broken one"
    assert broken_events(stack) == before + 1
    assert stack.row(reply)["error"] is None


@pytest.mark.parametrize("caller", ["openai_chat", "anthropic_messages"])
def test_a_second_broken_event_ends_the_stream(stack: Stack, caller: str) -> None:
    good = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    pieces = (good, b'data: {"choices\n\n', good, b"data: {{}}\n\n", good, b"data: [DONE]\n\n")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"

    def answer(link: Any) -> bool:
        link.sendall(head + b"".join(pieces))
        return False

    stack.canned.answers = [answer]
    reply = stack.post(body(caller, "canned/m", stream=True), CALLERS[caller])
    text = reply.body.decode()
    assert "upstream_invalid_response" in text or "not what the format says" in text
    assert ENDS[caller] not in text
    assert stack.row(reply)["error"] == "upstream_invalid_response"


@pytest.mark.parametrize(("model", "kind"), [("cuts", "upstream_stream_truncated"),
                                             ("errs", "upstream_error")])  # fmt: skip
def test_a_target_whose_streams_break_off_has_to_rest(stack: Stack, model: str, kind: str) -> None:
    first = stack.stream(model)
    assert tries(stack, first) == [("lab", kind)], "not begun anew, but put down to it"
    for _ in range(5):
        last = stack.stream(model)
    assert last.header("x-ferryman-provider") == "spare"
    assert last.data[-1] == "[DONE]"


def test_a_target_is_not_blamed_for_the_patience_of_a_caller(stack: Stack) -> None:
    for _ in range(7):
        reply = stack.stream("late", headers={"x-ferryman-timeout": "0.6"})
        assert reply.header("x-ferryman-provider") == "lab"
        assert reply.data[-1]["error"]["code"] == "upstream_timeout"


@pytest.mark.parametrize("ping", [b": still here\n\n", b'event: ping\ndata: {"type":"ping"}\n\n'])
def test_pings_do_not_make_a_stalled_stream_look_alive(stack: Stack, ping: bytes) -> None:
    gone = threading.Event()

    def answer(link: Any) -> bool:
        link.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        link.sendall(b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n')
        try:
            while not gone.wait(0.1):
                link.sendall(ping)
        except OSError:
            gone.set()
        return False

    stack.canned.answers = [answer]
    reply = stack.stream("canned/m")
    assert reply.said == "Hi"
    assert reply.data[-1]["error"]["code"] == "upstream_timeout"
    assert "no data for 1 s" in reply.data[-1]["error"]["message"]
    assert gone.wait(10), "the provider's connection is cut"


# -- answers that are none ------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_an_empty_answer_is_one_unless_the_model_says_otherwise(
    stack: Stack, streamed: bool
) -> None:
    plain, retried = (stack.chat(m, stream=streamed) for m in ("plain", "empty"))
    assert plain.header("x-ferryman-provider") == "lab"
    assert (retried.status, retried.header("x-ferryman-provider")) == (200, "spare")
    assert tries(stack, retried) == [("lab", "upstream_empty_answer"), ("spare", "")]
    if streamed:
        assert retried.said.startswith("The ferry")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_refusal_is_asked_of_the_next_in_another_format(stack: Stack, streamed: bool) -> None:
    reply = stack.chat("refuses", stream=streamed)
    assert reply.header("x-ferryman-provider") == "messages"
    assert b"refusal" not in reply.body.replace(b'"refusal":null', b"")
    assert (reply.said if streamed else said(reply)) == "The ferry leaves"


@pytest.mark.parametrize("model", ["all-empty", "then-fails"])
@pytest.mark.parametrize("streamed", [False, True])
def test_when_no_other_does_better_the_empty_answer_is_given(
    stack: Stack, model: str, streamed: bool
) -> None:
    reply = stack.chat(model, stream=streamed)
    assert reply.status == 200
    assert reply.header("x-ferryman-provider") == ("spare" if model == "all-empty" else "lab")
    assert reply.data[-1] == "[DONE]" if streamed else said(reply) == ""
    row = stack.row(reply)
    assert (row["status"], row["error"], row["attempts"]) == (200, None, 2)


def test_both_answers_are_paid_for(stack: Stack) -> None:
    both = stack.row(stack.chat("empty", sim="prompt=100"))
    assert both["tokens"]["input"] == 200, "of both"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("model", "provider"), [("filtered", "messages"), ("stopped", "spare")])
def test_what_a_filter_stops_goes_to_the_model_named_for_it(
    stack: Stack, model: str, provider: str, streamed: bool
) -> None:
    reply = stack.chat(model, stream=streamed)
    assert (reply.status, reply.header("x-ferryman-provider")) == (200, provider)
    assert tries(stack, reply) == [("lab", "content_filtered"), (provider, "")]
    assert (reply.said if streamed else said(reply)) == "The ferry leaves"


def test_a_policy_names_one_too_and_otherwise_the_caller_is_told(stack: Stack) -> None:
    told = stack.chat("by-policy")
    assert (told.status, error_of(told)["code"]) == (400, "content_filter")
    careful = {"x-ferryman-metadata": '{"task": "careful"}'}
    assert stack.chat("by-policy", headers=careful).header("x-ferryman-provider") == "spare"
    picky = {"x-ferryman-metadata": '{"task": "picky"}'}
    for wish in ({"headers": picky}, {"provider": {"ignore": ["spare"]}, "headers": careful}):
        reply = stack.chat("by-policy", **wish)
        assert (reply.status, reply.header("x-ferryman-attempts")) == (400, "1"), "filters hold"
    both = stack.chat("both")
    assert (both.status, both.header("x-ferryman-attempts")) == (400, "2"), "once, not for ever"


def test_what_a_provider_finds_too_long_goes_to_a_larger_window(stack: Stack) -> None:
    def ask(**headers: str) -> list[tuple[str, str]]:
        return tries(stack, stack.chat("grows", headers=headers))

    small = ("openai", "context_length_exceeded")
    assert ask() == [small, ("gemini", "")], "nobody knows how much the one between takes"
    assert ask(**{"x-ferryman-too-long": "next"}) == [small, ("lab", "")]
    assert ask(**{"x-ferryman-too-long": "error"}) == [small]


# -- retries of others ----------------------------------------------------------------------------


def test_callers_are_told_when_a_retry_is_useless(stack: Stack) -> None:
    for word, told in (("429&retry-after=2", None), ("429&retry-after=7200", "false"),
                       ("503&retry-after=7200", "false")):  # fmt: skip
        assert stack.chat(f"lab/sim?{word}").header("x-should-retry") == told
    stack.forget()
    http = openai.DefaultHttpxClient(trust_env=False)
    with (
        openai.OpenAI(
            base_url=stack.endpoint, api_key=KEY, max_retries=3, http_client=http
        ) as client,
        pytest.raises(openai.RateLimitError),
    ):
        client.chat.completions.create(**asked("lab/sim?429&retry-after=7200"))
    assert stack.stats()["requests"] == 1


def test_a_provider_that_wants_no_retry_gets_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    again = "  again: { targets: [canned/m], fallbacks: [spare/sim] }\n"
    config = CONFIG.replace("policies:", again + "policies:")
    own = Stack(tmp_path_factory.mktemp("again"), config)
    error = b'{"error":{"message":"busy"}}'
    head = b"HTTP/1.1 500 Oops\r\n%bcontent-length: %d\r\n\r\n"
    no = head % (b"x-should-retry: false\r\n", len(error)) + error
    try:
        own.ready()
        own.canned.answers = [no, no]
        assert tries(own, own.chat("again")) == [("canned", "upstream_error"), ("spare", "")]
        lone = head % (b"", len(error)) + error
        own.canned.answers = [lone, lone]
        retried = own.chat("again", headers={"x-stainless-retry-count": "1"})
        assert tries(own, retried)[-1] == ("spare", "")
        assert len(own.canned.answers) >= 1, "who comes again gets no second chance"
    finally:
        own.end()


# -- hedging --------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_the_first_to_begin_answers_and_the_other_is_cancelled(
    stack: Stack, streamed: bool
) -> None:
    stack.forget()
    reply = stack.chat("slow-stream" if streamed else "slow", stream=streamed)
    assert (reply.status, reply.header("x-ferryman-provider")) == (200, "spare")
    assert reply.header("x-ferryman-attempts") == "2"
    until(lambda: stack.stats()["cancelled"] == 1, "the end of the slow one's work")
    row = stack.row(reply)
    assert tries(stack, reply) == [("lab", "superseded"), ("spare", "")]
    assert row["error"] is None
    lost, won = row["tries"]
    assert (lost["tokens"], lost["cost_usd"], lost["unknown_cost"]) == (None, None, True)
    assert (won["tokens"]["output"], won["unknown_cost"]) == (16, False)
    assert (row["unknown_cost"], row["cost_usd"]) == (1, won["cost_usd"])
    assert row["cost_usd"] == "0.000036", "what is known: 4 tokens in, 16 out"
    assert 0 < row["overhead_ms"] < 300, "the gateway's own time is not that of the slow one"
    if not streamed:
        assert reply.header("x-ferryman-cost-usd") == row["cost_usd"]
        assert reply.header("x-ferryman-unknown-cost") == "1"
    if streamed:
        assert reply.data[-1] == "[DONE]"


def test_what_is_held_for_a_hedged_call_is_enough_for_two(stack: Stack) -> None:
    reply = stack.chat("two-paid", max_tokens=50)
    most = len(json.dumps(asked("two-paid", max_tokens=50))) * 10**6 + 50 * 2 * 10**6
    frames = [
        frame
        for path in (stack.data / "journal").rglob("*.fj")
        for frame in read_segment(path)[0]
        if frame.kind == OPENED
    ]
    held = [msgspec.msgpack.decode(frame.payload, type=Opened) for frame in frames]
    ident = reply.header("x-ferryman-request-id")
    assert [each.hold for each in held if each.id == ident] == [2 * most]


def test_a_hedge_that_fails_leaves_the_first_one_to_answer(stack: Stack) -> None:
    reply = stack.chat("slow-fails")
    assert (reply.status, reply.header("x-ferryman-provider")) == (200, "lab")
    assert tries(stack, reply) == [("spare", "upstream_error"), ("lab", "")]


def test_a_caller_who_leaves_ends_both(stack: Stack) -> None:
    stack.forget()
    fields = asked("slow", sim="delay=20000")
    request = wire.request("/v1/chat/completions", fields, {"Authorization": f"Bearer {KEY}"})
    assert wire.talk(stack.port, request, 1.2).status == 0
    until(lambda: stack.stats()["cancelled"] == 2, "the end of both")


def test_by_its_own_pace_a_target_is_hedged_only_when_it_is_slow(stack: Stack) -> None:
    quick = [stack.chat("paced") for _ in range(40)]
    assert {reply.header("x-ferryman-provider") for reply in quick[:20]} == {"lab"}
    slow = stack.chat("paced", sim="delay=3000,fail-first=0")
    assert slow.status == 200
    assert slow.header("x-ferryman-attempts") == "2"


def test_sdks_see_nothing_of_it(stack: Stack) -> None:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=stack.endpoint, api_key=KEY, http_client=http) as client:
        for model in ("slow-stream", "empty", "stopped"):
            stream = client.chat.completions.create(**asked(model), stream=True)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            assert text.startswith("The ferry leaves"), model
    with anthropic.Anthropic(
        base_url=stack.url, api_key=KEY, http_client=anthropic.DefaultHttpxClient(trust_env=False)
    ) as claude:
        for model in ("slow-stream", "refuses", "filtered"):
            with claude.messages.stream(
                model=model, max_tokens=50, messages=[{"role": "user", "content": "Hi"}]
            ) as events:
                assert events.get_final_text().startswith("The ferry leaves"), model


def test_hedging_leaves_attempts_for_calls_that_fail(stack: Stack) -> None:
    with ThreadPoolExecutor(24) as callers:
        replies = list(callers.map(lambda _: stack.chat("eager"), range(RETRY_FLOOR + 20)))
    assert {reply.status for reply in replies} == {200}
    hedged = sum(reply.header("x-ferryman-attempts") == "2" for reply in replies)
    assert 0 < hedged <= RETRY_FLOOR / 2
    assert tries(stack, stack.chat("fails")) == [("lab", "upstream_error"), ("spare", "")]
