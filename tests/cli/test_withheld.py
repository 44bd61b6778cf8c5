"""Which variables the control plane is not given, and that it still knows which are set."""

from pathlib import Path

import pytest

from ferryman.cli.withheld import for_control
from ferryman.config.secret import ENV, activate, is_there, resolve
from ferryman.config.snapshot import Provider, Secret

ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-o", "LAB_KEY": "sk-lab", "SECOND_KEY": "sk-2", "BOTH": "sk-both",
    "HOOK": "s", "HEADER": "h", "AWS_SECRET_ACCESS_KEY": "aws", "EMPTY_KEY": " ",
    "PATH": "/bin", "HOST": "h",
    "AZURE_OPENAI_API_KEY": "az",
}  # fmt: skip
CONFIG = """
providers:
  lab:
    base_url: "https://{HOST}/v1"
    keys: [env:LAB_KEY, { key: env:SECOND_KEY, weight: 2 }, env:BOTH, env:EMPTY_KEY]
    headers: { x: env:HEADER }
alerts: { channels: { hook: { webhook: "https://example.org", secret: env:HOOK } } }
guards: { hook: { kind: webhook, url: "https://example.org", secret: env:BOTH } }
"""


def given(tmp_path: Path, config: str) -> dict[str, str]:
    path = tmp_path / "ferryman.yaml"
    path.write_text(config)
    return for_control(ENVIRONMENT, path)


def test_keys_of_providers_are_withheld_and_nothing_else(tmp_path: Path) -> None:
    got = given(tmp_path, CONFIG)
    gone = {"OPENAI_API_KEY", "LAB_KEY", "SECOND_KEY"}
    assert got == ENVIRONMENT | {name: f"withheld:{name}" for name in gone}
    alone = for_control(ENVIRONMENT, None)
    assert alone == ENVIRONMENT | {"OPENAI_API_KEY": "withheld:OPENAI_API_KEY"}
    assert (
        given(tmp_path, CONFIG + "logs: { sinks: [env:OPENAI_API_KEY] }\n")["OPENAI_API_KEY"]
        == "sk-o"
    )


@pytest.mark.parametrize("config", ["providers: [", "\x00", None])
def test_what_can_not_be_read_withholds_nothing(tmp_path: Path, config: str | None) -> None:
    if config is None:
        assert for_control(ENVIRONMENT, tmp_path / "none.yaml") == ENVIRONMENT
    else:
        assert given(tmp_path, config) == ENVIRONMENT


def test_what_is_withheld_is_there_and_can_not_be_used() -> None:
    env = {"LAB_KEY": "withheld:LAB_KEY"}
    secret = Secret(ENV, "LAB_KEY")
    assert is_there(secret, "lab", env, None)
    assert resolve(secret, "lab", env, None) is None
    provider = Provider(name="lab", base_url="http://127.0.0.1:1/v1", keys=(secret,))
    assert activate(provider, env) is not None
    assert activate(provider, {}) is None
