"""Keys that are bound: what they may, what they may not, and that nothing leads out of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ferryman.config.feed import KeyBounds
from ferryman.config.key_bounds import ENDPOINTS, KeyBoundsError, checked
from ferryman.edge.listing import METHODS
from ferryman.edge.routes import CALLS, V2
from ferryman.flow.key_bounds import Confines
from tests.gateway import KEY, Stack, asked, error_of
from tests.processes import until
from tests.receivers import Hook
from tests.simulator import wire

CONFIG = """\
providers:
  near: { base_url: SIM/v1, auth: none, region: eu-west-3, data_policy: [hipaa] }
  far: { base_url: SIM/v1, auth: none, region: us }
models:
  any: { targets: [near/sim], fallbacks: [far/sim] }
  broken: { targets: [near/sim-503], fallbacks: [far/sim] }
  hedged: { targets: ["near/sim?delay=800", far/sim], hedge: 50ms }
  rescued: { targets: ["near/sim?cut&at=6&tokens=12", "far/sim?tokens=12"], rescue: true }
  filtering: { targets: ["near/sim?filtered"], on_content_filter: far/sim }
guards:
  asked: { kind: judge, model: far/sim, action: block, always: false }
policies:
  - { name: away, when: { metadata.to: away }, use: far/sim }
  - { name: judged, when: { metadata.to: judged }, guard: [asked] }
alerts:
  channels: { ops: { webhook: "HOOK/leaks", secret: env:HOOK_SECRET, private: true } }
  rules: [{ name: leaks, on: key_leaked, to: [ops] }]
"""
HERE = {
    "FERRYMAN_REGION": "eu-west-3", "FERRYMAN_DATA_POLICY": "hipaa", "HOOK_SECRET": "s3cret",
}  # fmt: skip


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()


@pytest.fixture(scope="module")
def bound(hook: Hook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    config = CONFIG.replace("HOOK/", f"{hook.url}/")
    with Stack(tmp_path_factory.mktemp("bound"), config, **HERE).served() as running:
        yield running


def make(stack: Stack, **bounds: Any) -> tuple[str, str]:
    """A key's secret and id, once it is known."""
    made = stack.admin("POST", "/api/v1/keys", {"name": "bound", "bounds": bounds}).json()
    secret: str = made["key"]
    until(lambda: stack.get("/v1/models", secret).status != 401, "the key")
    return secret, made["id"]


def about(hook: Hook, subject: str) -> list[tuple[str, Any]]:
    """What a webhook has heard of somebody."""
    heard = [(path, json.loads(body)) for path, _, body in hook.got]
    return [(path, said) for path, said in heard if said["subject"] == subject]


def refusal(reply: Any) -> str:
    assert reply.status == 403, reply.body
    error = error_of(reply)
    assert error["code"] == "forbidden_by_policy"
    message: str = error["message"]
    return message


def models(stack: Stack, key: str) -> set[str]:
    return {row["id"] for row in stack.get("/v1/models", key).json()["data"]}


def tried(stack: Stack, reply: wire.Reply) -> list[str]:
    return [each["provider"] for each in stack.row(reply)["tries"]]


def test_models_by_name_and_glob(bound: Stack) -> None:
    key, ident = make(bound, models=["any", "near/*"])
    for model in ("any", "near/sim", "near/sim?tokens=3"):
        assert bound.post(asked(model), key=key).status == 200
    bound.forget()
    text = refusal(bound.post(asked("far/sim"), key=key))
    assert "model 'far/sim'; it may use: models any, near/*." in text
    away = asked("any", metadata={"to": "away"})
    assert "'far/sim'" in refusal(bound.post(away, key=key)), "policies don't lead out either"
    messages = {"model": "far/sim", "messages": [], "max_tokens": 9}
    shaped = bound.post(messages, "/v1/messages", key=key)
    assert (shaped.status, shaped.json()["type"]) == (403, "error"), "in the caller's format"
    filtered = bound.post(asked("near/sim?filtered"), key=key)
    assert tried(bound, filtered) == ["near"]
    assert {name.partition("/")[0] for name in models(bound, key)} <= {"any", "near"}
    assert "far/sim" not in models(bound, key) and "any" in models(bound, key)
    assert "broken" in models(bound, KEY)
    one = bound.get("/v1/models/broken", key)
    assert (one.status, error_of(one)["code"]) == (404, "model_not_found")
    assert bound.get("/v1/models/broken/endpoints", key).status == 404
    # What is changed holds for the next call of a key that is in use; what is not said stays.
    change = {"bounds": {"models": ["far/*"]}}
    now = bound.admin("PATCH", f"/api/v1/keys/{ident}", change).json()
    assert now["bounds"] == {"models": ["far/*"]}
    until(lambda: bound.post(asked("far/sim"), key=key).status == 200, "the new bounds")
    assert bound.post(asked("any"), key=key).status == 403
    none = bound.admin("PATCH", f"/api/v1/keys/{ident}", {"bounds": {"models": []}}).json()
    assert none["bounds"] is None


@pytest.mark.parametrize(
    "bounds", [{"providers": ["near"]}, {"regions": ["eu"]}, {"data_policy": ["hipaa"]}]
)
def test_providers_regions_and_promises_hold_wherever_a_call_goes_on(
    bound: Stack, bounds: dict[str, list[str]]
) -> None:
    key, _ = make(bound, **bounds)
    for model in ("broken", "hedged", "filtering"):
        reply = bound.post(asked(model), key=key)
        assert set(tried(bound, reply)) == {"near"}, model
    assert tried(bound, bound.post(asked("rescued", stream=True), key=key)) == ["near"]
    text = refusal(bound.post(asked("far/sim"), key=key))
    [(name, said)] = bounds.items()
    assert f"(the bounds of the key: {name} {said[0]})" in text
    refusal(bound.post(asked("far/sim", provider={"only": ["far"]}), key=key))
    assert "any" in models(bound, key) and "far/sim" not in models(bound, key)
    bound.forget()
    headers = {"x-ferryman-metadata": '{"to": "judged"}'}
    judged = bound.post(asked("near/sim"), key=key, headers=headers)
    assert error_of(judged)["code"] == "guardrail_blocked", "its judge is elsewhere"
    assert not bound.stats()["requests"]


def test_a_gateway_that_is_out_of_the_bounds_serves_nothing(bound: Stack) -> None:
    key, _ = make(bound, regions=["us"])
    text = refusal(bound.post(asked("far/sim"), key=key))
    assert "runs in eu-west-3 (--region), not in us" in text


def test_endpoints_and_networks(bound: Stack) -> None:
    key, _ = make(bound, endpoints=["embeddings"], networks=["127.0.0.0/8", "::1"])
    text = refusal(bound.post(asked("any"), key=key))
    assert text.startswith("This key may not call chat.completions; it may use: endpoints emb")
    said = {"model": "near/sim", "input": "words"}
    assert bound.post(said, "/v1/embeddings", key=key).status == 200
    key, ident = make(bound, networks=["10.0.0.0/8", "2001:db8::/32"])
    text = refusal(bound.post(asked("any"), key=key))
    assert "may not be used from 127.0.0.1" in text
    assert "10.0.0.0" not in text, "a thief is not told where to go"
    assert bound.get("/v1/models", key).status == 403
    assert bound.post({"request_id": "req_1", "score": 1}, "/v1/feedback", key=key).status == 403
    rotated = bound.admin("POST", f"/api/v1/keys/{ident}/rotate", {}).json()
    assert rotated["bounds"] == {"networks": ["10.0.0.0/8", "2001:db8::/32"]}
    facts = next(bound.data.rglob("*.facts"))
    until(lambda: b"2001:db8::/32" in facts.read_bytes(), "what a restart begins with")


def test_tags_of_callers(bound: Stack) -> None:
    """Policies, limits and reports go by them: a key says which may come on top of its own."""
    key, ident = make(bound, tags=["job-*"])
    bound.admin("PATCH", f"/api/v1/keys/{ident}", {"tags": ["own"]})

    def sent(tags: str) -> wire.Reply:
        return bound.post(asked("any"), key=key, headers={"x-ferryman-tags": tags})

    until(lambda: sent("job-7, own").status == 200, "its own tag")
    text = refusal(sent("job-7, vip, own"))
    assert text.startswith("This key may not send the tag 'vip'; it may use: tags job-*.")
    assert bound.post(asked("any"), key=key).status == 200
    token = (bound.data / "secrets" / "feed-token").read_text().strip()
    body = {"request": asked("any"), "key": ident, "headers": {"x-ferryman-tags": "vip"}}
    told = bound.post(body, "/internal/explain", key=token).json()
    assert told["refused"]["code"] == "forbidden_by_policy"
    bound.admin("PATCH", f"/api/v1/keys/{ident}", {"bounds": {"tags": ["-"]}})
    until(lambda: sent("job-7").status == 403, "none may be sent")
    assert sent("own").status == 200


def test_what_can_not_be_a_bound_is_said(bound: Stack) -> None:
    for bounds, words in (
        ({"endpoints": ["chats"]}, "there is none called 'chats'. Groups: chat, embeddings"),
        ({"networks": ["10.0.0.1/8"]}, "has host bits set"),
        ({"data_policy": ["secret"]}, "'secret' is none of no_training"),
        ({"regions": ["e/u"]}, "is no region"),
        ({"models": ["a b"]}, "models: give up to 64 entries"),
    ):
        body = {"name": "x", "bounds": bounds}
        reply = bound.admin("POST", "/api/v1/keys", body)
        assert (reply.status, json.loads(reply.body)["code"]) == (400, "invalid_key_field")
        assert words in json.loads(reply.body)["detail"]


def test_whoever_has_a_key_can_have_it_shut_out(bound: Stack, hook: Hook) -> None:
    key, ident = make(bound)
    silent, _ = make(bound)
    where = "https://example.org/leak?"
    report = [
        {"token": key, "type": "ferryman_key", "url": where + key, "source": "content"},
        {"token": "fm-unknown", "type": "ferryman_key", "url": where},
    ]
    first = bound.post(report, "/v1/keys/leaked", key=None)
    unknown = bound.post(report[1], "/v1/keys/leaked", key=None)
    assert (first.status, first.body) == (unknown.status, unknown.body) == (200, unknown.body)
    until(lambda: bound.post(asked("any"), key=key).status == 401, "it is shut out")
    assert bound.post(asked("any"), key=silent).status == 200
    heard = until(lambda: about(hook, ident), "the channel of the rule has been told")
    assert [(path, said["rule"]) for path, said in heard] == [("/leaks", "leaks")]
    told = [
        row
        for path in ("/api/v1/alerts", "/api/v1/alerts/history")
        for row in bound.admin("GET", path).json()["data"]
        if row["subject"] == ident
    ]
    assert {row["rule"] for row in told} == {"leaks"}
    assert told[0]["facts"] == {"key": "bound", "where": where + "…"}
    assert key not in json.dumps(heard)
    entries = bound.admin("GET", f"/api/v1/audit?target={ident}").json()["data"]
    actions = {each["action"]: each for each in entries}
    assert set(actions) == {"key.create", "key.leaked", "key.revoke"}
    assert actions["key.leaked"]["address"] == "127.0.0.1"
    assert actions["key.leaked"]["actor"] == "whoever has the key"
    assert where + "…" in json.dumps(actions["key.leaked"], ensure_ascii=False)
    assert key not in json.dumps([entries, told])
    assert bound.post({"key": "x"}, "/v1/keys/leaked", key=None).status == 400
    flood = [{"token": f"fm-{i}"} for i in range(100)]
    assert bound.post(flood, "/v1/keys/leaked", key=None).status in (200, 429)
    full = bound.post(flood, "/v1/keys/leaked", key=None)
    assert (full.status, error_of(full)["code"]) == (429, "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("networks", "peer", "passes"),
    [
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("::ffff:10.0.0.0/104",), "10.1.2.3", True),
        (("::ffff:10.0.0.0/104",), "11.1.2.3", False),
        (("::/0",), "10.1.2.3", False),
        (("2001:db8::7",), "2001:db8::7%eth0", True),
        (("2001:db8::7",), "2001:db8::8", False),
        (("0.0.0.0/0", "::/0"), "unix", False),
    ],
)
def test_addresses(networks: tuple[str, ...], peer: str, passes: bool) -> None:
    found = checked({"networks": networks})["networks"]
    assert Confines(KeyBounds(networks=found)).lets_in(peer) is passes


def test_every_endpoint_can_be_named() -> None:
    assert {*CALLS.values(), *V2.values(), *METHODS.values()} == ENDPOINTS
    assert Confines(KeyBounds(endpoints=("chat", "audio.speech"))).offers("generate_content")
    with pytest.raises(KeyBoundsError):
        checked({"models": ["x"] * 2 + [f"m{i}" for i in range(64)]})
