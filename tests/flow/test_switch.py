"""One application, one model name of its own, three vendors behind it: a line changes, no more.

The application is written for OpenAI's package once: an image in a streamed question, two tools
called at the same time and answered, and an answer by a JSON Schema. The providers are the
simulator, as strict as the vendors; each speaks its vendor's own format.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway import KEY, Stack
from tests.matrix.said import PNG
from tests.processes import until

CONFIG = """\
providers:
  simulator: { base_url: SIM/v1 }
models:
  assistant: { targets: [MODEL] }
"""
MODELS = (
    "openai/gpt-4.1",
    "openai/gpt-5.5",
    "anthropic/claude-haiku-4-5",
    "google/gemini-3.5-flash",
)
ENV = {
    "FERRYMAN_CHECK_GRAMMAR": "1",
    "OPENAI_API_KEY": "sk-test", "FERRYMAN_OPENAI_BASE_URL": "SIM/v1",
    "ANTHROPIC_API_KEY": "sk-test", "FERRYMAN_ANTHROPIC_BASE_URL": "SIM/v1",
    "GEMINI_API_KEY": "sk-test", "FERRYMAN_GEMINI_BASE_URL": "SIM/v1beta",
}  # fmt: skip
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"pier": {"type": "string"}},
                "required": ["pier"],
            },
        },
    }
    for name in ("depth", "tide")
]
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "crossing",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"boat": {"type": "string"}, "passengers": {"type": "integer"}},
            "required": ["boat", "passengers"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(
        tmp_path_factory.mktemp("vendors"), CONFIG.replace("MODEL", MODELS[0]), **ENV
    ).served() as running:
        yield running


def application(client: openai.OpenAI) -> dict[str, Any]:
    """What the application does, and all that it gets to see of the answers."""
    image = {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}
    question: Any = [
        {"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": image},
    ]  # fmt: skip
    stream = client.chat.completions.create(
        model="assistant",
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},
    )
    text, ends, used = "", [], 0
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            ends += [choice.finish_reason] if choice.finish_reason else []
        used = chunk.usage.completion_tokens if chunk.usage else used
    messages: Any = [{"role": "user", "content": "Measure the river, and then tell me."}]
    first = client.chat.completions.create(
        model="assistant", messages=messages, tools=TOOLS, tool_choice="required"
    )
    said = first.choices[0].message
    assert said.tool_calls
    messages.append(said.model_dump(exclude_none=True))
    for call in said.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "7 metres"})
    last = client.chat.completions.create(model="assistant", messages=messages, tools=TOOLS)
    formed = client.chat.completions.create(
        model="assistant",
        messages=[{"role": "user", "content": "Name the boat."}],
        response_format=SCHEMA,
    )
    return {
        "text": text,
        "ends": ends,
        "used": used > 0,
        "calls": [
            (call.function.name, json.loads(call.function.arguments))  # type: ignore[union-attr]
            for call in said.tool_calls
        ],
        "call_end": first.choices[0].finish_reason,
        "last": (last.choices[0].message.content, last.choices[0].finish_reason),
        "json": json.loads(formed.choices[0].message.content or ""),
    }


def test_the_same_application_behaves_the_same(vendors: Stack) -> None:
    seen = {}
    client = openai.OpenAI(base_url=vendors.endpoint, api_key=KEY, max_retries=0)
    for model in MODELS:
        vendors.write(CONFIG.replace("MODEL", model))
        name = model.partition("/")[2]
        until(lambda name=name: vendors.chat("assistant").header("x-ferryman-model") == name, model)
        seen[model] = application(client)
    first = seen[MODELS[0]]
    assert first["ends"] == ["stop"]
    assert first["call_end"] == "tool_calls"
    assert first["last"][1] == "stop"
    assert {name for name, _ in first["calls"]} <= {"depth", "tide"}
    for model, found in seen.items():
        assert found == first, model
