"""Residency: who may be asked at all, and by which gateway; and what a call's record proves.

The page's examples are run, too.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ferryman.config.feed import KeyFacts
from ferryman.config.snapshot import Condition, Filter, Residence, Snapshot
from ferryman.flow.residency import residency_of
from ferryman.ir.errors import GatewayError
from tests.flow.test_docs import needs_curl, typed
from tests.gateway import KEY, Stack, asked, error_of
from tests.processes import until
from tests.simulator import wire
from tests.test_readme import blocks

PAGE = "docs/residency.md"
CONFIG = """
  rescued: { targets: ["near/sim?cut&at=6&tokens=12", "far/sim?tokens=12"], rescue: true }
  hedged: { targets: ["near/sim?delay=800", far/sim], hedge: 50ms }
  broken: { targets: [near/sim-503], fallbacks: [far/sim, cellar/sim] }
  probed: { targets: ["near/sim?503", "mars/sim?503"] }
  filtering: { targets: ["near/sim?filtered"], on_content_filter: far/sim }
guards:
  asked: { kind: judge, model: far/sim, action: block, always: false }
policies:
  - { name: away, when: { metadata.to: away }, use: far/sim }
  - { name: judged, when: { metadata.to: judged }, guard: [asked] }
  - { name: also, when: { metadata.to: also }, filter: { ignore: [cellar] } }
"""
HERE = {"FERRYMAN_REGION": "eu-west-3", "FERRYMAN_DATA_POLICY": "hipaa, zero_retention"}
US = "regions: eu (residency clinic) leaves out far/sim"


PRICED = 'probe: { every: 1s }, prices: { "sim?503": { input: 1, output: 2 } }'
MARS = f"""\
  mars: {{ base_url: SIM/v1, auth: none, region: mars, data_policy: no_training, {PRICED} }}
models:
"""
EARTH = "  - { name: earth, when: { team: { ne: martians } }, regions: [eu, us] }\n"


def config() -> str:
    page = blocks("yaml", PAGE)[0].replace("http://127.0.0.1:8090", "SIM")
    page = page.replace("hipaa] }", f"hipaa], {PRICED} }}", 1).replace("models:\n", MARS)
    return page.replace("residency:", f"{CONFIG.strip(chr(10))}\nresidency:") + EARTH


@pytest.fixture(scope="module")
def resident(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("eu"), config(), **HERE).served() as running:
        yield running


def team_key(stack: Stack, team: str = "clinic") -> str:
    made = stack.admin("POST", "/api/v1/keys", {"name": f"k-{team}", "team": team}).json()
    key: str = made["key"]

    def known() -> bool:
        return stack.post(asked("any"), key=key).status not in (401, 503)

    until(known, "the new key")
    return key


@pytest.fixture(scope="module")
def clinic(resident: Stack) -> str:
    return team_key(resident)


def refusal(reply: wire.Reply) -> str:
    assert reply.status == 403
    error = json.loads(reply.body)["error"]
    assert error["code"] == "forbidden_by_policy"
    message: str = error["message"]
    return message


def call(stack: Stack, key: str, model: str, **fields: Any) -> wire.Reply:
    stack.forget()
    return stack.post(asked(model, **fields), key=key)


def served(reply: wire.Reply) -> str | None:
    assert reply.status == 200, reply.body
    return reply.header("x-ferryman-provider")


def test_a_team_goes_where_its_rule_allows_and_nowhere_else(resident: Stack, clinic: str) -> None:
    assert served(resident.chat("any")) == "far"
    reply = call(resident, clinic, "any")
    assert served(reply) == "near"
    [tried] = resident.row(reply)["tries"]
    assert (tried["region"], tried["data_policy"]) == ("eu-west-3", "zero_retention hipaa")


def test_no_judge_elsewhere_is_told_what_a_call_says(resident: Stack, clinic: str) -> None:
    resident.forget()
    headers = {"x-ferryman-metadata": '{"to": "judged"}'}
    refused = resident.post(asked("near/sim"), key=clinic, headers=headers)
    assert (refused.status, error_of(refused)["code"]) == (400, "guardrail_blocked")
    assert not resident.stats()["requests"]
    # The answer of the simulator is no judgement; but of others' calls it is asked.
    resident.post(asked("near/sim"), headers=headers)
    assert resident.stats()["requests"] == 1


def test_the_refusal_is_as_the_page_shows_and_nobody_was_asked(
    resident: Stack, clinic: str
) -> None:
    text = refusal(call(resident, clinic, "far/sim"))
    assert text == json.loads(blocks("json", PAGE)[0])["error"]["message"]
    assert resident.stats()["requests"] == 0
    text = refusal(call(resident, KEY, "cellar/sim"))
    assert "data_policy: no_training (residency all) leaves out cellar/sim" in text


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("far/sim", {"metadata": {"to": "also"}}),
        ("any", {"metadata": {"to": "away"}}),
        ("far/sim", {"metadata": {"team": "other"}, "user": "somebody"}),
        ("far/sim", {"provider": {"regions": ["us"], "order": ["far"]}}),
    ],
)
def test_neither_policies_nor_callers_widen_it(
    resident: Stack, clinic: str, model: str, fields: dict[str, Any]
) -> None:
    assert US in refusal(call(resident, clinic, model, **fields))
    assert resident.stats()["requests"] == 0


def test_a_request_can_ask_for_more(resident: Stack) -> None:
    wishes = {"regions": ["eu"], "data_policy": ["hipaa"]}
    assert served(resident.chat("any", provider=wishes)) == "near"
    reply = resident.chat("far/sim", provider={"data_policy": ["hipaa", "zero_retention"]})
    assert reply.status == 400
    text = json.loads(reply.body)["error"]["message"]
    assert "data_policy: zero_retention, hipaa (the request's 'provider') leaves out far" in text


@pytest.mark.parametrize("model", ["broken", "hedged", "filtering"])
def test_fallbacks_hedges_and_other_models_are_held_to_it(
    resident: Stack, clinic: str, model: str
) -> None:
    open_to_all = resident.row(call(resident, KEY, model))
    assert "far" in {each["provider"] for each in open_to_all["tries"]}, "it would be asked"
    held = resident.row(call(resident, clinic, model))
    assert {each["provider"] for each in held["tries"]} == {"near"}


def test_a_stream_that_breaks_off_is_gone_on_with_by_nobody_else(
    resident: Stack, clinic: str
) -> None:
    open_to_all = resident.row(call(resident, KEY, "rescued", stream=True))
    assert [each["provider"] for each in open_to_all["tries"]] == ["near", "far"]
    held = resident.row(call(resident, clinic, "rescued", stream=True))
    assert [each["provider"] for each in held["tries"]] == ["near"]


def test_probes_are_held_to_the_rules_for_everybody_else(resident: Stack) -> None:
    key = team_key(resident, "martians")
    row = resident.row(call(resident, key, "probed"))
    assert [each["provider"] for each in row["tries"]] == ["near", "mars"], "both rest now"

    def probed() -> list[str]:
        page = resident.admin("GET", "/api/v1/calls?limit=1000").json()["data"]
        return [each["provider"] for each in page if each["key_id"] == "probe"]

    until(lambda: len(probed()) > 1, "probes of the one that all may ask")
    assert set(probed()) == {"near"}


def test_a_gateway_elsewhere_reads_and_keeps_nothing_of_the_call(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    text = config() + "cache: { ttl: 1h }\ncontent: { store: all }\n"
    env = {**HERE, "FERRYMAN_REGION": ""}
    with Stack(tmp_path_factory.mktemp("nowhere"), text, **env).served() as stack:
        key = team_key(stack)
        reply = call(stack, key, "near/sim")
        assert "runs in a place that nobody has told (--region), not in eu" in refusal(reply)
        assert stack.stats()["requests"] == 0
        row = stack.row(reply)
        assert (row["status"], row["content"] or "", row["tries"]) == (403, "", [])


@pytest.mark.parametrize(
    ("regions", "data_policy", "lacks"),
    [
        (frozenset(("eu", "eu-west")), "zero_retention hipaa", ""),
        (frozenset(("us", "us-east")), "hipaa zero_retention", "runs in us-east (--region), not"),
        (
            frozenset(("europe",)),
            "zero_retention hipaa",
            "runs in europe (--region), not in EU, as",
        ),
        (frozenset(("eu",)), "zero_retention", "does not promise hipaa (--data-policy), as resid"),
        (frozenset(("eu",)), "hipaa", "does not promise no_training, zero_retention (--data"),
    ],
)
def test_what_a_gateway_has_to_be(regions: frozenset[str], data_policy: str, lacks: str) -> None:
    wanted = Filter(
        source="residency r", regions=("EU",), data_policy="no_training zero_retention hipaa"
    )
    rule = Residence(when=Condition(op="eq", fact="team", value="clinic"), filter=wanted)
    residency = residency_of(Snapshot(version="v", residency=(rule,)), regions, data_policy)
    assert residency is not None
    assert residency.required("key_1", KeyFacts(team="other")) == ()
    assert residency.required("key_1", None) == ()
    clinic = KeyFacts(team="clinic")
    if not lacks:
        assert residency.required("key_1", clinic) == (wanted,)
        return
    with pytest.raises(GatewayError) as caught:
        residency.required("key_1", clinic)
    assert caught.value.status == 403
    assert lacks in caught.value.message


@needs_curl
def test_the_pages_command_shows_who_answers(
    resident: Stack, clinic: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = blocks("sh", PAGE)[0].replace("http://127.0.0.1:8080", resident.url)
    said = typed(resident, ["sh", "-ec", command], tmp_path_factory.mktemp("typed"))
    assert said.strip() == "x-ferryman-provider: far"
    held = command.replace("$FERRYMAN_KEY", clinic)
    said = typed(resident, ["sh", "-ec", held], tmp_path_factory.mktemp("typed"))
    assert said.strip() == "x-ferryman-provider: near"
