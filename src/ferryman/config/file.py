"""``ferryman.yaml`` → :class:`Loaded`: everything right in it, and everything wrong with it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from ferryman.config import nodes
from ferryman.config.build import Builder
from ferryman.config.catalogue import current
from ferryman.config.grammar import FILE
from ferryman.config.kinds import WRONG, EnoughProblems, Reader
from ferryman.config.model import Config
from ferryman.config.names import Known
from ferryman.config.problem import ERROR, Problem
from ferryman.config.problem import Path as Where


class Loaded(Struct, frozen=True, kw_only=True):
    """A configuration and what there is to say about it."""

    file: str = ""
    """The path as given; empty = no file, everything from the catalogue and the environment."""
    config: Config = Config()
    """What was right. With errors among ``problems``, not fit for use."""
    problems: tuple[Problem, ...] = ()
    """In the order of the file."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that forbid its use."""
        return tuple(problem for problem in self.problems if problem.severity == ERROR)


def load(
    path: Path | None,
    *,
    strict: bool = False,
    env: Mapping[str, str] = os.environ,
    known: Known | None = None,
) -> Loaded:
    """Read and check ``path`` (``None`` = no file). Never raises for what the file holds.

    ``strict`` makes secrets written into the file errors instead of warnings. ``env``
    is where ``env:`` references are looked up; a missing variable is a warning. ``known`` is the
    catalogue, by default the packaged one.
    """
    if path is None:
        return check(None, [], None, strict=strict, env=env, known=known)
    data = read(path)
    if isinstance(data, Problem):
        return Loaded(file=str(path), problems=(data,))
    return check(*nodes.parse(data), path, strict=strict, env=env, known=known)


def check(
    root: nodes.Node | None,
    faults: Sequence[nodes.Fault],
    path: Path | None,
    *,
    name: str = "",
    sources: Mapping[Where, str] = MappingProxyType({}),
    strict: bool,
    env: Mapping[str, str] = os.environ,
    known: Known | None = None,
) -> Loaded:
    """The same for a tree. ``path``: the file it is from, whose folder other files' names start at.

    ``name`` says where it stands, if not there; ``sources`` where some of its values do.
    """
    name = name or ("" if path is None else str(path))
    reader = Reader(name, sources)
    config = Config()
    try:
        for fault in faults:
            reader.add(fault.path, fault.mark, fault.message, fault.fix)
        if root is not None or path is None:
            found = {} if root is None else FILE.read(root, (), reader)
            folder = Path.cwd() if path is None else path.absolute().parent
            builder = Builder(
                reader, env=env, strict=strict, known=known or current(), folder=folder
            )
            config = builder.config({} if found is WRONG else found)
    except EnoughProblems:
        message = f"{len(reader.problems)} problems; the rest is not shown"
        reader.problems.append(Problem(file=name, message=message))
    problems = sorted(reader.problems, key=lambda problem: (problem.line, problem.column))
    return Loaded(file=name, config=config, problems=tuple(problems))


def read(path: Path) -> bytes | Problem:
    """The file's bytes, one more than allowed at most; or why not."""
    try:
        with path.open("rb") as file:
            return file.read(nodes.MAX_BYTES + 1)
    except FileNotFoundError:
        message, fix = "there is no such file", "Check the path given with --config."
    except IsADirectoryError:
        message, fix = "this is a folder", f"Give a file, as in {path / 'ferryman.yaml'}"
    except PermissionError:
        message, fix = "this file cannot be read", "Let the user that runs Ferryman read it."
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        message, fix = f"this file cannot be read: {reason}", "Check the path given with --config."
    return Problem(file=str(path), message=message, fix=fix)
