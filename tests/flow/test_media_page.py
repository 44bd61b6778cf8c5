"""docs/images-and-audio.md: every example is run as it stands, but for the address."""

import subprocess
import sys
import wave
from pathlib import Path

import pytest

from tests.gateway import KEY, Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/images-and-audio.md"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder in which the examples were run, and what each printed."""
    folder = tmp_path_factory.mktemp("media")
    stack = Stack(folder, "providers: { simulator: { base_url: SIM/v1 } }\n")
    said = []
    try:
        stack.ready()
        for code in blocks("python", PAGE):
            script = folder / "example.py"
            script.write_text(
                f"KEY = {KEY!r}\n" + code.replace("http://127.0.0.1:8080/v1", stack.endpoint)
            )
            done = subprocess.run(
                [sys.executable, str(script)], env=environment(folder), cwd=folder,
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            said.append(done.stdout)
        assert not stack.complaints()
    finally:
        stack.end()
    return folder, said


def test_the_examples_make_what_they_say(printed: tuple[Path, list[str]]) -> None:
    folder, (image, stream, speech, transcript) = printed
    assert (image, speech) == ("", "")
    assert (folder / "ferry.png").read_bytes().startswith(b"\x89PNG")
    assert transcript.startswith("The ferry leaves")
    assert stream.split() == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    with wave.open(str(folder / "noon.wav")) as sound:
        assert sound.getframerate() == 24_000
