"""The cache of answers and Idempotency-Key, through a whole installation."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.gateway import KEY, Stack, asked
from tests.processes import environment, request, until
from tests.simulator import wire

CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    auth: none
    prices: { sim: { input: 1, output: 2 }, "sim?tokens=3": { input: 1, output: 2 } }
  other: { base_url: SIM/v1, format: anthropic_messages, auth: none }
cache: { ttl: 1h, max_answer: 20KB }
limits:
  - name: door
    when: { metadata.task: limited }
    requests: { most: 5, per: day }
    tokens: { most: 2000, per: day }
    parallel: 1
    budget: { tokens: 5000, per: month }
policies:
  - when: { metadata.task: fresh }
    cache: false
"""


@pytest.fixture(scope="module")
def caching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("caching"), CONFIG).served() as running:
        yield running


@pytest.fixture(autouse=True)
def count_anew(caching: Stack) -> None:
    caching.forget()


def upstream(stack: Stack) -> int:
    """Calls that a provider got."""
    found: int = stack.stats()["requests"]
    return found


def how(reply: wire.Reply) -> str | None:
    assert reply.status == 200, reply.body
    return reply.header("x-ferryman-cache")


def another_key(stack: Stack, name: str, **facts: str) -> str:
    """A new virtual key, once the gateway knows it."""
    key: str = stack.admin("POST", "/api/v1/keys", {"name": name, **facts}).json()["key"]
    until(lambda: stack.get("/v1/models", key=key).status == 200, "the new key")
    return key


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def test_the_same_request_costs_nothing_twice(caching: Stack) -> None:
    first = caching.chat("lab/sim", **say("one"))
    again = caching.chat("lab/sim", **say("one"), metadata={"trace": "17"}, temperature=None)
    assert [how(first), how(again)] == ["miss", "hit"]
    assert again.body == first.body
    assert int(again.header("age") or "") >= 0
    assert again.header("x-ferryman-provider") == "lab"
    assert again.header("content-type") == first.header("content-type")
    assert upstream(caching) == 1
    row, paid = caching.row(again), caching.row(first)
    assert (row["cache"], row["cost_usd"], row["saved_usd"]) == ("hit", "0", paid["cost_usd"])
    assert (row["provider"], row["target"], row["attempts"]) == ("lab", "sim", 0)
    assert paid["cost_usd"] != "0"
    assert (paid["cache"], paid["saved_usd"]) == ("miss", None)
    total = caching.admin("GET", "/api/v1/usage").json()["total"]
    assert total["repeated"] >= 1
    assert total["saved_usd"] == paid["cost_usd"]


def test_streams_come_again_as_streams(caching: Stack) -> None:
    sent = say("a stream", stream_options={"include_usage": True})
    summary = {"x-ferryman-summary": "1"}
    first = caching.stream("lab/sim", **sent, headers=summary)
    again = caching.stream("lab/sim", **sent)
    third = caching.stream("lab/sim", **sent, headers=summary)
    assert [how(first), how(again), how(third)] == ["miss", "hit", "hit"]
    assert again.header("content-type") == first.header("content-type")
    assert again.body.endswith(b"data: [DONE]\n\n")
    assert b": ferryman" not in again.body
    told = [line for line in third.body.splitlines() if line.startswith(b": ferryman ")]
    ident = third.header("x-ferryman-request-id")
    assert [json.loads(line[11:])["request_id"] for line in told] == [ident]
    assert how(caching.chat("lab/sim", **sent | {"stream_options": None})) == "miss", "it is whole"


def test_official_clients_of_other_formats_read_a_hit(caching: Stack) -> None:
    http = openai.DefaultHttpxClient(trust_env=False)
    client = openai.OpenAI(base_url=caching.endpoint, api_key=KEY, http_client=http)
    theirs = anthropic.Anthropic(
        base_url=caching.url, api_key=KEY, http_client=anthropic.DefaultHttpxClient(trust_env=False)
    )
    for model in ("lab/sim?tokens=3", "other/sim?tokens=3"):
        for _ in range(2):
            answer = client.responses.create(model=model, input="Hello")
            assert answer.output_text == "The ferry leaves"
            with theirs.messages.stream(
                model=model, max_tokens=50, messages=[{"role": "user", "content": "Hello"}]
            ) as events:
                assert events.get_final_text() == "The ferry leaves"
            vectors = client.embeddings.create(model="lab/sim", input=["a", "b"])
            assert len(vectors.data) == 2
    # One of each kind and model, but the vectors, which have one model.
    assert upstream(caching) == 5


def test_what_differs_is_asked(caching: Stack) -> None:
    caching.chat("lab/sim", **say("base"))
    others = [
        caching.chat("lab/sim", **say("base"), temperature=0.5),
        caching.chat("lab/sim", **say("base"), user="u1"),
        caching.chat("lab/sim?tokens=4", **say("base")),
        caching.chat("lab/sim", **say("base"), headers={"x-ferryman-cache-namespace": "mine"}),
    ]
    assert {how(reply) for reply in others} == {"miss"}
    made = another_key(caching, "another")
    reply = caching.post(asked("lab/sim", **say("base")), key=made)
    assert how(reply) == "miss", "another key has a cache of its own"
    assert upstream(caching) == 6


@pytest.mark.parametrize(
    ("headers", "then"),
    [
        ({"cache-control": "no-store"}, ["bypass", "bypass"]),
        ({"cache-control": "no-cache"}, ["miss", "miss"]),
        ({"cache-control": "max-age=600"}, ["hit", "hit"]),
        ({"cache-control": "max-age=0"}, ["miss", "miss"]),
        ({"x-ferryman-cache": "off"}, ["bypass", "bypass"]),
        ({"cf-aig-skip-cache": "true"}, ["bypass", "bypass"]),
        ({"x-portkey-cache-force-refresh": "true"}, ["miss", "miss"]),
        ({"x-portkey-cache-namespace": "a"}, ["miss", "hit"]),
        ({"helicone-cache-enabled": "true"}, ["hit", "hit"]),
        ({"x-openrouter-cache": "true", "x-openrouter-cache-ttl": "60"}, ["hit", "hit"]),
        ({"x-ferryman-metadata": '{"task": "fresh"}'}, ["bypass", "bypass"]),
    ],
)
def test_callers_and_policies_decide(
    caching: Stack, headers: dict[str, str], then: list[str]
) -> None:
    sent = say(f"deciding {headers}")
    assert how(caching.chat("lab/sim", **sent)) == "miss"
    assert [how(caching.chat("lab/sim", **sent, headers=headers)) for _ in then] == then
    assert how(caching.chat("lab/sim", **sent)) == "hit", "the first answer, or a newer one"


def test_what_was_not_to_be_kept_is_not(caching: Stack) -> None:
    sent = say("secret")
    assert how(caching.chat("lab/sim", **sent, headers={"cache-control": "no-store"})) == "bypass"
    assert how(caching.chat("lab/sim", **sent)) == "miss"
    short = {"x-ferryman-cache-ttl": "1"}
    assert how(caching.chat("lab/sim", **say("short"), headers=short)) == "miss"
    until(lambda: how(caching.chat("lab/sim", **say("short"), headers=short)) == "miss", "an end")


@pytest.mark.parametrize(
    ("name", "value"), [("x-ferryman-cache", "perhaps"), ("x-ferryman-cache-ttl", "1h")]
)
def test_headers_that_mean_nothing_are_refused(caching: Stack, name: str, value: str) -> None:
    reply = caching.chat("lab/sim", headers={name: value})
    assert reply.status == 400
    assert name in reply.json()["error"]["message"]


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("lab/sim-503", {}),
        ("lab/sim-400", {}),
        ("lab/sim-cut", {"stream": True}),
        ("lab/sim-tools", {"tools": [TOOL]}),
        ("lab/sim-tools", {"tools": [TOOL], "stream": True}),
        ("lab/sim?tokens=9000", {}),
        ("lab/sim?tokens=9000&per-chunk=50", {"stream": True}),
    ],
)
def test_failures_tool_calls_and_large_answers_are_not_kept(
    caching: Stack, model: str, fields: dict[str, Any]
) -> None:
    for _ in range(2):
        reply = caching.chat(model, **fields)
        assert reply.header("x-ferryman-cache") == "miss"
    assert upstream(caching) == 2


def test_a_call_that_changes_something_goes_on(caching: Stack) -> None:
    for _ in range(2):
        assert how(caching.chat("lab/sim", store=True)) == "bypass"
    assert upstream(caching) == 2


def test_a_hit_is_a_request_and_takes_nothing_else(caching: Stack) -> None:
    def left() -> dict[tuple[str, str], Any]:
        token = (caching.data / "secrets" / "feed-token").read_text().strip()
        rows = caching.get("/internal/limits", key=token).json()
        return {(row["kind"], row["measure"]): row["left"] for row in rows}

    def ask(key: str) -> wire.Reply:
        headers = {"x-ferryman-metadata": '{"task": "limited"}', "idempotency-key": key}
        return caching.chat("lab/sim", **say("limited"), max_tokens=50, headers=headers)

    assert how(ask("limited-1")) == "miss"
    before = left()
    assert 0 < before["budget", "tokens"] < 5000
    again = [ask(key) for key in ("limited-1", "limited-2", "limited-3", "limited-3")]
    assert [reply.header("x-ratelimit-remaining-requests") for reply in again] == list("3210")
    assert [how(reply) for reply in again] == [None, "hit", "hit", None]
    after = left()
    assert after["budget", "tokens"] == before["budget", "tokens"]
    assert after["limit", "tokens"] >= before["limit", "tokens"]
    refused = ask("limited-1")
    assert (refused.status, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert caching.row(refused)["status"] == 429
    assert upstream(caching) == 1


# -- simultaneous calls


@pytest.mark.parametrize("stream", [False, True])
def test_simultaneous_calls_have_one_answer(caching: Stack, stream: bool) -> None:
    sent = say("at once", stream=stream)
    with ThreadPoolExecutor(20) as pool:
        replies = list(
            pool.map(lambda _: caching.chat("lab/sim?tokens=9&tps=20", **sent), range(20))
        )
    assert Counter(map(how, replies)) == {"miss": 1, "coalesced": 19}
    assert len({reply.body for reply in replies}) == 1
    assert upstream(caching) == 1


def test_when_the_first_fails_the_others_do_not(caching: Stack) -> None:
    # The first call of this model fails after a while, later ones are well.
    faults = json.dumps({"flaky": ["503,delay=500", "delay=300"]})
    request(caching.sim_url, "POST", "/sim/faults", body=faults)
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: caching.chat("lab/flaky"), range(12)))
    request(caching.sim_url, "DELETE", "/sim/faults")
    found = Counter(reply.status for reply in replies)
    assert found == {200: 11, 503: 1}
    assert upstream(caching) == 2, "one of the others asks, and the rest wait for that"


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_first_leaves_the_others_do_not(caching: Stack, stream: bool) -> None:
    body = asked("lab/sim?tokens=20&tps=20", **say(f"leaving {stream}"), stream=stream)
    sent = wire.request("/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}"})
    first = socket.create_connection(("127.0.0.1", caching.port))
    first.sendall(sent)
    until(lambda: caching.stats()["active"], "the first call")
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(caching.post, body) for _ in range(3)]
        until(lambda: b"ferryman_in_flight_calls 4" in caching.get("/metrics").body, "the others")
        first.close()
        replies = [each.result() for each in waiting]
    assert {how(reply) for reply in replies} == {"coalesced"}
    assert upstream(caching) == 1
    assert caching.stats()["cancelled"] == 0


def test_when_all_leave_the_provider_stops(caching: Stack) -> None:
    body = asked("lab/sim?tokens=200&tps=20", **say("all leave"), stream=True)
    sent = wire.request("/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}"})
    links = []
    for _ in range(3):
        links.append(socket.create_connection(("127.0.0.1", caching.port)))
        links[-1].sendall(sent)
        until(lambda: caching.stats()["active"], "the first call")
    page = b"ferryman_in_flight_calls 3"
    until(lambda: page in caching.get("/metrics").body, "three calls")
    for link in links:
        link.close()
    until(lambda: caching.stats()["cancelled"] == 1, "the end of the provider's work")
    until(lambda: b"ferryman_in_flight_calls 0" in caching.get("/metrics").body, "their end")


# -- Idempotency-Key


def test_a_repeated_call_is_billed_once(caching: Stack) -> None:
    key = {"idempotency-key": "order-1", "cache-control": "no-store"}
    first = caching.chat("lab/sim", **say("pay"), headers=key)
    again = caching.chat("lab/sim", **say("pay"), headers=key)
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert again.header("idempotent-replayed") == "true"
    assert first.header("idempotent-replayed") is None
    assert upstream(caching) == 1
    row = caching.row(again)
    assert (row["cache"], row["cost_usd"]) == ("replayed", "0")
    other = caching.chat("lab/sim", **say("pay more"), headers=key)
    assert other.status == 422
    assert other.json()["error"]["code"] == "idempotency_conflict"
    made = another_key(caching, "stranger")
    assert caching.post(asked("lab/sim", **say("x")), key=made, headers=key).status == 200


def test_repeated_at_once_it_is_one_call(caching: Stack) -> None:
    key = {"idempotency-key": "order-2", "cache-control": "no-store"}
    body = say("pay", stream=True)
    with ThreadPoolExecutor(8) as pool:
        calls = [
            pool.submit(caching.chat, "lab/sim?tokens=9&tps=20", **body, headers=key)
            for _ in range(8)
        ]
        replies = [each.result() for each in calls]
    assert Counter(reply.header("idempotent-replayed") for reply in replies) == {None: 1, "true": 7}
    assert len({reply.body for reply in replies}) == 1
    assert upstream(caching) == 1


def test_who_was_cut_off_gets_the_answer_when_he_asks_again(caching: Stack) -> None:
    body = asked("lab/sim?tokens=20&tps=40", **say("cut off"), stream=True)
    headers = {"idempotency-key": "order-3", "cache-control": "no-store"}
    sent = wire.request("/v1/chat/completions", body, headers | {"Authorization": f"Bearer {KEY}"})
    with socket.create_connection(("127.0.0.1", caching.port)) as link:
        link.sendall(sent)
        assert link.recv(100)
    again = caching.post(body, headers=headers)
    assert again.header("idempotent-replayed") == "true"
    assert again.body.endswith(b"data: [DONE]\n\n")
    assert upstream(caching) == 1


def test_a_failed_call_may_be_repeated(caching: Stack) -> None:
    key = {"idempotency-key": "order-4"}
    faults = json.dumps({"flaky-2": ["503", ""]})
    request(caching.sim_url, "POST", "/sim/faults", body=faults)
    assert caching.chat("lab/flaky-2", headers=key).status == 503
    assert caching.chat("lab/flaky-2", headers=key).status == 200
    assert caching.chat("lab/flaky-2", headers=key).header("idempotent-replayed") == "true"
    request(caching.sim_url, "DELETE", "/sim/faults")


def test_an_answer_too_large_to_repeat_is_not_billed_again(caching: Stack) -> None:
    key = {"idempotency-key": "order-5"}
    assert caching.chat("lab/sim?tokens=9000", headers=key).status == 200
    assert caching.chat("lab/sim?tokens=9000", headers=key).status == 409
    assert upstream(caching) == 1


def test_a_key_that_is_too_long_is_refused(caching: Stack) -> None:
    assert caching.chat("lab/sim", headers={"idempotency-key": "x" * 256}).status == 400


def test_the_metrics_and_the_command_tell(caching: Stack) -> None:
    for _ in range(2):
        last = caching.chat("lab/sim", **say("told"))
    caching.row(last)
    page = caching.get("/metrics").body.decode()
    assert 'ferryman_cache_calls_total{cache="hit"}' in page
    assert 'ferryman_cache_bytes{of="idempotency"}' in page

    def usage(*flags: str) -> str:
        command = [sys.executable, "-m", "ferryman", "usage", *flags]
        env = environment(caching.data)
        del env["FERRYMAN_ADMIN_PORT"]  # it is where the data directory says
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    [head, *_] = usage().splitlines()
    assert "Repeated" in head
    assert "Saved" in head
    rows = list(csv.DictReader(io.StringIO(usage("--csv"))))
    assert sum(int(row["repeated"]) for row in rows) > 0
    assert sum(Decimal(row["saved_usd"]) for row in rows) > 0


def test_answers_on_the_disk_outlive_a_restart(tmp_path: Path) -> None:
    config = CONFIG.replace("ttl: 1h", "ttl: 1h, store: sqlite, scope: all")
    config += "idempotency: { store: sqlite }\n"
    key = {"idempotency-key": "order-1", "cache-control": "no-store"}
    with Stack(tmp_path, config).served() as stack:
        first = stack.chat("lab/sim", **say("canary on the disk"))
        stream = stack.stream("lab/sim", **say("canary on the disk"))
        paid = stack.chat("lab/sim", headers=key)
        stack.restart()
        made = another_key(stack, "colleague")
        again = stack.post(asked("lab/sim", **say("canary on the disk")), key=made)
        assert (how(again), again.body) == ("hit", first.body), "the cache is for all keys"
        assert stack.stream("lab/sim", **say("canary on the disk")).body == stream.body
        repeated = stack.chat("lab/sim", headers=key)
        assert (repeated.header("idempotent-replayed"), repeated.body) == ("true", paid.body)
        assert upstream(stack) == 3
        files = [path for path in stack.data.iterdir() if path.name.startswith("cache.db")]
        assert files
        assert not any(b"canary" in path.read_bytes() for path in files)


def test_no_answer_crosses_its_scope(tmp_path: Path) -> None:
    """Every key asks the same, one after the other."""
    whose: list[dict[str, str]] = [
        {"organisation": "acme", "team": "research"}, {"organisation": "acme", "team": "research"},
        {"organisation": "acme", "team": "sales"}, {"organisation": "zoo", "team": "research"},
        {"organisation": "acme"}, {"team": "research"}, {}, {},
    ]  # fmt: skip
    with Stack(tmp_path, CONFIG).served() as stack:
        keys = [another_key(stack, f"key {n}", **facts) for n, facts in enumerate(whose)]

        def found(said: str) -> str:
            """H for each key whose call was a hit, or m."""
            answers = [stack.post(asked("lab/sim", **say(said)), key=key) for key in keys]
            return "".join({"hit": "H", "miss": "m"}[str(how(each))] for each in answers)

        assert found("key") == "mmmmmmmm"
        for scope, expected in (
            ("team", "mHmmmmmm"), ("organisation", "mHHmHmmm"), ("all", "mHHHHHHH"),
        ):  # fmt: skip
            stack.write(CONFIG.replace("ttl: 1h", f"ttl: 1h, scope: {scope}"))
            until(lambda expected=expected: found(os.urandom(4).hex()) == expected, scope)


def test_only_those_who_ask(tmp_path: Path) -> None:
    config = CONFIG.replace("ttl: 1h", "ttl: 1h, when: asked, tool_calls: true, coalesce: false")
    config += "  - when: { metadata.task: faq }\n    cache: 10m\nidempotency: { keep: 0s }\n"
    with Stack(tmp_path, config).served() as stack:
        on, faq = {"x-ferryman-cache": "on"}, {"x-ferryman-metadata": '{"task": "faq"}'}
        assert [how(stack.chat("lab/sim")) for _ in range(2)] == ["bypass", "bypass"]
        assert [how(stack.chat("lab/sim", headers=on)) for _ in range(2)] == ["miss", "hit"]
        assert how(stack.chat("lab/sim", headers=faq)) == "hit"
        tools = [how(stack.chat("lab/sim-tools", tools=[TOOL], headers=on)) for _ in range(2)]
        assert tools == ["miss", "hit"]
        with ThreadPoolExecutor(3) as pool:
            body = say("at once")
            calls = [
                pool.submit(stack.chat, "lab/sim?delay=400", **body, headers=on) for _ in range(3)
            ]
            assert {how(call.result()) for call in calls} == {"miss"}
        key = {"idempotency-key": "order-1"}
        replies = [stack.chat("lab/sim", headers=key) for _ in range(2)]
        assert [reply.header("idempotent-replayed") for reply in replies] == [None, None]
        assert stack.last_headers()["idempotency-key"] == "order-1"
