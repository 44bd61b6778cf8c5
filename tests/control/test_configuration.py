"""The configuration file in a running control plane: watched, reloaded, refused."""

import signal
import threading
from pathlib import Path

import msgspec
import pytest

from ferryman.config.snapshot import Snapshot
from tests.control.conftest import Control, Start
from tests.processes import until

GOOD = """
providers:
  lab: { format: openai_chat, base_url: "http://127.0.0.1:9/v1", auth: none }
models:
  fast: { targets: [lab/small] }
"""
BETTER = GOOD.replace("fast", "faster")
BAD = "models:\n  fast: { targets: [nowhere/small], strategie: latency }\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ferryman.yaml"
    path.write_text(GOOD)
    return path


def _routes(control: Control) -> set[str]:
    return set(msgspec.msgpack.decode(control.feed().snapshot, type=Snapshot).routes)


def test_a_changed_file_becomes_the_snapshot(start: Start, file: Path) -> None:
    control = start(FERRYMAN_CONFIG=str(file)).ready()
    assert _routes(control) == {"fast"}
    version, seq = control.settled()
    file.write_text(BETTER)
    feed = control.feed(version, seq, wait=30)
    assert set(msgspec.msgpack.decode(feed.snapshot, type=Snapshot).routes) == {"faster"}


def test_a_file_replaced_by_another_is_noticed(start: Start, file: Path, tmp_path: Path) -> None:
    control = start(FERRYMAN_CONFIG=str(file)).ready()
    other = tmp_path / "new.yaml"
    other.write_text(BETTER)
    other.replace(file)
    until(lambda: _routes(control) == {"faster"}, "the new file's routes")


def test_a_file_that_is_rewritten_all_the_time_is_read(start: Start, file: Path) -> None:
    control = start(FERRYMAN_CONFIG=str(file)).ready()
    ended = threading.Event()

    def rewrite() -> None:
        number = 0
        while not ended.wait(0.1):
            number += 1
            file.write_text(f"{BETTER}# {number}\n")

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        until(lambda: _routes(control) == {"faster"}, "the routes of a file that never rests")
    finally:
        ended.set()
        writer.join()


def test_a_bad_file_keeps_the_last_good_one_and_says_everything(start: Start, file: Path) -> None:
    control = start(FERRYMAN_CONFIG=str(file)).ready()
    before = control.settled()
    file.write_text(BAD)
    control.process.wait_for(r"not used: 2 errors; the last good one stays in force")
    said = "\n".join(control.process.lines)
    assert "strategie" in said
    assert "nowhere" in said
    assert control.settled() == before
    file.write_text(GOOD + "\n# mended\n")
    control.process.wait_for(r"configuration \w+, as before")
    assert control.settled() == before


def test_reload_by_signal_and_by_api(start: Start, file: Path) -> None:
    control = start(FERRYMAN_CONFIG=str(file)).ready()
    reply = control.admin("POST", "/api/v1/config/reload")
    version, _ = control.settled()
    assert (reply.status, reply.json()) == (200, {"snapshot": version})
    file.write_text(BAD)
    reply = control.admin("POST", "/api/v1/config/reload")
    assert reply.status == 422
    assert len(reply.json()["problems"]) == 2
    file.write_text(BETTER)
    control.process.send(signal.SIGHUP)
    until(lambda: _routes(control) == {"faster"}, "the reloaded routes")


def test_a_bad_file_at_the_start_is_explained_and_nothing_is_made(start: Start, file: Path) -> None:
    file.write_text(BAD)
    control = start(FERRYMAN_CONFIG=str(file))
    assert control.process.wait() == 78
    said = "\n".join(control.process.lines)
    assert f"{file}:2:" in said
    assert "strategie" in said
    assert "ferryman check" in said
    assert not (control.data / "first-key").exists()


def test_after_a_crash_a_bad_file_does_not_keep_keys_and_ledger_away(
    start: Start, file: Path
) -> None:
    file.write_text(BAD)
    control = start(FERRYMAN_CONFIG=str(file), FERRYMAN_RESTARTED="1").ready()
    assert control.request("/readyz").status == 503
    assert control.admin("GET", "/api/v1/keys").status == 200
    assert control.feed("v-before", 0).snapshot == b"", "the data plane keeps what it has"
    file.write_text(GOOD)
    until(lambda: control.request("/readyz").status == 200, "the mended file")


def test_strict_refuses_what_is_only_a_warning_else(start: Start, file: Path) -> None:
    file.write_text(GOOD.replace("auth: none", "keys: [sk-a-literal-secret-0123456789]"))
    strict = start(FERRYMAN_CONFIG=str(file), FERRYMAN_STRICT="1")
    assert strict.process.wait() == 78
    control = start(FERRYMAN_CONFIG=str(file)).ready()
    said = "\n".join(strict.process.lines + control.process.lines)
    assert "sk-a-literal-secret-0123456789" not in said
    assert b"sk-a-literal-secret-0123456789" not in control.feed().snapshot


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({"FERRYMAN_ADMIN_PORT": "many"}, "FERRYMAN_ADMIN_PORT"),
        ({"FERRYMAN_KEY": "too-short"}, "FERRYMAN_KEY"),
        ({"FERRYMAN_DATABASE_URL": "oracle://x"}, "sqlite or postgresql"),
        ({"FERRYMAN_ADMIN_HOST": "192.0.2.1"}, "--admin-host"),
    ],
)
def test_wrong_options_end_it_with_a_word_on_which(
    start: Start, env: dict[str, str], names: str
) -> None:
    control = start(**env)
    assert control.process.wait() in (1, 78)
    assert names in "\n".join(control.process.lines)


def test_a_second_control_plane_waits_for_the_first_to_end(start: Start) -> None:
    first = start().ready()
    second = start()
    second.process.wait_for(f"waiting for the control plane of process {first.process.popen.pid}")
    assert first.process.stop() == 0
    assert second.ready().settled()
