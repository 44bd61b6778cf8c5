"""A single limit, as the configuration's ``limits`` has them, that stands elsewhere."""

from typing import Final

from ferryman.config.kinds import WRONG, Reader
from ferryman.config.limit_grammar import LIMIT
from ferryman.config.limiting import limits_of
from ferryman.config.nodes import parse
from ferryman.config.problem import Path, dotted
from ferryman.config.snapshot import CallLimit

_HERE: Final[Path] = ("limits", 0)
MOST_BYTES: Final = 65_536


def limit_in(text: bytes) -> tuple[CallLimit | None, list[tuple[str, str]]]:
    """The limit that JSON says, without a name; and what is wrong with it: key (empty = all of it)
    and words."""
    root, faults = parse(text, MOST_BYTES)
    found = [("", fault.message) for fault in faults]
    if root is None:
        return None, found
    reader = Reader("")
    read = LIMIT.read(root, _HERE, reader)
    limits: tuple[CallLimit, ...] = ()
    if read is not WRONG:
        limits = limits_of(
            [(0, {**read, "name": ""})],
            reader.keys,
            lambda path, message, _fix: reader.add(path, None, message),
        )
    start = len(dotted(_HERE))
    found += [(each.key[start:].lstrip("."), each.message) for each in reader.problems]
    return (limits[0] if limits else None), found
