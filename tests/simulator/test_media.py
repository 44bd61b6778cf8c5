"""Images and sound, judged by OpenAI's SDK."""

import base64
from typing import Any

import openai
import pytest
from google import genai
from google.genai import errors, types

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


def gemini(sim: Sim, model: str, **config: Any) -> Any:
    options = types.HttpOptions(base_url=sim.url, client_args={"trust_env": False})
    client = genai.Client(api_key="any", http_options=options)
    settings = types.GenerateContentConfig(**config)
    return client.models.generate_content(model=model, contents="one two", config=settings)


def test_gemini_makes_images(sim: Sim) -> None:
    shape = types.ImageConfig(aspect_ratio="16:9", image_size="2K")
    found = gemini(sim, "sim", response_modalities=["IMAGE"], image_config=shape)
    [part] = found.candidates[0].content.parts
    assert part.inline_data.data.startswith(PNG)
    assert found.usage_metadata.candidates_token_count == 1290
    with pytest.raises(errors.ClientError, match="aspect_ratio"):
        gemini(sim, "sim", image_config=types.ImageConfig(aspect_ratio="7:4"))


def voice(name: str) -> types.SpeechConfig:
    prebuilt = types.PrebuiltVoiceConfig(voice_name=name)
    return types.SpeechConfig(voice_config=types.VoiceConfig(prebuilt_voice_config=prebuilt))


def test_gemini_speaks(sim: Sim) -> None:
    found = gemini(sim, "sim", response_modalities=["AUDIO"], speech_config=voice("Kore"))
    [part] = found.candidates[0].content.parts
    assert part.inline_data.mime_type == "audio/L16;codec=pcm;rate=24000"
    assert len(part.inline_data.data) == 16
    with pytest.raises(errors.ClientError, match="alloy"):
        gemini(sim, "sim", response_modalities=["AUDIO"], speech_config=voice("alloy"))


def test_imagen_predicts(sim: Sim) -> None:
    path = "/v1beta/models/imagen-4:predict"
    asked: dict[str, Any] = {"instances": [{"prompt": "one"}], "parameters": {"sampleCount": 3}}
    found = talk(sim.port, request(path, asked, {"x-goog-api-key": "any"})).json()
    assert [base64.b64decode(one["bytesBase64Encoded"])[:8] for one in found["predictions"]] == (
        [PNG] * 3
    )
    for wrong in ({"sampleCount": 5}, {"aspectRatio": "3:2"}, {"size": "1"}):
        reply = talk(sim.port, request(path, {**asked, "parameters": wrong}))
        assert reply.status == 400
    filtered = talk(sim.port, request(path, {**asked, "sim": "filter"})).json()
    assert filtered["predictions"][0]["raiFilteredReason"]


CANVAS = {"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "one"},
          "imageGenerationConfig": {"numberOfImages": 2}}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "body", "count"),
    [
        ("amazon.nova-canvas-v1:0", CANVAS, 2),
        ("amazon.titan-image-generator-v2:0", CANVAS, 2),
        ("stability.sd3-5-large-v1:0", {"prompt": "one"}, 1),
        ("stability.sd3-5-large-v1:0", CANVAS, 0),
        ("amazon.nova-canvas-v1:0", {"prompt": "one"}, 0),
        ("amazon.nova-canvas-v1:0", {**CANVAS, "imageGenerationConfig": {"width": 100}}, 0),
    ],
)
def test_models_of_amazon_draw(sim: Sim, model: str, body: dict[str, Any], count: int) -> None:
    asked = request(f"/model/{model}/invoke", body, {"authorization": "Bearer any"})
    reply = talk(sim.port, asked)
    assert reply.status == (200 if count else 400)
    assert len(reply.json().get("images", [])) == count
