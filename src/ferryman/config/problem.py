"""One mistake in the user's file, and how values are (not) quoted when it is told."""

import difflib
import itertools
import re
from collections.abc import Iterable

from msgspec import Struct

ERROR = "error"
WARNING = "warning"

Path = tuple[str | int, ...]
"""Where a value stands in the file: ``("models", "fast", "targets", 1)``."""


class Problem(Struct, frozen=True, kw_only=True):
    """One mistake. ``line`` and ``column`` count from 1; 0 = the file as a whole."""

    file: str
    line: int = 0
    column: int = 0
    key: str = ""
    """Path of the key, as in ``models.fast.targets[1]``; empty = the file as a whole."""
    message: str
    """What was found, or what follows from it."""
    fix: str = ""
    """What would be right, with an example."""
    severity: str = ERROR
    """``error`` | ``warning``."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f"{self.key}: " if self.key else ""
        fix = "".join(f"\n    {line}" for line in self.fix.splitlines())
        return f"{place}: {self.severity}: {key}{self.message}{fix}"


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` says why, all of it at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


_LONGEST_SHOWN = 80
_MOST_COMPARED = 1000
# The shapes of well-known credentials, and any run of characters too random to be a word.
_CREDENTIAL = re.compile(
    r"""(^|[\s"'=:/])(sk|pk|rk|gsk|nvapi|pplx|gh[a-z]|github_pat|tok|pat)[-_][\w-]{6,}
    | AIza | AKIA | eyJ | \b(bearer|basic|token)\s
    | [A-Za-z0-9]{24,}""",
    re.VERBOSE | re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z0-9]{12,}")
_MIXED = 3
"""Changes between letters and digits (or small and capital) from which a run counts as random."""


def looks_secret(text: str) -> bool:
    """Whether ``text`` may be a credential. Errs towards yes: a hidden word costs little."""
    if _CREDENTIAL.search(text):
        return True
    return any(_changes(match.group()) >= _MIXED for match in _WORD.finditer(text))


def _changes(text: str) -> int:
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" for c in text]
    return sum(a != b for a, b in itertools.pairwise(kinds))


def shown(text: str) -> str:
    """``text`` in quotes for a message, or a remark in its place when it may be a secret."""
    if looks_secret(text):
        return "(not shown here: it looks like a secret)"
    if len(text) > _LONGEST_SHOWN:
        text = text[: _LONGEST_SHOWN - 1] + "…"
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return f"`{plain}`"


def dotted(path: Path) -> str:
    """``("models", "fast", "targets", 1)`` → ``models.fast.targets[1]``; secrets become ``…``."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
            continue
        odd = len(part) > _LONGEST_SHOWN or not part.isprintable() or looks_secret(part)
        out += ("." if out else "") + ("…" if odd else part)
    return out


def near(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to ``count`` of ``known`` that look like ``word``, best first; letter case is ignored."""
    # Ratio is quadratic in the word's length; nothing that long is a slip of the finger.
    if len(word) > _LONGEST_SHOWN:
        return []
    folded: dict[str, str] = {}
    for name in itertools.islice(known, _MOST_COMPARED):
        folded.setdefault(name.casefold(), name)
    found = difflib.get_close_matches(word.casefold(), folded, n=count, cutoff=0.6)
    return [folded[name] for name in found]


def either(words: Iterable[str]) -> str:
    """``["a", "b", "c"]`` → ``a, b or c``."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} or {last}" if most else last
