"""Claude Code, Codex, LangChain and pydantic-ai, unchanged, in a loop of tools.

The prompt holds a plan that the simulator follows (docs/simulator.md); what the agent makes of it,
runs, and sends back is the agent's own doing.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.gateway import KEY, Stack
from tests.npm import finished, installed, needs_node

HERE = Path(__file__).parent / "node"
PLAN = 'Look it up.\nsim call timetable {"pier": "north"}\n'
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(HERE / "package.json", request, tmp_path_factory)


def quiet(home: Path, **more: str) -> dict[str, str]:
    """An environment with a home of its own and nothing of this machine's but its programs."""
    home.mkdir(exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **more}


@needs_node
@pytest.mark.parametrize("provider", ["chat", "responses", "generate", "converse"])
def test_claude_code(packages: Path, formats: Stack, tmp_path: Path, provider: str) -> None:
    step = {"command": "echo ferry-$((40+2))", "description": "say it"}
    env = quiet(
        tmp_path / "home",
        ANTHROPIC_BASE_URL=formats.url,
        ANTHROPIC_AUTH_TOKEN=KEY,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        DISABLE_TELEMETRY="1",
        DISABLE_AUTOUPDATER="1",
    )
    [claude] = (packages / "@anthropic-ai").glob("claude-code-*/claude")
    command = [
        str(claude), "-p", f"Do this.\nsim call Bash {json.dumps(step)}\n",
        "--model", f"{provider}/sim-echo", "--allowedTools", "Bash", "--output-format", "json",
    ]  # fmt: skip
    said = json.loads(finished(command, tmp_path, env))
    assert not said["is_error"]
    assert said["num_turns"] == 2
    assert "ferry-42" in said["result"]
    assert said["usage"]["input_tokens"] > 1000


@needs_node
@pytest.mark.parametrize("provider", ["messages", "chat", "generate", "converse"])
def test_codex(packages: Path, formats: Stack, tmp_path: Path, provider: str) -> None:
    home = tmp_path / "home"
    (home / ".codex").mkdir(parents=True)
    (home / ".codex" / "config.toml").write_text(
        f"""
model = "{provider}/sim-echo"
model_provider = "ferryman"
web_search = "disabled"
[model_providers.ferryman]
name = "Ferryman"
base_url = "{formats.endpoint}"
env_key = "FERRYMAN_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""
    )
    step = json.dumps({"cmd": "echo ferry-$((40+2))"})
    command = [
        str(packages / ".bin" / "codex"), "exec", "--skip-git-repo-check", "--sandbox",
        "danger-full-access", f"Do this.\nsim call exec_command {step}\n",
    ]  # fmt: skip
    said = finished(command, tmp_path, quiet(home, FERRYMAN_KEY=KEY))
    assert "ferry-42" in said


@needs_node
@pytest.mark.parametrize("provider", ["chat", "generate"])
def test_the_sdk_for_node(packages: Path, formats: Stack, tmp_path: Path, provider: str) -> None:
    (tmp_path / "node_modules").symlink_to(packages)
    (tmp_path / "check.mjs").write_bytes((HERE / "check.mjs").read_bytes())
    env = quiet(tmp_path, URL=formats.url, KEY=KEY, MODEL=f"{provider}/sim-echo")
    said = json.loads(finished(["node", "check.mjs"], tmp_path, env))
    assert said["said"][:2] == ["tool_use", "end_turn"]
    assert "north at noon" in said["said"][2]
    assert said["refused"] == "not_found_error"


# -- LangChain


@tool
def timetable(pier: str) -> str:
    """When the ferry leaves a pier."""
    return f"{pier} at noon"


def _chat(formats: Stack, model: str) -> Any:
    return ChatOpenAI(
        model=model, base_url=formats.endpoint, api_key=KEY, max_retries=0, use_responses_api=False
    )


def _responses(formats: Stack, model: str) -> Any:
    return ChatOpenAI(
        model=model, base_url=formats.endpoint, api_key=KEY, max_retries=0, use_responses_api=True
    )


def _messages(formats: Stack, model: str) -> Any:
    return ChatAnthropic(model=model, base_url=formats.url, api_key=KEY, max_retries=0)


@pytest.mark.parametrize(
    ("make", "provider"),
    [(_chat, "messages"), (_chat, "generate"), (_responses, "messages"), (_messages, "chat"),
     (_messages, "generate"), (_messages, "converse")],
)  # fmt: skip
def test_langchain(formats: Stack, make: Any, provider: str) -> None:
    model = make(formats, f"{provider}/sim-echo").bind_tools([timetable])
    history: list[BaseMessage] = [HumanMessage(PLAN)]
    for _ in range(3):
        reply = model.invoke(history)
        history.append(reply)
        if not reply.tool_calls:
            break
        for call in reply.tool_calls:
            history.append(ToolMessage(timetable.invoke(call["args"]), tool_call_id=call["id"]))
    assert len(history) == 4
    assert "north at noon" in str(history[-1].content)


# -- pydantic-ai


@pytest.mark.parametrize(
    ("own", "provider"),
    [("chat", "messages"), ("chat", "generate"), ("messages", "chat"), ("messages", "converse")],
)
def test_pydantic_ai(formats: Stack, own: str, provider: str) -> None:
    name = f"{provider}/sim-echo"
    model: Any
    if own == "chat":
        model = OpenAIChatModel(
            name, provider=OpenAIProvider(base_url=formats.endpoint, api_key=KEY)
        )
    else:
        model = AnthropicModel(name, provider=AnthropicProvider(base_url=formats.url, api_key=KEY))
    agent = Agent(model)
    asked = []

    @agent.tool_plain
    def timetable(pier: str) -> str:
        """When the ferry leaves a pier."""
        asked.append(pier)
        return f"{pier} at noon"

    result = asyncio.run(agent.run(PLAN))
    assert asked == ["north"]
    assert "north at noon" in result.output
    assert result.usage.input_tokens > 0
