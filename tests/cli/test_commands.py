"""The ``ferryman`` command as people and scripts use it."""

import csv
import inspect
import io
import json
import os
import pty
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ferryman.cli import commands
from ferryman.cli.limits import limits_app
from ferryman.cli.main import FLAGS, plain_flags
from tests.cli.conftest import Up
from tests.processes import PATIENCE, environment, until


def _ferryman(
    *arguments: str, env: dict[str, str], cwd: Path
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "ferryman", *arguments]
    # Without a width of its own the help would be as narrow as the terminal of the tests.
    env = env | {"COLUMNS": "120"}
    return subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, timeout=2 * PATIENCE
    )


def _ask(up: Up, *arguments: str) -> str:
    """The output of a command against a running installation, found by its data directory."""
    env = {k: v for k, v in up.env.items() if k not in ("FERRYMAN_ADMIN_PORT", "FERRYMAN_CONFIG")}
    done = _ferryman(*arguments, env=env, cwd=up.data.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_keys_usage_and_calls_of_a_running_installation(up: Up) -> None:
    assert "No calls yet" in _ask(up, "calls")
    assert "No calls since" in _ask(up, "usage")
    assert json.loads(_ask(up, "calls", "--json")) == []

    key = _ask(up, "keys", "create", "web shop", "--expires", "30d").strip()
    assert key.startswith("fm-"), "nothing but the key, for $(…)"
    until(lambda: up.chat(key=key).status == 200, "the new key's first call")
    assert up.chat().status == 200

    rows = json.loads(_ask(up, "calls", "--json"))
    assert [row["key"] for row in rows] == ["first", "web shop"], "newest first"
    assert rows[0]["cost_usd"] == "0.00002"
    assert rows[0]["tokens"]["input"] == 10
    table = _ask(up, "calls")
    assert "web shop" in table
    assert "$0.00002" in table
    only = json.loads(_ask(up, "calls", "--key", "first", "--limit", "5", "--json"))
    assert [row["key"] for row in only] == ["first"]
    assert json.loads(_ask(up, "calls", "--status", "429", "--json")) == []
    assert "No such calls" in _ask(up, "calls", "--status", "429")
    narrow = ("--since", "1h", "--min-seconds", "0", "--text", "lab", "--where", "cache=-")
    assert len(json.loads(_ask(up, "calls", *narrow, "--json"))) == 2
    assert json.loads(_ask(up, "calls", "--min-usd", "1", "--failed", "--json")) == []
    status = _ask(up, "status")
    assert "2 calls in 5 minutes, 0 failed" in status and "(sqlite)" in status
    assert json.loads(_ask(up, "status", "--json"))["status"]["planes"][0]["current"]
    elsewhere = _ask(up, "prices", "show", rows[0]["request_id"], "--elsewhere")
    assert "Nothing to compare." in elsewhere or "lab/" in elsewhere
    assert "0 sessions are ended." in _ask(up, "dashboard", "--sign-out")

    rows = json.loads(_ask(up, "api", "GET", "/latencies", "by=model", "since=1h"))["data"]
    assert [(row["model"], row["calls"]) for row in rows] == [("lab/small", 2)]
    view = up.data.parent / "view.json"
    view.write_text('{"query": "min_usd=0.5&since=7d"}')
    kept = json.loads(_ask(up, "api", "put", "views/dear", "--body", str(view)))
    assert kept == {"name": "dear", "query": "min_usd=0.5&since=7d"}
    assert json.loads(_ask(up, "api", "DELETE", "/views/dear"))["data"] == []
    lines = _ask(up, "api", "GET", "/export/calls", "model=lab/small").splitlines()
    assert json.loads(lines[-1]) == {"rows": 2}

    sums = json.loads(_ask(up, "usage", "--by", "key,model,provider,day", "--json"))
    assert {row["key"] for row in sums} == {"first", "web shop"}
    assert sum(Decimal(row["cost_usd"]) for row in sums) == Decimal("0.00004")
    table = _ask(up, "usage", "--by", "model", "--since", "1h")
    assert "lab/small" in table
    assert "$0.00004" in table
    found = list(csv.DictReader(io.StringIO(_ask(up, "usage", "--by", "key", "--csv"))))
    assert sorted((row["key"], row["calls"], row["tokens_output"]) for row in found) == [
        ("first", "1", "5"),
        ("web shop", "1", "5"),
    ]

    assert "Revoked web shop" in _ask(up, "keys", "revoke", "web shop")
    listed = {row["name"]: row["state"] for row in json.loads(_ask(up, "keys", "list", "--json"))}
    assert listed == {"first": "active", "web shop": "revoked"}
    assert key not in _ask(up, "keys", "list")


def test_what_goes_wrong_is_told_in_a_line_that_says_what_to_do(up: Up, tmp_path: Path) -> None:
    def failure(*arguments: str, **env: str) -> str:
        base = {k: v for k, v in up.env.items() if k != "FERRYMAN_ADMIN_PORT"}
        done = _ferryman(*arguments, env=base | env, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "ferryman keys list" in failure("keys", "revoke", "nobody")
    assert "30d" in failure("usage", "--since", "yesteryear")
    assert "colour" in failure("usage", "--by", "colour")
    assert "printable" in failure("keys", "create", "a\tb")
    assert "There is no /nothing" in failure("api", "GET", "/nothing").replace("/api/v1", "")
    assert "choose from GET" in failure("api", "FETCH", "/calls")
    assert "Can't read" in failure("api", "PUT", "/views/x", "--body", str(tmp_path / "none"))
    assert "another data directory" in failure("calls", FERRYMAN_ADMIN_TOKEN="wrong")
    assert "--data-dir" in failure("calls", "--data-dir", str(tmp_path / "none"))
    assert "ferryman up" in failure("calls", "--control-url", "http://127.0.0.1:9")
    base = up.endpoint.removesuffix("/v1")
    assert "Is it the gateway?" in failure("keys", "list", "--control-url", base)
    up.process.stop()
    assert "ferryman up" in failure("calls")


def test_check_explains_mistakes_and_schema_is_one(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    env = environment(tmp_path / "data")
    file.write_text("models:\n  fast: { targets: [] }\n")
    done = _ferryman("check", str(file), env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{file}:2:" in done.stdout
    report = json.loads(_ferryman("check", str(file), "--json", env=env, cwd=tmp_path).stdout)
    assert report["ok"] is False
    assert report["problems"][0]["line"] == 2
    file.write_text("models:\n  fast: { targets: [openai/gpt-4o-mini] }\n")
    done = _ferryman("check", str(file), "--strict", env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    schema = json.loads(_ferryman("schema", env=env, cwd=tmp_path).stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert not (tmp_path / "data").exists(), "looking leaves nothing behind"


def test_help_names_every_flag_with_its_variable(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    text = _ferryman("up", "--help", env=env, cwd=tmp_path).stdout
    for name in FLAGS["up"]:
        assert "--" + name.replace("_", "-") in text
        assert "FERRYMAN_" + name.upper() in text
    overview = _ferryman("--help", env=env, cwd=tmp_path).stdout
    for command in ("up", "gateway", "control", "check", "keys", "usage", "calls", "simulator"):
        assert f" {command} " in overview


@pytest.mark.parametrize("arguments", [["up", "--port", "x"], ["up", "--nope"], ["nope"], []])
def test_wrong_commands_get_a_hint(tmp_path: Path, arguments: list[str]) -> None:
    done = _ferryman(*arguments, env=environment(tmp_path / "data"), cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: ferryman" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_short_way_in_knows_the_same_flags_as_the_long_one() -> None:
    for command, names in FLAGS.items():
        parameters = inspect.signature(getattr(commands, command)).parameters
        assert set(parameters) == names


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], {}),
        (["--port", "9000"], {"FERRYMAN_PORT": "9000"}),
        (["--port=9000", "--strict"], {"FERRYMAN_PORT": "9000", "FERRYMAN_STRICT": "1"}),
        (["--data-dir", "a=b"], {"FERRYMAN_DATA_DIR": "a=b"}),
        (["--local-model"], {"FERRYMAN_LOCAL_MODEL": "1"}),
        (["--help"], None),
        (["--port"], None),
        (["--port", "--strict"], None),
        (["--port="], None),
        (["--data_dir", "x"], None),
        (["--strict=1"], None),
        (["--key", "x" * 30], None),
        (["--control-url", "http://x"], None),
        (["port", "1"], None),
        (["-p", "1"], None),
    ],
)
def test_plain_flags(arguments: list[str], given: dict[str, str] | None) -> None:
    assert plain_flags(arguments, FLAGS["up"]) == given


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--token-budget", "NaN/month"], "'NaN' is no whole number"),
        (["--token-budget", "Infinity/month"], "'Infinity' is no whole number"),
        (["--token-budget", "1.5/month"], "'1.5' is no whole number"),
        (["--budget", "ten/month"], "'ten' is no number"),
        (["--budget", "10"], "write an amount and a period"),
        (["--budget", "10/fortnight"], "'fortnight' is none of minute, hour, day"),
        (["--budget", "10/day", "--increase", "-Infinity/2026-12-24"], "is no number"),
        (["--token-budget", "10/day", "--increase", "5"], "write an amount and a day"),
    ],
)
def test_amounts_that_are_none_are_told(arguments: list[str], said: str) -> None:
    command = ["set", "--organisation", "acme", *arguments]
    done = CliRunner().invoke(limits_app, command, env={"COLUMNS": "200"})
    assert done.exit_code == 2, done.output
    assert said in done.output


def test_tls_files_that_do_not_load_are_told_before_anything_starts(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    broken = tmp_path / "cert.pem"
    broken.write_text("not a certificate")
    for flags in (
        ["--tls-cert", str(tmp_path / "none")],
        ["--tls-cert", str(broken)],
        ["--tls-key", str(broken)],
    ):
        done = _ferryman("up", *flags, env=env, cwd=tmp_path)
        assert done.returncode == 2
        assert "--tls-cert" in done.stderr
        assert done.stderr.count("\n") == 1


def test_closing_the_terminal_ends_it(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    ours, theirs = pty.openpty()
    popen = subprocess.Popen(
        [sys.executable, "-P", "-m", "ferryman", "up"],
        env=env,
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    try:
        seen = b""
        while b"Endpoint" not in seen:
            seen += os.read(ours, 4096)
        assert b"\x1b[1m" in seen, "a terminal gets some emphasis"
        os.close(ours)
        assert popen.wait(PATIENCE) == 0
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
            popen.wait(PATIENCE)


def _take_terminal() -> None:
    """Make standard input the controlling terminal of this new session."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
