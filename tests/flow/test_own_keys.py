"""docs/vault.md, keys of organisations: the example is run. Who brings a key uses it, and nobody
else, whatever they say; and who stores one sees no others."""

import base64
import json
import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from ferryman.config.feed import KeyFacts
from ferryman.config.filters import Written
from ferryman.config.intake import seal_for
from ferryman.config.snapshot import Provider, Snapshot
from ferryman.control.api.access import OWNER, Caller
from ferryman.control.problem import ProblemError
from ferryman.control.vault.masters import make
from ferryman.control.vaults import pace
from ferryman.flow.residency import residency_of
from ferryman.meter.strikes import Strikes
from tests.flow.test_docs import typed
from tests.flow.test_explain import explained
from tests.flow.test_tenants import ask, token
from tests.gateway import LAB_KEY, Stack, asked, error_of
from tests.processes import request, until
from tests.test_readme import blocks

PAGE = "docs/vault.md"
ACME, GLOBEX = "sk-acme-0123456789-own", "sk-globex-0123456789-own"
MORE = """\
  globex-lab: { base_url: "SIM/v1", keys: [vault:globex/lab, { key: vault:globex/more }] }
  claude: { format: anthropic_messages, base_url: "SIM/v1", key: vault:acme/lab }
  mistral: { key: vault:acme/lab }
models:
  of-globex: globex-lab/sim
  broken: { targets: [lab/sim-503], fallbacks: [acme-lab/sim] }
  hedged: { targets: ["lab/sim?delay=800", acme-lab/sim], hedge: 50ms }
  nested: { targets: [fast] }
"""
SECRETS = "/vault/secrets"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    config = blocks("yaml", PAGE)[2].replace("http://127.0.0.1:8090", "SIM")
    config = config.replace("key: vault:lab", "key: env:LAB_KEY").replace("models:\n", MORE)
    config += "identity: { passwords: everyone }\n"
    with Stack(tmp_path_factory.mktemp("own"), config).served() as running:
        make(running.data / "secrets" / "master-key")
        yield running


@pytest.fixture(scope="module")
def keys(stack: Stack) -> dict[str, str]:
    """Organisation → a virtual key of it that serves; "" = nobody's."""
    found = {}
    for name in ("acme", "globex", ""):
        made = ask(stack, "POST", "/keys", {"name": f"of {name}", "organisation": name or None})
        found[name] = made.json()["key"]
        until(lambda key=found[name]: stack.get("/v1/models", key).status == 200, "the key")
    return found


def sent(stack: Stack, key: str, model: str = "fast", **fields: Any) -> str | None:
    """The provider's key with which a call went out; None: it is as if there were no such model."""
    stack.forget()
    headers = {"x-ferryman-organisation": "acme", "x-ferryman-metadata": '{"organisation": "acme"}'}
    reply = stack.post(asked(model, **fields), key=key, headers=headers)
    if reply.status == 404:
        assert error_of(reply)["message"].startswith(f"There is no model '{model}' here.")
        assert not stack.stats()["requests"]
        return None
    assert reply.status == 200, reply.body
    return stack.last_headers()["authorization"].removeprefix("Bearer ")


def listed(stack: Stack, key: str) -> set[str]:
    return {row["id"] for row in stack.get("/v1/models", key).json()["data"]}


def test_the_example(stack: Stack, keys: dict[str, str]) -> None:
    """First of all: what it stores, the other tests go on with."""
    assert sent(stack, keys["acme"]) == LAB_KEY, "there is no key of acme's yet"
    assert sent(stack, keys["acme"], "acme-lab/sim") is None
    shell = f'unset FERRYMAN_ADMIN_PORT\nferryman() {{ {sys.executable} -m ferryman "$@"; }}\n'
    command = f"{shell}ACME_KEY={ACME}\n{blocks('sh', PAGE)[1]}"
    said = typed(stack, ["sh", "-ec", command], stack.data)
    got = [" ".join(line.replace("─", " ").split()) for line in said.splitlines()]
    words = [line for line in got if line]
    for shown, line in zip(blocks("text", PAGE)[1].strip().splitlines(), words, strict=True):
        parts = [part.strip() for part in shown.split("…")]
        assert line.startswith(parts[0]) and all(part in line for part in parts), said
    until(lambda: sent(stack, keys["acme"]) == ACME, "the key is in force")


def test_each_call_goes_out_with_a_key_of_its_own(stack: Stack, keys: dict[str, str]) -> None:
    mine = token(stack, organisation="globex")
    public = base64.b64decode(ask(stack, "POST", "/vault/intake", {}, token=mine).json()["key"])
    sealed = base64.b64encode(seal_for(public, "globex/lab", GLOBEX)).decode()
    stored = ask(stack, "PUT", f"{SECRETS}/globex%2Flab", {"sealed": sealed}, token=mine)
    assert stored.json() == {"name": "globex/lab", "in_force": True}
    until(lambda: sent(stack, keys["globex"], "of-globex") == GLOBEX, "the key is in force")
    for model, whom in {
        "fast": (ACME, LAB_KEY, LAB_KEY), "nested": (ACME, LAB_KEY, LAB_KEY),
        "acme-lab/sim": (ACME, None, None), "of-globex": (None, GLOBEX, None),
        "mistral/sim": (ACME, None, None), "codestral-latest": (None,) * 3,
        "globex-lab/sim": (None, GLOBEX, None), "lab/sim": (LAB_KEY,) * 3,
    }.items():  # fmt: skip
        got = tuple(sent(stack, keys[name], model) for name in ("acme", "globex", ""))
        assert got == whom, model
        got = tuple(sent(stack, keys[name], model, stream=True) for name in ("acme", "globex", ""))
        assert got == whom, model
    assert sent(stack, keys["acme"], "fast", provider={"only": ["lab"]}) == LAB_KEY


def test_no_failure_and_no_wish_leads_to_a_key_of_others(
    stack: Stack, keys: dict[str, str]
) -> None:
    assert sent(stack, keys["acme"], "broken") == ACME
    for name in ("globex", ""):
        stack.forget()
        failed = stack.post(asked("broken"), key=keys[name])
        assert (failed.status, stack.last_headers()["authorization"]) == (503, f"Bearer {LAB_KEY}")
        assert sent(stack, keys[name], "hedged") == LAB_KEY
        assert sent(stack, keys[name], "fast", provider={"order": ["acme-lab", "lab"]}) == LAB_KEY
        refused = stack.post(asked("fast", provider={"only": ["acme-lab"]}), key=keys[name])
        assert refused.status == 400
        assert b"acme-lab/sim" not in refused.body
        unknown = stack.post(asked("acme-lab/simm"), key=keys[name])
        assert (unknown.status, b"acme-lab/sim " in unknown.body) == (404, False)
        said = asked("claude/sim", max_tokens=5)
        assert stack.post(said, "/v1/messages", key=keys[name]).status == 404


def test_to_others_it_is_not_there_and_the_plan_says_why(
    stack: Stack, keys: dict[str, str]
) -> None:
    assert {"fast", "broken"} <= listed(stack, keys[""])
    assert "of-globex" in listed(stack, keys["globex"])
    for name in ("acme", ""):
        assert "of-globex" not in listed(stack, keys[name])
        for path in ("/v1/models/of-globex", "/v1/models/globex-lab/sim/endpoints"):
            assert stack.get(path, keys[name]).status == 404
    shown = stack.get("/v1/models/fast/endpoints", keys["globex"]).json()["data"]["endpoints"]
    assert [row["provider_name"] for row in shown] == ["lab"]
    reply = stack.post(asked("fast"), key=keys["globex"])
    [out] = [each for each in stack.row(reply)["considered"] if each.get("left_out")]
    why = "ignore (another organisation's key, not globex's)"
    assert (out["target"], out["left_out"]) == ("acme-lab/sim", why)
    said = explained(stack, "--model", "fast")
    assert [(each["target"], each["left_out"]) for each in said["left_out"]] == [
        ("acme-lab/sim", "ignore (another organisation's key)")
    ]


def test_an_organisation_meets_its_own_secrets_and_no_others(stack: Stack) -> None:
    acme, team = token(stack, organisation="acme"), token(stack, organisation="acme", team="red")
    loose = token(stack, team="red")
    rows = {who: ask(stack, "GET", "/vault", token=who).json()["data"]
            for who in (acme, team, loose, "")}  # fmt: skip
    names = {who: [row["name"] for row in found] for who, found in rows.items()}
    assert names == {acme: ["acme/lab"], team: [], loose: [], "": ["acme/lab", "globex/lab"]}
    body = {"sealed": "AAAA"}
    for who, name in ((acme, "lab"), (acme, "globex/lab"), (acme, "globex/new"), (acme, "acme2/x"),
                      (team, "acme/lab"), (loose, "lab"), (loose, "-/lab")):  # fmt: skip
        refused = ask(stack, "PUT", f"{SECRETS}/{name}", body, token=who)
        assert (refused.status, refused.json()["code"]) == (403, "forbidden"), name
    nobody = ask(stack, "DELETE", f"{SECRETS}/acme/none", token=acme).json()
    for who, name in ((acme, "globex/lab"), (acme, "lab"), (team, "acme/lab"), (loose, "lab")):
        gone = ask(stack, "DELETE", f"{SECRETS}/{name}", token=who)
        assert gone.status == 404
        assert gone.json() == json.loads(json.dumps(nobody).replace("acme/none", name))
    for what in ("verify", "rotate", "accept"):
        assert ask(stack, "POST", f"/vault/{what}", {}, token=acme).status == 403
    models = ask(stack, "GET", "/models?text=lab", token=acme).json()["data"]
    assert not [row["name"] for row in models if row["name"].startswith("globex")]
    own = ask(stack, "GET", "/models?text=of-globex", token=acme).json()["data"]
    assert own == []
    assert ask(stack, "GET", "/prices?model=of-globex", token=acme).status == 404
    acts = ask(stack, "GET", "/audit?action=vault.put").json()["data"]
    assert [act["target"] for act in acts] == ["globex/lab", "acme/lab"]
    assert all(act["actor"].startswith("tok_") for act in acts), "their tokens"


def test_the_page_shows_an_organisation_its_own(stack: Stack) -> None:
    url = (stack.data / "admin-url").read_text().strip()
    who = {"name": "ada", "password": "correct horse battery"}
    made = ask(stack, "POST", "/users", who | {"role": "admin", "organisation": "acme"})
    assert made.status == 201, made.body
    form = {"content-type": "application/x-www-form-urlencoded", "origin": url}
    entered = request(url, "POST", "/enter", body=urlencode(who), headers=form)
    form["cookie"] = entered.headers["set-cookie"].partition(";")[0]
    page = request(url, path="/vault", headers=form).body.decode()
    assert "acme/lab" in page
    assert 'value="acme/"' in page, "what names of theirs begin with"
    for foreign in ("globex", "Verify all", "It is the key of"):
        assert foreign not in page
    proof = re.findall(r'data-proof="(\w+)"', page)[0]
    for path, said, words in (
        ("/vault/remove", {"name": "globex/lab"}, "There is no secret"),
        ("/vault/remove", {"name": "lab"}, "There is no secret"),
        ("/vault", {"name": "lab", "sealed": "AAAA"}, "may store acme/NAME and no others"),
        ("/vault", {"name": "acme/lab", "provider": "lab"}, "Choose a provider from the list"),
    ):
        reply = request(url, "POST", path, body=urlencode(said | {"proof": proof}), headers=form)
        assert (reply.status, words in reply.body.decode()) == (400, True), path


def test_what_an_organisation_removes_is_out_of_force(stack: Stack, keys: dict[str, str]) -> None:
    acme = token(stack, organisation="acme")
    gone = ask(stack, "DELETE", f"{SECRETS}/acme/lab", token=acme)
    assert gone.json() == {"name": "acme/lab", "in_force": True}
    until(lambda: sent(stack, keys["acme"]) == LAB_KEY, "its provider is inactive")
    assert sent(stack, keys["acme"], "acme-lab/sim") is None
    url = (stack.data / "admin-url").read_text().strip()
    assert request(url, path="/api/v1/vault").status == 401


def test_one_organisation_s_haste_is_not_another_s() -> None:
    acts = Strikes(2)
    acme, globex = (Caller(name="t", permissions=frozenset(), organisation=each)
                    for each in ("acme", "globex"))  # fmt: skip
    for _ in range(2):
        pace(acts, acme, 5.0)
    with pytest.raises(ProblemError, match="in 55 seconds"):
        pace(acts, acme, 5.0)
    pace(acts, globex, 5.0)
    for _ in range(5):
        pace(acts, OWNER, 5.0)
    pace(acts, acme, 65.0)


# -- the rule itself -------------------------------------------------------------------------------


def providers(**owners: str) -> Snapshot:
    rows = {name: Provider(name=name, base_url="https://x", owner=o) for name, o in owners.items()}
    return Snapshot(version="", providers=rows)


def test_every_caller_is_kept_from_every_provider_of_others() -> None:
    rule = residency_of(providers(a="acme", b="acme", g="globex", all=""), frozenset(), "")
    assert rule is not None
    for whose, open_to in {
        "acme": {"a", "b", "all"}, "globex": {"g", "all"}, "": {"all"}, "other": {"all"},
        "Acme": {"all"},
    }.items():  # fmt: skip
        facts = KeyFacts(organisation=whose)
        names = ("a", "b", "g", "all")
        got = {name for name in names if rule.admits("k", Written(name, "m"), facts)}
        assert got == open_to, whose
    sources = {each.source for who in ("acme", "globex", "x") for each in
               rule.required("k", KeyFacts(organisation=who))}  # fmt: skip
    assert len(sources) == 3, "what was worked out for one is remembered by it, for that one alone"
    assert not rule.admits("probe", Written("a", "m")), "calls of the gateway's own are nobody's"
    assert rule.admits("k", Written("", region="eu")), "a webhook is no provider"


def test_who_alone_has_providers_is_kept_from_none() -> None:
    rule = residency_of(providers(a="acme", all=""), frozenset(), "")
    assert rule is not None
    assert rule.required("k", KeyFacts(organisation="acme")) == ()
    assert [each.ignore for each in rule.required("k", None)] == [("a",)]


def test_nothing_is_asked_where_no_provider_is_an_organisation_s() -> None:
    assert residency_of(providers(all=""), frozenset(), "") is None
