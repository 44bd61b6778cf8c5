"""Changes and ends while calls run: nothing that has begun is dropped."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gateway import CONFIG, Stack, error_of
from tests.processes import PATIENCE, Process, environment, until
from tests.simulator import wire


class Caller(threading.Thread):
    """Makes a call in the background."""

    def __init__(self, call: Callable[[], wire.Reply]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._reply: wire.Reply | None = None
        self.start()

    def run(self) -> None:
        self._reply = self._call()

    def reply(self) -> wire.Reply:
        self.join(PATIENCE)
        assert self._reply is not None, "no reply"
        return self._reply


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("reload")).served() as running:
        yield running


@pytest.fixture
def own(lasting: Stack) -> Iterator[Stack]:
    """A stack whose configuration may be changed."""
    yield lasting
    lasting.write(CONFIG.replace("models:", "models:\n  restored: lab/sim", 1))
    until(lambda: lasting.chat("restored").status == 200, "the old configuration")


def _active(stack: Stack, count: int) -> None:
    until(lambda: stack.stats()["active"] == count, f"{count} calls at the provider")


def test_a_new_configuration_drops_nothing(own: Stack) -> None:
    stop = threading.Event()
    replies: list[wire.Reply] = []

    def calls() -> None:
        while not stop.is_set():
            replies.append(own.chat("quick"))
            replies.append(own.stream("lab/sim?tokens=3"))

    streams = [
        Caller(lambda: own.stream("lab/sim?tps=10&tokens=40", stream_options=None))
        for _ in range(8)
    ]
    _active(own, 8)
    threads = [threading.Thread(target=calls) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(3):
        own.write(CONFIG.replace("models:", f"models:\n  new-{number}: spare/sim", 1))
        until(lambda name=f"new-{number}": own.chat(name).status == 200, "the new route")
        assert own.chat(f"new-{number - 1}").status == 404, "the old one is gone"
        own.up.send(signal.SIGHUP)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    for stream in streams:
        reply = stream.reply()
        assert (reply.status, reply.data[-1]) == (200, "[DONE]")
        assert len(reply.data) == 43, "the role, 40 tokens, the finish reason, the end"
    assert len(replies) > 20
    assert {reply.status for reply in replies} == {200}
    assert all(reply.complete for reply in replies)


def test_a_provider_that_is_taken_away_ends_what_it_has_begun(own: Stack) -> None:
    stream = Caller(lambda: own.stream("spare/sim?tps=10&tokens=20"))
    _active(own, 1)
    own.write("providers: { lab: { base_url: SIM/v1, auth: none } }\n")
    until(lambda: own.chat("spare/sim").status == 404, "its end for new calls")
    assert own.chat("lab/sim").status == 200
    assert "authorization" not in own.last_headers(), "the provider's new settings hold"
    reply = stream.reply()
    assert reply.data[-1] == "[DONE]"
    row = own.row(reply)
    assert (row["provider"], row["status"], row["tokens"]["output"]) == ("spare", 200, 20)


def test_a_file_with_mistakes_changes_nothing(own: Stack) -> None:
    own.file.write_text("models: { quick: nowhere/sim }\n")
    own.up.wait_for(r"models\.quick")
    assert own.chat("quick").status == 200
    own.write(CONFIG.replace("quick:", "quicker:"))
    until(lambda: own.chat("quicker").status == 200, "the mended file")


def test_new_limits_hold_at_once(own: Stack) -> None:
    own.write(CONFIG + "server: { max_body_bytes: 2KiB }\ntimeouts: { first_byte: 300ms }\n")
    until(lambda: own.chat("lab/sim", user="x" * 3000).status == 413, "the new limit")
    assert error_of(own.chat("lab/sim-hang"))["code"] == "upstream_timeout"


def test_sigterm_lets_streams_end_and_cuts_what_takes_longer(tmp_path: Path) -> None:
    own = Stack(tmp_path, CONFIG, "--drain", "4")
    try:
        own.ready()
        streams = [Caller(lambda: own.stream("lab/sim?tps=8&tokens=10")) for _ in range(3)]
        whole = Caller(lambda: own.chat("lab/sim?delay=1000"))
        endless = Caller(lambda: own.stream("lab/sim?tps=5&tokens=1000"))
        _active(own, 5)
        own.up.send(signal.SIGTERM)
        own.up.wait_for("draining 5 open calls")
        assert _status(own) == 0, "nobody is served any more"
        for stream in streams:
            assert stream.reply().data[-1] == "[DONE]"
        assert whole.reply().status == 200
        cut = endless.reply()
        assert own.up.wait() == 0
        assert any(line.endswith(" stopped; 1 connections were cut") for line in own.up.lines)
        assert not cut.complete, "no end that looks like one"
        assert b"[DONE]" not in cut.body
        until(lambda: own.stats()["cancelled"] == 1, "the end of the provider's work")
        again = Process(["ferryman.control"], environment(own.data), tmp_path)
        try:
            again.wait_for(r"ready at (\S+)")
            row = own.row(cut)
            assert [own.row(stream.reply())["tokens"]["output"] for stream in streams] == [10] * 3
        finally:
            again.end()
        assert (row["status"], row["error"], row["state"]) == (
            499, "client_closed_request", "closed")  # fmt: skip
    finally:
        own.end()


def _status(stack: Stack) -> int:
    """Status of a call; 0 when nobody answers."""
    try:
        return stack.chat("lab/sim").status
    except OSError:
        return 0


class Planes(Stack):
    """The two planes as processes of their own, without ``ferryman up``."""

    def launch(self, env: dict[str, str], flags: tuple[str, ...]) -> Process:
        self.control = Process(["ferryman.control"], env, self.data.parent)
        url = self.control.wait_for(r"ready at (\S+)")[1]
        return Process(["ferryman.edge"], env | {"FERRYMAN_CONTROL_URL": url}, self.data.parent)

    def ready(self) -> "Planes":
        self.up.wait_for(r"gateway +ready")
        self.endpoint = f"http://127.0.0.1:{_listening(self.up.popen.pid)}/v1"
        return self

    def end(self) -> None:
        self.control.end()
        super().end()


def test_a_plane_of_its_own_drains_too(tmp_path: Path) -> None:
    own = Planes(tmp_path)
    try:
        own.ready()
        stream = Caller(lambda: own.stream("lab/sim?tps=10&tokens=15"))
        _active(own, 1)
        own.up.send(signal.SIGTERM)
        own.up.wait_for("draining 1 open calls")
        assert stream.reply().data[-1] == "[DONE]"
        assert own.up.wait() == 0
        assert own.row(stream.reply())["status"] == 200
    finally:
        own.end()


def _listening(pid: int) -> str:
    """The port that a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            return str(int(fields[1].rpartition(":")[2], 16))
    raise AssertionError("it listens nowhere")
