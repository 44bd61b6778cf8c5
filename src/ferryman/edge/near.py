"""Names like the one that was asked for, for error messages. Bounded, whatever it is asked."""

import difflib

CONSIDERED = 400
LONGEST = 80


def near(name: str, names: list[str], count: int = 3) -> list[str]:
    """Up to ``count`` of ``names`` that resemble ``name``, best first."""
    name = name[:LONGEST].lower()
    tail = name.rpartition("/")[2]
    head = tail[:3]
    alike = [n for n in names if head and head in n.lower()][:CONSIDERED]
    by_tail = {n.lower().rpartition("/")[2]: n for n in reversed(alike)}
    close = difflib.get_close_matches(tail, list(by_tail), count, 0.6)
    return [by_tail[c] for c in close]
