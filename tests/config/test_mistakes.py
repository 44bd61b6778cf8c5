"""What is said about files with mistakes, to the letter and to the line."""

import re
from pathlib import Path

import pytest

from ferryman.config.compile import compile_snapshot
from ferryman.config.file import load
from ferryman.config.kinds import MAX_PROBLEMS
from ferryman.config.nodes import MAX_BYTES, MAX_DEPTH, MAX_NODES
from ferryman.config.problem import ConfigError
from tests.config.catalogue import KEYS, KNOWN, loaded, told

_CASES = re.findall(
    r"^=== (.+?)\n(.*?)^>>>\n(.*?)(?=\n=== |\Z)",
    (Path(__file__).parent / "mistakes.txt").read_text("utf-8"),
    re.DOTALL | re.MULTILINE,
)


def _told(folder: Path, text: str | bytes) -> str:
    return told(loaded(folder, text)).replace("ferryman.yaml:", "")


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in _CASES], ids=[c[0] for c in _CASES])
def test_a_mistake_is_told_with_its_place_and_the_right_form(
    text: str, expected: str, tmp_path: Path
) -> None:
    assert _told(tmp_path, text) == expected.rstrip("\n")


def test_all_cases_are_read() -> None:
    assert len(_CASES) > 50
    assert all(expected.strip() for _, _, expected in _CASES)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            b"models:\n  caf\xe9: openai/gpt-4o\n",
            "2:6: error: byte 0xe9 is not UTF-8 text\n    Save the file in the UTF-8 encoding.",
        ),
        (
            "models: {}\n".encode("utf-16"),
            "1:1: error: the file is in UTF-16\n    Save the file in the UTF-8 encoding.",
        ),
        (
            b"models:\r\n  a: openai/\x07gpt-4o\r\n",
            "2:13: error: the control character U+0007 is not allowed in YAML\n    Remove it.",
        ),
        (
            bytes(range(256)),
            "3:115: error: byte 0x80 is not UTF-8 text\n    Save the file in the UTF-8 encoding.",
        ),
        (
            b"a: " + b"[" * 100_000,
            f"1:{3 + MAX_DEPTH}: error: nested more than {MAX_DEPTH} levels deep\n    Flatten it.",
        ),
    ],
    ids=["latin-1", "utf-16", "control", "binary", "deep"],
)
def test_bytes_that_are_no_configuration(data: bytes, expected: str, tmp_path: Path) -> None:
    assert _told(tmp_path, data) == expected


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 12):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    fault = f"more than {MAX_NODES:,} values, aliases followed"
    assert fault in _told(tmp_path, "\n".join(lines))


def test_aliases_cannot_nest_deeper_than_text_can(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, MAX_DEPTH)]
    assert "nested more than" in _told(tmp_path, "\n".join(lines))


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    assert "the file is longer than 1,000,000" in _told(tmp_path, b"#" * (MAX_BYTES + 1))
    assert loaded(tmp_path, b"#" * MAX_BYTES).problems == ()


def test_a_long_list_of_mistakes_ends(tmp_path: Path) -> None:
    found = loaded(tmp_path, "\n".join(f"k{i}: 1" for i in range(2 * MAX_PROBLEMS)))
    assert len(found.problems) == MAX_PROBLEMS + 1
    assert found.problems[0].message == f"{MAX_PROBLEMS} problems; the rest is not shown"


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    missing = load(tmp_path / "none.yaml", known=KNOWN, env=KEYS)
    assert [p.message for p in missing.errors] == ["there is no such file"]
    folder = load(tmp_path, known=KNOWN, env=KEYS)
    assert [p.message for p in folder.errors] == ["this is a folder"]
    assert folder.errors[0].fix == f"Give a file, as in {tmp_path / 'ferryman.yaml'}"
    below = load(tmp_path / "none.yaml" / "x\0y", known=KNOWN, env=KEYS)
    assert len(below.errors) == 1


def test_strict_refuses_literal_secrets(tmp_path: Path) -> None:
    text = (
        "providers:\n  openai: { key: sk-abcdef, headers: { X-Token: abc } }\n"
        "  groq: { key: env:UNSET }\n"
    )
    lax, strict = loaded(tmp_path, text), loaded(tmp_path, text, strict=True)
    assert not lax.errors
    assert [p.key for p in strict.errors] == [
        "providers.openai.key",
        "providers.openai.headers.X-Token",
    ]
    assert len(lax.problems) == len(strict.problems) == 3


def test_a_file_with_errors_does_not_compile_and_every_problem_is_told(tmp_path: Path) -> None:
    text = "providers: { openai: { key: env:UNSET } }\n"
    wrong = loaded(tmp_path, f"{text}server: {{ port: 1 }}\nmodel: {{}}\n")
    with pytest.raises(ConfigError) as caught:
        compile_snapshot(wrong, seal_key=bytes(32), env=KEYS, known=KNOWN)
    assert [p.line for p in caught.value.problems] == [1, 2, 3]
    assert str(caught.value).count(wrong.file) == 3
    lax = loaded(tmp_path, text)
    assert len(lax.problems) == 1
    assert compile_snapshot(lax, seal_key=bytes(32), env=KEYS, known=KNOWN).version


def test_a_wrong_base_url_in_the_environment_is_told(tmp_path: Path) -> None:
    env = {**KEYS, "FERRYMAN_GROQ_BASE_URL": "groq.example/v1?key=hidden"}
    found = loaded(tmp_path, "providers: {}\n", env=env)
    assert told(found) == (
        "environment: error: FERRYMAN_GROQ_BASE_URL: a base URL begins with http:// or https://\n"
        "    Example: FERRYMAN_GROQ_BASE_URL=http://127.0.0.1:8000/v1"
    )


def test_placeholders_that_fill_to_nonsense_are_told(tmp_path: Path) -> None:
    text = "providers:\n  lab: { base_url: 'https://{LAB_HOST}/v1' }\n"
    found = loaded(tmp_path, text, env={"LAB_HOST": "a b"})
    assert told(found) == (
        "ferryman.yaml:2:20: error: providers.lab.base_url: with its variables filled in: "
        "a base URL has no spaces, backslashes or characters beyond ASCII\n"
        "    Correct the variables."
    )
    assert not loaded(tmp_path, text, env={"LAB_HOST": "https://lab.example/"}).problems
