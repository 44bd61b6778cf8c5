"""Names like the one that was asked for, for error messages. Bounded, whatever it is asked."""

import difflib

ALWAYS = 50
"""The first names are compared whatever they look like: the user's own come first."""
CONSIDERED = 150
LONGEST = 80


def near(name: str, names: list[str], count: int = 3) -> list[str]:
    """Up to ``count`` of ``names`` that resemble ``name``, best first. At most some 10 ms.

    Compared is what stands after the last slash, since people get the provider right, or leave it
    out; where names differ in nothing else, the first one counts.
    """
    tail = name[:LONGEST].lower().rpartition("/")[2]
    if not tail:
        return []
    head, end, slack = tail[:3], tail[-3:], 2 + len(tail) // 2
    by_tail: dict[str, str] = {}
    for i, full in enumerate(names):
        other = full.lower().rpartition("/")[2]
        if other in by_tail or abs(len(other) - len(tail)) > slack:
            continue
        if i < ALWAYS or head in other or other.endswith(end):
            by_tail[other] = full
            if len(by_tail) > CONSIDERED + ALWAYS:
                break
    close = difflib.get_close_matches(tail, by_tail, count, 0.6)
    return [by_tail[other] for other in close]
