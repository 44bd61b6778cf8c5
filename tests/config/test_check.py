"""What ``ferryman check`` says of a whole file."""

import json
from pathlib import Path

from ferryman.config.check import exit_code, report, report_data
from ferryman.config.file import load
from tests.config.catalogue import KEYS, KNOWN, loaded
from tests.config.test_good import DESIGN


def test_a_good_file_is_summed_up(tmp_path: Path) -> None:
    env = {"OPENAI_API_KEY": "x", "GROQ_API_KEY": "x", "ANTHROPIC_A": "x"}
    found = loaded(tmp_path, DESIGN, env=env)
    assert exit_code(found) == 0
    text = report(found, env=env, known=KNOWN).replace(f"{tmp_path}/", "")
    assert text == (
        "ferryman.yaml:3:40: warning: providers.anthropic.keys[1]: the variable `ANTHROPIC_B` is "
        "not set, so this has no value\n"
        "    Set it in the environment of the gateway.\n"
        "\n"
        "ferryman.yaml: good, 1 warning\n"
        "\n"
        "Providers\n"
        "  active    openai               key from OPENAI_API_KEY\n"
        "  active    anthropic            key from ANTHROPIC_A\n"
        "  active    lab                  no key needed\n"
        "  active    groq                 key from GROQ_API_KEY (not in the file)\n"
        "\n"
        "Models\n"
        "  fast                 latency: groq/llama-3.3-70b-versatile, openai/gpt-4o-mini\n"
        "  smart                anthropic/claude-sonnet-4-5; then openai/gpt-4o\n"
        "\n"
        "Policies\n"
        "  policy-1: metadata.task = summarise → fast\n"
    )


def test_where_clouds_take_their_credentials_from(tmp_path: Path) -> None:
    text = """\
providers:
  a: { format: bedrock_converse, base_url: http://a, auth: sigv4 }
  b: { format: gemini_generate, base_url: http://b, auth: google }
policies:
  - { when: { metadata.task: x }, on_unsupported: reject }
  - { when: { metadata.task: y }, use: a/m, on_unsupported: drop }
"""
    told = report(loaded(tmp_path, text, env={}), env={}, known=KNOWN)
    assert "active    a                    credentials from AWS's own chain\n" in told
    assert "active    b                    application default credentials\n" in told
    assert "metadata.task = x → on_unsupported: reject\n" in told
    assert "metadata.task = y → a/m, on_unsupported: drop\n" in told


def test_why_a_provider_is_inactive(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    text = """\
providers:
  gemini: {}
  openai: { keys: [env:A, env:B] }
  groq: { key: file:empty }
  cloudflare: {}
  anthropic: { headers: { X-Org: env:ORG } }
  lab: { base_url: http://a/v1, key: env:TWO_LINES }
  own: { base_url: http://a/v1, key: vault:acme/a }
"""
    env = {"CLOUDFLARE_API_TOKEN": "x", "ANTHROPIC_API_KEY": "x", "TWO_LINES": "a\nb"}
    found = loaded(tmp_path, text, env=env)
    why = {p["name"]: p["why"] for p in report_data(found, env=env, known=KNOWN)["providers"]}
    assert why == {
        "gemini": "set GEMINI_API_KEY or GOOGLE_API_KEY",
        "openai": "set A and B",
        "groq": "its key file is missing, empty or not readable",
        "cloudflare": "set CLOUDFLARE_ACCOUNT_ID",
        "anthropic": "a header refers to a variable or file that is missing",
        "lab": "its key cannot be sent in a header",
        "own": "its key is in the vault, which this does not open (ferryman vault verify does); "
        "it serves acme alone",
    }
    assert report(found, env=env, known=KNOWN).count("inactive  ") == len(why)


def test_a_bad_file_is_told_but_not_summed_up(tmp_path: Path) -> None:
    found = loaded(tmp_path, "providers: { openai: { key: sk-abcdef } }\nmodles: {}\n")
    assert exit_code(found) == 1
    text = report(found, env=KEYS, known=KNOWN)
    assert text.endswith("ferryman.yaml: not usable: 1 error, 1 warning\n")
    assert "Providers" not in text
    assert text.count(":1:29: warning:") == text.count(":2:1: error:") == 1


def test_the_same_for_scripts(tmp_path: Path) -> None:
    found = loaded(tmp_path, "models: { a: openai/gpt-4o, b: { targets: [x] } }\n")
    data = json.loads(json.dumps(report_data(found, env=KEYS, known=KNOWN)))
    assert data == {
        "ok": False,
        "file": str(tmp_path / "ferryman.yaml"),
        "problems": [
            {
                "file": str(tmp_path / "ferryman.yaml"),
                "line": 1,
                "column": 44,
                "key": "models.b.targets[0]",
                "severity": "error",
                "message": "`x` is neither a name from models nor a model of the catalogue",
                "fix": "Write provider/model.",
            }
        ],
        "providers": [],
        "models": [],
    }
    good = report_data(
        loaded(tmp_path, "models: { a: openai/gpt-4o }\n"), env={"GROQ_API_KEY": "x"}, known=KNOWN
    )
    assert good["ok"]
    assert good["models"] == [
        {
            "name": "a",
            "strategy": "ordered",
            "targets": ["openai/gpt-4o"],
            "groups": [],
            "fallbacks": [],
        }
    ]
    assert good["providers"] == [
        {"name": "groq", "active": True, "named": False, "why": "key from GROQ_API_KEY"}
    ]


def test_no_file_at_all_is_good() -> None:
    text = report(load(None, env={}, known=KNOWN), env={}, known=KNOWN)
    assert text == "no configuration file: good, no warnings\n"
