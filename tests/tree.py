"""The project's own files, for the tests that read them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "ferryman"


@cache
def files() -> tuple[Path, ...]:
    """Every file under version control, or about to be: what git doesn't ignore. Sorted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    paths = (ROOT / name.decode() for name in listed.split(b"\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def texts() -> Iterator[tuple[str, str]]:
    """(path relative to the project, content) of every file that is text."""
    for path in files():
        try:
            yield name(path), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


def python(below: Path = ROOT) -> list[Path]:
    """Our Python files ``below`` a folder."""
    return [path for path in files() if path.suffix == ".py" and path.is_relative_to(below)]


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text("utf-8"), str(path))


def name(path: Path) -> str:
    """``path`` relative to the project's folder."""
    return path.relative_to(ROOT).as_posix()
