"""What there is besides calls: models, health, metrics. And names, policies, strategies."""

import json
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest

from ferryman.edge import places
from ferryman.edge.places import METRICS, OPEN, PLACES, PLANES, Place
from ferryman.edge.routes import CALLS, V2
from tests.gateway import KEY, LAB_KEY, Stack, asked, error_of
from tests.processes import request
from tests.telemetry.test_metrics import read

# -- models ---------------------------------------------------------------------------------------


def test_models_are_listed_as_openai_lists_them(stack: Stack) -> None:
    for path in ("/v1/models", "/models", "/v1/models/"):
        reply = stack.get(path)
        assert reply.status == 200
        found = reply.json()
        assert found["object"] == "list"
        for model in found["data"]:
            assert model["object"] == "model"
            assert isinstance(model["id"], str)
            assert isinstance(model["created"], int)
            assert isinstance(model["owned_by"], str)
    names = [model["id"] for model in found["data"]]
    assert len(set(names)) == len(names)
    assert {"quick", "two", "shares", "lab/sim"} <= set(names)
    assert "dreaming" not in names, "none of its providers is active"
    assert not any(name.startswith("asleep/") for name in names)
    owners = {model["id"]: model["owned_by"] for model in found["data"]}
    assert (owners["quick"], owners["lab/sim"]) == ("ferryman", "lab")
    assert stack.get("/v1/models/quick").json()["owned_by"] == "ferryman"


@pytest.mark.parametrize(
    "name",
    ["quick", "lab/sim", "lab/sim?tokens=5", "lab/accounts/x/models/y", "lab/größe", "lab/a b%c",
     "spare/any-name-it-may-know"],
)  # fmt: skip
def test_one_model_by_any_name_that_can_be_called(stack: Stack, name: str) -> None:
    for path in (quote(name, safe=""), quote(name)):
        reply = stack.get(f"/v1/models/{path}")
        assert reply.status == 200
        assert reply.json()["id"] == name
    assert stack.get(f"/models/{quote(name)}").json()["id"] == name


@pytest.mark.parametrize("name", ["no-such", "asleep/x", "dreaming", "x" * 5000, "%ff%fe"])
def test_a_model_that_cannot_be_called_is_not_found(stack: Stack, name: str) -> None:
    reply = stack.get(f"/v1/models/{name}")
    assert reply.status == 404
    assert error_of(reply)["code"] == "model_not_found"


def test_models_are_for_callers_with_a_key(stack: Stack) -> None:
    for path in ("/v1/models", "/v1/models/quick", "/models"):
        assert stack.get(path, key=None).status == 401
        assert error_of(stack.get(path, key="wrong"))["code"] == "invalid_api_key"
        assert request(stack.url, path=path, headers={"x-api-key": KEY}).status == 200


# -- health and metrics ---------------------------------------------------------------------------


def test_health_and_readiness_need_no_key(stack: Stack) -> None:
    assert stack.get("/healthz", key=None).json() == {"status": "ok"}
    ready = stack.get("/readyz", key=None)
    assert (ready.status, ready.json()["status"]) == (200, "ready")
    bearer = {"authorization": f"Bearer {stack.metrics_token}"}
    names = request(stack.url, path="/readyz", headers=bearer).json()["providers"]
    assert {"lab", "spare", "canned"} <= set(names)
    assert "asleep" not in names
    assert ready.json()["providers"] == len(names)
    assert stack.get("/readyz").json()["providers"] == len(names), "a caller's key tells no more"
    for path in ("/healthz", "/readyz", "/"):
        head = request(stack.url, "HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) == len(stack.get(path, key=None).body)


def test_the_control_plane_is_given_no_keys_of_providers(stack: Stack) -> None:
    """But knows that they are there: its providers are active, and calls are served."""
    given = {
        module: Path(f"/proc/{stack.process(module)}/environ").read_bytes()
        for module in (b"ferryman.control", b"ferryman.edge")
    }
    assert LAB_KEY.encode() in given[b"ferryman.edge"]
    assert LAB_KEY.encode() not in given[b"ferryman.control"]
    assert b"withheld:LAB_KEY" in given[b"ferryman.control"]
    assert stack.chat("lab/sim").status == 200


def test_every_endpoint_is_open_to_whom_it_declares_and_to_nobody_else(stack: Stack) -> None:
    """All of them ask from loopback, and say that a proxy there passes on what they ask."""
    feed = (stack.data / "secrets" / "feed-token").read_text().strip()
    tokens = {OPEN: "nobody's", places.KEY: KEY, PLANES: feed, METRICS: stack.metrics_token}
    opened = {OPEN: {*tokens}, places.KEY: {places.KEY}, PLANES: {PLANES}}
    opened[METRICS] = {METRICS, PLANES}
    one = {b"/v1/models/quick": b"GET", b"/v1beta/models/quick:generateContent": b"POST"}
    calls = dict.fromkeys([*V2, *(b"/v1" + path for path in CALLS)], b"POST") | one
    paths = PLACES | {path: Place(method, places.KEY) for path, method in calls.items()}
    for path, place in paths.items():
        method = place.methods.decode().partition(",")[0]
        for who, token in tokens.items():
            headers = {"authorization": f"Bearer {token}", "x-forwarded-for": "127.0.0.1"}
            body = b"{" if method == "POST" else None
            reply = request(stack.url, method, path.decode(), body=body, headers=headers)
            told = (path, who, reply.status, reply.body)
            assert (reply.status not in (401, 429)) == (who in opened[place.access]), told
            assert b"ferryman_calls_total" not in reply.body or place.access == METRICS, told
    assert request(stack.url, path="/metrics").status == 401


def test_metrics_are_a_page_that_prometheus_reads(stack: Stack) -> None:
    for model in ("lab/sim", "lab/sim-429", 'lab/odd"name\\\n', "no-such-model"):
        stack.chat(model)
    reply = stack.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = read(reply.body)
    calls = {
        (labels["endpoint"], labels["provider"], labels["model"], labels["status"]): value
        for key, value in found["ferryman_calls_total"].items()
        for labels in [dict(key)]
    }
    assert calls["chat.completions", "lab", "sim", "200"] >= 1
    assert calls["chat.completions", "lab", 'odd"name\\\n', "200"] == 1
    assert calls["chat.completions", "", "", "404"] >= 1
    assert not any("no-such-model" in name for key in calls for name in key)
    assert found["ferryman_client_connections"][()] >= 1
    assert found["ferryman_tokens_total"]
    assert found["ferryman_cost_picodollars_total"]


def test_names_that_callers_make_up_are_no_labels_until_they_work(stack: Stack) -> None:
    for number in range(5):
        assert stack.chat(f"canned-not-there-{number}").status == 404
        assert stack.chat(f"lab/sim-404+many-headers={number}").status == 404
    page = stack.get("/metrics").body.decode()
    assert "sim-404+many-headers" not in page
    assert 'provider="lab",model="other",status="404"' in page


def test_metrics_count_what_the_ledger_counts(stack: Stack) -> None:
    name = "sim?tokens=7"
    labels = (
        ("endpoint", "chat.completions"),
        ("provider", "lab"),
        ("model", name),
        ("status", "200"),
    )
    for _ in range(3):
        assert stack.stream(f"lab/{name}").status == 200
    found = read(stack.get("/metrics").body)
    assert found["ferryman_calls_total"][labels] == 3
    assert found["ferryman_tokens_total"][(*labels, ("class", "output"))] == 21
    assert found["ferryman_call_seconds_count"][labels] == 3
    assert found["ferryman_cost_unknown_calls_total"][labels] == 3, "it has no price"


def test_the_root_says_what_this_is(stack: Stack) -> None:
    assert stack.get("/", key=None).json() == {"ferryman": "gateway", "openai_base_url": "/v1"}


# -- names, policies, strategies ------------------------------------------------------------------


def test_a_name_of_ones_own_leads_to_its_target(stack: Stack) -> None:
    reply = stack.chat("quick")
    assert json.loads(stack.last_body())["model"] == "sim"
    row = stack.row(reply)
    assert (row["model"], row["provider"], row["target"]) == ("quick", "lab", "sim")
    assert row["cost_usd"] == "0.000036"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_bare_name_leads_to_the_provider_that_has_it(stack: Stack, streamed: bool) -> None:
    reply = stack.chat("mistral-small-latest", stream=streamed, max_completion_tokens=4)
    assert reply.status == 200
    assert reply.header("x-ferryman-provider") == "mistral"
    assert reply.header("x-ferryman-model") == "mistral-small-latest"
    assert stack.last_headers()["authorization"] == "Bearer sk-bare"
    sent = json.loads(stack.last_body())
    assert sent["model"] == "mistral-small-latest"
    assert sent["max_tokens"] == 4, "as this provider calls it"
    assert not sent.keys() & {"max_completion_tokens", "stream_options"}
    row = stack.row(reply)
    assert row["model"] == "mistral-small-latest"
    if not streamed:
        assert row["tokens"]["output"] == 4
        assert float(row["cost_usd"]) > 0
        assert reply.header("x-ferryman-cost-usd") == row["cost_usd"]


@pytest.mark.parametrize(
    ("metadata", "provider"),
    [
        ({"task": "summarise", "tier": 2}, "spare"),
        ({"task": "summarise", "tier": "2", "more": True}, "spare"),
        ({"task": "summarise", "tier": 3}, "lab"),
        ({"task": "summarise"}, "lab"),
        ({"Task": "summarise", "tier": 2}, "lab"),
        ({}, "lab"),
        (None, "lab"),
    ],
)
def test_policies_go_by_metadata(stack: Stack, metadata: object, provider: str) -> None:
    for model in ("lab/sim", "quick"):
        reply = stack.chat(model, metadata=metadata)
        assert reply.header("x-ferryman-provider") == provider
    row = stack.row(reply)
    assert (row["model"], row["provider"]) == ("quick", provider)
    sent = json.loads(stack.last_body())
    assert sent["metadata"] == metadata


def test_a_policy_holds_whatever_model_is_asked_for(stack: Stack) -> None:
    metadata = {"task": "summarise", "tier": 2}
    assert stack.chat("no-such-model", metadata=metadata).header("x-ferryman-provider") == "spare"


def test_weights_share_the_calls(stack: Stack) -> None:
    counts = Counter(stack.chat("shares").header("x-ferryman-provider") for _ in range(160))
    assert sum(counts.values()) == 160
    assert 85 < counts["lab"] < 150, "three of four, give or take more than chance does"
    assert 10 < counts["spare"] < 75


def test_latency_finds_the_target_that_works_and_is_quick(stack: Stack) -> None:
    replies = [stack.chat("nearest") for _ in range(12)]
    assert all(reply.status == 200 for reply in replies)
    last = [reply.header("x-ferryman-provider") for reply in replies[-6:]]
    assert last == ["spare"] * 6, "not the dead one, not the one with a delay"
    assert [reply.header("x-ferryman-attempts") for reply in replies[-6:]] == ["1"] * 6


def test_calls_on_one_connection_are_calls_of_their_own(stack: Stack) -> None:
    """Heads that repeat are not parsed anew: nothing of one call may show in the next."""
    import http.client

    link = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    seen = set()
    for number in range(30):
        model = ("lab/sim", "spare/sim", "lab/sim-429", "quick", "no-such")[number % 5]
        key = KEY if number % 7 else "wrong"
        summary = {"x-ferryman-summary": "1"} if number % 3 == 0 else {}
        fields = asked(model, stream=number % 2 == 0)
        sent = {"authorization": f"Bearer {key}", "content-type": "application/json", **summary}
        link.request("POST", "/v1/chat/completions", json.dumps(fields), sent)
        reply = link.getresponse()
        body = reply.read()
        seen.add(reply.headers["x-ferryman-request-id"])
        if key != KEY:
            assert reply.status == 401
            continue
        wanted = {"lab/sim-429": 429, "no-such": 404}.get(model, 200)
        assert reply.status == wanted
        if wanted == 200:
            provider = "spare" if model.startswith("spare") else "lab"
            assert reply.headers["x-ferryman-provider"] == provider
            assert (b": ferryman {" in body) == (bool(summary) and fields["stream"])
    link.close()
    assert len(seen) == 30
