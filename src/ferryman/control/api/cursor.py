"""Cursors: the place behind which a page begins, sealed to the question that it belongs to.

A place is what the rows are sorted by, so pages stay whole while rows are added. The mark keeps
callers from making up places, and from going on with other filters.
"""

import base64
import binascii
import functools
import hmac
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from ferryman.config.seal import derive_for
from ferryman.control.problem import ProblemError

_MARK: Final = 12
DEFAULT: Final = 50
MOST: Final = 1000
"""Rows on a page."""
Row = TypeVar("Row")
Place = TypeVar("Place")


@functools.lru_cache(1)
def key_of(admin_token: str) -> bytes:
    """What cursors are sealed with."""
    return derive_for(admin_token, "cursors")


class Pages(Struct, frozen=True, kw_only=True):
    """Which page is asked for: ``limit`` rows behind ``cursor``."""

    limit: int = DEFAULT
    cursor: str = ""
    key: bytes
    question: bytes
    """What the cursor belongs to: the path, and all other parameters."""

    @property
    def more(self) -> int:
        """How many rows to look for: one more than are shown tells whether there are others."""
        return self.limit + 1

    def after(self, kind: type[Place]) -> Place | None:
        """The place behind which the page begins. Raises :class:`ProblemError` (400)."""
        if not self.cursor:
            return None
        try:
            data = base64.urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4))
            mark, place = data[:_MARK], data[_MARK:]
            if hmac.compare_digest(mark, self._mark(place)):
                return msgspec.msgpack.decode(place, type=kind)
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            pass
        detail = "The cursor is not one of this question."
        raise ProblemError(400, "invalid_cursor", detail)

    def cut(
        self, found: Sequence[Row], place: Callable[[Row], object]
    ) -> tuple[list[Row], str | None]:
        """The rows of the page, and the cursor of the next; ``place`` says where a row is."""
        shown = list(found[: self.limit])
        if len(found) <= self.limit:
            return shown, None
        return shown, self.behind(place(shown[-1]))

    def behind(self, place: object) -> str:
        """The cursor of the page behind ``place``."""
        packed = msgspec.msgpack.encode(place)
        sealed = base64.urlsafe_b64encode(self._mark(packed) + packed)
        return sealed.decode().rstrip("=")

    def _mark(self, place: bytes) -> bytes:
        return hmac.digest(self.key, self.question + b"\0" + place, "sha256")[:_MARK]
