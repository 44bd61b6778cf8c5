"""Policies on real calls: what they match, and what they do."""

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
  lab: { base_url: SIM/v1, key: env:LAB_KEY }
  spare: { base_url: SIM/v1, key: env:SPARE_KEY, auth: header:x-spare-key }
  claude:
    base_url: SIM/v1
    key: env:LAB_KEY
    format: anthropic_messages
    auth: x-api-key
    headers: { anthropic-version: "2023-06-01" }
policies:
  - { name: no-images, when: { abilities: vision }, forbid: "Images stay in the house." }
  - { name: broken, when: { tags: broken, abilities: { exists: true } }, forbid: "No." }
  - { name: agents, when: { metadata.task: { in: [agent, pipeline] } }, use: spare/sim }
  - name: beta
    when: { tags: beta, not: { tags: stable } }
    use: spare/sim
  - name: long
    when: { tokens: { gt: 2000 } }
    use: spare/sim
  - name: hot
    when: { any: [{ body.temperature: { gt: 1 } }, { body.generationConfig.temperature: 2 }] }
    set: { temperature: 0.25, max_output: 5, seed: 7 }
  - { name: team, when: { header.x-team: { regex: "^blue-[0-9]+$" } }, use: spare/sim }
  - name: here
    when: { tags: region, region: eu, not: { region: { in: [eu-west-1, us] } } }
    use: spare/sim
  - { name: hasty, when: { metadata.hurry: true }, timeouts: { first_byte: 200ms } }
  - { name: brief, when: { metadata.hurry: total }, timeouts: { total: 300ms } }
  - { name: patient, when: { metadata.hurry: no }, timeouts: { total: 1s, idle: 150ms } }
  - { name: strict, when: { endpoint: messages, body.stream: false }, on_unsupported: reject }
  - when: { model: lab/sim?old, key: { ne: key_nobody } }
    use: lab/sim
"""


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("policies")
    with Stack(folder, CONFIG, "--region", "EU-west-3").served() as running:
        yield running


def policy(reply: wire.Reply) -> str | None:
    return reply.header("x-ferryman-policy")


def given(**metadata: Any) -> dict[str, str]:
    return {"x-ferryman-metadata": json.dumps(metadata)}


def test_a_call_that_no_policy_is_for_is_left_alone(ruled: Stack) -> None:
    body = json.dumps(asked("lab/sim", temperature=1.0)).encode()
    reply = ruled.post(body)
    assert reply.status == 200
    assert policy(reply) is None
    assert ruled.last_body() == body.replace(b"lab/sim", b"sim")


@pytest.mark.parametrize(
    ("headers", "fields", "name"),
    [
        ({}, {"metadata": {"task": "agent"}}, "agents"),
        (given(task="pipeline"), {}, "agents"),
        (given(task="pipeline"), {"metadata": {"task": "chat"}}, "agents"),
        (given(task="chat"), {"metadata": {"task": "agent"}}, None),
        (given(other=1), {"metadata": {"task": "agent"}}, "agents"),
        ({"x-ferryman-tags": "alpha, beta"}, {}, "beta"),
        ({"x-ferryman-tags": "beta,stable"}, {}, None),
        ({"x-ferryman-tags": "beta"}, {"metadata": {"task": "agent"}}, "agents"),
        ({"X-Team": "blue-42"}, {}, "team"),
        ({"X-Team": "blue-"}, {}, None),
        ({"x-ferryman-tags": "region"}, {}, "here"),
    ],
)
def test_the_first_policy_that_matches_holds(
    ruled: Stack, headers: dict[str, str], fields: dict[str, Any], name: str | None
) -> None:
    reply = ruled.chat("lab/sim", headers=headers, **fields)
    assert reply.status == 200
    assert policy(reply) == name
    assert reply.header("x-ferryman-provider") == ("spare" if name else "lab")
    assert not any("ferryman" in header for header in ruled.last_headers())
    assert ruled.row(reply)["policy"] == name
    assert ruled.row(reply)["model"] == "lab/sim"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ferryman-metadata": "task=agent"},
        {"x-ferryman-metadata": '{"task": {"a": 1}}'},
        {"x-ferryman-metadata": "[1]"},
        {"x-ferryman-tags": ",".join("abcdefgh"[i % 8] for i in range(65))},
        {"x-ferryman-timeout": "soon"},
        {"x-ferryman-timeout": "0"},
        {"x-ferryman-timeout": "-1"},
        {"x-ferryman-timeout": "1e9"},
        {"x-ferryman-timeout": "first_bite=3"},
        {"x-ferryman-on-unsupported": "rejct"},
        {"x-ferryman-too-long": "shrink"},
        {"x-ferryman-timeout": "total=3, idle"},
        {"x-ferryman-timeout": ""},
    ],
)
def test_headers_that_cannot_be_read_are_refused(ruled: Stack, headers: dict[str, str]) -> None:
    ruled.forget()
    reply = ruled.chat("lab/sim", headers=headers)
    assert reply.status == 400
    error = error_of(reply)
    assert error["code"] == "invalid_request"
    assert next(iter(headers)) in error["message"]
    assert ruled.stats()["requests"] == 0


def test_long_calls_go_elsewhere_whichever_way_they_are_read(ruled: Stack) -> None:
    text = "The river is wide, and the ferry is slow. " * 400
    short = ruled.chat("lab/sim", messages=[{"role": "user", "content": text[:4000]}])
    assert policy(short) is None
    for more in (1, 30):  # the second is read beside the loop
        reply = ruled.chat("lab/sim", messages=[{"role": "user", "content": text * more}])
        assert (reply.status, policy(reply)) == (200, "long")


PNG = "iVBORw0KGgo="


def test_a_policy_forbids_in_every_callers_own_words(ruled: Stack) -> None:
    ruled.forget()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    client = openai.OpenAI(base_url=ruled.endpoint, api_key=KEY)
    with pytest.raises(openai.PermissionDeniedError) as chat:
        client.chat.completions.create(
            model="lab/sim",
            messages=[{"role": "user", "content": [url]}],  # type: ignore[list-item,misc]
        )
    assert chat.value.code == "forbidden_by_policy"
    assert "Images stay in the house." in chat.value.message
    assert chat.value.response.headers["x-ferryman-policy"] == "no-images"
    claude = anthropic.Anthropic(base_url=ruled.url, api_key=KEY)
    source: Any = {"type": "base64", "media_type": "image/png", "data": PNG}
    with pytest.raises(anthropic.PermissionDeniedError) as messages:
        claude.messages.create(
            model="lab/sim",
            max_tokens=5,
            messages=[{"role": "user", "content": [{"type": "image", "source": source}]}],
        )
    assert messages.value.body["error"]["type"] == "permission_error"  # type: ignore[index]
    options: Any = {"base_url": ruled.url}
    gemini = genai.Client(api_key=KEY, http_options=options)
    part = genai.types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    with pytest.raises(genai_errors.ClientError) as generate:
        gemini.models.generate_content(model="lab/sim", contents=part)
    assert generate.value.status == "PERMISSION_DENIED"
    assert ruled.stats()["requests"] == 0
    row = ruled.row(chat.value.response.headers["x-ferryman-request-id"])
    assert (row["status"], row["error"], row["cost_usd"]) == (403, "forbidden_by_policy", "0")
    assert row["policy"] == "no-images"


def test_what_cannot_be_read_does_not_slip_past_a_prohibition(ruled: Stack) -> None:
    odd = [{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}]
    reply = ruled.chat("lab/sim", messages=odd)
    assert reply.status == 400
    assert "image_url" in error_of(reply)["message"]


def test_parameters_are_forced_and_told(ruled: Stack) -> None:
    reply = ruled.chat("lab/sim", temperature=1.5, max_completion_tokens=50, user="u")
    assert (reply.status, policy(reply)) == (200, "hot")
    sent = json.loads(ruled.last_body())
    assert (sent["temperature"], sent["max_completion_tokens"], sent["seed"]) == (0.25, 5, 7)
    assert "max_tokens" not in sent
    assert sent["user"] == "u"
    told = "temperature=0.25 (policy), max_output=5 (policy), seed=7 (policy)"
    assert sorted(str(reply.header("x-ferryman-altered")).split(", ")) == sorted(told.split(", "))
    assert sorted(ruled.row(reply)["tries"][0]["altered"]) == sorted(told.split(", "))


def test_parameters_are_forced_in_each_format(ruled: Stack) -> None:
    messages = {"model": "claude/sim", "max_tokens": 50, "messages": asked("x")["messages"]}
    reply = ruled.post({**messages, "temperature": 1.5}, "/v1/messages")
    assert reply.status == 200
    sent = json.loads(ruled.last_body())
    assert (sent["temperature"], sent["max_tokens"]) == (0.25, 5)
    assert "seed=not set: messages has none" in str(reply.header("x-ferryman-altered"))
    answered = ruled.post({"model": "lab/sim", "input": "hi", "temperature": 2}, "/v1/responses")
    assert answered.status == 200
    assert json.loads(ruled.last_body())["max_output_tokens"] == 5
    contents = [{"parts": [{"text": "hi"}]}]
    body = {"contents": contents, "generationConfig": {"temperature": 2, "topK": 3}}
    generated = ruled.post(body, "/v1beta/models/lab/sim:generateContent")
    assert (generated.status, policy(generated)) == (200, "hot")
    sent = json.loads(ruled.last_body())  # translated
    assert (sent["temperature"], sent["seed"]) == (0.25, 7)
    assert "temperature=0.25 (policy)" in str(generated.header("x-ferryman-altered"))


@pytest.mark.parametrize(
    ("metadata", "headers"),
    [
        ({"hurry": True}, {}),
        ({"hurry": "total"}, {}),
        ({}, {"x-ferryman-timeout": "0.3"}),
        ({"hurry": "total"}, {"x-ferryman-timeout": "500"}),
    ],
    ids=["first_byte", "total", "header", "header-bounded"],
)
def test_calls_end_when_their_policy_or_caller_says(
    ruled: Stack, metadata: dict[str, Any], headers: dict[str, str]
) -> None:
    """The simulator would answer after a minute, and the configuration wait for ten."""
    reply = ruled.chat("lab/sim?delay=60000", metadata=metadata, headers=headers, patience=20)
    assert reply.status == 504
    assert error_of(reply)["code"] == "upstream_timeout"


def test_a_stream_ends_after_the_silence_that_its_policy_allows(ruled: Stack) -> None:
    reply = ruled.stream("lab/sim-stall?at=2", metadata={"hurry": "no"})
    assert policy(reply) == "patient"
    assert b"upstream_timeout" in reply.body


def test_endpoints_and_streams_can_be_told_apart(ruled: Stack) -> None:
    body = {
        "model": "lab/sim", "max_tokens": 5, "top_k": 3, "messages": asked("x")["messages"],
    }  # fmt: skip
    refused = ruled.post(body, "/v1/messages")
    assert (refused.status, policy(refused)) == (400, "strict")
    streamed = ruled.post({**body, "stream": True}, "/v1/messages")
    assert (streamed.status, policy(streamed)) == (200, None)


def test_a_policy_without_a_name_is_called_by_its_place(ruled: Stack) -> None:
    reply = ruled.chat("lab/sim?old")
    assert (reply.status, policy(reply)) == (200, "policy-13")
    assert reply.header("x-ferryman-model") == "sim"


def test_other_endpoints_have_metadata_by_header(ruled: Stack) -> None:
    body = {"model": "lab/sim", "input": "a"}
    reply = ruled.post(body, "/v1/embeddings", headers=given(task="agent"))
    assert (reply.status, policy(reply)) == (200, "agents")
    assert reply.header("x-ferryman-provider") == "spare"
