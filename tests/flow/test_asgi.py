"""``ferryman.asgi:app`` in somebody else's server: uvicorn, as its users start it."""

import signal
from collections.abc import Iterator

import pytest

from tests.flow.test_bad_input import _big
from tests.flow.test_relay import direct, plain
from tests.flow.test_reload import Caller
from tests.flow.test_uploads import END, SPEECH, kind, part
from tests.flow.test_uploads import Caller as Upload
from tests.gateway import Stack, asked, error_of
from tests.processes import Process, until


class Asgi(Stack):
    """A simulator, a control plane, and the data plane mounted in uvicorn."""

    def launch(self, env: dict[str, str], flags: tuple[str, ...]) -> Process:
        folder = self.data.parent
        self.control = Process(["ferryman.control"], env, folder)
        env = env | {"FERRYMAN_CONTROL_URL": self.control.wait_for(r"ready at (\S+)")[1]}
        return Process(["uvicorn", "ferryman.asgi:app", "--port", "0"], env, folder)

    def ready(self) -> "Asgi":
        url = self.up.wait_for(r"running on (http://\S+)")[1]
        self.endpoint = f"{url}/v1"
        until(lambda: self.get("/readyz").status == 200, "keys")
        return self

    def end(self) -> None:
        self.control.end()
        super().end()


@pytest.fixture(scope="module")
def asgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asgi]:
    running = Asgi(tmp_path_factory.mktemp("asgi"))
    try:
        yield running.ready()
        assert not running.complaints()
        stream = Caller(lambda: running.stream("lab/sim?tps=10&tokens=15"))
        until(lambda: running.stats()["active"] == 1, "a call at the provider")
        assert running.up.stop(signal.SIGTERM) in (0, -signal.SIGTERM), "as the server likes"
        assert any("shutdown complete" in line for line in running.up.lines)
        assert stream.reply().data[-1] == "[DONE]"
        assert running.row(stream.reply())["tokens"]["output"] == 15
    finally:
        running.end()


@pytest.mark.parametrize("word", ["", "unicode", "gzip", "http10", "chunked"])
def test_whole_replies(asgi: Asgi, word: str) -> None:
    fields = asked(f"lab/sim?{word}")
    reply = asgi.post(fields)
    assert (reply.status, plain(reply.body)) == (200, plain(direct(asgi, fields).text))
    assert reply.header("x-ferryman-provider") == "lab"
    assert asgi.row(reply)["tokens"]["output"] == 16


@pytest.mark.parametrize("word", ["", "crlf+comments", "bytes+unicode", "tools", "tokens=5000"])
def test_streams(asgi: Asgi, word: str) -> None:
    fields = asked(f"lab/sim?{word}", stream=True, stream_options={"include_usage": True})
    reply = asgi.post(fields)
    assert plain(reply.body) == plain(direct(asgi, fields).body)
    assert reply.complete
    assert reply.data[-1] == "[DONE]"


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/responses", "/v1/moderations"])
def test_other_endpoints(asgi: Asgi, path: str) -> None:
    fields = {"model": "lab/sim", "input": "Hi"}
    assert plain(asgi.post(fields, path).body) == plain(direct(asgi, fields, path).body)


def test_a_cut_stream_is_an_error_event(asgi: Asgi) -> None:
    reply = asgi.stream("lab/sim-cut")
    assert reply.data[-1]["error"]["code"] == "upstream_stream_truncated"
    assert b"[DONE]" not in reply.body
    assert reply.complete


def test_errors_and_another_target(asgi: Asgi) -> None:
    reply = asgi.chat("lab/sim-429")
    assert (reply.status, reply.header("retry-after")) == (429, "2")
    assert asgi.chat("first-reset").header("x-ferryman-provider") == "spare"
    assert error_of(asgi.post(b"{"))["code"] == "invalid_request"
    assert asgi.post(asked("lab/sim"), key="wrong").status == 401
    assert asgi.chat("no-such").status == 404


def test_a_body_up_to_the_limit_and_one_above(asgi: Asgi) -> None:
    limit = 52_428_800
    assert asgi.post(_big(limit)).status == 200
    over = asgi.post(_big(limit + 1))
    assert (over.status, error_of(over)["code"]) == (413, "body_too_large")


def test_a_caller_that_leaves_ends_the_providers_work(asgi: Asgi) -> None:
    asgi.forget()
    begun = asgi.post(asked("lab/sim?tps=0.3&tokens=500", stream=True), patience=2)
    assert begun.ended == "silent", "after which this caller hangs up"
    until(lambda: asgi.stats()["cancelled"] == 1, "the end of the provider's work")
    row = asgi.row(begun)
    assert (row["status"], row["error"]) == (499, "client_closed_request")


def test_models_health_and_metrics(asgi: Asgi) -> None:
    assert "quick" in [model["id"] for model in asgi.get("/v1/models").json()["data"]]
    assert asgi.get("/v1/models/lab%2Fsim").json()["id"] == "lab/sim"
    assert asgi.get("/healthz").json() == {"status": "ok"}
    assert b"ferryman_calls_total{" in asgi.get("/metrics").body


def test_uploads_go_on_while_they_come(asgi: Asgi) -> None:
    """Through a spool as everywhere, so that the server's limit of a body is not theirs."""
    speech = SPEECH * 500
    form = part("file", speech, "a.wav") + part("model", b"lab/sim?echo") + END
    reply = asgi.post(form, "/v1/audio/transcriptions", headers=kind())
    assert f"{len(speech)} bytes]" in reply.json()["text"]
    twice = part("model", b"lab/sim?echo") + part("file", speech, "a.wav")
    reply = asgi.post(twice + part("model", b"m") + END, "/v1/audio/transcriptions", headers=kind())
    assert reply.status == 400
    assert "twice" in error_of(reply)["message"]


def test_a_caller_who_leaves_in_the_midst_of_an_upload(asgi: Asgi) -> None:
    caller = Upload(asgi, 90_000_000)
    caller.send(part("model", b"lab/sim?echo") + part("file", SPEECH, "a.wav"))
    calls = "ferryman_in_flight_calls"
    until(lambda: f"{calls} 1" in asgi.get("/metrics").body.decode(), "a call")
    caller.link.close()
    until(lambda: f"{calls} 0" in asgi.get("/metrics").body.decode(), "its end")
