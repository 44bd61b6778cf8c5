"""What a translation could not carry over as it was: for the caller, and for the call's record."""

import re

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
MAX_ENTRIES = 64
"""Further entries are counted only."""
LONGEST = 120


class Receipt:
    """Filled while a request and its reply are translated. Entries keep their order, once each.

    ``dropped``: not expressible at all. ``altered``: carried over in another way, or added, as
    ``what=how``. A path names what it is about: ``temperature``, ``messages[2].blocks[0]``.
    """

    __slots__ = ("_altered", "_dropped", "more", "output_tool")

    def __init__(self) -> None:
        self._dropped: dict[str, None] = {}
        self._altered: dict[str, None] = {}
        self.more = 0
        """Entries beyond ``MAX_ENTRIES``."""
        self.output_tool = ""
        """Name of the tool that stands for structured output; its call's arguments are the text."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """What was left out."""
        return tuple(self._dropped)

    @property
    def altered(self) -> tuple[str, ...]:
        """What was changed or added."""
        return tuple(self._altered)

    def drop(self, path: str) -> None:
        """``path`` was left out."""
        self._add(self._dropped, path)

    def alter(self, path: str, how: str) -> None:
        """``path`` is carried as ``how`` says, in a few words."""
        self._add(self._altered, f"{path}={how}")

    def _add(self, to: dict[str, None], entry: str) -> None:
        entry = _UNPRINTABLE.sub("?", entry)[:LONGEST]
        if entry in to:
            return
        if len(self._dropped) + len(self._altered) >= MAX_ENTRIES:
            self.more += 1
            return
        to[entry] = None
