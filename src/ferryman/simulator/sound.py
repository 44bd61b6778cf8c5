"""Speech made, written down and translated: https://platform.openai.com/docs/api-reference/audio."""

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import forms
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask, RefusedError, Request, words
from ferryman.simulator.event import Event
from ferryman.simulator.format import Body
from ferryman.simulator.pictures import WAV

TYPES = {
    "mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac",
    "wav": "audio/wav", "pcm": "audio/pcm",
}  # fmt: skip
STARTS = {"mp3": b"\xff\xfb\x90\x00", "opus": b"OggS", "aac": b"\xff\xf1", "flac": b"fLaC"}
"""How files of these formats begin; behind that there is silence."""
WRITTEN = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
SECONDS = 0.4
"""How long a word takes to say."""


def read_speech(request: Request) -> Ask:
    """A text to be said."""
    body = request.json()
    for name in ("input", "voice"):
        if not body.get(name):
            raise RefusedError(
                f"Missing required parameter: '{name}'.", code="missing_required_parameter"
            )
    if body.get("response_format", "mp3") not in TYPES:
        raise RefusedError(
            f"Invalid value: '{body['response_format']}'. Supported values are: {', '.join(TYPES)}",
            code="invalid_value",
        )
    model = request.model or str(body.get("model") or "")
    return Ask(
        model=model,
        body=body,
        behaviour=request.wishes(model, body.get("sim")),
        stream=body.get("stream_format") == "sse",
        prompt=len(words(body["input"])),
    )


def _sound(form: str, count: int) -> bytes:
    """A sound in a format, the longer the more is said."""
    if form == "wav":
        return base64.b64decode(WAV)
    return STARTS.get(form, b"") + bytes(96 * count)


def say(ask: Ask, _found: Answer, _ident: str) -> Body:
    """The sound."""
    form = ask.body.get("response_format") or "mp3"
    return Body(TYPES[form], _sound(form, ask.prompt))


def say_stream(ask: Ask, _found: Answer, _ident: str) -> Iterator[Event]:
    """The sound as events, one for each word."""
    form = ask.body.get("response_format") or "mp3"
    for _ in range(ask.prompt):
        audio = base64.b64encode(_sound(form, 1)).decode()
        body: dict[str, Any] = {"type": "speech.audio.delta", "audio": audio}
        yield Event(msgspec.json.encode(body), tokens=1)
    counts = {"input_tokens": ask.prompt, "output_tokens": ask.prompt}
    usage = {**counts, "total_tokens": 2 * ask.prompt}
    done = {"type": "speech.audio.done", "usage": usage}
    yield Event(msgspec.json.encode(done), last=True)


def read_recording(request: Request) -> Ask:
    """A form with a recording to be written down, or translated."""
    fields = forms.read(request)
    file = fields.get("file", [None])[0]
    if not isinstance(file, forms.File):
        raise RefusedError("Missing required parameter: 'file'.", code="missing_required_parameter")
    if not file.data:
        raise RefusedError("Audio file might be corrupted or unsupported", code="invalid_value")
    body = {name: values[0] for name, values in fields.items() if name != "file"}
    body["granularities"] = fields.get("timestamp_granularities", [])
    if body.get("response_format", "json") not in WRITTEN:
        raise RefusedError(
            f"Invalid value: '{body['response_format']}'. Supported values are: "
            f"{', '.join(WRITTEN)}",
            code="invalid_value",
        )
    model = request.model or str(body.get("model") or "")
    if not model:
        raise RefusedError("you must provide a model parameter", code="missing_model")
    return Ask(
        model=model,
        body=body,
        behaviour=request.wishes(model, None),
        stream=body.get("stream") == "true",
        prompt=max(1, len(file.data) // 1000),
        last=file.told,
    )


def _usage(found: Answer) -> dict[str, Any]:
    return {
        "type": "tokens",
        "input_tokens": found.prompt,
        "input_token_details": {"text_tokens": 0, "audio_tokens": found.prompt},
        "output_tokens": found.output,
        "total_tokens": found.prompt + found.output,
    }


def transcribe(ask: Ask, found: Answer, ident: str) -> Any:
    """What was said, in the language it was said in."""
    return _written(ask, found, "transcribe", str(ask.body.get("language") or "english"))


def translate(ask: Ask, found: Answer, ident: str) -> Any:
    """The same in English."""
    return _written(ask, found, "translate", "english")


def _written(ask: Ask, found: Answer, task: str, language: str) -> Any:
    form = ask.body.get("response_format", "json")
    length = round(len(found.tokens) * SECONDS, 2)
    if form == "text":
        return Body("text/plain; charset=utf-8", f"{found.text}\n".encode())
    if form in ("srt", "vtt"):
        head, comma = ("WEBVTT\n\n", ".") if form == "vtt" else ("1\n", ",")
        times = f"00:00:00{comma}000 --> 00:00:{int(length):02d}{comma}000"
        return Body("text/plain; charset=utf-8", f"{head}{times}\n{found.text}\n\n".encode())
    if form == "json":
        told = {"text": found.text}
        return told if "no-usage" in ask.behaviour else {**told, "usage": _usage(found)}
    segment: dict[str, Any] = {"id": 0, "start": 0.0, "end": length, "text": found.text}
    reply: dict[str, Any] = {"task": task, "duration": length, "text": found.text}
    if form == "diarized_json":
        segments = [{**segment, "id": "seg_0", "speaker": "A", "type": "transcript.text.segment"}]
        return {**reply, "segments": segments, "usage": _usage(found)}
    segment |= {"seek": 0, "tokens": [], "temperature": 0.0, "avg_logprob": -0.25}
    segment |= {"compression_ratio": 1.0, "no_speech_prob": 0.01}
    reply |= {"language": language, "segments": [segment]}
    if "word" in ask.body["granularities"]:
        reply["words"] = [
            {"word": token.strip(), "start": i * SECONDS, "end": (i + 1) * SECONDS}
            for i, token in enumerate(found.tokens)
        ]
    seconds = {"type": "duration", "seconds": int(length) + 1}
    return reply if "no-usage" in ask.behaviour else {**reply, "usage": seconds}


def stream(ask: Ask, found: Answer, _ident: str) -> Iterator[Event]:
    """What was said, word by word."""
    for token in found.tokens:
        delta = {"type": "transcript.text.delta", "delta": token}
        yield Event(msgspec.json.encode(delta), tokens=1)
    done: dict[str, Any] = {"type": "transcript.text.done", "text": found.text}
    if "no-usage" not in ask.behaviour:
        done["usage"] = _usage(found)
    yield Event(msgspec.json.encode(done), last=True)
