"""Forms with files, end to end: sent on while they come, never held, never another model's."""

import base64
import io
import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from tests.gateway import KEY, Canned, Stack, error_of
from tests.processes import until

BOUNDARY = "the-boundary"
HEAD = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SPEECH = b"RIFF" + bytes(range(256)) * 500


class Slow(Canned):
    """An upstream that shows what has come of a request so far, and answers when told to."""

    def __init__(self) -> None:
        self.got: dict[int, bytearray] = {}
        self.links: dict[int, socket.socket] = {}
        self.ended: dict[int, bool] = {}
        super().__init__()

    def _serve(self, link: socket.socket, number: int) -> None:
        self.links[number], self.ended[number] = link, False
        self.got[number] = bytearray()
        try:
            while data := link.recv(1 << 16):
                self.got[number] += data
        except OSError:
            pass
        self.ended[number] = True

    def named(self, model: str) -> int:
        """The number of the connection on which a request for ``model`` came."""
        mark = f'name="model"\r\n\r\n{model}\r\n'.encode()
        found = until(
            lambda: [n for n, got in list(self.got.items()) if mark in got],
            f"{model} at the upstream",
        )
        assert len(found) == 1
        return int(found[0])

    def answer(self, model: str, body: bytes = b'{"text":"ahoy"}', status: str = "200 OK") -> None:
        number = self.named(model)
        head = f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\n"
        self.links[number].sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def wait(self, model: str, seen: Callable[[bytearray], object]) -> bytes:
        number = self.named(model)
        until(lambda: seen(self.got[number]), "bytes at the upstream")
        return bytes(self.got[number])

    def cut(self, model: str) -> bytes:
        """What had come of a request when its connection ended."""
        number = self.named(model)
        until(lambda: self.ended[number], "the upstream's connection is cut")
        return bytes(self.got[number])


@pytest.fixture(scope="module")
def slow() -> Iterator[Slow]:
    upstream = Slow()
    yield upstream
    upstream.end()


@pytest.fixture(scope="module")
def dock(tmp_path_factory: pytest.TempPathFactory, slow: Slow) -> Iterator[Stack]:
    """A gateway whose provider ``slow`` is scripted."""
    config = f"""\
providers:
  lab: {{ base_url: SIM/v1, key: env:LAB_KEY }}
  slow: {{ base_url: "{slow.url}/v1", auth: none }}
  dead: {{ base_url: "http://127.0.0.1:1/v1", auth: none }}
models:
  second-best: {{ targets: [slow/w, lab/sim?echo] }}
  not-the-dead: {{ targets: [dead/w, lab/sim?echo] }}
server: {{ max_upload_bytes: 400MB }}
"""
    with Stack(tmp_path_factory.mktemp("dock"), config).served() as running:
        yield running


@pytest.fixture
def client(dock: Stack) -> openai.OpenAI:
    return openai.OpenAI(base_url=dock.endpoint, api_key=KEY, max_retries=0)


def part(name: str, value: bytes, filename: str = "") -> bytes:
    more = f'; filename="{filename}"' if filename else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


class Caller:
    """Sends a form by hand."""

    def __init__(self, dock: Stack, length: int = -1, path: str = "audio/transcriptions") -> None:
        self.link = socket.create_connection(("127.0.0.1", dock.port), timeout=20)
        framing = f"Content-Length: {length}" if length >= 0 else "Transfer-Encoding: chunked"
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        self.link.sendall(f"{head}{HEAD}{framing}\r\n\r\n".encode())
        self.chunked = length < 0

    def send(self, data: bytes) -> None:
        self.link.sendall(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def reply(self) -> tuple[int, Any]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.link.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        while len(body) < length:
            body += self.link.recv(65536)
        return int(head[9:12]), json.loads(body)


# -- with the official package


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("size", [1_000, 3_000_000])
def test_a_transcription(dock: Stack, client: openai.OpenAI, size: int, late: bool) -> None:
    """Also when the file comes before the model's name: forms have no order."""
    speech = SPEECH[:4] + bytes(size)
    if late:
        form = part("file", speech, "a.wav") + part("model", b"lab/sim?echo") + END
        answer = dock.post(form, "/v1/audio/transcriptions", headers=kind())
        text, ident = answer.json()["text"], answer.header("x-ferryman-request-id")
    else:
        file = ("a.wav", io.BytesIO(speech), "audio/wav")
        raw = client.audio.transcriptions.with_raw_response.create(model="lab/sim?echo", file=file)
        text, ident = raw.parse().text, raw.headers["x-ferryman-request-id"]
        assert raw.headers["x-ferryman-model"] == "sim?echo"
    assert f"{len(speech)} bytes]" in text
    row = dock.row(str(ident))
    assert (row["status"], row["endpoint"]) == (200, "audio.transcriptions")
    assert row["tokens"]["audio_input"] == max(1, len(speech) // 1000)


def kind() -> dict[str, str]:
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.mark.parametrize("form", ["text", "srt", "vtt", "verbose_json"])
def test_the_other_forms_of_a_transcription(dock: Stack, client: openai.OpenAI, form: Any) -> None:
    said = client.audio.transcriptions.create(
        model="lab/sim?tokens=3", file=("a.wav", SPEECH), response_format=form
    )
    assert "The ferry leaves" in (said if isinstance(said, str) else said.text)


def test_a_transcription_as_a_stream(dock: Stack, client: openai.OpenAI) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        model="lab/sim?tokens=3&tps=50", file=("a.wav", SPEECH), stream=True
    )
    seen = list(raw.parse())
    row = dock.row(raw.headers["x-ferryman-request-id"])
    assert row["stream"]
    assert row["ttft_ms"] > 0
    assert [event.type for event in seen][-1] == "transcript.text.done"
    assert "".join(e.delta for e in seen if e.type == "transcript.text.delta").startswith("The")


def test_a_translation_and_images(dock: Stack, client: openai.OpenAI) -> None:
    told = client.post(
        "/audio/translations",
        cast_to=httpx.Response,
        body={"model": "lab/sim?tokens=3"},
        files={"file": ("a.wav", SPEECH)},
        options={"headers": {"Content-Type": "multipart/form-data"}},
    )
    assert told.json()["text"].startswith("The ferry")
    image = ("boat.png", PNG, "image/png")
    edited = client.images.edit(model="lab/sim", image=[image, image], prompt="A ferry", n=2)
    assert edited.data is not None
    assert len(edited.data) == 2
    assert edited.data[0].b64_json


# -- on the way


def test_the_upstream_has_the_beginning_before_the_caller_has_sent_the_end(
    dock: Stack, slow: Slow
) -> None:
    caller = Caller(dock)
    caller.send(part("model", b"slow/early"))
    caller.send(part("file", SPEECH * 2, "a.wav")[:200_000])
    early = slow.wait("early", lambda got: len(got) > 150_000)
    assert b"transfer-encoding: chunked" in early
    assert b"early" in early
    assert b"slow/early" not in early
    caller.send(part("file", SPEECH * 2, "a.wav")[200_000:] + END)
    caller.link.sendall(b"0\r\n\r\n")
    slow.wait("early", lambda got: got.endswith(b"0\r\n\r\n"))
    slow.answer("early")
    assert caller.reply() == (200, {"text": "ahoy"})


def test_what_comes_with_a_length_is_sent_with_one(dock: Stack, slow: Slow) -> None:
    form = part("file", SPEECH * 3, "a.wav") + part("model", b"slow/sized") + END
    caller = Caller(dock, len(form))
    caller.send(form)
    expected = form.replace(b"slow/sized", b"sized")
    got = slow.wait("sized", lambda got: got.endswith(END))
    head, _, body = got.partition(b"\r\n\r\n")
    assert body == expected
    assert f"content-length: {len(expected)}".encode() in head
    assert f"content-type: multipart/form-data; boundary={BOUNDARY}".encode() in head
    assert KEY.encode() not in head
    slow.answer("sized")
    assert caller.reply()[0] == 200


def test_a_second_upstream_gets_the_same_form(dock: Stack, client: openai.OpenAI) -> None:
    speech = SPEECH * 20
    told = client.audio.transcriptions.create(model="not-the-dead", file=("a.wav", speech))
    assert f"{len(speech)} bytes]" in told.text


def test_an_upstream_that_fails_in_the_midst_of_the_upload(dock: Stack, slow: Slow) -> None:
    caller = Caller(dock)
    caller.send(part("model", b"second-best"))
    caller.send(part("file", SPEECH * 4, "a.wav")[:300_000])
    slow.wait("w", lambda got: len(got) > 200_000)
    slow.answer("w", b'{"error":{"message":"overloaded"}}', "503 Service Unavailable")
    caller.send(part("file", SPEECH * 4, "a.wav")[300_000:] + END)
    caller.link.sendall(b"0\r\n\r\n")
    status, body = caller.reply()
    assert status == 200
    assert f"{len(SPEECH) * 4} bytes]" in body["text"]


def test_a_caller_who_leaves_ends_the_upstreams_work(dock: Stack, slow: Slow) -> None:
    caller = Caller(dock, 10_000_000)
    caller.send(part("model", b"slow/leaver") + part("file", SPEECH, "a.wav"))
    slow.wait("leaver", lambda got: len(got) > 100_000)
    caller.link.close()
    slow.cut("leaver")


@pytest.mark.parametrize("late", [False, True])
def test_a_second_model_is_refused_and_the_upstream_never_has_it(
    dock: Stack, slow: Slow, late: bool
) -> None:
    """Else a caller could name one model to the gateway and another one to the provider."""
    model = f"cheap-{late}"
    form = part("model", f"slow/{model}".encode()) + part("file", SPEECH * 3, "a.wav")
    second = part("model", b"dear")
    caller = Caller(dock, len(form + second + END))
    caller.send(form)
    if late:
        slow.wait(model, lambda got: len(got) > 300_000)
    caller.send(second + END)
    status, body = caller.reply()
    assert status == 400
    assert "twice" in body["error"]["message"]
    if late:
        assert b"dear" not in slow.cut(model)


def test_memory_does_not_grow_with_the_upload(dock: Stack, slow: Slow) -> None:
    running = psutil.Process(dock.up.popen.pid).children(recursive=True)
    [gateway] = [process for process in running if "ferryman.edge" in process.cmdline()]
    before = gateway.memory_info().rss
    size = 100_000_000
    form = part("model", b"slow/large") + part("file", b"", "a.wav")
    caller = Caller(dock, len(form) + size)
    caller.send(form)
    piece = bytes(1_000_000)
    most = 0
    for _ in range(size // len(piece)):
        caller.send(piece)
        most = max(most, gateway.memory_info().rss)
    slow.wait("large", lambda got: len(got) > size)
    slow.answer("large")
    assert caller.reply()[0] == 200
    assert most - before < 30_000_000
    folder = [str(path) for path in Path(dock.data).rglob("*") if path.stat().st_size > 10_000_000]
    assert not folder, "what was kept of it has no name"


# -- bad input


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (part("file", SPEECH, "a.wav") + END, "no field 'model'"),
        (part("file", SPEECH, "a.wav"), "ends before"),
        (b"nothing of the kind", "ends before"),
        (b"", "ends before"),
        (part("model", b"") + END, "'model' must have"),
        (part("model", b"lab/\xff") + END, "UTF-8"),
        (part("model", b"lib/sim") + END, "no model 'lib/sim'"),
    ],
)
def test_bad_forms(dock: Stack, form: bytes, says: str) -> None:
    reply = dock.post(form, "/v1/audio/transcriptions", headers=kind())
    assert reply.status in (400, 404)
    assert says in error_of(reply)["message"]


@pytest.mark.parametrize(
    ("path", "content_type", "status", "says"),
    [
        ("/v1/audio/transcriptions", "application/json", 415, "multipart/form-data"),
        ("/v1/audio/transcriptions", "multipart/form-data", 400, "boundary"),
        ("/v1/chat/completions", kind()["Content-Type"], 415, "Send JSON here"),
    ],
)
def test_wrong_types(dock: Stack, path: str, content_type: str, status: int, says: str) -> None:
    form = part("model", b"lab/sim") + part("file", SPEECH, "a.wav") + END
    reply = dock.post(form, path, headers={"Content-Type": content_type})
    assert reply.status == status
    assert says in error_of(reply)["message"]


def test_a_stranger_is_turned_away_before_the_upload(dock: Stack) -> None:
    link = socket.create_connection(("127.0.0.1", dock.port), timeout=20)
    link.sendall(
        f"POST /v1/images/edits HTTP/1.1\r\nHost: x\r\n{HEAD}".encode()
        + b"Content-Length: 99999999\r\n\r\n"
        + part("model", b"lab/sim")
        + bytes(20_000)
    )
    assert link.recv(12) == b"HTTP/1.1 401"


def test_a_provider_that_offers_no_such_endpoint(dock: Stack) -> None:
    answer = dock.post(
        part("model", b"mistral/voxtral") + part("file", SPEECH, "a.wav") + END,
        "/v1/images/edits",
        headers=kind(),
    )
    assert answer.status == 400
    assert "does not offer images.edits" in error_of(answer)["message"]


# -- repeated with an Idempotency-Key


def test_a_form_that_is_repeated_is_one_call(dock: Stack) -> None:
    def ask(speech: bytes, order: str, boundary: str = BOUNDARY, model: bytes = b"lab/sim") -> Any:
        form = part("model", model) + part("file", speech, "a.wav") + END
        kinds = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        form = form.replace(BOUNDARY.encode(), boundary.encode())
        headers = kinds | {"Idempotency-Key": order}
        return dock.post(form, "/v1/audio/transcriptions", headers=headers)

    dock.forget()
    first = ask(SPEECH, "form-1")
    again = ask(SPEECH, "form-1", "a-new-boundary-for-each-attempt")
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert again.header("idempotent-replayed") == "true"
    assert dock.row(again)["cache"] == "replayed"
    for other in (ask(SPEECH[:-1], "form-1"), ask(SPEECH, "form-1", model=b"lab/sim?tokens=3")):
        assert (other.status, error_of(other)["code"]) == (422, "idempotency_conflict")
    body = {"model": "lab/sim", "messages": [{"role": "user", "content": "x"}]}
    assert dock.post(body, headers={"Idempotency-Key": "form-1"}).status == 422, "no form at all"
    with ThreadPoolExecutor(6) as pool:
        slow = [
            pool.submit(ask, bytes([i // 5]) * 3_000_000, "form-2", f"b{i}", b"lab/sim?delay=700")
            for i in range(6)
        ]
        statuses = Counter(call.result().status for call in slow)
    assert statuses in ({200: 5, 422: 1}, {200: 1, 422: 5}), "one of them is another file"
    assert dock.stats()["requests"] == 2


def test_a_form_whose_caller_leaves_may_be_sent_again(dock: Stack, slow: Slow) -> None:
    form = part("model", b"slow/leaves") + part("file", SPEECH, "a.wav") + END
    key = "Idempotency-Key: form-3\r\n"
    link = socket.create_connection(("127.0.0.1", dock.port), timeout=20)
    head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
    head += f"Authorization: Bearer {KEY}\r\n{HEAD}{key}Content-Length: {len(form)}\r\n\r\n"
    link.sendall(head.encode() + form[:5000])
    slow.wait("leaves", lambda got: len(got) > 3000)
    link.close()
    slow.cut("leaves")
    again = part("model", b"lab/sim") + part("file", SPEECH, "a.wav") + END
    headers = kind() | {"Idempotency-Key": "form-3"}
    assert dock.post(again, "/v1/audio/transcriptions", headers=headers).status == 200
    broken = dock.post(again[:-20], "/v1/audio/transcriptions", headers=headers)
    assert broken.status == 400, "it has not all come"
