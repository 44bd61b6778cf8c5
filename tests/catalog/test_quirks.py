"""Each named oddity, as providers show it."""

import re
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from ferryman.catalog import quirks


def fields(**members: object) -> dict[str, Raw]:
    return {name: Raw(msgspec.json.encode(value)) for name, value in members.items()}


def plain(members: dict[str, Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(value) for name, value in members.items()}


def test_stream_options_are_dropped() -> None:
    body = fields(model="m", stream=True, stream_options={"include_usage": True})
    quirks.no_stream_options(body)
    assert plain(body) == {"model": "m", "stream": True}


def test_the_older_name_of_the_limit() -> None:
    body = fields(model="m", max_completion_tokens=7)
    quirks.max_tokens_only(body)
    assert plain(body) == {"model": "m", "max_tokens": 7}
    body = fields(model="m", max_completion_tokens=7, max_tokens=5)
    quirks.max_tokens_only(body)
    assert plain(body) == {"model": "m", "max_tokens": 5}


@pytest.mark.parametrize("model", ["o1", "o3-mini", "gpt-5", "gpt-5.4-mini", "openai/gpt-6-sol"])
def test_the_newer_name_of_the_limit(model: str) -> None:
    body = fields(model=model, max_tokens=7)
    quirks.max_completion_tokens(body)
    assert plain(body) == {"model": model, "max_completion_tokens": 7}
    body = fields(model=model, max_tokens=7, max_completion_tokens=9)
    quirks.max_completion_tokens(body)
    assert plain(body) == {"model": model, "max_completion_tokens": 9}


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-3.5-turbo-instruct", "gpt-35-turbo", "omni-x", "gpt-oss-20b", 5]
)
def test_other_models_keep_the_limit_as_it_came(model: object) -> None:
    body = fields(model=model, max_tokens=7)
    quirks.max_completion_tokens(body)
    assert plain(body) == {"model": model, "max_tokens": 7}


def test_usage_within_the_choice() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    reply: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "usage": usage}], "usage": None}
    quirks.usage_in_choice(reply)
    assert reply["usage"] == usage
    other = {"choices": [{"usage": {"prompt_tokens": 9}}], "usage": usage}
    quirks.usage_in_choice(other)
    assert other["usage"] == usage


def test_cached_tokens_beside_the_details() -> None:
    reply: dict[str, Any] = {
        "usage": {"prompt_tokens": 9, "cache_read_input_tokens": 4, "reasoning_tokens": 2}
    }
    quirks.cached_tokens_top_level(reply)
    assert reply["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}
    assert reply["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
    reply = {"usage": {"cache_read_input_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}}
    quirks.cached_tokens_top_level(reply)
    assert reply["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}


@pytest.mark.parametrize("details", [{"reasoning_tokens": 2809}, {}, None])
def test_reasoning_beside_the_completion(details: dict[str, int] | None) -> None:
    # numbers of https://github.com/Wei-Shaw/sub2api/issues/5771
    usage: dict[str, Any] = {
        "prompt_tokens": 10120,
        "completion_tokens": 1499,
        "total_tokens": 14428,
        "completion_tokens_details": details,
    }
    reply = {"usage": usage}
    quirks.reasoning_beside_completion(reply)
    assert usage["completion_tokens"] == 1499 + 2809
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 2809}
    before = msgspec.json.encode(reply)
    quirks.reasoning_beside_completion(reply)
    assert msgspec.json.encode(reply) == before


def test_reasoning_within_the_completion_stays() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 50,
        "total_tokens": 60,
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    reply: dict[str, Any] = {"usage": dict(usage)}
    quirks.reasoning_beside_completion(reply)
    assert reply["usage"] == usage


ODD = [None, 5, "x", [], [1], {"total_tokens": "9"}, {"prompt_tokens_details": 3}, {"a": None}]


@pytest.mark.parametrize("name", quirks.USAGE_QUIRKS)
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_replies_are_left_alone(name: str, odd: object) -> None:
    for reply in ({}, {"usage": odd}, {"choices": odd}, {"choices": [odd]}):
        before = msgspec.json.encode(reply)
        quirks.USAGE_QUIRKS[name](reply)
        assert msgspec.json.encode(reply) == before


OF_HOSTS = ("vertex_claude", "bedrock_claude")
"""They change every request."""


@pytest.mark.parametrize("name", [name for name in quirks.REQUEST_QUIRKS if name not in OF_HOSTS])
def test_requests_without_the_matter_are_left_alone(name: str) -> None:
    for body in (fields(), fields(model="o3"), fields(model=None, messages=[])):
        before = plain(body)
        quirks.REQUEST_QUIRKS[name](body)
        assert plain(body) == before


def test_the_seed_has_another_name() -> None:
    body = fields(model="m", seed=7)
    quirks.random_seed(body)
    assert plain(body) == {"model": "m", "random_seed": 7}


def test_developers_become_the_system() -> None:
    said = [
        {"role": "developer", "content": "developer"},
        {"role": "user", "content": [{"type": "text", "text": '"developer"'}]},
    ]
    body = fields(messages=said)
    quirks.system_role(body)
    assert plain(body) == {"messages": [{"role": "system", "content": "developer"}, said[1]]}
    body = fields(messages=said[1:])
    before = bytes(body["messages"])
    quirks.system_role(body)
    assert bytes(body["messages"]) == before, "untouched, to the byte"


def test_tool_ids_of_nine_characters() -> None:
    def call(name: str) -> dict[str, object]:
        return {
            "id": name,
            "type": "function",
            "function": {"name": "f", "arguments": '{"a": 1.0}'},
        }

    long = "call_" + "x" * 60
    said = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call(long), call("nineChars")]},
        {"role": "tool", "tool_call_id": long, "content": "1"},
        {"role": "tool", "tool_call_id": "nineChars", "content": "2"},
        {"role": "assistant", "content": "done", "tool_calls": None},
    ]
    body = fields(messages=said)
    quirks.short_tool_ids(body)
    _, asked, first, second, last = plain(body)["messages"]
    assert re.fullmatch("[a-zA-Z0-9]{9}", first["tool_call_id"])
    assert asked["tool_calls"] == [{**call(long), "id": first["tool_call_id"]}, call("nineChars")]
    assert (second, last) == (said[3], said[4])
    again = dict(body)
    quirks.short_tool_ids(again)
    assert again == body


@pytest.mark.parametrize(
    "odd",
    [5, {}, [5], [{"role": 5}], [{"role": ["developer"]}], [{"tool_call_id": 5}],
     [{"tool_calls": 5}], [{"tool_calls": [5]}], [{"tool_calls": [{"id": None}]}],
     [{"tool_calls": [{}]}, {"role": "developer"}]],
    ids=repr,
)  # fmt: skip
def test_odd_messages_are_left_to_the_provider(odd: object) -> None:
    for quirk in (quirks.system_role, quirks.short_tool_ids):
        quirk(fields(messages=odd))


def test_hosts_of_claude_want_the_version_in_the_body() -> None:
    body = fields(model="m", stream=True, max_tokens=5, anthropic_version="2023-06-01")
    quirks.vertex_claude(body)
    assert plain(body) == {
        "stream": True, "max_tokens": 5, "anthropic_version": "vertex-2023-10-16"
    }  # fmt: skip
    quirks.bedrock_claude(body)
    assert plain(body) == {"max_tokens": 5, "anthropic_version": "bedrock-2023-05-31"}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-sonnet-4-5-20250929", ""),
        ("anthropic.claude-3-haiku", ""),
        ("claude-3-7-sonnet-20250219", ""),
        ("claude-sonnet-4-20250514", ""),
        ("claude-haiku-4-5@20251001", ""),
        ("amazon.nova-pro-v1:0", ""),
        ("us.anthropic.claude-opus-4-6-v1", "adaptive_thinking effort_max"),
        ("claude-sonnet-4.6", "adaptive_thinking effort_max"),
        ("claude-opus-4-7", "adaptive_thinking effort_xhigh effort_max no_sampling"),
        ("claude-sonnet-5", "adaptive_thinking effort_xhigh effort_max no_sampling"),
        ("claude-opus-5@default", "adaptive_thinking effort_xhigh effort_max no_sampling"),
        ("claude-opus-10", "adaptive_thinking effort_xhigh effort_max no_sampling"),
        (
            "claude-mythos-preview",
            "adaptive_only adaptive_thinking effort_xhigh effort_max no_sampling",
        ),
        (
            "anthropic.claude-fable-5-1",
            "adaptive_only adaptive_thinking effort_xhigh effort_max no_sampling",
        ),
    ],
)
def test_how_claude_is_told_to_think(model: str, expected: str) -> None:
    found = quirks.model_quirks("anthropic_messages", model)
    assert found == tuple(expected.split())
    on_bedrock = quirks.model_quirks("bedrock_converse", model)
    assert on_bedrock[0] == "claude_fields"
    assert tuple(name for name in on_bedrock[1:] if name != "output_format") == found
    assert quirks.NAMES.issuperset(on_bedrock)
    assert quirks.model_quirks("openai_chat", model) == ()


@pytest.mark.parametrize(
    ("model", "formed"),
    [
        ("anthropic.claude-opus-4-1-20250805-v1:0", False),
        ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", True),
        ("anthropic.claude-sonnet-5", True),
        ("amazon.nova-pro-v1:0", False),
    ],
)
def test_which_models_of_bedrock_form_their_output(model: str, formed: bool) -> None:
    assert ("output_format" in quirks.model_quirks("bedrock_converse", model)) is formed


GEMINI_3 = "thinking_level need_signature media_in_results part_resolution image_sizes"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-1.5-pro", "no_thinking openapi_schema no_output_with_tools"),
        ("gemini-2.0-flash", "no_thinking openapi_schema no_output_with_tools"),
        ("gemini-2.5-flash", "no_additional_properties no_output_with_tools"),
        ("gemini-2.5-pro", "no_additional_properties no_output_with_tools thinking_always"),
        ("gemini-live-2.5-flash", "no_additional_properties no_output_with_tools"),
        ("gemini-3-pro-preview", GEMINI_3),
        ("models/gemini-3.8-flash", GEMINI_3),
        ("gemini-flash-latest", GEMINI_3),
        ("gemma-3-27b-it", "no_thinking openapi_schema output_by_tool"),
    ],
)
def test_what_gemini_knows(model: str, expected: str) -> None:
    found = quirks.model_quirks("gemini_generate", model)
    assert found == tuple(expected.split())
    assert quirks.NAMES.issuperset(found)


OPENAI = [
    ("gpt-4o", ""),
    ("gpt-5-chat-latest", ""),
    ("gpt-5-search-api", ""),
    ("o3-mini", "no_sampling no_stop no_penalties efforts_low_to_high thinks_unasked"),
    (
        "o3-pro",
        "no_sampling no_stop no_penalties efforts_low_to_high thinks_unasked responses_only",
    ),
    (
        "gpt-5-mini-2025-08-07",
        "no_sampling no_stop effort_minimal no_penalties efforts_low_to_high thinks_unasked",
    ),
    ("gpt-5.1", "no_sampling_thinking no_stop no_penalties efforts_low_to_high effort_none"),
    (
        "gpt-5.4-mini",
        "no_sampling_thinking no_stop no_penalties efforts_low_to_high effort_none effort_xhigh"
        " tools_by_responses",
    ),
    (
        "gpt-5.5",
        "no_sampling_thinking no_penalties efforts_low_to_high thinks_unasked effort_none"
        " effort_xhigh tools_by_responses",
    ),
    (
        "gpt-6-luna",
        "no_sampling_thinking no_penalties efforts_low_to_high thinks_unasked effort_none"
        " effort_xhigh effort_max tools_by_responses",
    ),
    (
        "gpt-6.1-sol",
        "no_sampling_thinking no_penalties efforts_low_to_high thinks_unasked"
        " effort_xhigh effort_max tools_by_responses",
    ),
    ("gpt-5.3-codex", "no_sampling no_stop no_penalties thinks_unasked responses_only"),
    ("codex-mini", "responses_only"),
]


@pytest.mark.parametrize(("model", "expected"), OPENAI)
def test_what_openais_models_refuse(model: str, expected: str) -> None:
    found = quirks.model_quirks("openai_chat", model, ("max_completion_tokens",))
    assert found == tuple(expected.split())
    assert quirks.NAMES.issuperset(found)
    assert quirks.model_quirks("openai_chat", model, ("reasoning_object",)) == ()


@pytest.mark.parametrize(
    ("own", "model", "expected"),
    [
        ("glm_models", "glm-4.7", ""),
        ("glm_models", "glm-5.2-air", "thinking_effort"),
        ("glm_models", "glm-5.3", "thinking_effort thinking_always"),
        ("kimi_models", "moonshot-v1-8k", ""),
        ("kimi_models", "kimi-k2-turbo-preview", ""),
        ("kimi_models", "kimi-k2.6", "no_sampling no_penalties no_n thinking_object"),
        ("kimi_models", "kimi-k2.7-code", "no_sampling no_penalties no_n thinking_always"),
        (
            "kimi_models",
            "kimi-k3.1-pro",
            "no_sampling no_penalties no_n thinking_effort thinking_always",
        ),
    ],
)
def test_how_other_makers_models_are_told_to_think(own: str, model: str, expected: str) -> None:
    found = quirks.model_quirks("openai_chat", model, (own,))
    assert found == tuple(expected.split())
    assert quirks.NAMES.issuperset(found)
    assert quirks.model_quirks("openai_chat", model) == ()


def test_what_a_provider_refuses() -> None:
    names = ("no_logprobs", "no_stream_options", "no_json_schema", "no_seed", "top_k")
    assert quirks.refused(names) == {"logprobs", "seed"}
    assert quirks.refused(()) == frozenset()


def test_names_are_sorted_by_what_they_concern() -> None:
    names = ("usage_in_choice", "no_stream_options", "of_a_newer_version")
    assert quirks.request_quirks(names) == (quirks.no_stream_options,)
    assert quirks.usage_quirks(names) == (quirks.usage_in_choice,)


def test_sizes_and_kinds_of_vectors_have_other_names() -> None:
    body = fields(model="m", dimensions=64, encoding_format="float")
    quirks.output_dimension(body)
    assert plain(body) == {"model": "m", "output_dimension": 64}
    body = fields(dimensions=64, output_dimension=32, encoding_format="base64")
    quirks.output_dimension(body)
    assert plain(body) == {"output_dimension": 32, "encoding_format": "base64"}
    quirks.embedding_type(body)
    assert plain(body) == {"output_dimension": 32, "embedding_type": "base64"}
    chat = fields(model="m", messages=[])
    quirks.output_dimension(chat)
    quirks.embedding_type(chat)
    assert plain(chat) == {"model": "m", "messages": []}
