"""What ``ferryman up`` prints once it serves."""

import subprocess
from pathlib import Path

import pytest

from ferryman.cli.banner import endpoint, text
from ferryman.config.options import Options

FACTS: dict[str, object] = {"providers": ["lab"], "model": "lab/it's $HOME `small`"}


@pytest.mark.parametrize(
    ("options", "url"),
    [
        (Options(), "http://127.0.0.1:8080/v1"),
        (Options(host="0.0.0.0", port=80), "http://127.0.0.1:80/v1"),
        (Options(host="::"), "http://[::1]:8080/v1"),
        (Options(host="fe80::1"), "http://[fe80::1]:8080/v1"),
        (Options(host="gate.example", tls_cert="c.pem"), "https://gate.example:8080/v1"),
    ],
)
def test_the_endpoint_is_a_url_that_works_on_this_machine(options: Options, url: str) -> None:
    assert endpoint(options) == url
    assert text(options, FACTS, color=False).startswith("ready: Ferryman ")


def _commands(banner: str) -> list[list[str]]:
    """The words of each command, as a shell takes them apart."""
    lines = [line for line in banner.splitlines() if line.startswith("curl") or " -c " in line]
    found = []
    for line in lines:
        script = f"for word in {line}; do printf '%s\\0' \"$word\"; done"
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        found.append(done.stdout.split("\0")[:-1])
    return found


def test_commands_survive_the_shell_whatever_the_model_is_called(tmp_path: Path) -> None:
    (tmp_path / "first-key").write_text("fm-secret\n")
    banner = text(Options(data_dir=tmp_path), FACTS | {"first_key_is_new": True}, color=False)
    curl, python = _commands(banner)
    assert "authorization: Bearer fm-secret" in curl
    assert "it's $HOME `small`" in curl[-1]
    assert python[1] == "-c"
    compile(python[2], "line", "exec")
    assert "it's $HOME `small`" in python[2]
    assert python[3] == "fm-secret"


def test_a_log_gets_the_key_on_the_first_start_only_a_terminal_always(tmp_path: Path) -> None:
    (tmp_path / "first-key").write_text("fm-secret\n")
    options = Options(data_dir=tmp_path)
    assert "fm-secret" in text(options, FACTS | {"first_key_is_new": True}, color=False)
    assert "fm-secret" in text(options, FACTS, color=True)
    later = text(options, FACTS | {"first_key_is_new": False}, color=False)
    assert "fm-secret" not in later
    assert f"$(cat {tmp_path}/first-key)" in later


def test_a_key_from_outside_is_never_shown(tmp_path: Path) -> None:
    banner = text(Options(data_dir=tmp_path, key="x" * 30), FACTS, color=True)
    assert "x" * 30 not in banner
    assert "$FERRYMAN_KEY" in banner


def test_without_the_first_key_it_says_how_to_make_one(tmp_path: Path) -> None:
    banner = text(Options(data_dir=tmp_path), FACTS, color=False)
    assert "ferryman keys create NAME" in banner


def test_without_providers_it_says_how_to_get_one(tmp_path: Path) -> None:
    banner = text(Options(data_dir=tmp_path), {"providers": [], "model": ""}, color=False)
    assert "OPENAI_API_KEY" in banner
    assert "curl" not in banner


def test_with_unknown_models_only_it_lists_them(tmp_path: Path) -> None:
    banner = text(Options(data_dir=tmp_path), {"providers": ["lab"], "model": ""}, color=False)
    assert "curl http://127.0.0.1:8080/v1/models " in banner


def test_the_link_to_the_dashboard_is_treated_as_the_key_is(tmp_path: Path) -> None:
    options = Options(data_dir=tmp_path)
    facts = FACTS | {"entry": "t0ken"}
    link = "http://127.0.0.1:8081/enter#t0ken"
    assert link in text(options, facts | {"first_key_is_new": True}, color=False)
    assert link in text(options, facts, color=True)
    later = text(options, facts | {"first_key_is_new": False}, color=False)
    assert "t0ken" not in later and "ferryman dashboard" in later
