"""Images and speech through a whole gateway, called by OpenAI's SDK."""

import base64
import io
import json
import socket
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types import ImageGenCompletedEvent

from ferryman.simulator.pictures import PCM, PNG
from tests.gateway import KEY, Stack, error_of, events, whole
from tests.simulator import wire

IMAGES, SPEECH = "/v1/images/generations", "/v1/audio/speech"


def caller(stack: Stack) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=stack.endpoint, api_key=KEY, max_retries=0, http_client=http)


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    """A caller of providers that have OpenAI's endpoints."""
    with caller(stack) as made:
        yield made


@pytest.fixture
def abroad(formats: Stack) -> Iterator[openai.OpenAI]:
    """A caller of providers of other formats."""
    with caller(formats) as made:
        yield made


def direct(stack: Stack, fields: dict[str, Any], path: str) -> wire.Reply:
    """The simulator's own reply."""
    return wire.talk(int(stack.sim_url.rpartition(":")[2]), wire.request(path, fields))


# --- relayed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_images_are_the_providers_byte_by_byte(stack: Stack, stream: bool) -> None:
    fields = {"model": "lab/sim", "prompt": "a slow green river", "stream": stream,
              "partial_images": 2, "n": 2, "x": 1.50}  # fmt: skip
    reply = stack.post(fields, IMAGES)
    sent = {**fields, "model": "sim"}
    assert stack.last_body() == json.dumps(sent).encode()
    theirs = direct(stack, sent, IMAGES)
    assert (reply.status, reply.body, reply.complete) == (200, theirs.body, True)
    assert reply.header("content-type") == theirs.header("content-type")
    row = stack.row(reply)
    assert (row["endpoint"], row["stream"]) == ("images.generations", stream)
    assert (row["tokens"]["input"], row["tokens"]["output"]) == (4, 32)
    assert row["cost_usd"] == "0.000068"


def test_images_for_the_sdk(client: openai.OpenAI) -> None:
    found = client.images.generate(model="lab/sim", prompt="a boat")
    assert found.data and found.data[0].b64_json == PNG
    assert found.usage and found.usage.output_tokens == 16
    linked = client.images.generate(model="lab/sim", prompt="a", response_format="url")
    assert linked.data and (linked.data[0].url or "").endswith(".png")
    stream = client.images.generate(model="lab/sim", prompt="a", stream=True, partial_images=1)
    kinds = [(event.type, event.b64_json) for event in stream]
    assert kinds == [
        ("image_generation.partial_image", PNG),
        ("image_generation.completed", PNG),
    ]


def test_a_summary_comes_before_the_image_that_ends_a_stream(stack: Stack) -> None:
    fields = {"model": "lab/sim", "prompt": "a", "stream": True}
    reply = stack.post(fields, IMAGES, headers={"x-ferryman-summary": "1"})
    assert reply.body.startswith(b": ferryman {")
    assert [event["type"] for event in reply.data] == ["image_generation.completed"]


@pytest.mark.parametrize("word", ["cut", "cut-clean", "reset-mid", "error-event"])
def test_a_stream_of_images_that_breaks_raises(
    client: openai.OpenAI, stack: Stack, word: str
) -> None:
    stream = client.images.generate(
        model=f"lab/sim-{word}?at=1", prompt="a", stream=True, partial_images=3
    )
    got: list[Any] = []
    with pytest.raises(openai.APIError):
        got.extend(stream)
    assert got and all(event.type.endswith("partial_image") for event in got)
    row = stack.row(stream.response.headers["x-ferryman-request-id"])
    assert row["error"] in ("upstream_stream_truncated", "upstream_error")


def test_speech_is_the_providers_byte_by_byte(stack: Stack) -> None:
    fields = {"model": "lab/sim", "input": "one two", "voice": "alloy"}
    reply = stack.post(fields, SPEECH, headers={"x-ferryman-summary": "1"})
    theirs = direct(stack, {**fields, "model": "sim"}, SPEECH)
    assert (reply.status, reply.body, reply.complete) == (200, theirs.body, True)
    assert reply.header("content-type") == "audio/mpeg"
    row = stack.row(reply)
    assert (row["endpoint"], row["status"], row["tokens"], row["cost_usd"]) == (
        "audio.speech", 200, None, None
    )  # fmt: skip
    fields["stream_format"] = "sse"
    told = stack.post(fields, SPEECH)
    assert told.body == direct(stack, {**fields, "model": "sim"}, SPEECH).body
    row = stack.row(told)
    assert (row["stream"], row["tokens"]["input"], row["tokens"]["output"]) == (True, 2, 2)


def test_speech_for_the_sdk(client: openai.OpenAI, tmp_path: Path) -> None:
    said = "It leaves at noon. " * 500
    found = client.audio.speech.create(model="lab/sim", voice="alloy", input=said)
    assert found.content.startswith(b"\xff\xfb") and len(found.content) == 4 + 96 * 2000
    file = tmp_path / "speech.mp3"
    with client.audio.speech.with_streaming_response.create(
        model="lab/sim?drip=2000000", voice="alloy", input=said
    ) as streamed:
        streamed.stream_to_file(file)
    assert file.read_bytes() == found.content


SOUND = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n"
SAID = {"input": "Hi", "voice": "alloy"}


def test_sound_is_handed_on_as_it_comes(stack: Stack) -> None:
    """The second piece is sent only when the caller has had the first."""
    went = socket.socketpair()

    def answer(link: socket.socket) -> bool:
        link.sendall(SOUND + b"4\r\nID3\x04\r\n")
        assert went[1].recv(1) == b"."
        link.sendall(b"3\r\nend\r\n0\r\n\r\n")
        return True

    stack.canned.answers = [answer]
    body = json.dumps({**SAID, "model": "canned/m"}).encode()
    head = {"authorization": f"Bearer {KEY}"}
    with (
        httpx.Client(trust_env=False, timeout=20) as http,
        http.stream("POST", stack.endpoint + "/audio/speech", content=body, headers=head) as reply,
    ):
        pieces = reply.iter_raw()
        assert next(pieces) == b"ID3\x04"
        went[0].send(b".")
        assert b"".join(pieces) == b"end"


@pytest.mark.parametrize(
    "head",
    [SOUND, b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 99\r\n\r\n"],
    ids=["chunked", "length"],
)
def test_sound_that_was_cut_is_never_a_complete_reply(
    client: openai.OpenAI, stack: Stack, head: bytes
) -> None:
    piece = b"4\r\nID3\x04\r\n" if head is SOUND else b"ID3\x04"

    def cut(link: socket.socket) -> bool:
        link.sendall(head + piece)
        time.sleep(0.3)  # cut at once, nothing may have gone to the caller, and all can be undone
        return False

    stack.canned.answers = [cut, cut]
    reply = stack.post({**SAID, "model": "canned/m"}, SPEECH, headers={"x-ferryman-summary": "1"})
    assert (reply.status, reply.body, reply.complete) == (200, b"ID3\x04", False)
    row = stack.row(reply)
    assert (row["status"], row["error"]) == (200, "upstream_stream_truncated")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, openai.APIError)):
        client.audio.speech.create(model="canned/m", input="Hi", voice="alloy")


@pytest.mark.parametrize("word", ["cut", "reset-mid"])
def test_a_long_sound_that_was_cut_is_never_a_complete_reply(stack: Stack, word: str) -> None:
    said = {"input": "one two " * 40_000, "voice": "alloy"}
    reply = stack.post({**said, "model": f"lab/sim-{word}"}, SPEECH)
    theirs = direct(stack, {**said, "model": "sim"}, SPEECH).body
    assert not reply.complete
    assert theirs.startswith(reply.body) and len(reply.body) < len(theirs)
    assert stack.row(reply)["error"] == "upstream_stream_truncated"


@pytest.mark.parametrize("word", ["503", "429", "html", "html-200", "empty", "bad-json", "close"])
@pytest.mark.parametrize(
    ("path", "fields"),
    [(SPEECH, SAID), (IMAGES, {"prompt": "a"}), (IMAGES, {"prompt": "a", "stream": True})],
    ids=["speech", "images", "stream"],
)
def test_an_error_before_the_first_byte_fails_over(
    stack: Stack, path: str, fields: dict[str, Any], word: str
) -> None:
    reply = stack.post({**fields, "model": f"first-{word}"}, path)
    assert (reply.status, reply.complete) == (200, True)
    assert reply.header("x-ferryman-provider") == "spare"
    rests = word in ("429", "503")  # then it may not have been asked: it told another call to wait
    assert reply.header("x-ferryman-attempts") in (("1", "2") if rests else ("2",))
    theirs = direct(stack, {**fields, "model": "sim"}, path)
    assert reply.body == theirs.body


def test_speech_that_says_nothing_fails_over(stack: Stack) -> None:
    stack.canned.answers = [SOUND + b"0\r\n\r\n"]
    reply = stack.post({**SAID, "model": "canned-or-spare"}, SPEECH)
    assert (reply.status, reply.header("x-ferryman-provider")) == (200, "spare")


def test_a_stream_of_events_instead_of_sound_is_one(stack: Stack) -> None:
    usage = b'{"input_tokens":3,"output_tokens":5}'
    said = [
        b'data: {"type":"speech.audio.delta","audio":"AA=="}\n\n',
        b'data: {"type":"speech.audio.done","usage":%b}\n\n' % usage,
    ]

    def cut(link: socket.socket) -> bool:
        link.sendall(events(said[0], end=False))
        return False

    stack.canned.answers = [events(*said), cut]
    reply = stack.post({**SAID, "model": "canned/m"}, SPEECH)
    assert reply.body == b"".join(said)
    assert stack.row(reply)["tokens"]["output"] == 5
    broken = stack.post({**SAID, "model": "canned/m"}, SPEECH)
    assert broken.complete
    assert broken.data[-1]["error"]["code"] == "upstream_stream_truncated"


def test_a_provider_that_does_not_stream_images_is_relayed_whole(stack: Stack) -> None:
    body = b'{"created":1,"data":[{"url":"http://x/y.png"}]}'
    stack.canned.answers = [whole(body)]
    reply = stack.post({"model": "canned/m", "prompt": "a", "stream": True}, IMAGES)
    assert (reply.status, reply.body) == (200, body)
    assert stack.row(reply)["tokens"] is None


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (IMAGES, {"prompt": "a"}, "model"),
        (IMAGES, {"model": "lab/sim"}, "prompt"),
        (IMAGES, {"model": "lab/sim", "prompt": ["a"]}, "prompt"),
        (IMAGES, {"model": "lab/sim", "prompt": "a", "stream": "yes"}, "stream"),
        (SPEECH, {"model": "lab/sim", "voice": "alloy"}, "input"),
        (SPEECH, {"model": 5, "input": "a"}, "model"),
    ],
)
def test_bad_input_is_told_where(
    stack: Stack, path: str, fields: dict[str, Any], param: str
) -> None:
    reply = stack.post(fields, path)
    assert reply.status == 400
    assert error_of(reply)["param"] == param


def test_a_provider_without_the_endpoint_says_so(stack: Stack) -> None:
    for path, fields in ((IMAGES, {"prompt": "a"}), (SPEECH, SAID)):
        reply = stack.post({**fields, "model": "chatty/sim"}, path)
        assert reply.status == 400
        assert "does not offer" in error_of(reply)["message"]


# --- translated -----------------------------------------------------------------------------------

IMAGEN, CANVAS = "generate/imagen-4.0-generate-001", "converse/amazon.nova-canvas-v1:0"
STABLE = "converse/stability.sd3-5-large-v1:0"


@pytest.mark.parametrize(
    ("model", "count", "tokens"),
    [
        ("generate/sim", 1, (2, 1290)), ("vertex/sim", 1, (2, 1290)), (IMAGEN, 2, None),
        ("vertex/imagen-4.0-fast-generate-001", 2, None), (CANVAS, 2, None), (STABLE, 1, None),
    ],
)  # fmt: skip
def test_images_of_other_formats(
    abroad: openai.OpenAI, formats: Stack, model: str, count: int, tokens: tuple[int, int] | None
) -> None:
    raw = abroad.images.with_raw_response.generate(
        model=model, prompt="a boat", n=2, size="1024x1024", output_format="png"
    )
    found = raw.parse()
    assert found.data and [image.b64_json for image in found.data] == [PNG] * count
    assert (found.output_format, found.size) == ("png", "1x1")
    assert raw.headers.get("x-ferryman-dropped") == (None if count == 2 else "n")
    row = formats.row(raw.headers["x-ferryman-request-id"])
    used = row["tokens"]
    assert (used and (used["input"], used["output"])) == tokens
    assert bool(found.usage) == bool(tokens)


@pytest.mark.parametrize("model", ["generate/sim", IMAGEN, CANVAS, STABLE])
def test_images_of_other_formats_as_the_end_of_a_stream(abroad: openai.OpenAI, model: str) -> None:
    stream = abroad.images.generate(model=model, prompt="a", stream=True, partial_images=2)
    [event] = stream
    assert isinstance(event, ImageGenCompletedEvent)
    assert event.b64_json == PNG
    assert stream.response.headers["x-ferryman-dropped"] == "partial_images"


def test_a_filtered_prompt_is_the_callers_error(formats: Stack) -> None:
    reply = formats.post({"model": "generate/sim-filter", "prompt": "a"}, IMAGES)
    assert (reply.status, error_of(reply)["code"]) == (400, "content_filtered")
    assert "PROHIBITED_CONTENT" in error_of(reply)["message"]


def test_what_would_be_lost_is_refused_on_demand(formats: Stack) -> None:
    strict = {"x-ferryman-on-unsupported": "reject"}
    fields = {"model": "generate/sim", "prompt": "a"}
    reply = formats.post({**fields, "n": 2, "quality": "high"}, IMAGES, headers=strict)
    assert (reply.status, error_of(reply)["code"]) == (400, "unsupported_by_model")
    assert "quality, n" in error_of(reply)["message"]
    assert formats.post(fields, IMAGES, headers=strict).status == 200
    said = {"model": "generate/sim", "input": "Hi", "voice": "Puck", "response_format": "mp3"}
    assert formats.post(said, SPEECH, headers=strict).status == 400
    assert formats.post({**said, "response_format": "wav"}, SPEECH, headers=strict).status == 200


@pytest.mark.parametrize("model", ["generate/sim", "vertex/sim"])
def test_speech_of_other_formats(abroad: openai.OpenAI, formats: Stack, model: str) -> None:
    found = abroad.audio.speech.create(
        model=model, voice="alloy", input="Hi there", instructions="Slowly", response_format="wav"
    )
    head = found.response.headers
    assert head["content-type"] == "audio/wav"
    assert head["x-ferryman-dropped"] == "voice"
    assert head["x-ferryman-altered"] == "instructions=before the text, voice=Kore"
    with wave.open(io.BytesIO(found.content)) as sound:
        assert sound.readframes(100) == base64.b64decode(PCM)
        assert sound.getframerate() == 24_000
    assert formats.row(head["x-ferryman-request-id"])["tokens"]["input"] == 3
    plain = abroad.audio.speech.create(model=model, voice="Puck", input="Hi", response_format="pcm")
    assert (plain.content, "x-ferryman-dropped" in plain.response.headers) == (
        base64.b64decode(PCM), False,
    )  # fmt: skip
    assert json.loads(formats.last_body())["generationConfig"]["speechConfig"] == {
        "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}}
    }
    default = abroad.audio.speech.create(model=model, voice="Puck", input="Hi")
    assert default.content.startswith(b"RIFF")
    assert default.response.headers["x-ferryman-altered"] == "response_format=wav"


def test_speech_of_other_formats_as_events(formats: Stack) -> None:
    fields = {"model": "generate/sim", "input": "Hi", "voice": "Puck", "response_format": "pcm",
              "stream_format": "sse"}  # fmt: skip
    reply = formats.post(fields, SPEECH)
    delta, done = reply.data
    assert (delta, done["type"]) == (
        {"type": "speech.audio.delta", "audio": PCM},
        "speech.audio.done",
    )
    assert done["usage"]["input_tokens"] == 1


def test_a_voice_that_the_provider_does_not_know_is_its_error(formats: Stack) -> None:
    reply = formats.post({"model": "generate/sim", "input": "Hi", "voice": "Caruso"}, SPEECH)
    assert reply.status == 400
    assert "Caruso" in error_of(reply)["message"]
