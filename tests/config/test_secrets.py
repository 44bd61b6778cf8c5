"""Keys: found where they are said to be, and shown nowhere."""

import json
import os
import pickle
from pathlib import Path

import msgspec
import pytest

from ferryman.config.check import report, report_data
from ferryman.config.compile import compile_snapshot
from ferryman.config.file import Loaded
from ferryman.config.problem import looks_secret, shown
from ferryman.config.seal import derive_for, seal
from ferryman.config.secret import MAX_KEY_FILE, Redacted, activate, localise
from ferryman.config.snapshot import Provider, Secret, Snapshot
from tests.config.catalogue import KNOWN, loaded

SECRET = "sk-proj-Zq8vN2xT7bLw4KfR9mYc"
OPEN = derive_for("seal key", "sealed secrets")

# Every place where a key may end up by mistake, on purpose, or in a broken file.
PLACES = [
    "providers: { openai: { key: SECRET } }",
    "providers: { openai: { keys: [SECRET, 'SECRET'] } }",
    "providers: { openai: SECRET }",
    "providers: { openai: [SECRET] }",
    "providers: { openai: { SECRET } }",
    "providers: { openai: { api_key: SECRET } }",
    "providers: { openai: { key: { SECRET: x } } }",
    "providers: { openai: { keys: { a: SECRET } } }",
    "providers: { openai: { key: env:SECRET } }",
    "providers: { openai: { key: env:'SECRET' } }",
    "providers: { openai: { key: '${SECRET}' } }",
    "providers: { openai: { key: 'Bearer SECRET' } }",
    "providers: { openai: { headers: { Authorization: Bearer SECRET } } }",
    "providers: { openai: { headers: { X-Api-Key: SECRET } } }",
    "telemetry: { otlp: { headers: { Authorization: SECRET } } }",
    "providers: { openai: { headers: { X-Other: 'SECRET\n\n' } } }",
    "providers: { openai: { headers: { 'Api Key SECRET': x } } }",
    "providers: { openai: { auth: SECRET, format: SECRET, region: 'SECRET ' } }",
    "providers: { openai: { base_url: 'https://user:SECRET@host/v1' } }",
    "providers: { openai: { base_url: 'https://host/v1?key=SECRET' } }",
    "providers: { openai: { base_url: SECRET } }",
    "providers: { openai: { quirks: [SECRET], endpoints: [SECRET] } }",
    "providers: { openai: { discount: SECRET } }",
    "providers: { openai: { prices: { m: { input: SECRET, output: SECRET } } } }",
    "providers: { openai: { key: a, key: SECRET } }",
    "providers: { SECRET: {} }",
    "providers: SECRET",
    "SECRET",
    "SECRET: 1",
    "[SECRET]",
    "models: { a: SECRET }",
    "models: { a: { targets: [SECRET, SECRET], weights: { SECRET: 1 } } }",
    "models: { SECRET: SECRET }",
    "policies: [{ when: { SECRET: SECRET }, use: SECRET }]",
    "server: { max_headers: SECRET }",
    "timeouts: { total: SECRET }",
    "tls: { ca_files: [SECRET] }",
    "providers: { openai: { key: &SECRET } }",
    "providers: { openai: { key: *SECRET } }",
    "providers: { openai: { key: !SECRET x } }",
    "providers: { openai: { key: @SECRET } }",
    "providers: { openai: { key: %SECRET } }",
    "providers: { openai: { key: 'SECRET } }",
    "providers: { openai: { key: SECRET",
    'providers: { openai: { key: "SECRET\\q" } }',
    "providers:\n  openai:\n    key: SECRET: x\n",
    "providers:\n  openai:\n    key:SECRET\n    region: x\n",
    "providers:\n\topenai: SECRET\n",
]


def _everything_said(found: Loaded) -> str:
    said = [str(problem) + repr(problem) for problem in found.problems]
    said += [repr(found.config.providers), str(found.config.providers)]
    said += [report(found, env={}, known=KNOWN)]
    said += [json.dumps(report_data(found, env={}, known=KNOWN), ensure_ascii=False)]
    return "\n".join(said)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("text", PLACES)
def test_a_key_is_never_said(text: str, strict: bool, tmp_path: Path) -> None:
    found = loaded(tmp_path, text.replace("SECRET", SECRET), strict=strict, env={})
    assert found.problems, "a file that nothing is said about proves nothing"
    said = _everything_said(found)
    for start in range(len(SECRET) - 6):
        assert SECRET[start : start + 6] not in said


def test_a_plain_password_is_never_said_where_keys_belong(tmp_path: Path) -> None:
    """Not only what looks like a key: nothing below ``providers`` is quoted."""
    for text in PLACES:
        # After env: stands a variable's name, before a price a model's.
        if text.startswith("providers: { openai:") and "env:SECRET" not in text:
            found = loaded(tmp_path, text.replace("SECRET", "grapefruit"), env={})
            assert "grapefruit" not in _everything_said(found), text


def test_a_snapshot_holds_no_key(tmp_path: Path) -> None:
    text = f"""\
providers:
  openai: {{ key: {SECRET}, headers: {{ X-Api-Token: {SECRET}, X-Team: search }} }}
  lab: {{ base_url: http://a/v1, keys: [env:LAB_KEY, file:/run/lab] }}
"""
    found = loaded(tmp_path, text, env={"LAB_KEY": SECRET})
    snapshot = compile_snapshot(found, seal_key=OPEN, env={"LAB_KEY": SECRET}, known=KNOWN)
    encoded = msgspec.msgpack.encode(snapshot)
    for start in range(len(SECRET) - 6):
        assert SECRET[start : start + 6].encode() not in encoded
        assert SECRET[start : start + 6] not in repr(snapshot)
    again = msgspec.msgpack.decode(encoded, type=Snapshot)
    here = localise(again, {}, OPEN)
    assert activate(here.providers["openai"], {}, OPEN) == [SECRET]
    assert dict(here.providers["openai"].headers) == {"X-Api-Token": SECRET, "X-Team": "search"}


def test_redacted_shows_nothing() -> None:
    held = Redacted(SECRET)
    for text in (repr(held), str(held), f"{held}", f"{held:>20}", f"{held!r}", str([held])):
        assert "[redacted]" in text
        assert SECRET not in text
    assert held.reveal() == SECRET
    assert held == Redacted(SECRET)
    assert held != Redacted("other")
    assert held != SECRET
    assert hash(held) == hash(Redacted(SECRET))
    assert bool(held)
    assert not Redacted("")
    with pytest.raises(TypeError):
        pickle.dumps(held)


@pytest.mark.parametrize(
    "text",
    [SECRET, "gsk_abc123def456", "ghp_16C7e42F292c6912E7", "AIzaSyD-9tSrke72PouQMnMX",
     "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOi", "Bearer abc", "a" * 24, "0f3c9a7b21d4", "x/sk-abcdefgh"],
)  # fmt: skip
def test_what_looks_like_a_secret_is_not_quoted(text: str) -> None:
    assert looks_secret(text)
    assert text not in shown(text)


@pytest.mark.parametrize(
    "text",
    ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5-20250929", "OPENAI_API_KEY", "base_ulr",
     "meta-llama/Llama-3.3-70B-Instruct-Turbo", "accounts/fireworks/models/deepseek-v3p1", "50mb",
     "text-embedding-3-large", "qwen2.5-coder-32b-instruct", "task-summarise", "max_body_bytes"],
)  # fmt: skip
def test_ordinary_names_are_quoted(text: str) -> None:
    assert shown(text) == f"`{text}`"


def test_long_and_unprintable_texts_are_quoted_tamely() -> None:
    assert len(shown("ab " * 100)) < 90
    assert shown("a\x1b[31mb\n") == "`a\N{REPLACEMENT CHARACTER}[31mb\N{REPLACEMENT CHARACTER}`"


# -- activate ------------------------------------------------------------------------------------


def _provider(**fields: object) -> Provider:
    return Provider(**{"name": "lab", "base_url": "http://a/v1", **fields})  # type: ignore[arg-type]


def _env(*names: str) -> tuple[Secret, ...]:
    return tuple(Secret("env", name) for name in names)


def test_keys_from_the_environment() -> None:
    provider = _provider(keys=_env("A", "B", "C", "D", "E"))
    env = {"A": " one\n", "B": "", "C": "two", "D": "one", "E": "not\nsendable"}
    assert activate(provider, env) == ["one", "two"]
    assert activate(provider, {}) is None
    assert activate(provider, {"B": "  "}) is None


def test_of_alternatives_the_first_key_counts() -> None:
    provider = _provider(keys=_env("A", "B"), alternatives=True)
    assert activate(provider, {"A": "a", "B": "b"}) == ["a"]
    assert activate(provider, {"B": "b"}) == ["b"]


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_TEST_LAB_KEY", "from-os")
    assert activate(_provider(keys=_env("FERRYMAN_TEST_LAB_KEY"))) == ["from-os"]


def test_a_keyless_provider_is_active_once_enabled() -> None:
    assert activate(_provider(keyless=True), {}) is None
    assert activate(_provider(keyless=True, enabled=True), {}) == []
    assert activate(_provider(keyless=True, keys=_env("A")), {"A": "a"}) == ["a"]
    assert activate(_provider(enabled=True, keys=_env("A")), {}) is None


def test_keys_from_files(tmp_path: Path) -> None:
    key = tmp_path / "key"
    provider = _provider(keys=(Secret("file", str(key)),))
    assert activate(provider, {}) is None
    for content, expected in [
        (b"\n  abc \r\n", ["abc"]),
        (b"", None),
        (b"two\nlines\n", None),
        (b"\xff\xfe", None),
        (b"a" * MAX_KEY_FILE, ["a" * MAX_KEY_FILE]),
        (b"a" * (MAX_KEY_FILE + 1), None),
    ]:
        key.write_bytes(content)
        assert activate(provider, {}) == expected
    key.unlink()
    key.mkdir()
    assert activate(provider, {}) is None
    key.rmdir()
    os.mkfifo(key)
    assert activate(provider, {}) is None  # and does not wait for a writer


def test_sealed_keys_need_the_planes_key() -> None:
    provider = _provider(keys=(Secret("sealed", seal("abc", key=OPEN, name="lab")),))
    assert activate(provider, {}, OPEN) == ["abc"]
    assert activate(provider, {}, None) is None
    assert activate(provider, {}, derive_for("another key", "sealed secrets")) is None
    stolen = _provider(name="thief", keys=provider.keys)
    assert activate(stolen, {}, OPEN) is None


def test_an_unknown_kind_of_secret_is_no_key() -> None:
    assert activate(_provider(keys=(Secret("vault", "x"),)), {"x": "y"}) is None


def test_base_urls_and_headers_are_filled_where_the_provider_is_called() -> None:
    provider = _provider(
        base_url="https://{HOST}/{PART}/v1",
        headers=(("X-Org", "env:ORG"), ("X-Team", "search")),
        keys=_env("A"),
    )
    snapshot = Snapshot(version="1", providers={"lab": provider})
    env = {"A": "a", "HOST": "https://lab.example/", "PART": "p", "ORG": "acme"}
    here = localise(snapshot, env).providers["lab"]
    assert here.base_url == "https://lab.example/p/v1"
    assert here.headers == (("X-Org", "acme"), ("X-Team", "search"))
    assert activate(here, env) == ["a"]
    for missing in ("HOST", "PART", "ORG"):
        less = {name: value for name, value in env.items() if name != missing}
        assert activate(provider, less) is None
        assert localise(snapshot, less).providers["lab"] == provider
    env["FERRYMAN_LAB_BASE_URL"] = "http://127.0.0.1:9/v1/"
    assert localise(snapshot, env).providers["lab"].base_url == "http://127.0.0.1:9/v1"
