"""An answer as it is kept, and what must not be kept."""

import re
from typing import Final

import msgspec
from msgspec import Struct

_OVERHEAD: Final = 600
"""Bytes that an answer takes beside its texts, about."""


class Answer(Struct, frozen=True, array_like=True):
    """What a caller got, from the first header to the last byte. Times are Unix seconds."""

    head: bytes
    """Header lines that hold for others too."""
    body: bytes
    """Of a stream: its events."""
    stream: bool
    target: str
    """Who answered, ``provider/model``."""
    cost: int | None
    """Picodollars; None = unknown."""
    at: float
    until: float
    mark: bytes = b""
    """Of the request, where the key does not come from it."""
    whole: bool = True
    """False: it was too large to keep, and this only says that it was given."""

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return len(self.body) + len(self.head) + _OVERHEAD


pack: Final = msgspec.msgpack.Encoder().encode
unpack: Final = msgspec.msgpack.Decoder(Answer).decode

_HINTS: Final = (b"tool_", b"_call", b"functionCall", b"executableCode")
_CALLS: Final = re.compile(
    rb'"tool_calls"\s*:\s*\[\s*\{'
    rb'|"function_?[cC]all"\s*:\s*\{'
    rb'|"executableCode"\s*:'
    rb'|"type"\s*:\s*"[a-z_]*(tool_use|_call)"'
)
"""How calls of tools begin, in every format of callers. Quotes within a text have backslashes."""


def calls_tools(body: bytes) -> bool:
    """Whether an answer calls a tool: the caller's, or one that the provider runs itself."""
    return any(hint in body for hint in _HINTS) and _CALLS.search(body) is not None
