"""No file, however broken, raises anything; and what is said about it has a place in it."""

import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ferryman.config import nodes
from ferryman.config.check import report, report_data
from ferryman.config.compile import compile_snapshot
from ferryman.config.file import Loaded, load
from ferryman.config.seal import derive
from tests.config.catalogue import KNOWN
from tests.config.test_good import DESIGN

SEAL = derive("feed token")

_WORDS = """
    providers models policies server timeouts tls openai lab groq key keys base_url format auth
    headers prices discount targets fallbacks strategy weights when use budget usd per metadata.a
    env:A file:/x latency weighted openai/gpt-4o gpt-4o http://a/v1 15% 50MB 30s none fast a b
    1 0 -1 1e999 1e99999999999 .5 0x10 null true ~ ${A} {A} &x *x !t !!int | > @ ` % << ? - :
    sk-abcdefgh [ ] { } , #
"""
_words = st.sampled_from([*_WORDS.split(), "\u2028", "\x85", "\ufeff", "\U0001f600", ""])
_lines = st.lists(
    st.tuples(st.integers(0, 4), st.lists(_words, max_size=5)).map(
        lambda line: "  " * line[0] + " ".join(line[1])
    ),
    max_size=12,
).map("\n".join)

_scalars = _words | st.text(alphabet=string.printable, max_size=12)
_trees = st.recursive(
    _scalars.map(lambda text: "'" + text.replace("'", "''").replace("\n", " ") + "'") | _words,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
        | st.dictionaries(_words, inner, max_size=4).map(
            lambda items: "{" + ", ".join(f"{k}: {v}" for k, v in items.items()) + "}"
        )
    ),
    max_leaves=15,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def _holds(folder: Path, data: bytes) -> Loaded:
    path = folder / "ferryman.yaml"
    path.write_bytes(data)
    found = load(path, env={"A": "x"}, known=KNOWN)
    lines = data.decode("utf-8", "replace").splitlines() or [""]
    for problem in found.problems:
        assert problem.message
        assert 0 <= problem.line <= len(lines) + 1
        str(problem).encode()
    report(found, env={}, known=KNOWN).encode()
    report_data(found, env={}, known=KNOWN)
    if not found.errors:
        compile_snapshot(found, seal_key=SEAL, env={"A": "x"}, known=KNOWN)
    return found


_many = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_many
@given(data=st.binary(max_size=200))
def test_any_bytes(data: bytes, folder: Path) -> None:
    _holds(folder, data)


@_many
@given(text=st.text(max_size=200))
def test_any_text(text: str, folder: Path) -> None:
    _holds(folder, text.encode("utf-8", "surrogatepass"))


@_many
@given(text=_lines)
@example(text="models:\n  a: &x [*x]")
@example(text="server: { max_headers: " + "9" * 5000 + " }")
@example(text='models: { a: "\\UFFFFFFFF" }')
def test_lines_of_known_words(text: str, folder: Path) -> None:
    _holds(folder, text.encode("utf-8", "surrogatepass"))


@_many
@given(text=st.dictionaries(_words, _trees, max_size=5))
def test_trees_of_known_words(text: dict[str, str], folder: Path) -> None:
    _holds(folder, "\n".join(f"{key}: {value}" for key, value in text.items()).encode())


@_many
@given(at=st.integers(0, len(DESIGN)), drop=st.integers(0, 5), put=st.text(max_size=3))
def test_a_good_file_with_one_slip(at: int, drop: int, put: str, folder: Path) -> None:
    _holds(folder, (DESIGN[:at] + put + DESIGN[at + drop :]).encode("utf-8", "surrogatepass"))


def test_a_good_file_cut_anywhere(folder: Path) -> None:
    usable = 0
    for end in range(len(DESIGN)):
        usable += not _holds(folder, DESIGN[:end].encode()).errors
    assert 0 < usable < len(DESIGN)


@given(lines=st.lists(st.sampled_from(["a: 1", "", "# x", "b: [1, 2]", "c: {d: e}"]), max_size=9))
def test_marks_point_at_the_keys(lines: list[str]) -> None:
    text = "\n".join(f"k{i}{line}" if line and line[0] != "#" else line for i, line in
                     enumerate(lines))  # fmt: skip
    root, faults = nodes.parse(text.encode())
    assert not faults
    if isinstance(root, nodes.Map):
        for key, _ in root.pairs:
            line = text.split("\n")[key.mark.line - 1]
            assert line[key.mark.column - 1 :].startswith(key.text)
    else:
        assert ":" not in text
