"""``ferryman up`` with both real planes: starting, crashing, draining, reloading, ending."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import Provider, Start, Up
from tests.processes import Process, alive, environment, request, until


class _Call(threading.Thread):
    """A call to the waiting model, made in the background."""

    def __init__(self, up: Up) -> None:
        super().__init__(daemon=True)
        self._up = up
        self.status: int | None = None
        self.failure: OSError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.status = self._up.chat("lab/slow").status
        except OSError as error:
            self.failure = error


def test_a_call_goes_through_and_is_in_the_ledger(up: Up) -> None:
    reply = up.chat()
    assert reply.status == 200
    assert reply.json()["choices"][0]["message"]["content"] == "ok"
    [row] = up.calls()
    assert row["request_id"] == reply.headers["x-ferryman-request-id"]
    assert (row["key"], row["provider"], row["status"]) == ("first", "lab", 200)
    assert row["cost_usd"] == "0.00002"


def test_the_banner_gives_commands_that_work_when_pasted(up: Up) -> None:
    up.process.wait_for(r"^ready: ")
    curl = up.process.wait_for(r"^curl .*")[0]
    done = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=30)
    assert '"content": "ok"' in done.stdout, done.stdout + done.stderr
    python = up.process.wait_for(r"-c \".*openai.*")
    done = subprocess.run(["sh", "-c", python.string], capture_output=True, text=True, timeout=60)
    assert done.stdout == "ok\n", done.stderr
    assert up.process.wait_for(r"Providers +lab$")


def test_the_first_key_is_in_the_log_once_and_never_again(start: Start) -> None:
    up = start().ready()
    key = up.key
    assert up.process.stop() == 0
    assert key in "\n".join(up.process.lines)
    again = start().ready()
    curl = again.process.wait_for(r"^curl .*")[0]
    assert key not in "\n".join(again.process.lines)
    done = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=30)
    assert '"content": "ok"' in done.stdout, "the line finds the key in its file"


def test_a_fixed_key_works_and_is_not_shown(start: Start) -> None:
    up = start(FERRYMAN_KEY="a-fixed-key-for-containers").ready()
    assert up.chat(key="a-fixed-key-for-containers").status == 200
    assert "a-fixed-key-for-containers" not in "\n".join(up.process.lines)
    environ = Path(f"/proc/{up.plane('edge')}/environ").read_bytes()
    assert b"a-fixed-key" not in environ, "the data plane needs digests only"


def test_a_new_key_works_and_a_revoked_one_does_not(up: Up) -> None:
    made = up.admin("POST", "/api/v1/keys", {"name": "shop"}).json()
    until(lambda: up.chat(key=made["key"]).status == 200, "the new key's first call")
    up.admin("DELETE", "/api/v1/keys/shop")
    until(lambda: up.chat(key=made["key"]).status == 401, "the refusal of the revoked key")
    assert up.chat().status == 200


@pytest.mark.parametrize("plane", ["edge", "control"])
def test_a_killed_plane_comes_back(up: Up, plane: str) -> None:
    name = "gateway" if plane == "edge" else plane
    assert up.chat().status == 200
    for kills in (1, 2):
        pid = up.plane(plane)
        os.kill(pid, signal.SIGKILL)
        up.process.wait_for(rf"{name} ended \(killed by SIGKILL\); starting it again in", kills)
        assert up.chat().status == 200, "callers wait in the queue or never notice"
        up.process.wait_for(f"{name} is ready again", kills)
    pauses = [
        float(line.split(" again in ")[1].split()[0])
        for line in up.process.lines
        if f"{name} ended" in line
    ]
    # 0.1 again if a slow machine took ten seconds for this: then it had settled.
    assert pauses in ([0.1, 0.2], [0.1, 0.1])
    assert up.plane(plane) != pid
    assert len(until(lambda: len(up.calls()) >= 3 and up.calls(), "all calls")) == 3


def test_sigterm_lets_open_calls_finish_and_records_them(up: Up, provider: Provider) -> None:
    call = _Call(up)
    assert provider.waiting.acquire(timeout=30)
    control = up.plane("control")
    up.process.send(signal.SIGTERM)
    up.process.wait_for("draining 1 open calls")
    assert alive(control), "control stays until the gateway has ended"
    with pytest.raises(OSError):
        # Nobody accepts any more, and nobody keeps callers waiting at a closed door.
        up.chat()
    provider.release.set()
    call.join(30)
    assert call.status == 200
    assert up.process.wait() == 0
    order = [line for line in up.process.lines if line.endswith(" stopped")]
    assert [line.split()[1] for line in order] == ["gateway", "control"]


def test_what_the_drain_wrote_is_in_the_ledger(start: Start, provider: Provider) -> None:
    up = start().ready()
    call = _Call(up)
    assert provider.waiting.acquire(timeout=30)
    up.process.send(signal.SIGTERM)
    up.process.wait_for("draining")
    provider.release.set()
    call.join(30)
    assert up.process.wait() == 0
    [row] = start().ready().calls()
    assert (row["target"], row["status"], row["state"]) == ("slow", 200, "closed")


def test_the_drain_ends_when_its_time_is_over(start: Start, provider: Provider) -> None:
    up = start("--drain", "0.3").ready()
    call = _Call(up)
    assert provider.waiting.acquire(timeout=30)
    assert up.process.stop(signal.SIGTERM) == 0
    call.join(30)
    assert call.failure is not None or call.status != 200


def test_a_second_ctrl_c_ends_it_at_once(up: Up, provider: Provider) -> None:
    call = _Call(up)
    assert provider.waiting.acquire(timeout=30)
    pids = [up.plane("edge"), up.plane("control")]
    up.process.send(signal.SIGINT)
    up.process.wait_for("draining")
    up.process.send(signal.SIGINT)
    assert up.process.wait() == 130
    call.join(30)
    assert call.failure is not None
    assert not any(map(alive, pids))


def test_killing_the_supervisor_ends_the_planes_and_frees_the_port(start: Start) -> None:
    up = start().ready()
    pids = [up.plane("edge"), up.plane("control")]
    port = up.endpoint.removesuffix("/v1").rpartition(":")[2]
    up.process.send(signal.SIGKILL)
    until(lambda: not any(map(alive, pids)), "the end of the planes")
    again = start("--port", port).ready()
    assert again.chat().status == 200


def test_it_starts_again_while_the_gateway_of_a_killed_one_still_drains(
    start: Start, provider: Provider
) -> None:
    up = start().ready()
    call = _Call(up)
    assert provider.waiting.acquire(timeout=30)
    up.process.send(signal.SIGKILL)
    up.process.popen.wait(30)  # the gateway still holds the output open
    again = start()
    again.process.wait_for(r"gateway ended \(exit code 75\)")
    provider.release.set()
    call.join(30)
    assert call.status == 200
    assert again.ready().chat().status == 200
    assert len(until(lambda: len(again.calls()) == 2 and again.calls(), "both calls")) == 2


def test_sighup_reloads_both_and_drops_no_call(up: Up, provider: Provider) -> None:
    call = _Call(up)
    assert provider.waiting.acquire(timeout=30)
    up.process.send(signal.SIGHUP)
    up.process.wait_for(r"control +configuration \w+")
    up.process.wait_for(r"gateway +reloading")
    provider.release.set()
    call.join(30)
    assert call.status == 200


def test_a_changed_file_reaches_the_gateway(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "ferryman.yaml"
    assert up.chat("quick").status == 404
    file.write_text(file.read_text() + "models:\n  quick: { targets: [lab/small] }\n")
    until(lambda: up.chat("quick").status == 200, "the new route")


def test_a_bad_file_keeps_it_from_starting_and_is_explained(start: Start, tmp_path: Path) -> None:
    (tmp_path / "ferryman.yaml").write_text("modles: {}\n")
    up = start()
    assert up.process.wait() == 1
    said = "\n".join(up.process.lines)
    assert "ferryman.yaml:1:" in said
    assert "models" in said
    assert "ready" not in said
    assert "gateway" not in said, "the gateway is not even started"


def test_a_port_in_use_names_the_flag(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        for flag in ("--port", "--admin-port"):
            up = start(flag, port)
            assert up.process.wait() == 1
            said = "\n".join(up.process.lines)
            assert f"127.0.0.1:{port} is already in use" in said
            assert f"with {flag} " in said


def test_it_serves_on_a_unix_socket_too(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "s"
    up = start("--uds", str(path)).ready()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(30)
        caller.connect(str(path))
        caller.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"200" in caller.recv(100)
    assert up.process.stop() == 0
    assert not path.exists()


def test_options_that_are_wrong_end_it_with_2(start: Start) -> None:
    up = start(FERRYMAN_KEY="short")
    assert up.process.wait() == 2
    assert "FERRYMAN_KEY" in "\n".join(up.process.lines)


def test_with_no_reader_it_goes_on(tmp_path: Path, provider: Provider) -> None:
    data = tmp_path / "data"
    env = environment(data)
    read, write = os.pipe()
    popen = subprocess.Popen(
        [sys.executable, "-P", "-m", "ferryman", "up"],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=write,
        cwd=tmp_path,
        process_group=0,
    )
    os.close(write)
    os.close(read)  # like `ferryman up | head -1`
    try:
        url = until(lambda: (data / "admin-url").exists() and (data / "admin-url"), "its address")
        base = url.read_text().strip()
        until(lambda: request(base, path="/readyz").status == 200, "readiness")
        assert popen.poll() is None
    finally:
        popen.terminate()
        assert popen.wait(30) == 0


def test_the_data_directory_is_for_its_owner_alone(up: Up) -> None:
    found = [up.data, *up.data.rglob("*")]
    open_to_others = [
        f"{path.relative_to(up.data)} {path.stat().st_mode & 0o777:o}"
        for path in found
        if path.is_dir() and path.stat().st_mode & 0o077
    ]
    secrets = [up.data / "first-key", *(up.data / "secrets").iterdir()]
    open_to_others += [str(path) for path in secrets if path.stat().st_mode & 0o077]
    assert not open_to_others


def test_planes_run_on_their_own_too(tmp_path: Path, provider: Provider) -> None:
    env = environment(tmp_path / "data")
    control = Process(["ferryman", "control"], env, tmp_path)
    url = control.wait_for(r"ready at (\S+)")[1]
    gateway = Process(["ferryman", "gateway", "--control-url", url], env, tmp_path)
    try:
        gateway.wait_for(r"gateway +ready")
        command = (Path(f"/proc/{gateway.popen.pid}/cmdline")).read_bytes()
        assert b"ferryman.edge" in command, "the command's own modules don't stay in memory"
    finally:
        assert gateway.stop() == 0
        assert control.stop() == 0
        gateway.end()
        control.end()
