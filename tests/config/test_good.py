"""Files that are right: what they come to."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from ferryman.config.file import load
from ferryman.config.model import Config, Prices, ProviderConfig, Ref, RouteConfig
from ferryman.config.snapshot import Condition, ServerSettings, Timeouts
from tests.config.catalogue import KEYS, KNOWN, loaded

DESIGN = """\
providers:
  openai: {}                                   # key from OPENAI_API_KEY
  anthropic: { keys: [env:ANTHROPIC_A, env:ANTHROPIC_B] }
  lab: { format: openai_chat, base_url: http://10.0.0.7:8000/v1, region: eu }
models:
  fast: { targets: [groq/llama-3.3-70b-versatile, openai/gpt-4o-mini], strategy: latency }
  smart: { targets: [anthropic/claude-sonnet-4-5], fallbacks: [openai/gpt-4o] }
policies:
  - when: { metadata.task: summarise }
    use: fast
    budget: { usd: 20, per: day }
"""


def _config(folder: Path, text: str) -> Config:
    found = loaded(folder, text)
    assert found.problems == ()
    return found.config


def test_the_example_of_the_design_loads(tmp_path: Path) -> None:
    found = loaded(tmp_path, DESIGN, env={**KEYS, "ANTHROPIC_A": "a", "ANTHROPIC_B": "b"})
    assert found.problems == ()
    assert list(found.config.providers) == ["openai", "anthropic", "lab"]
    assert found.config.providers["anthropic"].keys == (
        Ref(kind="env", value="ANTHROPIC_A"),
        Ref(kind="env", value="ANTHROPIC_B"),
    )
    assert found.config.models["fast"] == RouteConfig(
        name="fast",
        targets=("groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini"),
        strategy="latency",
    )
    assert found.config.models["smart"].fallbacks == ("openai/gpt-4o",)
    assert found.config.policies[0].when == Condition(
        op="eq", fact="metadata.task", value="summarise"
    )


@pytest.mark.parametrize(
    "text",
    ["", "\n", "# nothing yet\n", "---\n", "{}\n", "~\n", "\ufeff{}\n", "providers:\nmodels:\n"
     "policies:\nserver:\ntimeouts:\ntls:\n"],
)  # fmt: skip
def test_an_empty_file_is_fine(text: str, tmp_path: Path) -> None:
    assert _config(tmp_path, text) == Config()


def test_no_file_is_fine() -> None:
    found = load(None, env={}, known=KNOWN)
    assert found.problems == ()
    assert found.config == Config()


def test_every_key_of_a_provider(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("abc\n")
    config = _config(
        tmp_path,
        """\
providers:
  lab:
    format: openai_chat
    base_url: https://{LAB_KEY}.example:8443/v1/
    region: eu-1
    key: file:key
    auth: header:Api-Key
    headers: { X-Team: search, X-Count: 5, X-Tenant: env:LAB_KEY }
    endpoints: [chat.completions, embeddings]
    quirks: [no_stream_options]
    prices:
      a/b-c: { input: 0.1, output: 1.500000, request: 2e-3 }
""",
    )
    lab = config.providers["lab"]
    headers = {name: ref.value or ref.literal.reveal() for name, ref in lab.headers}
    assert headers == {"X-Team": "search", "X-Count": "5", "X-Tenant": "LAB_KEY"}
    assert lab.keys == (Ref(kind="file", value=str(tmp_path / "key")),)
    assert lab.base_url == "https://{LAB_KEY}.example:8443/v1"
    assert (lab.format, lab.region, lab.auth) == ("openai_chat", "eu-1", "header:Api-Key")
    assert lab.endpoints == ("chat.completions", "embeddings")
    assert lab.quirks == ("no_stream_options",)
    assert lab.prices == {
        "a/b-c": (Prices(input=Decimal("0.1"), output=Decimal("1.5"), request=Decimal("0.002")),)
    }


def test_what_is_not_said_stays_the_catalogues(tmp_path: Path) -> None:
    config = _config(tmp_path, "providers:\n  openai:\n  groq: { discount: 12.5% }\n")
    assert config.providers["openai"] == ProviderConfig(name="openai")
    assert config.providers["groq"] == ProviderConfig(name="groq", discount=Decimal("12.5"))


def test_durations_sizes_and_counts(tmp_path: Path) -> None:
    config = _config(
        tmp_path,
        """\
server: { max_body_bytes: 50MB, max_header_bytes: 64KiB, max_request_line: 1.5kB,
  max_headers: 1e2, header_seconds: 0.5, idle_seconds: 1.5m, drain_seconds: 0, fsync_ms: 1s,
  min_body_rate: 0, max_connections: 7 }
timeouts: { connect: 500ms, first_byte: 30s, idle: 45, total: 2 h }
""",
    )
    assert config.server == ServerSettings(
        max_body_bytes=50_000_000,
        max_header_bytes=65_536,
        max_request_line=1500,
        max_headers=100,
        header_seconds=0.5,
        idle_seconds=90.0,
        drain_seconds=0.0,
        fsync_ms=1000,
        min_body_rate=0,
        max_connections=7,
    )
    assert config.timeouts == Timeouts(connect=0.5, first_byte=30.0, idle=45.0, total=7200.0)
    assert all(type(getattr(config.timeouts, n)) is float for n in Timeouts.__struct_fields__)


def test_settings_keep_the_types_of_their_structs(tmp_path: Path) -> None:
    others = {
        "state": "redis://[::1]:7000/2", "state_away": "fail_open", "workers": 3,
        "on_journal_failure": "serve",
    }  # fmt: skip
    numbers = [name for name in ServerSettings.__struct_fields__ if name not in others]
    every = {**dict.fromkeys(numbers, 1024), **others}
    text = f"server: {json.dumps(every)}\nidempotency: {{ keep: 0 }}\n"
    server = _config(tmp_path, text).server
    for name, kind in ServerSettings.__annotations__.items():
        assert type(getattr(server, name)).__name__ == getattr(kind, "__name__", kind), name


def test_anchors_aliases_and_merges(tmp_path: Path) -> None:
    config = _config(
        tmp_path,
        """\
models:
  one: &one { targets: &list [openai/gpt-4o], strategy: latency }
  two: { <<: *one, fallbacks: *list, strategy: ordered }
  three: { <<: [*one, { fallbacks: [groq/llama-3.3-70b-versatile], strategy: weighted }] }
""",
    )
    assert config.models["two"] == RouteConfig(
        name="two", targets=("openai/gpt-4o",), fallbacks=("openai/gpt-4o",)
    )
    assert config.models["three"].strategy == "latency"
    assert config.models["three"].fallbacks == ("groq/llama-3.3-70b-versatile",)


def test_names_that_look_like_something_else(tmp_path: Path) -> None:
    config = _config(
        tmp_path,
        """\
models:
  4: openai/gpt-4o
  true: 4
  openai/gpt-4o: { targets: [openai/gpt-4o, ollama/gpt-oss] }
  gpt-4o-mini: anthropic/claude-sonnet-4-5
policies:
  - { when: { metadata.a: 1, metadata.b: true, metadata.c: "x y" }, use: gpt-4o }
""".replace("true: 4", "true: '4'"),
    )
    assert list(config.models) == ["4", "true", "openai/gpt-4o", "gpt-4o-mini"]
    assert config.policies[0].when == Condition(
        op="all",
        parts=tuple(
            Condition(op="eq", fact=f"metadata.{name}", value=value)
            for name, value in (("a", 1), ("b", True), ("c", "x y"))
        ),
    )


def test_weights(tmp_path: Path) -> None:
    config = _config(
        tmp_path,
        "models:\n  w: { targets: [openai/gpt-4o, ollama/x], strategy: weighted, "
        "weights: { openai/gpt-4o: 3 } }\n",
    )
    assert config.models["w"].weights == {"openai/gpt-4o": 3.0}


def test_a_relative_path_starts_at_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert _config(tmp_path, "tls: { ca_files: [ca.pem] }\n").ca_files == (
        str(tmp_path / "ca.pem"),
    )
