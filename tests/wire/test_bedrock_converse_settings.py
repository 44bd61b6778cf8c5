"""Settings, thoughts and refusals of requests in the Converse format."""

import re
from typing import Any

import pytest
from msgspec import Raw

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    HostedTool,
    Message,
    Reasoning,
    Request,
    Signature,
    Thinking,
    Tool,
)
from ferryman.wire.bedrock_converse.request import encode_request
from ferryman.wire.format import Aim
from tests.wire.converse import (
    ADAPTIVE,
    CLAUDE,
    HISTORY,
    NOVA,
    OWN,
    PNG,
    TOOL,
    call,
    choice,
    encode,
    media,
    model,
    result,
    user,
)
from tests.wire.judges_bedrock_converse import judge_request


def test_settings_that_the_format_has() -> None:
    wire, said = encode(
        user("q"), aim=NOVA, max_output=10, temperature=1.5, top_p=0.9, stop=("a", "", "b"),
        service_tier="priority", metadata=(("task", "sum up"), ("b\u00e4d", "x"), ("", "y")),
    )  # fmt: skip
    assert wire["inferenceConfig"] == {
        "maxTokens": 10, "temperature": 1, "topP": 0.9, "stopSequences": ["a", "b"],
    }  # fmt: skip
    assert wire["serviceTier"] == {"type": "priority"}
    assert wire["requestMetadata"] == {"task": "sum up"}
    assert said == ["metadata.b?d", "metadata.", "temperature=1, the most that the format allows"]


def test_settings_that_the_format_lacks() -> None:
    _, said = encode(
        user("q"), aim=NOVA, top_k=4, seed=1, presence_penalty=0.1, frequency_penalty=0.1,
        choices=2, logprobs=True, parallel_tools=False, verbosity="low", audio=Raw(b"{}"),
        modalities=("text", "audio"), user="u", store=True, cache_key="k", cache_seconds=9,
        cached_content="c", service_tier="odd", unknown=("messages[0].x",),
        extra=(("extra_one", Raw(b"1")),), reasoning=Reasoning(effort="low"),
        metadata=tuple((f"k{n}", "v") for n in range(17)),
    )  # fmt: skip
    assert said == [
        "messages[0].x", "extra_one", "top_k", "reasoning", "service_tier", "metadata.k16", "n",
        "seed", "presence_penalty", "frequency_penalty", "logprobs", "parallel_tool_calls",
        "verbosity", "modalities", "audio", "user", "store", "prompt_cache_key",
        "prompt_cache_retention", "cached_content",
    ]  # fmt: skip


def test_settings_that_say_nothing_are_not_reported() -> None:
    wire, said = encode(
        user("q"), presence_penalty=0.0, parallel_tools=True, store=False, modalities=("text",),
        service_tier="auto", reasoning=Reasoning(summary="auto"), temperature=0.0,
    )  # fmt: skip
    assert (wire.keys(), said) == ({"messages", "inferenceConfig"}, [])


def test_members_of_its_own_go_through() -> None:
    receipt = Receipt()
    config = Raw(b'{"guardrailIdentifier":"abc","guardrailVersion":"1"}')
    request = Request(
        model="m", messages=(user("q"),), origin=OWN,
        extra=(("guardrailConfig", config), ("odd", Raw(b"1")),
               ("performanceConfig", Raw(b'{"latency":"optimized"}'))),
    )  # fmt: skip
    wire = judge_request(encode_request(request, CLAUDE, receipt))
    assert wire["guardrailConfig"]["guardrailIdentifier"] == "abc"
    assert wire["performanceConfig"] == {"latency": "optimized"}
    assert receipt.dropped == ("odd",)


THOUGHT = Thinking(text="t", signature=Signature("s", OWN))
THINKING: list[tuple[str, Aim, dict[str, Any], dict[str, Any], list[str]]] = [
    ("budget", CLAUDE, {"reasoning": Reasoning(budget=2000)},
     {"thinking": {"type": "enabled", "budget_tokens": 2000}}, []),
    ("small budget", CLAUDE, {"reasoning": Reasoning(budget=5)},
     {"thinking": {"type": "enabled", "budget_tokens": 1024}}, ["reasoning.budget=1024"]),
    ("effort", CLAUDE, {"reasoning": Reasoning(effort="high")},
     {"thinking": {"type": "enabled", "budget_tokens": 24576}},
     ["reasoning.effort=budget of 24576 tokens"]),
    ("unknown effort", CLAUDE, {"reasoning": Reasoning(effort="odd")},
     {"thinking": {"type": "enabled", "budget_tokens": 8192}},
     ["reasoning.effort=budget of 8192 tokens"]),
    ("budget over the limit", CLAUDE, {"reasoning": Reasoning(budget=3000), "max_output": 2000},
     {"thinking": {"type": "enabled", "budget_tokens": 1999}}, ["reasoning.budget=1999"]),
    ("no room to think", CLAUDE, {"reasoning": Reasoning(budget=3000), "max_output": 1000}, {},
     ["reasoning"]),
    ("off", CLAUDE, {"reasoning": Reasoning(effort="none"), "top_k": 3}, {"top_k": 3}, []),
    ("off by budget", ADAPTIVE, {"reasoning": Reasoning(budget=0)}, {}, []),
    ("adaptive", ADAPTIVE, {"reasoning": Reasoning(adaptive=True)},
     {"thinking": {"type": "adaptive"}}, []),
    ("adaptive from effort", ADAPTIVE, {"reasoning": Reasoning(effort="max")},
     {"thinking": {"type": "adaptive"}}, []),
    ("adaptive from least", ADAPTIVE, {"reasoning": Reasoning(effort="minimal")},
     {"thinking": {"type": "adaptive"}}, ["reasoning.effort=low"]),
    ("adaptive from budget", ADAPTIVE, {"reasoning": Reasoning(budget=8000)},
     {"thinking": {"type": "adaptive"}}, ["reasoning.budget=effort medium"]),
    ("sampling gives way", CLAUDE,
     {"reasoning": Reasoning(budget=2000), "temperature": 0.5, "top_p": 0.5, "top_k": 3},
     {"thinking": {"type": "enabled", "budget_tokens": 2000}}, ["temperature", "top_p", "top_k"]),
    ("forced tools weigh more", CLAUDE,
     {"reasoning": Reasoning(budget=2000), "tools": (TOOL,), "tool_choice": choice("required")},
     {}, ["reasoning"]),
]  # fmt: skip


@pytest.mark.parametrize("case", THINKING, ids=[case[0] for case in THINKING])
def test_thinking(case: tuple[str, Aim, dict[str, Any], dict[str, Any], list[str]]) -> None:
    _, aim, more, fields, receipt = case
    wire, said = encode(user("q"), aim=aim, **more)
    assert wire.get("additionalModelRequestFields", {}) == fields
    assert said == receipt
    efforts = {"adaptive from effort": "max", "adaptive from least": "low",
               "adaptive from budget": "medium"}  # fmt: skip
    assert wire.get("outputConfig", {}).get("effort") == efforts.get(case[0])


def test_a_turn_without_thoughts_goes_on_without() -> None:
    wire, said = encode(*HISTORY, reasoning=Reasoning(budget=2000))
    assert "additionalModelRequestFields" not in wire
    assert said[-1] == "reasoning=off, since the calls being answered came without thoughts"
    with_thoughts = [user("q"), model(THOUGHT, call()), user(result("r"))]
    for messages, aim in ((with_thoughts, CLAUDE), (HISTORY, ADAPTIVE)):
        wire, _ = encode(*messages, aim=aim, reasoning=Reasoning(budget=2000))
        assert "thinking" in wire["additionalModelRequestFields"]


@pytest.mark.parametrize(
    ("name", "heeded"),
    [
        ("us.anthropic.claude-opus-4-1-v1:0", True),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", True),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", False),
        ("amazon.nova-pro-v1:0", False),
    ],
)
def test_fields_of_claude_go_only_where_it_may_be(name: str, heeded: bool) -> None:
    aim = Aim(model=name, quirks=("claude_fields",))
    wire, said = encode(user("q"), aim=aim, top_k=3, stop=("x",))
    assert ("additionalModelRequestFields" in wire) is heeded
    assert ("additionalModelResponseFieldPaths" in wire) is heeded
    assert said == ([] if heeded else ["top_k"])


# --- what is refused ----------------------------------------------------------------------------

REFUSED: list[tuple[list[Message], dict[str, Any], str, str]] = [
    ([], {}, "messages", "holds nothing"),
    ([user("", " ")], {}, "messages", "holds nothing"),
    ([user(media("image", url="https://x.example/a.png"))], {}, "messages[0].image", "URL"),
    ([user(media("image", media_type="image/tiff", data=PNG))], {}, "messages[0].image",
     "image/tiff; the model takes gif, jpeg, png, webp"),
    ([user(media("image", data="AAAA"))], {}, "messages[0].image", "doesn't say its type"),
    ([user(media("image", media_type="image/png"))], {}, "messages[0].image", "empty"),
    ([user(media("document", media_type="application/zip", data=PNG))], {}, "messages[0].document",
     "application/zip"),
    ([user(media("document", media_type="application/pdf", file_id="f", origin="openai_chat"))],
     {}, "messages[0].document", "stored at another provider"),
    ([user("a"), model(call(arguments="[1]"))], {}, "messages[1]", "not a JSON object"),
    ([user("a"), model(call(arguments='{"a":'))], {}, "messages[1]", "not a JSON object"),
    ([user("a"), model(call(name="a.b"))], {}, "messages[1]", "'a.b'"),
    ([user("a")], {"tools": (Tool(name="a" * 65),)}, "tools[0].name", "1 to 64"),
    ([user("a")], {"tools": (HostedTool(origin="o", kind="web_search", raw=b"{}"),)}, "tools[0]",
     "web_search"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_and_where(
    case: tuple[list[Message], dict[str, Any], str, str],
) -> None:
    messages, more, param, words = case
    with pytest.raises(GatewayError) as caught:
        encode(*messages, **more)
    assert (caught.value.status, caught.value.kind) == (400, ErrorKind.INVALID_REQUEST)
    assert caught.value.param == param
    assert re.search(re.escape(words), caught.value.message)


def test_a_tool_of_its_own_goes_through() -> None:
    hosted = HostedTool(origin=OWN, kind="systemTool", raw=b'{"systemTool":{"name":"ground"}}')
    wire, said = encode(user("a"), tools=(hosted,))
    assert wire["toolConfig"] == {"tools": [{"systemTool": {"name": "ground"}}]}
    assert not said
