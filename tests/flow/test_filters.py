"""Filters on real calls, of routes, policies and callers: whom they leave, and what is said."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from tests.gateway import KEY, Stack, asked, error_of
from tests.simulator import wire

CONFIG = """\
providers:
  near:
    base_url: SIM/v1
    auth: none
    region: eu-west-3
    data_policy: zero_retention
    prices: { sim: { input: 3, output: 9 }, "sim?500": { input: 3, output: 9 } }
    models: { sim: { quantization: bf16, abilities: [tools, vision] } }
  far:
    base_url: SIM/v1
    auth: none
    region: us
    data_policy: no_training
    prices: { sim: { input: 1, output: 2, request: 0.001 } }
    models: { sim: { quantization: fp8, abilities: [tools] } }
  dark: { base_url: SIM/v1, auth: none }
  router: { base_url: SIM/v1, auth: none, quirks: [provider_object] }
  claude:
    base_url: SIM/v1
    auth: none
    format: anthropic_messages
    headers: { anthropic-version: "2023-06-01" }
  asleep: { base_url: SIM/v1, key: env:A_VARIABLE_NOBODY_SETS, region: eu }
models:
  any: { targets: [far/sim, near/sim, dark/sim] }
  backed: { targets: [far/sim], fallbacks: [near/sim] }
  european: { targets: [far/sim, near/sim, dark/sim, asleep/sim], filter: { regions: [eu] } }
  inner: { targets: [european, far/sim], strategy: weighted, weights: { far/sim: 0.001 } }
  cheap: { targets: [near/sim, far/sim, dark/sim], filter: { max_price: { output: 5 } } }
  able: { targets: [dark/sim, far/sim, near/sim], filter: { require_abilities: true } }
  whatever: { targets: [far/sim, near/sim], filter: { require_abilities: false } }
  lossless: { targets: [claude/sim, near/sim], filter: { require_parameters: true } }
  sleepers: { targets: [asleep/sim, far/sim], filter: { regions: [eu] } }
  mixed: { targets: [router/sim, far/sim, near/sim] }
  tiered: { targets: [[dark/sim, inner], [far/sim]], strategy: weighted, weights: { inner: 9 } }
  failing: { targets: ["near/sim?500", far/sim] }
policies:
  - name: patients
    when: { metadata.data: patients }
    filter: { data_policy: zero_retention, ignore: [dark] }
  - name: cheap-ones
    when: { tags: cheap }
    filter: { max_price: { input: 1 } }
  - name: to-far
    when: { tags: sent }
    use: any
    filter: { only: [far] }
"""


@pytest.fixture(scope="module")
def sifted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("filters"), CONFIG).served() as running:
        yield running


def provider(reply: wire.Reply) -> str | None:
    assert reply.status == 200, reply.body
    return reply.header("x-ferryman-provider")


def refusal(reply: wire.Reply, status: int, code: str) -> str:
    assert reply.status == status, reply.body
    error = error_of(reply)
    assert error["code"] == code
    return str(error["message"])


def explained(reply: wire.Reply) -> dict[str, str]:
    """Target → why it was left out."""
    said = json.loads(reply.header("x-ferryman-explain") or "")
    return {row["target"]: row["left_out"] for row in said["considered"] if "left_out" in row}


EXPLAIN = {"x-ferryman-explain": "1"}
PATIENTS = {"metadata": {"data": "patients"}}


def test_without_filters_nobody_is_left_out(sifted: Stack) -> None:
    reply = sifted.chat("any", headers=EXPLAIN)
    assert provider(reply) == "far"
    assert explained(reply) == {}


def test_a_route_filters_and_says_whom(sifted: Stack) -> None:
    for _ in range(2):  # worked out, and remembered
        reply = sifted.chat("european", headers=EXPLAIN)
        assert provider(reply) == "near"
        why = "regions: eu (models.european)"
        assert explained(reply) == {"far/sim": why, "dark/sim": why}


def test_what_a_route_filters_it_filters_within_another_too(sifted: Stack) -> None:
    assert {provider(sifted.chat("inner")) for _ in range(8)} == {"near"}
    reply = sifted.chat("inner", headers={"x-ferryman-providers": "far"} | EXPLAIN)
    assert reply.status == 400, "far is there by the way of european, which has no room for it"
    assert explained(reply)["far/sim"] == "regions: eu (models.european)"


def test_priorities_and_groups_close_up_around_who_is_left_out(sifted: Stack) -> None:
    assert provider(sifted.chat("tiered", provider={"ignore": ["near"]})) == "dark"
    only_far = {"only": ["far"]}
    assert sifted.chat("tiered", provider=only_far).status == 400, "the first way's filter holds"
    assert provider(sifted.chat("tiered", provider={"zdr": True})) == "near"
    assert provider(sifted.chat("tiered", provider={"order": ["dark"]})) == "dark"
    assert provider(sifted.chat("tiered", provider={"sort": "price"})) == "near"


def test_a_policy_filters_whichever_model_is_asked_for(sifted: Stack) -> None:
    for model in ("any", "backed", "near/sim"):
        reply = sifted.chat(model, headers=EXPLAIN, **PATIENTS)
        assert provider(reply) == "near"
        assert reply.header("x-ferryman-policy") == "patients"
    assert provider(sifted.chat("any")) == "far", "others stay as they are"
    assert provider(sifted.chat("near/sim", headers={"x-ferryman-tags": "sent"})) == "far"


def test_a_policys_refusal_is_403_and_names_the_filter(sifted: Stack) -> None:
    sifted.forget()
    reply = sifted.chat("far/sim", headers=EXPLAIN, **PATIENTS)
    text = refusal(reply, 403, "forbidden_by_policy")
    assert "data_policy: zero_retention (policy patients) leaves out far/sim" in text
    assert "whoever runs the gateway to change policy patients" in text
    assert reply.header("x-ferryman-policy") == "patients"
    assert explained(reply) == {"far/sim": "data_policy: zero_retention (policy patients)"}
    assert sifted.stats()["requests"] == 0
    row = sifted.row(reply)
    assert (row["status"], row["error"], row["cost_usd"]) == (403, "forbidden_by_policy", "0")
    unstated = refusal(sifted.chat("claude/sim", **PATIENTS), 403, "forbidden_by_policy")
    assert "What is not known of a target does not count for it." in unstated


def test_a_refusal_of_the_callers_own_making_is_400(sifted: Stack) -> None:
    text = refusal(
        sifted.chat("european", provider={"only": ["far", "nobody"]}), 400, "no_target_left"
    )
    assert "regions: eu (models.european) leaves out far/sim, dark/sim" in text
    assert "only (the request's 'provider') leaves out near/sim" in text
    assert "Ask for less there" in text
    header = {"x-ferryman-providers": "!near"}
    text = refusal(sifted.chat("any", headers=header, **PATIENTS), 400, "no_target_left")
    assert "ignore (the header 'x-ferryman-providers') leaves out near/sim" in text
    text = refusal(sifted.chat("sleepers"), 400, "no_target_left")
    assert "whoever runs the gateway to change models.sleepers" in text


@pytest.mark.parametrize(
    ("wishes", "served"),
    [
        ({"only": ["near"]}, "near"),
        ({"only": ["dark/sim"]}, "dark"),
        ({"only": ["NEAR", "nobody"]}, "near"),
        ({"ignore": ["far"]}, "near"),
        ({"ignore": ["far", "near"]}, "dark"),
        ({"data_collection": "allow"}, "far"),
        ({"data_collection": "deny"}, "far"),
        ({"zdr": True}, "near"),
        ({"zdr": False}, "far"),
        ({"data_policy": "zero_retention", "data_collection": "deny"}, "near"),
        ({"regions": ["EU"]}, "near"),
        ({"quantizations": ["bf16"]}, "near"),
        ({"quantizations": ["unknown"]}, "dark"),
        ({"max_price": {"prompt": 1, "completion": "2"}}, "far"),
        ({"max_price": {"prompt": 3, "request": 0}}, "near"),
        ({"max_price": {"request": 0.001}, "ignore": ["near"]}, "far"),
        ({"max_price": {}}, "far"),
        ({"order": ["dark", "near"]}, "dark"),
        ({"order": ["nobody", "near/sim"]}, "near"),
        ({"order": ["near"], "allow_fallbacks": False}, "near"),
        ({"sort": "price"}, "far"),
        ({"sort": {"by": "price", "partition": "none"}, "ignore": ["far"]}, "near"),
        ({"sort": "throughput", "only": ["dark"]}, "dark"),
        ({"sort": "latency", "only": ["near"]}, "near"),
        ({"preferred_min_throughput": 100, "preferred_max_latency": {"p50": 1}}, "far"),
        ({"enforce_distillable_text": False, "only": None}, "far"),
        ({}, "far"),
        (None, "far"),
    ],
)
def test_what_openais_sdk_can_ask_for(
    sifted: Stack, wishes: dict[str, Any] | None, served: str
) -> None:
    client = openai.OpenAI(base_url=sifted.endpoint, api_key=KEY, max_retries=0)
    for stream in (False, True):
        raw = client.chat.completions.with_raw_response.create(
            model="any",
            messages=[{"role": "user", "content": "Hi"}],
            stream=stream,
            extra_body={"provider": wishes, "user": "u"},
        )
        assert raw.headers["x-ferryman-provider"] == served
        sent = json.loads(sifted.last_body())
        assert "provider" not in sent
        assert (sent["user"], sent["model"]) == ("u", "sim")


@pytest.mark.parametrize(
    "wishes",
    [
        {"enforce_distillable_text": True},
        {"ingore": ["far"]},
        {"max_price": {"image": 1}},
        {"only": ["nobody"]},
        {"order": ["nobody"], "allow_fallbacks": False},
        {"quantizations": ["int4"]},
    ],
)
def test_demands_that_nobody_meets_are_refused(sifted: Stack, wishes: dict[str, Any]) -> None:
    text = refusal(sifted.chat("any", provider=wishes), 400, "no_target_left")
    assert "the request's 'provider'" in text


@pytest.mark.parametrize(
    "wishes",
    [
        "far",
        ["far"],
        7,
        {"only": "far"},
        {"only": [1]},
        {"only": ["a"] * 101},
        {"zdr": "yes"},
        {"sort": "fame"},
        {"sort": {"by": ["price"]}},
        {"data_collection": "maybe"},
        {"data_policy": "none"},
        {"quantizations": ["int3"]},
        {"max_price": {"prompt": -1}},
        {"max_price": {"prompt": "nan"}},
        {"max_price": {"prompt": "1e999"}},
        {"max_price": {"completion": "cheap"}},
        {"max_price": 5},
        {"allow_fallbacks": "no"},
    ],
)
def test_wishes_that_cannot_be_read_are_refused(sifted: Stack, wishes: Any) -> None:
    sifted.forget()
    reply = sifted.chat("any", provider=wishes)
    text = refusal(reply, 400, "invalid_request")
    assert text.startswith("'provider' can't be read: ")
    assert error_of(reply)["param"] == "provider"
    header = {"x-ferryman-providers": json.dumps(wishes)}
    if isinstance(wishes, dict):
        assert "'x-ferryman-providers' can't be read" in refusal(
            sifted.chat("any", headers=header), 400, "invalid_request"
        )
    assert sifted.stats()["requests"] == 0


@pytest.mark.parametrize("value", ["", ",", "!", "near,!", "{", '{"only": ["\xff"]}', "{}{}"])
def test_headers_that_name_nobody_are_refused(sifted: Stack, value: str) -> None:
    raw = wire.request(
        "/v1/chat/completions", asked("any"), {"Authorization": f"Bearer {KEY}"}
    ).replace(b"\r\n\r\n", b"\r\nx-ferryman-providers: " + value.encode("latin-1") + b"\r\n\r\n", 1)
    refusal(wire.talk(sifted.port, raw, 30), 400, "invalid_request")


def test_fallbacks_can_be_refused(sifted: Stack) -> None:
    assert provider(sifted.chat("failing")) == "far"
    reply = sifted.chat("failing", provider={"order": ["near"], "allow_fallbacks": False})
    assert reply.status >= 500
    assert provider(sifted.chat("backed", provider={"ignore": ["far"]})) == "near"
    refusal(
        sifted.chat("backed", provider={"ignore": ["far"], "allow_fallbacks": False}),
        400, "no_target_left",
    )  # fmt: skip


def test_prices_of_routes_and_policies(sifted: Stack) -> None:
    reply = sifted.chat("cheap", headers=EXPLAIN)
    assert provider(reply) == "far"
    why = "max_price (models.cheap)"
    assert explained(reply) == {"near/sim": why, "dark/sim": why}, "no price is no low price"
    cheap = {"x-ferryman-tags": "cheap"}
    assert provider(sifted.chat("any", headers=cheap)) == "far"
    refusal(sifted.chat("near/sim", headers=cheap), 403, "forbidden_by_policy")


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SEES: dict[str, Any] = {"messages": [{"role": "user", "content": [IMAGE]}]}
TOOL: dict[str, Any] = {
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
}


def test_who_is_known_to_lack_an_ability_is_left_out_while_another_has_it(sifted: Stack) -> None:
    reply = sifted.chat("any", headers=EXPLAIN, **SEES)
    assert provider(reply) == "near"
    assert explained(reply) == {"far/sim": "abilities: vision"}, "dark may have it"
    assert provider(sifted.chat("any", **TOOL)) == "far", "both have it"
    talk = [{"role": "user", "content": "What is a good image, and which tools make it?"}]
    assert provider(sifted.chat("any", messages=talk)) == "far"
    assert provider(sifted.chat("backed", **SEES)) == "near", "a fallback may be the able one"
    assert provider(sifted.chat("whatever", **SEES)) == "far"
    only_far = {"only": ["far", "dark"]}
    assert provider(sifted.chat("any", provider=only_far, **SEES)) == "far", "nobody has it"


def test_abilities_can_be_required(sifted: Stack) -> None:
    assert provider(sifted.chat("able")) == "dark"
    assert provider(sifted.chat("able", **TOOL)) == "far"
    reply = sifted.chat("able", headers=EXPLAIN, **SEES)
    assert provider(reply) == "near"
    why = "require_abilities: vision (models.able)"
    assert explained(reply) == {"far/sim": why, "dark/sim": why}
    wishes = {"require_abilities": True, "ignore": ["near"]}
    refusal(sifted.chat("any", provider=wishes, **SEES), 400, "no_target_left")
    large = [{"role": "user", "content": [IMAGE, {"type": "text", "text": "a" * 300_000}]}]
    assert provider(sifted.chat("able", messages=large)) == "near", "read beside the loop"
    unread = sifted.chat("able", messages=[{"role": "nobody", "content": 5}])
    assert unread.status == 400, "what can't be read can't be known to need nothing"


def test_parameters_can_be_required(sifted: Stack) -> None:
    assert provider(sifted.chat("lossless")) == "claude"
    reply = sifted.chat("lossless", seed=7)
    assert provider(reply) == "near"
    assert provider(sifted.chat("any", provider={"require_parameters": True}, seed=7)) == "far"
    alone = sifted.chat("claude/sim", provider={"require_parameters": True}, seed=7)
    assert "seed" in refusal(alone, 400, "unsupported_by_model")
    assert provider(sifted.chat("claude/sim", seed=7)) == "claude"


def test_a_router_gets_the_object_as_it_is(sifted: Stack) -> None:
    body = json.dumps(asked("router/sim", provider={"only": ["azure"], "new_wish": 1.50})).encode()
    assert provider(sifted.post(body)) == "router"
    assert sifted.last_body() == body.replace(b"router/sim", b"sim"), "byte by byte"
    wishes = {"only": ["azure"], "new_wish": 1.5, "allow_fallbacks": False}
    assert provider(sifted.chat("mixed", provider=wishes)) == "router"
    assert json.loads(sifted.last_body())["provider"] == wishes
    reply = sifted.chat("mixed", provider={"ignore": ["router", "far"]})
    assert provider(reply) == "near"
    assert "provider" not in json.loads(sifted.last_body())
    header = {"x-ferryman-providers": "!router"}
    assert provider(sifted.chat("mixed", headers=header)) == "far"


def test_the_header_works_for_every_format(sifted: Stack) -> None:
    header = {"x-ferryman-providers": '{"zdr": true}'}
    claude = anthropic.Anthropic(base_url=sifted.url, api_key=KEY, default_headers=header)
    message = claude.messages.with_raw_response.create(
        model="any", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
    )
    assert message.headers["x-ferryman-provider"] == "near"
    with pytest.raises(anthropic.BadRequestError, match="data_policy"):
        claude.messages.create(
            model="far/sim", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
        )
    options: Any = {"base_url": sifted.url, "headers": {"x-ferryman-providers": "far,!far"}}
    google = genai.Client(api_key=KEY, http_options=options)
    with pytest.raises(genai_errors.ClientError) as refused:
        google.models.generate_content(model="any", contents="Hi")
    assert refused.value.code == 400
    assert "leaves out far/sim" in str(refused.value)
    client = openai.OpenAI(base_url=sifted.endpoint, api_key=KEY, default_headers=header)
    answer = client.responses.with_raw_response.create(
        model="any", input="Hi", extra_body={"provider": {"ignore": ["far"]}}
    )
    assert answer.headers["x-ferryman-provider"] == "near"
    assert "provider" not in json.loads(sifted.last_body())
    vectors = client.embeddings.with_raw_response.create(model="any", input="Hi")
    assert vectors.headers["x-ferryman-provider"] == "near"


def test_both_ways_of_asking_count_together(sifted: Stack) -> None:
    header = {"x-ferryman-providers": "far, near"}
    assert provider(sifted.chat("any", headers=header, provider={"ignore": ["far"]})) == "near"
    text = refusal(
        sifted.chat("any", headers=header, provider={"only": ["dark"]}), 400, "no_target_left"
    )
    assert "only (the request's 'provider')" in text
    assert "only (the header 'x-ferryman-providers')" in text
