"""Tools, forms, thinking and sampling of other formats for providers of the Messages format."""

import json
from typing import Any

import pytest
from msgspec import Raw

from ferryman.ir.request import (
    Message,
    OutputFormat,
    OutputKind,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolChoice,
    ToolMode,
)
from ferryman.wire.anthropic_messages.encode import DEFAULT_LIMIT
from tests.wire.messages_asking import (
    BEYOND,
    CLOSED,
    OBJECT,
    SIGNED,
    F,
    G,
    call,
    refusal,
    result,
    send,
)
from tests.wire.turns import model, user

# --- tools and form -------------------------------------------------------------------------------


def test_tools_have_an_object_s_schema() -> None:
    sent = send(tools=(
        F, Tool(name="none"), Tool(name="empty", parameters=Raw(b"{}")),
        Tool(name="bare", parameters=Raw(b'{"properties":{}}')),
        Tool(name="free", free=True, description="D", grammar=Raw(b"{}")),
    ))  # fmt: skip
    schemas = {tool["name"]: tool["input_schema"] for tool in sent.body["tools"]}
    assert schemas["none"] == schemas["empty"] == {"type": "object", "properties": {}}
    assert schemas["bare"] == {"type": "object", "properties": {}}
    assert schemas["free"]["required"] == ["input"]
    assert sent.altered == (
        "tools[3].parameters=type object added", "tools[4]=free text as member input"
    )  # fmt: skip
    assert sent.dropped == ("tools[4].grammar",)
    turns = send(user("x"), model(call("a", "free", "*** any", free=True)), user(result("a")))
    assert turns.body["messages"][1]["content"][0]["input"] == {"input": "*** any"}
    assert refusal(tools=(Tool(name="a.b"),)).param == "tools[0].name"
    assert refusal(tools=(Tool(name="x", parameters=Raw(b"[]")),)).param == "tools[0].parameters"


@pytest.mark.parametrize(
    ("choice", "parallel", "written", "names"),
    [
        (None, None, None, "fg"),
        (None, True, None, "fg"),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}, "fg"),
        (ToolChoice(mode=ToolMode.AUTO), None, {"type": "auto"}, "fg"),
        (ToolChoice(mode=ToolMode.NONE), False, {"type": "none"}, "fg"),
        (ToolChoice(mode=ToolMode.REQUIRED), True,
         {"type": "any", "disable_parallel_tool_use": False}, "fg"),
        (ToolChoice(mode=ToolMode.REQUIRED, allowed=("g",)), None,
         {"type": "tool", "name": "g"}, "fg"),
        (ToolChoice(mode=ToolMode.AUTO, allowed=("g",)), None, {"type": "auto"}, "g"),
        (ToolChoice(mode=ToolMode.REQUIRED, allowed=("g", "x")), None, {"type": "any"}, "g"),
    ],
)  # fmt: skip
def test_which_tools_may_be_called(
    choice: ToolChoice | None, parallel: bool | None, written: Any, names: str
) -> None:
    sent = send(tools=(F, G), tool_choice=choice, parallel_tools=parallel)
    assert sent.body.get("tool_choice") == written
    assert "".join(tool["name"] for tool in sent.body["tools"]) == names
    assert bool(sent.altered) == (names == "g")


def test_a_choice_without_tools_is_dropped() -> None:
    sent = send(tool_choice=ToolChoice(mode=ToolMode.REQUIRED))
    assert "tool_choice" not in sent.body
    assert sent.dropped == ("tool_choice",)
    assert send(tool_choice=ToolChoice(mode=ToolMode.NONE), parallel_tools=True).dropped == ()


def form(schema: Raw | None = CLOSED, kind: OutputKind = OutputKind.SCHEMA) -> OutputFormat:
    return OutputFormat(kind=kind, name="n", schema=schema, strict=True)


@pytest.mark.parametrize("can", ["json_schema", "output_format"])
def test_a_form_is_native_where_the_target_takes_it(can: str) -> None:
    sent = send(output=form(), aim=(can,))
    assert sent.body["output_config"] == {
        "format": {"type": "json_schema", "schema": json.loads(bytes(CLOSED))}
    }
    assert "tools" not in sent.body
    assert sent.receipt.output_tool == ""
    assert not sent.altered + sent.dropped


@pytest.mark.parametrize(
    ("output", "aim", "schema"),
    [
        (form(), (), CLOSED),
        (form(OBJECT), ("json_schema",), OBJECT),
        (form(BEYOND), ("json_schema",), BEYOND),
        (form(None, OutputKind.JSON), ("json_schema",), Raw(b'{"type":"object"}')),
    ],
)  # fmt: skip
def test_else_a_forced_tool_stands_for_it(
    output: OutputFormat, aim: tuple[str, ...], schema: Raw
) -> None:
    sent = send(output=output, aim=aim)
    (tool,) = sent.body["tools"]
    assert sent.receipt.output_tool == tool["name"] == "structured_output"
    assert tool["input_schema"] == json.loads(bytes(schema))
    assert sent.body["tool_choice"] == {
        "type": "tool", "name": "structured_output", "disable_parallel_tool_use": True
    }  # fmt: skip
    assert sent.altered == ("response_format=forced tool",)


def test_a_form_beside_tools_leaves_them_callable() -> None:
    sent = send(output=form(), tools=(F, Tool(name="structured_output", parameters=OBJECT)))
    assert sent.receipt.output_tool == "structured_output_"
    assert [tool["name"] for tool in sent.body["tools"]] == [
        "f", "structured_output", "structured_output_"
    ]  # fmt: skip
    assert sent.body["tool_choice"] == {"type": "any"}
    sent = send(output=form(), tools=(F,), tool_choice=ToolChoice(mode=ToolMode.NONE))
    assert sent.body["tool_choice"]["name"] == "structured_output"
    one = ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",))
    sent = send(output=form(), tools=(F,), tool_choice=one)
    assert sent.receipt.output_tool == ""
    assert sent.dropped == ("response_format",)


def test_strict_tools_where_the_target_takes_their_schema() -> None:
    strict = Tool(name="f", parameters=CLOSED, strict=True)
    assert send(tools=(strict,), aim=("json_schema",)).body["tools"][0]["strict"] is True
    for tool, aim in ((strict, ()), (Tool(name="f", parameters=OBJECT, strict=True),
                                     ("json_schema",))):  # fmt: skip
        sent = send(tools=(tool,), aim=aim)
        assert "strict" not in sent.body["tools"][0]
        assert sent.dropped == ("tools[0].strict",)


# --- thinking and sampling ------------------------------------------------------------------------

SHOWN = ("adaptive", "summarized")
"""Some of these models hide their thoughts unless asked; a chat caller has no way to ask."""
LOOP = (user("x"), model(call("a")), user(result("a")))


@pytest.mark.parametrize(
    ("reasoning", "aim", "thinking", "effort", "noted"),
    [
        (Reasoning(effort="medium"), (), ("enabled", 5000), None, True),
        (Reasoning(effort="low"), (), ("enabled", 1024), None, True),
        (Reasoning(budget=3000), (), ("enabled", 3000), None, False),
        (Reasoning(budget=100), (), ("enabled", 1024), None, True),
        (Reasoning(budget=50_000), (), ("enabled", 8000), None, True),
        (Reasoning(adaptive=True), (), ("enabled", 5000), None, True),
        (Reasoning(effort="none"), (), None, None, False),
        (Reasoning(budget=0), (), None, None, False),
        (Reasoning(encrypted=True, summary="auto"), (), None, None, False),
        (Reasoning(effort="high"), ("tools",), None, None, True),
        (Reasoning(effort="high"), ("reasoning",), ("enabled", 8000), None, True),
        (Reasoning(effort="high"), ("adaptive_thinking",), SHOWN, "high", False),
        (Reasoning(effort="minimal"), ("adaptive_thinking",), SHOWN, "low", True),
        (Reasoning(effort="max"), ("adaptive_thinking",), SHOWN, "high", True),
        (Reasoning(effort="max"), ("adaptive_thinking", "effort_max"), SHOWN, "max", False),
        (Reasoning(effort="max"), ("adaptive_only", "effort_xhigh"), SHOWN, "xhigh", True),
        (Reasoning(budget=9000), ("adaptive_thinking",), SHOWN, "medium", True),
        (Reasoning(summary="auto"), ("adaptive_thinking",), ("adaptive", "summarized"), None,
         False),
        (Reasoning(effort="high", summary="none"), ("adaptive_thinking",), ("adaptive", "omitted"),
         "high", False),
        (Reasoning(effort="none"), ("adaptive_thinking",), ("disabled",), None, False),
        (Reasoning(effort="none"), ("adaptive_only",), ("adaptive",), "low", True),
    ],
)  # fmt: skip
def test_how_much_the_model_shall_think(
    reasoning: Reasoning, aim: tuple[str, ...], thinking: Any, effort: Any, noted: bool
) -> None:
    sent = send(reasoning=reasoning, aim=aim)
    said = sent.body.get("thinking")
    assert (tuple(said.values()) if said else None) == thinking
    assert sent.body.get("output_config", {}).get("effort") == effort
    assert bool(sent.altered + sent.dropped) == noted


@pytest.mark.parametrize(
    "more",
    [
        {"tools": (F,), "tool_choice": ToolChoice(mode=ToolMode.REQUIRED)},
        {"output": form()},
        {"max_output": 1024},
    ],
)
def test_what_excludes_thinking_turns_it_off(more: dict[str, Any]) -> None:
    sent = send(reasoning=Reasoning(effort="high"), **more)
    assert "thinking" not in sent.body
    assert any(entry.startswith("reasoning=off") for entry in sent.altered)


def test_thinking_goes_on_only_in_a_turn_that_began_with_it() -> None:
    high = Reasoning(effort="high")
    assert "thinking" not in send(*LOOP, reasoning=high, tools=(F,)).body
    signed = (user("x"), model(SIGNED, call("a")), user(result("a")))
    assert "thinking" in send(*signed, reasoning=high, tools=(F,)).body
    assert "thinking" in send(*LOOP, model("b"), user("c"), reasoning=high, tools=(F,)).body
    assert "thinking" in send(*LOOP, reasoning=high, tools=(F,), aim=("adaptive_thinking",)).body


def test_a_model_that_always_thinks_cannot_be_forced() -> None:
    choice = ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",))
    sent = send(
        tools=(F,), tool_choice=choice, reasoning=Reasoning(effort="high"), aim=("adaptive_only",)
    )
    assert sent.body["tool_choice"] == {"type": "auto"}
    assert any(entry.startswith("tool_choice=auto") for entry in sent.altered)
    sent = send(
        tools=(F,), tool_choice=choice, reasoning=Reasoning(effort="high"),
        aim=("adaptive_thinking",),
    )  # fmt: skip
    assert sent.body["thinking"] == {"type": "disabled"}
    assert sent.body["tool_choice"]["type"] == "tool"


@pytest.mark.parametrize(
    ("said", "aim", "sent_", "dropped", "altered"),
    [
        ({"temperature": 0.5, "top_k": 3}, (), {"temperature": 0.5, "top_k": 3}, (), ()),
        ({"temperature": 1.5}, (), {"temperature": 1.0}, (), ("temperature=1",)),
        ({"temperature": 0.5, "top_p": 0.9}, (), {"temperature": 0.5}, ("top_p",), ()),
        ({"top_p": 0.9}, (), {"top_p": 0.9}, (), ()),
        ({"temperature": 1.0, "top_p": 0.9, "top_k": 1}, ("no_sampling",), {},
         ("temperature", "top_p", "top_k"), ()),
    ],
)  # fmt: skip
def test_sampling(said: dict[str, Any], aim: Any, sent_: Any, dropped: Any, altered: Any) -> None:
    sent = send(aim=aim, **said)
    assert {k: v for k, v in sent.body.items() if k in ("temperature", "top_p", "top_k")} == sent_
    assert (sent.dropped, sent.altered) == (dropped, altered)


def test_sampling_is_not_sent_with_thinking() -> None:
    sent = send(reasoning=Reasoning(budget=2000), temperature=0.5)
    assert "temperature" not in sent.body
    assert sent.dropped == ("temperature",)
    assert send(reasoning=Reasoning(budget=0), temperature=0.5).body["temperature"] == 0.5


@pytest.mark.parametrize(
    ("said", "most", "sent_"),
    [(0, 0, DEFAULT_LIMIT), (0, 64_000, 64_000), (100, 64_000, 100), (100_000, 64_000, 64_000)],
)
def test_the_limit_is_always_said(said: int, most: int, sent_: int) -> None:
    sent = send(max_output=said, most=most)
    assert sent.body["max_tokens"] == sent_
    assert sent.altered == (() if said == sent_ else (f"max_output={sent_}",))


def test_what_has_no_place_is_dropped_by_name() -> None:
    sent = send(
        seed=1, presence_penalty=0.5, frequency_penalty=0.5, logprobs=True, top_logprobs=2,
        verbosity="low", modalities=("text", "audio"), audio=Raw(b"{}"), store=True,
        metadata=(("a", "b"),), cache_key="k", cache_seconds=60, service_tier="flex",
        stop=("a", " "), choices=2, unknown=("messages[0].x",),
        extra=(("web_search_options", Raw(b"{}")),),
    )  # fmt: skip
    assert set(sent.dropped) == {
        "seed", "presence_penalty", "frequency_penalty", "logprobs", "verbosity", "modalities",
        "audio", "store", "metadata", "prompt_cache_key", "prompt_cache_retention", "n",
        "service_tier", "stop", "web_search_options", "messages[0].x",
    }  # fmt: skip
    assert sent.body["stop_sequences"] == ["a"]
    named = send(Message(role=Role.USER, blocks=(Text(text="a"),), name="Ann"))
    assert named.dropped == ("messages[0].name",)


def test_what_would_lose_nothing_is_not_reported() -> None:
    sent = send(store=False, presence_penalty=0.0, modalities=("text",), user="u", stream=True,
                service_tier="default", include_usage=True)  # fmt: skip
    assert sent.dropped == sent.altered == ()
    assert sent.body["metadata"] == {"user_id": "u"}
    assert sent.body["service_tier"] == "standard_only"
    assert sent.body["stream"] is True


def test_what_can_be_carried_in_no_part_is_refused() -> None:
    assert refusal(cached_content="cachedContents/1").param == "cached_content"
    assert refusal(modalities=("audio",)).param == "modalities"
