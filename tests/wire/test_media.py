"""Images, speech and transcripts: relayed streams however the bytes come, and every dialect."""

import base64
import io
import json
import wave
from collections.abc import Callable
from typing import Any

import pytest
from google.genai import types as genai
from openai.types import ImageGenCompletedEvent, ImagesResponse

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.media import Image, ImagesReply, ImagesRequest, SpeechReply, SpeechRequest
from ferryman.ir.receipt import Receipt
from ferryman.ir.usage import Extras, Usage
from ferryman.simulator.pictures import PNG
from ferryman.wire.bedrock_converse import images as invoked
from ferryman.wire.format import Aim, ReplyError
from ferryman.wire.formats import relay_of
from ferryman.wire.gemini_generate import images as gemini
from ferryman.wire.gemini_generate import speech as gemini_speech
from ferryman.wire.openai_chat import images, speech
from ferryman.wire.openai_chat.media_relay import MediaTap, SpeechTap, read_written
from ferryman.wire.task import TaskProvider
from tests.wire.test_taps import Heard, event, hear, listen

# --- taps -----------------------------------------------------------------------------------------

COUNTS = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 30,
    "total_tokens": 80,
}
DRAWN = Usage(10, output=30, extras=Extras(image_input=40))
BOTH = Usage(10, output=60, extras=Extras(image_input=40))
PART = {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": "AA=="}
IMAGE = {"type": "image_generation.completed", "b64_json": "AA==", "usage": COUNTS}
WORD = {"type": "transcript.text.delta", "delta": "Done. All completed."}
HEARD = {
    "type": "transcript.text.done",
    "text": "Hi",
    "usage": {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
        "output_tokens": 5,
        "total_tokens": 19,
    },
}


def named(fields: dict[str, Any]) -> bytes:
    """An event as OpenAI sends it."""
    return b"event: %b\n" % fields["type"].encode() + event(fields)


def media(*events: bytes) -> Heard:
    return listen(lambda: MediaTap(hide_usage=False), b"".join(events))


def test_an_image_goes_through_and_its_end_is_held_back() -> None:
    heard = media(named(PART), b": ping\n\n", named(PART), named(IMAGE))
    assert heard.relayed == named(PART) + b": ping\n\n" + named(PART)
    assert (heard.ending, heard.done, heard.failure) == (named(IMAGE), True, None)
    assert heard.usage == DRAWN


def test_several_images_each_have_an_end_and_none_is_lost() -> None:
    last = {**IMAGE, "usage": {**COUNTS, "output_tokens": 60}}
    heard = media(named(IMAGE), b": ping\n\n", named(PART), named(last), b": ping\n\n")
    assert heard.relayed == named(IMAGE) + named(PART)
    assert (heard.ending, heard.done, heard.usage) == (named(last), True, BOTH)


def test_transcripts_and_speech_end_at_once() -> None:
    heard = media(named(WORD), named(HEARD), named(WORD))
    assert (heard.relayed, heard.ending, heard.done) == (named(WORD), named(HEARD), True)
    assert heard.usage == Usage(input=4, audio_input=10, output=5)
    said = {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 9}}
    delta = event({"type": "speech.audio.delta", "audio": "AA=="})
    spoken = listen(lambda: SpeechTap(hide_usage=False), delta + event(said))
    assert (spoken.relayed, spoken.ending, spoken.usage) == (delta, event(said), Usage(3, output=9))


@pytest.mark.parametrize("before", [[], [IMAGE], [PART]])
def test_the_end_mark_of_other_servers_counts(before: list[dict[str, Any]]) -> None:
    done = b"data: [DONE]\n\n"
    heard = media(*map(named, before), done)
    assert heard.done
    assert heard.relayed + heard.ending == b"".join(map(named, before)) + done


def test_an_end_that_lacks_only_its_blank_line_counts() -> None:
    cut = media(named(PART), named(IMAGE)[:-2])
    assert (cut.ending, cut.done) == (named(IMAGE), True)
    both = media(named(IMAGE), named(IMAGE)[:-1])
    assert (both.ending.count(b"completed"), both.done) == (4, True)
    words = media(named(WORD), named(HEARD)[:-2])
    assert (words.ending, words.done, words.usage and words.usage.output) == (named(HEARD), True, 5)


@pytest.mark.parametrize("tail", [b"", named(PART), named(PART)[:40], named(IMAGE)[:-9]])
def test_a_stream_that_was_cut_is_not_done(tail: bytes) -> None:
    heard = media(named(PART), tail)
    assert (heard.done, heard.ending, heard.failure) == (False, b"", None)


def test_a_whole_image_reaches_its_caller_though_the_next_one_is_cut() -> None:
    tap = MediaTap(hide_usage=False)
    heard = hear(tap, [named(IMAGE) + named(IMAGE)[:30]])
    assert (heard.relayed, heard.done) == (b"", False)
    told = tap.error_event(GatewayError(502, ErrorKind.UPSTREAM_TRUNCATED, "cut"), "req_1")
    image, error, rest = told.split(b"\n\n")
    assert (image + b"\n\n", rest) == (named(IMAGE), b"")
    assert error.startswith(b'event: error\ndata: {"error":{"message":"cut"')


@pytest.mark.parametrize(
    "said",
    [
        {"type": "error", "error": {"message": "moderation_blocked", "code": "moderation_blocked"}},
        {"error": {"message": "moderation_blocked"}},
    ],
)
def test_an_error_event_is_a_failure_and_reaches_the_caller(said: dict[str, Any]) -> None:
    heard = media(named(PART), event(said), named(IMAGE))
    assert (heard.relayed, heard.ending, heard.done) == (named(PART), event(said), False)
    assert heard.failure is not None
    assert heard.failure.kind is ErrorKind.CONTENT_FILTERED


def test_what_is_no_event_of_the_format_is_the_callers_to_judge() -> None:
    odd = b'data: {"type": 5}\n\ndata: oops\n\ndata: {"error": null, "type": "x"}\n\n'
    heard = media(odd, named(IMAGE))
    told = odd.replace(b"data: oops\n\n", b"")
    assert (heard.relayed, heard.ending, heard.done) == (told, named(IMAGE), True)


def test_sound_goes_through_as_it_comes_and_ends_with_its_framing() -> None:
    sound = b"\xff\xfbdata: [DONE]\n\n\x00"

    def make() -> SpeechTap:
        tap = SpeechTap(hide_usage=False)
        assert tap.takes(b"audio/mpeg")
        return tap

    assert listen(make, sound) == Heard(sound, b"", True, None, None, True)
    assert make().raw
    assert not hear(make(), [sound], closed=False).done
    assert not hear(make(), [b""]).done, "nothing is no sound"


@pytest.mark.parametrize(
    ("media_type", "taken", "raw"),
    [
        (b"audio/wav", True, True),
        (b"application/octet-stream", True, True),
        (b"", True, True),
        (b"text/event-stream; charset=utf-8", True, False),
        (b"application/json", False, False),
        (b"text/html", False, False),
    ],
)
def test_what_speech_comes_as(media_type: bytes, taken: bool, raw: bool) -> None:
    tap = SpeechTap(hide_usage=False)
    assert (tap.takes(media_type), tap.raw) == (taken, raw)


USED = {"usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 5}}


@pytest.mark.parametrize(
    ("body", "kind", "usage"),
    [
        (json.dumps({"text": "Hi", **USED}).encode(), None, Usage(14, output=5)),
        (b'{"text":"Hi","usage":{"type":"duration","seconds":3.2}}', None,
         Usage(extras=Extras(audio_ms=3200))),
        (b"Hi\n", None, None),
        (b"1\n00:00:00,000 --> 00:00:01,000\nHi\n\n", None, None),
        (b"", ErrorKind.UPSTREAM_PROTOCOL, None),
        (b" <!DOCTYPE html><html>", ErrorKind.UPSTREAM_PROTOCOL, None),
        (b'{"text":', ErrorKind.UPSTREAM_PROTOCOL, None),
        (b'{"error":{"message":"overloaded","type":"overloaded"}}', ErrorKind.UPSTREAM_OVERLOADED,
         None),
    ],
)  # fmt: skip
def test_whole_transcripts(body: bytes, kind: ErrorKind | None, usage: Usage | None) -> None:
    assert read_written(body) == (kind, usage)


def test_whole_images_tell_their_usage() -> None:
    read = relay_of("images.generations").read_whole
    assert read(json.dumps({"data": [], "usage": COUNTS}).encode(), ()) == (
        None,
        DRAWN,
    )
    two = Usage(extras=Extras(images=2))
    assert read(b'{"data":[{"url":"x"},{"url":"y"}]}', ()) == (None, two), "how many there are"
    assert read(b'{"data":[]}', ()) == read(b'{"data":7}', ()) == (None, None)
    assert read(b"<html>", ())[0] is ErrorKind.UPSTREAM_PROTOCOL


# --- callers --------------------------------------------------------------------------------------


def asked(**fields: Any) -> ImagesRequest:
    return images.decode_request(json.dumps({"model": "m", "prompt": "x", **fields}).encode(), "m")


def test_a_request_for_images_is_read_whole() -> None:
    assert asked() == ImagesRequest(prompt="x")
    found = asked(
        n=3, size="1536x1024", quality="high", background="auto", output_format="webp",
        output_compression=80, response_format="b64_json", stream=True, partial_images=2, seed=7,
        negative_prompt="rain", user="u", moderation=None,
    )  # fmt: skip
    assert found == ImagesRequest(
        prompt="x", n=3, width=1536, height=1024, quality="high", output_format="webp",
        output_compression=80, response_format="b64_json", stream=True, partial_images=2, seed=7,
        negative_prompt="rain", unknown=("user",),
    )  # fmt: skip
    assert asked(size="auto").width == asked(size=None).width == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 0}, "n"), ({"n": 11}, "n"), ({"n": "2"}, "n"), ({"size": "huge"}, "size"),
        ({"size": "0x5"}, "size"), ({"size": "1x2x3"}, "size"), ({"prompt": 5}, "prompt"),
        ({"response_format": "png"}, "response_format"), ({"stream": 1}, "stream"),
    ],
)  # fmt: skip
def test_a_bad_request_for_images_is_told_where(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        asked(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


def say(**fields: Any) -> SpeechRequest:
    return speech.decode_request(
        json.dumps({"input": "Hi", "voice": "Puck", **fields}).encode(), ""
    )


def test_a_request_for_speech_is_read_whole() -> None:
    assert say() == SpeechRequest(text="Hi", voice="Puck")
    found = say(
        voice="alloy", instructions="Slowly", response_format="wav", speed=2, stream_format="sse"
    )
    assert found == SpeechRequest(
        text="Hi", instructions="Slowly", response_format="wav", speed=2.0, events=True,
        unknown=("voice",),
    )  # fmt: skip
    assert say(voice={"id": "voice_1"}, x=1).unknown == ("x", "voice")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"), ({"input": ["Hi"]}, "input"), ({"voice": 5}, "voice"),
        ({"response_format": "midi"}, "response_format"), ({"speed": "fast"}, "speed"),
        ({"stream_format": "x"}, "stream_format"), ({"voice": "\ud800"}, None),
    ],
)  # fmt: skip
def test_a_bad_request_for_speech_is_told_where(fields: dict[str, Any], param: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        say(**fields)
    assert caught.value.status == 400
    assert caught.value.param == param


def test_images_reach_the_caller_as_its_sdk_reads_them() -> None:
    reply = ImagesReply((Image(PNG), Image("/9j/", "image/jpeg")), Usage(9, output=20))
    receipt = Receipt()
    kind, body = images.encode_reply(reply, asked(n=2, response_format="url"), receipt)
    found = ImagesResponse.model_validate_json(body, strict=True)
    assert (kind, receipt.altered) == (b"application/json", ("response_format=b64_json",))
    assert found.data and [image.b64_json for image in found.data] == [PNG, "/9j/"]
    assert found.usage and (found.usage.input_tokens, found.usage.total_tokens) == (9, 29)
    assert (found.output_format, found.size) == ("png", "1x1")
    kind, body = images.encode_reply(reply, asked(n=2, stream=True, quality="high"), Receipt())
    assert kind.startswith(b"text/event-stream")
    first, last = (block.split(b"data: ")[1] for block in body.split(b"\n\n")[:-1])
    assert "usage" not in json.loads(first)
    event = ImageGenCompletedEvent.model_validate_json(last, strict=True)
    assert (event.usage.output_tokens, event.quality, event.size) == (20, "high", "auto")
    heard = media(body)
    assert heard.done and heard.usage == Usage(9, output=20), "another gateway understands it"


def test_sound_reaches_the_caller_with_a_header_or_without() -> None:
    pcm = bytes(range(200))
    reply = SpeechReply(pcm, 24_000, Usage(3, audio_output=9))
    kind, body = speech.encode_reply(reply, say(response_format="wav"), Receipt())
    with wave.open(io.BytesIO(body)) as found:
        assert (found.getframerate(), found.getnchannels(), found.getsampwidth()) == (24_000, 1, 2)
        assert found.readframes(1000) == pcm
    assert kind == b"audio/wav"
    assert speech.encode_reply(reply, say(response_format="pcm"), Receipt()) == (b"audio/pcm", pcm)
    receipt = Receipt()
    speech.encode_reply(SpeechReply(pcm, 16_000), say(response_format="pcm"), receipt)
    assert receipt.altered == ("response_format=pcm of 16000 Hz",)
    kind, body = speech.encode_reply(
        reply, say(response_format="pcm", stream_format="sse"), Receipt()
    )
    delta, done = (json.loads(block[6:]) for block in body.split(b"\n\n")[:-1])
    assert (kind[:17], base64.b64decode(delta["audio"])) == (b"text/event-stream", pcm)
    assert done["usage"] == {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}


# --- providers ------------------------------------------------------------------------------------

IMAGE_3, IMAGE_2 = "gemini-3-pro-image", "gemini-2.5-flash-image"
CANVAS, STABLE = "amazon.nova-canvas-v1:0", "us.stability.stable-image-core-v1:1"


def sent(
    provider: TaskProvider, request: Any, model: str, *quirks: str
) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """The body, what was dropped, what was altered."""
    receipt = Receipt()
    body = provider.encode_request(request, Aim(model=model, quirks=quirks), receipt)
    return json.loads(body), receipt.dropped, receipt.altered


FULL = asked(
    n=9, size="1792x1024", quality="hd", background="transparent", output_format="webp",
    output_compression=80, stream=True, partial_images=2, seed=7, negative_prompt="rain", user="u",
)  # fmt: skip


def test_images_of_models_that_converse() -> None:
    body, dropped, altered = sent(gemini.CONTENT, FULL, IMAGE_2)
    assert body["contents"] == [{"role": "user", "parts": [{"text": "x"}]}]
    assert body["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "imageConfig": {"aspectRatio": "16:9"},
        "seed": 7,
    }
    genai.GenerateContentConfig.model_validate(body["generationConfig"])
    assert dropped == (
        "quality", "output_compression", "negative_prompt", "n", "background", "output_format",
        "partial_images", "user",
    )  # fmt: skip
    assert altered == ("size=aspect ratio 16:9",)
    body, dropped, altered = sent(gemini.CONTENT, asked(size="1024x1024"), IMAGE_2)
    assert (body["generationConfig"]["imageConfig"], dropped, altered) == (
        {"aspectRatio": "1:1"},
        (),
        (),
    )
    body, *_ = sent(gemini.CONTENT, asked(size="2048x2048"), IMAGE_3, "image_sizes")
    assert body["generationConfig"]["imageConfig"] == {"aspectRatio": "1:1", "imageSize": "2K"}
    body, *_ = sent(gemini.CONTENT, asked(), IMAGE_3, "image_sizes")
    assert "imageConfig" not in body["generationConfig"]


def test_images_by_predict() -> None:
    body, dropped, _ = sent(gemini.PREDICT, FULL, "imagen-4.0-generate-001")
    assert body == {
        "instances": [{"prompt": "x"}],
        "parameters": {"sampleCount": 4, "includeRaiReason": True, "aspectRatio": "16:9"},
    }
    assert dropped == (
        "quality", "output_compression", "negative_prompt", "seed", "n", "background",
        "output_format", "partial_images", "user",
    )  # fmt: skip
    request = asked(n=2, output_format="jpeg", output_compression=70, size="2048x2048")
    body, dropped, _ = sent(gemini.PREDICT, request, "imagen-4.0-generate-001")
    assert body["parameters"] == {
        "sampleCount": 2, "includeRaiReason": True, "aspectRatio": "1:1", "sampleImageSize": "2K",
        "outputOptions": {"mimeType": "image/jpeg", "compressionQuality": 70},
    }  # fmt: skip
    assert dropped == ()


@pytest.mark.parametrize(
    ("model", "predicted"),
    [
        ("imagen-4.0-ultra-generate-001", True), ("models/imagen-3.0-generate-002", True),
        ("imagegeneration@006", True), (IMAGE_2, False), ("imagine-1", False), ("sim", False),
        ("gemini-imagen-like", False),
    ],
)  # fmt: skip
def test_which_models_predict(model: str, predicted: bool) -> None:
    assert (gemini.by_predict(model), gemini.by_content(model)) == (predicted, not predicted)


def test_images_of_canvas_and_titan() -> None:
    body, dropped, altered = sent(invoked.PROVIDER, FULL, CANVAS)
    assert body == {
        "taskType": "TEXT_IMAGE",
        "textToImageParams": {"text": "x", "negativeText": "rain"},
        "imageGenerationConfig": {
            "numberOfImages": 5, "width": 1792, "height": 1024, "quality": "premium", "seed": 7,
        },
    }  # fmt: skip
    assert dropped == (
        "output_compression",
        "n",
        "background",
        "output_format",
        "partial_images",
        "user",
    )
    assert altered == ("quality=premium",)
    body, dropped, altered = sent(
        invoked.PROVIDER, asked(quality="standard", output_format="png"), "amazon.titan-image-v2"
    )
    assert body["imageGenerationConfig"] == {"numberOfImages": 1, "quality": "standard"}
    assert (dropped, altered) == ((), ())


def test_images_of_stability() -> None:
    body, dropped, _ = sent(invoked.PROVIDER, FULL, STABLE)
    assert body == {"prompt": "x", "aspect_ratio": "16:9", "negative_prompt": "rain", "seed": 7}
    assert "n" in dropped and "quality" in dropped
    body, dropped, _ = sent(invoked.PROVIDER, asked(output_format="jpeg"), STABLE)
    assert (body, dropped) == ({"prompt": "x", "output_format": "jpeg"}, ())


@pytest.mark.parametrize(
    ("model", "known"),
    [
        (CANVAS, True), (STABLE, True), ("amazon.titan-image-generator-v2:0", True),
        ("stability.sd3-5-large-v1:0", True), ("stability.stable-diffusion-xl-v1", False),
        ("stability.stable-image-inpaint-v1:0", False), ("amazon.nova-pro-v1:0", False),
    ],
)  # fmt: skip
def test_which_models_are_invoked_for_images(model: str, known: bool) -> None:
    assert invoked.makes_images(model) is known


def test_speech_of_models_that_converse() -> None:
    body, dropped, altered = sent(gemini_speech.PROVIDER, say(response_format="wav"), "tts")
    assert body["generationConfig"] == {
        "responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}}},
    }
    genai.GenerateContentConfig.model_validate(body["generationConfig"])
    assert (body["contents"][0]["parts"], dropped, altered) == ([{"text": "Hi"}], (), ())
    request = say(voice="alloy", instructions="Slowly: ", response_format="mp3", speed=2)
    body, dropped, altered = sent(gemini_speech.PROVIDER, request, "tts")
    assert body["contents"][0]["parts"] == [{"text": "Slowly:\nHi"}]
    assert dropped == ("response_format", "speed", "voice")
    assert altered == ("response_format=wav", "instructions=before the text", "voice=Kore")
    _, dropped, altered = sent(gemini_speech.PROVIDER, say(), "tts")
    assert (dropped, altered) == ((), ("response_format=wav",)), "nobody named a format"


def content(*parts: dict[str, Any], **more: Any) -> bytes:
    candidate = {"content": {"parts": list(parts)}, "finishReason": "STOP"}
    return json.dumps({"candidates": [{**candidate, **more}], "usageMetadata": {
        "promptTokenCount": 9, "candidatesTokenCount": 1290}}).encode()  # fmt: skip


def blob(kind: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": kind, "data": data}}


def test_images_are_read_from_every_reply() -> None:
    sketch = {**blob("image/png", "SKETCH=="), "thought": True}
    body = content(sketch, {"text": "Here"}, blob("image/jpeg", "/9j/"))
    assert gemini.decode_reply(body, asked()) == ImagesReply(
        (Image("/9j/", "image/jpeg"),), Usage(9, output=1290)
    )
    predicted = {"predictions": [{"bytesBase64Encoded": PNG, "mimeType": "image/png"}, {}]}
    assert gemini.decode_predict(json.dumps(predicted).encode(), asked()).images == (Image(PNG),)
    for said in ({"images": [PNG, PNG]}, {"images": [PNG, PNG], "error": None, "seeds": [1]}):
        found = invoked.decode_reply(json.dumps(said).encode(), asked())
        two = Usage(extras=Extras(images=2))
        assert found == ImagesReply((Image(PNG), Image(PNG)), two)


def test_sound_is_read_from_the_reply() -> None:
    kind = "audio/L16;codec=pcm;rate=22050"
    body = content(blob(kind, "AAE="), blob(kind, "AgM="))
    found = gemini_speech.decode_reply(body, say())
    assert (found.pcm, found.rate) == (b"\0\1\2\3", 22_050)
    plain = gemini_speech.decode_reply(content(blob("audio/pcm", "AAE=")), say())
    assert plain.rate == 24_000


BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
FILTERED, BROKEN = ErrorKind.CONTENT_FILTERED, ErrorKind.UPSTREAM_PROTOCOL


@pytest.mark.parametrize(
    ("decode", "body", "kind", "words"),
    [
        (gemini.decode_reply, json.dumps(BLOCKED).encode(), FILTERED, "PROHIBITED_CONTENT"),
        (gemini.decode_reply, content(finishReason="IMAGE_SAFETY"), FILTERED, "IMAGE_SAFETY"),
        (gemini.decode_reply, content({"text": "No boats."}), BROKEN, "No boats."),
        (gemini.decode_reply, content(blob("audio/wav", "AA==")), BROKEN, "made nothing"),
        (gemini.decode_reply, b"{}", BROKEN, "doesn't say why"),
        (gemini.decode_reply, b'{"candidates": 5}', BROKEN, "not as the format says"),
        (gemini.decode_reply, b'{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}',
         ErrorKind.UPSTREAM_OVERLOADED, "x"),
        (gemini.decode_predict, b'{"predictions":[{"raiFilteredReason":"bad words"}]}', FILTERED,
         "bad words"),
        (gemini.decode_predict, b"{}", FILTERED, "filtered"),
        (gemini.decode_predict, b"[]", BROKEN, "not as the format says"),
        (invoked.decode_reply, b'{"finish_reasons":["Filter reason: prompt"]}', FILTERED, "prompt"),
        (invoked.decode_reply, b'{"images":[],"error":"blocked by our content filters"}', FILTERED,
         "blocked"),
        (invoked.decode_reply, b'{"finish_reasons":["Inference error"]}', BROKEN, "Inference"),
        (invoked.decode_reply, b"{}", BROKEN, "no images"),
        (invoked.decode_reply, b"\xff", BROKEN, "not as the format says"),
        (gemini_speech.decode_reply, content(blob("audio/mpeg", "AA==")), BROKEN, "audio/mpeg"),
        (gemini_speech.decode_reply, content(blob("audio/L16", "!")), BROKEN, "base64"),
    ],
)  # fmt: skip
def test_replies_without_media_say_why(
    decode: Callable[[bytes, Any], Any], body: bytes, kind: ErrorKind, words: str
) -> None:
    with pytest.raises(ReplyError) as caught:
        decode(body, asked())
    assert caught.value.kind is kind
    assert words in caught.value.message
