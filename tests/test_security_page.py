"""The page of what is protected names tests that exist, and that CI runs."""

import ast
import re

from tests import tree
from tests.conftest import runs

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
CI = re.compile(r"FERRYMAN_SLICE=(\$\(\(commits % \d\)\)|\d+)/(\d+) make test ")


def test_every_test_that_the_page_names_exists() -> None:
    found = NAMED.findall((tree.ROOT / "docs/security.md").read_text("utf-8"))
    assert len(found) > 5
    for file, name in found:
        assert (tree.ROOT / file).is_file(), file
        if name:
            nodes = ast.walk(tree.parsed(tree.ROOT / file))
            assert name in {
                n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
            }, name


def test_ci_runs_every_test_that_the_page_names_within_a_few_commits() -> None:
    script = (tree.ROOT / ".ci/run").read_text("utf-8")
    [(part, parts)] = CI.findall(script)
    number = int(parts)
    assert number <= 4, "a test that is run more seldom proves little"
    if part.isdecimal():
        turns = {int(part)}
    else:
        assert part == f"$((commits % {number}))", "which part, the number of commits says"
        assert "commits=$(git rev-list --count HEAD" in script
        turns = set(range(number))
    files = {file for file, _ in NAMED.findall((tree.ROOT / "docs/security.md").read_text("utf-8"))}
    never = [file for file in files if not any(runs(file, turn, number) for turn in turns)]
    assert not never, never
