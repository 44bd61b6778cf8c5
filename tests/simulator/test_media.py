"""Images and sound, judged by OpenAI's SDK."""

import base64
from typing import Any

import openai
import pytest

from tests.simulator.conftest import Sim
from tests.simulator.wire import request, talk

PNG = b"\x89PNG\r\n\x1a\n"
SOUND = ("speech.wav", b"RIFF....", "audio/wav")


@pytest.fixture
def sdk(sim: Sim) -> openai.OpenAI:
    return openai.OpenAI(base_url=sim.url + "/v1", api_key="sk-any", max_retries=0)


def test_images_are_made(sdk: openai.OpenAI) -> None:
    found = sdk.images.generate(model="sim", prompt="a slow green river", n=2)
    assert found.data
    assert [base64.b64decode(image.b64_json or "")[:4] for image in found.data] == [b"\x89PNG"] * 2
    assert found.usage
    assert (found.usage.input_tokens, found.usage.output_tokens) == (4, 32)
    linked = sdk.images.generate(model="sim", prompt="a", response_format="url")
    assert linked.data
    assert (linked.data[0].url or "").endswith(".png")


def test_images_are_streamed(sdk: openai.OpenAI) -> None:
    events = list(sdk.images.generate(model="sim", prompt="a", stream=True, partial_images=2))
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]


def test_images_arrive_to_be_changed(sdk: openai.OpenAI) -> None:
    images: Any = [("a.png", PNG, "image/png"), ("b.png", PNG + b"12", "image/png")]
    found = sdk.images.edit(model="sim-echo", image=images, mask=("m.png", PNG, "image/png"),
                            prompt="make it green ")  # fmt: skip
    assert found.data
    assert found.data[0].revised_prompt == (
        "make it green [image/png 8 bytes][image/png 10 bytes][image/png 8 bytes]"
    )


def test_speech_is_made(sdk: openai.OpenAI) -> None:
    found = sdk.audio.speech.create(model="sim", voice="alloy", input="one two")
    assert found.response.headers["content-type"] == "audio/mpeg"
    assert found.content.startswith(b"\xff\xfb")
    wav = sdk.audio.speech.create(model="sim", voice="alloy", input="one", response_format="wav")
    assert wav.content.startswith(b"RIFF")


def test_speech_is_streamed(sim: Sim) -> None:
    asked = {"model": "sim", "voice": "alloy", "input": "one two", "stream_format": "sse"}
    data = talk(sim.port, request("/v1/audio/speech", asked)).data
    assert [event["type"] for event in data] == ["speech.audio.delta"] * 2 + ["speech.audio.done"]


def test_recordings_are_written_down(sdk: openai.OpenAI) -> None:
    found = sdk.audio.transcriptions.create(model="sim?tokens=2", file=SOUND)
    assert found.text == "The ferry"
    assert found.usage
    assert found.usage.type == "tokens"
    echoed = sdk.audio.transcriptions.create(model="sim-echo", file=SOUND)
    assert echoed.text == "[audio/wav 8 bytes]"
    plain = sdk.audio.transcriptions.create(
        model="sim?tokens=2", file=SOUND, response_format="text"
    )
    assert plain == "The ferry\n"
    full = sdk.audio.transcriptions.create(
        model="sim?tokens=2", file=SOUND, response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )  # fmt: skip
    assert full.segments and full.words
    assert [word.word for word in full.words] == ["The", "ferry"]
    events = list(sdk.audio.transcriptions.create(model="sim?tokens=2", file=SOUND, stream=True))
    assert [event.type for event in events] == [
        "transcript.text.delta", "transcript.text.delta", "transcript.text.done",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:deprecated")
def test_recordings_are_translated(sdk: openai.OpenAI) -> None:
    found = sdk.audio.translations.create(model="sim?tokens=2", file=SOUND)
    assert found.text == "The ferry"


def test_wrong_forms_are_refused(sim: Sim, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="corrupted"):
        sdk.audio.transcriptions.create(model="sim", file=("a.wav", b"", "audio/wav"))
    with pytest.raises(openai.RateLimitError):
        sdk.audio.transcriptions.create(model="sim-429", file=SOUND)
    head = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"--x\r\n\r\na\r\n--x--", b'--x\r\nContent-Disposition: form-data; name="a"\r\n'):
        assert talk(sim.port, request("/v1/audio/transcriptions", body, head)).status == 400
    assert talk(sim.port, request("/v1/audio/transcriptions", {"model": "sim"})).status == 400
    assert talk(sim.port, request("/v1/images/generations", {"model": "sim"})).status == 400
