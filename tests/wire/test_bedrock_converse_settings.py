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
    ALWAYS,
    CLAUDE,
    HISTORY,
    NOVA,
    OWN,
    PNG,
    TOOL,
    call,
    choice,
    encode,
    result,
)
from tests.wire.judges_bedrock_converse import judge_request
from tests.wire.turns import media, model, user


def test_settings_that_the_format_has() -> None:
    wire, said = encode(
        user("q"), aim=NOVA, max_output=10, temperature=1.5, top_p=0.9, stop=("a", " ", "b"),
        service_tier="priority", metadata=(("task", "sum up"), ("b\u00e4d", "x"), ("", "y")),
    )  # fmt: skip
    assert wire["inferenceConfig"] == {
        "maxTokens": 10, "temperature": 1, "topP": 0.9, "stopSequences": ["a", "b"],
    }  # fmt: skip
    assert wire["serviceTier"] == {"type": "priority"}
    assert wire["requestMetadata"] == {"task": "sum up"}
    assert said == [
        "stop",
        "metadata.b?d",
        "metadata.",
        "temperature=1, the most that the format allows",
    ]


def test_settings_that_the_format_lacks() -> None:
    _, said = encode(
        user("q"), aim=NOVA, top_k=4, seed=1, presence_penalty=0.1, frequency_penalty=0.1,
        choices=2, logprobs=True, parallel_tools=False, verbosity="low", audio=Raw(b"{}"),
        modalities=("text", "audio"), user="u", store=True, cache_key="k", cache_seconds=9,
        service_tier="odd", unknown=("messages[0].x",),
        extra=(("extra_one", Raw(b"1")),), reasoning=Reasoning(effort="low"),
        metadata=tuple((f"k{n}", "v") for n in range(17)),
    )  # fmt: skip
    assert said == [
        "messages[0].x", "extra_one", "top_k", "reasoning", "service_tier", "metadata.k16", "n",
        "seed", "presence_penalty", "frequency_penalty", "logprobs", "parallel_tool_calls",
        "verbosity", "modalities", "audio", "user", "store", "prompt_cache_key",
        "prompt_cache_retention",
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


def budget(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


ADAPTS_HIDDEN: dict[str, Any] = {"thinking": {"type": "adaptive"}}
ADAPTS: dict[str, Any] = {"thinking": {"type": "adaptive", "display": "summarized"}}
OFF = {"thinking": {"type": "disabled"}}
FORCED = {"tools": (TOOL,), "tool_choice": choice("required")}
THINKING: list[tuple[str, Aim, dict[str, Any], dict[str, Any], str, list[str]]] = [
    ("budget", CLAUDE, {"reasoning": Reasoning(budget=2000)}, budget(2000), "", []),
    ("small budget", CLAUDE, {"reasoning": Reasoning(budget=5)}, budget(1024), "",
     ["reasoning=a budget of 1024 tokens"]),
    ("effort", CLAUDE, {"reasoning": Reasoning(effort="high")}, budget(24576), "",
     ["reasoning=a budget of 24576 tokens"]),
    ("unknown effort", CLAUDE, {"reasoning": Reasoning(effort="odd")}, budget(8192), "",
     ["reasoning=a budget of 8192 tokens"]),
    ("budget over the limit", CLAUDE, {"reasoning": Reasoning(budget=3000), "max_output": 2000},
     budget(1600), "", ["reasoning=a budget of 1600 tokens"]),
    ("hardly a limit", CLAUDE, {"reasoning": Reasoning(budget=3000), "max_output": 1025},
     budget(1024), "", ["reasoning=a budget of 1024 tokens"]),
    ("no room to think", CLAUDE, {"reasoning": Reasoning(budget=3000), "max_output": 1024}, {}, "",
     ["reasoning=off: max_output leaves no room for 1024 tokens of it"]),
    ("off", CLAUDE, {"reasoning": Reasoning(effort="none"), "top_k": 3}, {"top_k": 3}, "", []),
    ("nothing said", ADAPTIVE, {"reasoning": Reasoning(summary="auto")}, {}, "", []),
    ("off by budget", ADAPTIVE, {"reasoning": Reasoning(budget=0), "top_k": 3},
     OFF | {"top_k": 3}, "", []),
    ("can't be off", ALWAYS, {"reasoning": Reasoning(effort="none")}, ADAPTS_HIDDEN, "low",
     ["reasoning=low: this model always thinks"]),
    ("adaptive", ADAPTIVE, {"reasoning": Reasoning(adaptive=True)}, ADAPTS, "", []),
    ("adaptive from effort", ADAPTIVE, {"reasoning": Reasoning(effort="max")}, ADAPTS, "max", []),
    ("adaptive from too much", ADAPTIVE, {"reasoning": Reasoning(effort="xhigh")}, ADAPTS, "high",
     ["reasoning=effort high"]),
    ("adaptive from least", ADAPTIVE, {"reasoning": Reasoning(effort="minimal")}, ADAPTS, "low",
     ["reasoning=effort low"]),
    ("adaptive from budget", ADAPTIVE, {"reasoning": Reasoning(budget=8000)}, ADAPTS, "medium",
     ["reasoning=effort medium"]),
    ("hidden", ADAPTIVE, {"reasoning": Reasoning(effort="low", summary="none")},
     {"thinking": {"type": "adaptive", "display": "omitted"}}, "low", []),
    ("sampling gives way", CLAUDE,
     {"reasoning": Reasoning(budget=2000), "temperature": 0.5, "top_p": 0.5, "top_k": 3},
     budget(2000), "", ["temperature", "top_p", "top_k"]),
    ("sampling is refused", ALWAYS, {"temperature": 0.5, "top_p": 0.5, "top_k": 3}, {}, "",
     ["temperature", "top_p", "top_k"]),
    ("one of two", CLAUDE, {"temperature": 0.5, "top_p": 0.5}, {}, "", ["top_p"]),
    ("forced tools weigh more", CLAUDE, {"reasoning": Reasoning(budget=2000)} | FORCED, {}, "",
     ["reasoning=off: a tool is forced"]),
    ("or than an effort", ADAPTIVE, {"reasoning": Reasoning(effort="low")} | FORCED, OFF, "",
     ["reasoning=off: a tool is forced"]),
    ("but not where it can't be off", ALWAYS, {"reasoning": Reasoning(effort="low")} | FORCED,
     ADAPTS, "low", ["tool_choice=auto: this model thinks and that excludes a forced tool"]),
]  # fmt: skip


@pytest.mark.parametrize("case", THINKING, ids=[case[0] for case in THINKING])
def test_thinking(case: tuple[str, Aim, dict[str, Any], dict[str, Any], str, list[str]]) -> None:
    name, aim, more, fields, effort, receipt = case
    wire, said = encode(user("q"), aim=aim, **more)
    assert wire.get("additionalModelRequestFields", {}) == fields
    assert wire.get("outputConfig", {}).get("effort", "") == effort
    assert said == receipt
    assert ("inferenceConfig" in wire) is (name == "one of two" or "max_output" in more)


def test_a_turn_without_thoughts_goes_on_without() -> None:
    wire, said = encode(*HISTORY, reasoning=Reasoning(budget=2000))
    assert "additionalModelRequestFields" not in wire
    assert said[-1] == "reasoning=off: the turn began without this model's thoughts"
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
    ([user("a")], {"cached_content": "c"}, "cached_content", "its own provider"),
    ([user("a")], {"modalities": ("audio",)}, "modalities", "in text"),
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
    ours = param == "messages" or "JSON object" in words
    kind = ErrorKind.INVALID_REQUEST if ours else ErrorKind.UNSUPPORTED
    assert (caught.value.status, caught.value.kind) == (400, kind)
    assert caught.value.param == param
    assert re.search(re.escape(words), caught.value.message)


def test_a_tool_of_its_own_goes_through() -> None:
    hosted = HostedTool(origin=OWN, kind="systemTool", raw=b'{"systemTool":{"name":"ground"}}')
    wire, said = encode(user("a"), tools=(hosted,))
    assert wire["toolConfig"] == {"tools": [{"systemTool": {"name": "ground"}}]}
    assert not said
