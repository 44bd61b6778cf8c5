"""The page of what is protected names tests that exist."""

import ast
import re

from tests import tree

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


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
