"""A line about each call reaches every sink; a dead one costs nothing but a count and a line."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.gateway import Stack
from tests.processes import until

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, key: env:LAB_KEY }
  dead: { base_url: "http://127.0.0.1:1/v1", auth: none }
models:
  second: { targets: [dead/sim, lab/sim] }
logs:
  level: LEVEL
  sinks:
    - stdout
    - { kind: file, path: calls.log, max_size: 2000, files: 2 }
    - { kind: webhook, url: "HOOK/lines", secret: env:HOOK_SECRET }
    - { kind: webhook, url: "http://127.0.0.1:1/dead" }
    - { kind: s3, url: HOOK, bucket: lake, region: eu-central-1, access_key: env:S3_KEY,
        secret: env:S3_SECRET }
    - { kind: flaky, options: { path: PLUGGED, token: env:HOOK_SECRET } }
"""
PLUGIN = '''\
"""A sink as somebody else would write it."""

class Sink:
    def __init__(self, options):
        assert options["token"] == "s3cret"
        self.path, self.failed = options["path"], False

    def write(self, lines):
        if not self.failed:
            self.failed = True
            raise RuntimeError("not yet")
        with open(self.path, "ab") as file:
            file.write(b"".join(line + b"\\n" for line in lines))

    def close(self):
        pass
'''


class Receiver:
    """Takes what is posted and put."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((self.command, self.path, headers, body))
                self.send_response(200)
                self.end_headers()

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def told(self, method: str) -> list[dict[str, Any]]:
        """The lines that came by ``method``."""
        found = []
        for how, _, _, body in list(self.got):
            if how == method:
                lines = json.loads(body) if how == "POST" else map(json.loads, body.splitlines())
                found += list(lines)
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


def plugged(folder: Path) -> str:
    """A path for PYTHONPATH with an installed package that has the sink ``flaky``."""
    place = folder / "site"
    info = place / "flaky_sink-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "flaky_sink.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flaky-sink\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ferryman.sinks]\nflaky = flaky_sink:Sink\n")
    return os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])


def signed_as_aws_does(headers: dict[str, str], path: str, url: str, body: bytes) -> bool:
    """Whether the official implementation makes the same signature of it."""
    kept = ("content-type", "x-amz-content-sha256")
    sent = {name: headers[name] for name in kept} | {"X-Amz-Date": headers["x-amz-date"]}
    request = AWSRequest("PUT", f"{url}{path}", data=body, headers=sent)
    request.context["timestamp"] = headers["x-amz-date"]
    auth = S3SigV4Auth(Credentials("AKIDEXAMPLE", "wJalr"), "s3", "eu-central-1")
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    return headers["authorization"].endswith(f"Signature={signature}")


def test_every_sink_gets_a_line_for_each_call_and_settings_change_at_once(
    tmp_path: Path, receiver: Receiver
) -> None:
    config = CONFIG.replace("HOOK/", f"{receiver.url}/").replace("HOOK,", f'"{receiver.url}",')
    config = config.replace("PLUGGED", str(tmp_path / "plugged.log"))
    env = {"HOOK_SECRET": "s3cret", "S3_KEY": "AKIDEXAMPLE", "S3_SECRET": "wJalr"}
    env["PYTHONPATH"] = plugged(tmp_path)
    with Stack(tmp_path, config.replace("LEVEL", "info"), **env).served() as stack:
        ids = [
            stack.chat(model, headers={"x-ferryman-tags": "nightly"}).header(
                "x-ferryman-request-id"
            )
            for model in ("lab/sim", "second", "lab/sim-404", "lab/sim-500")
        ]
        levels = dict(zip(ids, ("info", "warning", "warning", "error"), strict=True))
        until(lambda: len(receiver.told("POST")) == 4, "all lines at the webhook")
        assert {each["request_id"]: each["level"] for each in receiver.told("POST")} == levels
        line = receiver.told("POST")[0]
        assert (line["status"], line["tokens"]["output"] > 0, line["tags"]) == (
            200,
            True,
            ["nightly"],
        )
        folder = stack.data / "logs"
        until((folder / "calls.log").exists, "a file")
        assert (folder / "calls.log").stat().st_mode & 0o777 == 0o600
        plugged_log = tmp_path / "plugged.log"
        until(lambda: plugged_log.exists() and plugged_log.read_bytes().count(b"\n") == 4, "plugin")

        def shown() -> set[str]:
            lines = [line for line in stack.up.lines if line.startswith("{")]
            return {json.loads(line)["request_id"] for line in lines}

        until(lambda: shown() == set(ids), "all lines on standard output")

        stack.write(config.replace("LEVEL", "error\n  sample: 0"))

        def only_errors() -> bool:
            stack.chat("lab/sim")
            before = len(receiver.told("POST"))
            failed = stack.chat("lab/sim-500").header("x-ferryman-request-id")
            until(lambda: failed in {e["request_id"] for e in receiver.told("POST")}, "its line")
            return len(receiver.told("POST")) == before + 1

        until(only_errors, "fewer lines")
        state = stack.admin("GET", "/api/v1/logs/sinks").json()["data"]
        dead = [each for each in state if each["failing"]]
        assert [each["kind"] for each in dead] == ["webhook"]
        assert dead[0]["waiting"] >= 4
        for _ in range(3):
            stack.chat("lab/sim-500")
        until(lambda: (folder / "calls.log.1").exists(), "another file")
        complaints = [each for each in stack.up.lines if "takes no lines" in each]
        assert sorted(each.partition("(")[2][:7] for each in complaints) == ["[Errno ", "not yet"]
        everything = "\n".join(stack.up.lines)
        assert "s3cret" not in everything
        assert "wJalr" not in everything
        assert stack.up.stop() == 0
    objects = [each for each in receiver.got if each[0] == "PUT"]
    assert set(ids) <= {each["request_id"] for each in receiver.told("PUT")}
    for _, path, headers, body in objects:
        assert path.startswith("/lake/ferryman/20")
        assert signed_as_aws_does(headers, path, receiver.url, body)
