"""Files that break off, and where their keys stand. Broken files of all kinds: ``tests/fuzz``."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.config import nodes
from ferryman.config.check import report, report_data
from ferryman.config.compile import compile_snapshot
from ferryman.config.file import Loaded, load
from ferryman.config.seal import derive_for
from tests.config.catalogue import KNOWN
from tests.config.test_good import DESIGN

SEAL = derive_for("seal key", "sealed secrets")


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


def test_a_good_file_cut_anywhere(folder: Path) -> None:
    usable = 0
    for end in range(0, len(DESIGN), 7):
        usable += not _holds(folder, DESIGN[:end].encode()).errors
    assert 0 < usable < len(DESIGN) // 7


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
