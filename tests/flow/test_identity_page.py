"""Calls with tokens of an identity provider, as docs/identity.md has them, through whole planes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.flow.test_docs import needs_curl, typed
from tests.gateway import KEY, Stack, asked, error_of
from tests.gateway import whole as answered
from tests.processes import until
from tests.provider import Key, Provider
from tests.sdk.test_openai_python import ASKED, caller
from tests.simulator import wire
from tests.test_readme import blocks

PAGE = "docs/identity.md"
CONFIG = """
    - name: tenant
      issuer: ISSUER
      audiences: [tenants]
      organisation: acme
      jwks_url: ISSUER/keys
    - { name: gone, issuer: "http://127.0.0.1:1", audiences: ferryman }
providers:
  lab: { base_url: SIM/v1, auth: none, prices: { sim: { input: 0, output: 0, request: 2 } } }
  openai:
    { base_url: SIM/v1, key: env:LAB_KEY, region: us,
      prices: { sim: { input: 0, output: 0, request: 1 } } }
  near: { base_url: SIM/v1, auth: none, region: eu }
models:
  fast: lab/sim
residency:
  - { name: clinic, when: { team: clinic }, regions: [eu] }
  - { name: ward, when: { team: ward }, regions: [eu, us] }
guards:
  hook: { kind: webhook, url: CANNED/hook, action: block, always: false }
policies:
  - { name: heard, when: { tags: heard }, guard: [hook] }
  - { name: interns, when: { tags: interns }, forbid: interns may not }
responses: { keep: 1h }
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.end()


@pytest.fixture(scope="module")
def vouched(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    [page] = [text for text in blocks("yaml", PAGE) if "audiences" in text]
    config = page.replace("limits:", CONFIG.strip("\n") + "\nlimits:")
    config = config.replace("https://login.example.org", provider.url).replace(
        "ISSUER", provider.url
    )
    folder = tmp_path_factory.mktemp("identity")
    with Stack(folder, config, FERRYMAN_REGION="eu-west-3").served() as running:
        knows_budgets(running)
        yield running


def knows_budgets(stack: Stack) -> None:
    """Wait until it has learned what was spent."""
    until(lambda: stack.post(asked("openai/sim"), key=KEY).status == 200, "the sums of budgets")


def of(provider: Provider, **claims: Any) -> str:
    said = {"aud": "ferryman", "department": "red", "email": "ann@example.org",
            "groups": ["staff"], "email_verified": True}  # fmt: skip
    return provider.token(**said | claims)


def called(stack: Stack, token: str, model: str = "fast", **headers: str) -> wire.Reply:
    return stack.post(asked(model), key=token, headers=headers)


@needs_curl
def test_the_example(vouched: Stack, provider: Provider, tmp_path: Path) -> None:
    [command] = [text for text in blocks("sh", PAGE) if "token.jwt" in text]
    file = tmp_path / "token.jwt"
    file.write_text(of(provider, sub="zoe", email="zoe@example.org"))
    command = command.replace("http://127.0.0.1:8080", vouched.url)
    command = command.replace("token.jwt", str(file))
    assert '"choices"' in typed(vouched, ["sh", "-ec", command], tmp_path)


def test_an_sdk_calls_with_a_token_and_the_ledger_says_who(
    vouched: Stack, provider: Provider
) -> None:
    with caller(vouched, of(provider)) as client:
        raw = client.chat.completions.with_raw_response.create(model="fast", messages=ASKED)
        assert raw.parse().choices[0].message.content
        row = vouched.row(raw.headers["x-ferryman-request-id"])
        with pytest.raises(openai.PermissionDeniedError, match=r"may ask for fast, openai/\*"):
            client.chat.completions.create(model="lab/sim", messages=ASKED)
        stream = client.chat.completions.create(model="openai/sim", messages=ASKED, stream=True)
        assert len(list(stream)) > 2
        assert [model.id for model in client.models.list()]
    assert row["key_id"].startswith("jwt:staff:")
    assert row["key"] == row["key_id"]
    facts = [row[name] for name in ("team", "user", "tags", "organisation")]
    assert facts == ["red", "ann@example.org", ["staff"], None]
    other = called(vouched, of(provider, sub="bob", email="bob@example.org"))
    assert vouched.row(other)["key_id"] != row["key_id"]


def test_lists_of_models_have_what_calls_may_ask_for(vouched: Stack, provider: Provider) -> None:
    def listed(key: str) -> list[str]:
        return [row["id"] for row in vouched.get("/v1/models", key).json()["data"]]

    own, every = of(provider), listed(KEY)
    assert {"fast", "openai/sim", "lab/sim"} <= set(every)
    assert listed(own) == [n for n in every if n == "fast" or n.startswith("openai/")]
    assert listed(provider.token(aud="tenants")) == every, "an issuer that says nothing of models"
    assert listed(KEY) == every
    for name in ("fast", "openai/sim", "lab/sim", "fast2"):
        one = vouched.get(f"/v1/models/{name}", own)
        how = vouched.get(f"/v1/models/{name}/endpoints", own)
        called_it = called(vouched, own, name).status != 403
        assert (one.status == 200, how.status == 200) == (called_it, called_it), name
    told = error_of(vouched.get("/v1/models/lab/sim", own))["message"]
    assert told == "This caller may use no model 'lab/sim', but: models fast, openai/*."
    assert vouched.get("/v1/models", own[:-4]).status == 401


def test_whoever_is_not_let_in_is_told_what_a_wrong_key_is_told(
    vouched: Stack, provider: Provider
) -> None:
    wrong = called(vouched, "fm-nobody")
    assert wrong.status == 401
    forged = Key("first").token(provider.claims(aud="ferryman", email_verified=True))
    before = provider.asked.count("/keys")
    tokens = {
        "token not signed by its issuer": forged,
        "token for another audience": provider.token(),
        "token expired": of(provider, exp=1),
        "token without the email_verified that is required": of(provider, email_verified=False),
        "token of another issuer": of(provider, iss="https://elsewhere.example.org"),
        "token not readable": "eyJ.eyJ.eyJ",
    }
    for token in tokens.values():
        refused = called(vouched, token)
        told = [error_of(reply) | {"request_id": ""} for reply in (refused, wrong)]
        assert (refused.status, told[0]) == (401, told[1])
    assert provider.asked.count("/keys") == before, "none of them makes it ask for keys"

    def missing() -> set[str]:
        rows = vouched.admin("GET", "/api/v1/audit?action=call&limit=100").json()["data"]
        return tokens.keys() - {row["target"] for row in rows}

    until(lambda: not missing(), "the reasons in the audit log")


def test_limits_policies_and_residency_go_by_claims(vouched: Stack, provider: Provider) -> None:
    cho = of(provider, sub="cho", email="cho@example.org")
    assert called(vouched, cho).header("x-ferryman-budget-left-usd") == "3"
    renewed = of(provider, sub="cho", email="cho@example.org", jti="2", department="blue")
    assert called(vouched, renewed).header("x-ferryman-budget-left-usd") == "1"
    refused = called(vouched, cho)
    assert (refused.status, error_of(refused)["code"]) == (402, "budget_exceeded")
    assert called(vouched, of(provider, sub="dan", email="dan@example.org")).status == 200
    intern = called(vouched, of(provider, sub="eve", email="eve@x.org", groups=["interns"]))
    assert (intern.status, error_of(intern)["message"]) == (403, "interns may not")
    clinic = called(vouched, of(provider, sub="fay", email="fay@x.org", department="clinic"))
    assert clinic.status == 403
    tenant = provider.token(aud="tenants", organisation="other", sub="gus")
    row = vouched.row(called(vouched, tenant, "lab/sim"))
    assert (row["organisation"], row["user"], row["team"]) == ("acme", "gus", None)
    assert vouched.post(asked("fast"), key=KEY).status == 200


def test_residency_keeps_what_a_team_says_from_the_webhook_of_a_guard(
    vouched: Stack, provider: Provider
) -> None:
    heard = []
    for team in ("red", "ward"):
        before = len(vouched.canned.requests)
        token = of(provider, sub=team, email=f"{team}@example.org", department=team,
                   groups=["heard"])  # fmt: skip
        vouched.canned.answers.append(answered(b'{"flagged": false}'))
        reply = called(vouched, token, "openai/sim")
        heard.append((reply.status, len(vouched.canned.requests) - before))
    assert heard == [(200, 1), (400, 0)], "what can't be checked is refused"


def test_what_one_person_was_told_is_nobody_else_s(vouched: Stack, provider: Provider) -> None:
    ann = of(provider, sub="hal", email="hal@example.org")
    bob = of(provider, sub="ida", email="ida@example.org")
    body = {"model": "openai/sim", "input": "Good morning", "store": True}
    first = vouched.post(body, "/v1/responses", key=ann, headers={"idempotency-key": "same"})
    other = vouched.post(body, "/v1/responses", key=bob, headers={"idempotency-key": "same"})
    assert (first.status, other.status) == (200, 200)
    assert first.header("x-ferryman-request-id") != other.header("x-ferryman-request-id")
    assert other.header("x-ferryman-cache") != "hit"


def test_keys_change_while_calls_are_served(vouched: Stack, provider: Provider) -> None:
    old = of(provider, sub="jan", email="jan@example.org")
    assert called(vouched, old).status == 200
    provider.keys = [Key("second", "EC")]
    assert vouched.get("/v1/models", of(provider)).status == 200, "a list waits for news, too"
    assert called(vouched, of(provider, sub="jan", email="jan@example.org")).status == 200
    assert called(vouched, old).status == 401, "its key is gone"
    provider.away = True
    provider.keys = [*provider.keys, Key("third")]
    assert called(vouched, of(provider, sub="kim", email="kim@x.org")).status == 401
    second = provider.keys[0].token(provider.claims(
        aud="ferryman", sub="kim", email="kim@x.org", email_verified=True))  # fmt: skip
    assert called(vouched, second).status == 200, "what is known goes on"
    vouched.restart()
    knows_budgets(vouched)
    assert called(vouched, second).status == 200, "and does after a restart"
    provider.away = False
    assert called(vouched, of(provider, sub="lea", email="lea@x.org")).status == 200
