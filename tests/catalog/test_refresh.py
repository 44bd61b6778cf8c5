"""The script that rebuilds data/models.json, without its download."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from ferryman.catalog.load import MODELS_FILE, ModelsFile

SCRIPT = Path(__file__).parents[2] / "scripts" / "refresh_catalog.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_catalog", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def chat(provider: str, **more: Any) -> dict[str, Any]:
    return {"litellm_provider": provider, "mode": "chat", **more}


def test_a_wheel_with_another_hash_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    wheel = tmp_path / "litellm.whl"
    wheel.write_bytes(b"not the wheel that was pinned")
    before = MODELS_FILE.read_bytes()
    done = subprocess.run(
        [sys.executable, SCRIPT, "--wheel", wheel], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "sha256" in done.stderr
    assert MODELS_FILE.read_bytes() == before


def test_the_committed_file_is_as_the_script_writes_it(script: ModuleType) -> None:
    text = MODELS_FILE.read_text(encoding="utf-8")
    head = msgspec.json.decode(text, type=ModelsFile)
    catalogue = {
        provider: {
            name.casefold(): script.Entry(
                name, line.context, line.max_output, line.abilities, line.deprecated
            )
            for name, line in rows.items()
        }
        for provider, rows in head.models.items()
    }
    assert script.write(catalogue, head.date) == text


def test_entries_become_models(script: ModuleType) -> None:
    table = {
        "mistral/new-1": chat(
            "mistral",
            max_input_tokens=1000.0,
            max_output_tokens=50,
            supports_vision=True,
            supports_function_calling=True,
            supports_reasoning="yes",
            deprecation_date="2027-01-31",
        ),
        "mistral/new-embed": chat("mistral", mode="embedding", max_tokens=99, max_output_tokens=9),
        "mistral/odd": chat("mistral", max_input_tokens="many", deprecation_date="soon"),
        "mistral/ocr": chat("mistral", mode="ocr"),
        "mistral/mistral-large": chat("mistral", mode="realtime"),
        "ft:mistral": chat("mistral"),
        "elsewhere/x": chat("elsewhere"),
    }
    rows = script.build(table)["mistral"]
    assert script.line(rows["new-1"]) == '"new-1": [1000,50,"tv","2027-01-31"]'
    assert script.line(rows["new-embed"]) == '"new-embed": [99,0,"e"]'
    assert script.line(rows["odd"]) == '"odd": []'
    assert not {"ocr", "ft:mistral", "x", "mistral-large"} & rows.keys()
    assert "mistral-medium-latest" in rows  # known to genai-prices alone


def test_sources_that_disagree_are_seen(script: ModuleType) -> None:
    table = {"gpt-4o-mini": chat("openai", max_input_tokens=5), "gpt-4o": chat("openai")}
    rows = script.build(table)["openai"]
    assert (rows["gpt-4o-mini"].context, rows["gpt-4o-mini"].other_context) == (5, 128_000)
    assert rows["gpt-4o"].context == 128_000


def test_names_that_only_a_source_uses_are_left_out(script: ModuleType) -> None:
    table = {
        "fireworks_ai/short": chat("fireworks_ai"),
        "fireworks_ai/accounts/fireworks/models/whole": chat("fireworks_ai"),
        "fireworks-ai-default": chat("fireworks_ai"),
    }
    rows = script.build(table)["fireworks"]
    assert "accounts/fireworks/models/whole" in rows
    assert all(name.startswith("accounts/") for name in rows)
