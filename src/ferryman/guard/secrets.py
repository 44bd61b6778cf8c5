"""Detectors of secrets: by their beginnings, by what stands before them, and the gateway's own."""

import hashlib
import math
import re
import secrets
from collections.abc import Iterable
from typing import Final

from ferryman.catalog.secret_shapes import SECRET_SHAPES
from ferryman.guard.scan import Detector, Hit, finding

_REST: Final = re.compile(r"[A-Za-z0-9_+/=.~-]*")
_LETTERS: Final = re.compile(r"[A-Za-z0-9_+/=.~-]+")


def entropy(text: str) -> float:
    """Bits per character, by how often each stands in the text itself."""
    size = len(text)
    counts = [text.count(letter) for letter in set(text)]
    return -sum(count / size * math.log2(count / size) for count in counts)


def _random(text: str) -> int:
    """Whether a word is too mixed to be one of a language, a path or a number."""
    mixed = re.search(r"[a-z]", text) and re.search(r"[A-Z]", text) and re.search(r"\d", text)
    return len(text) if mixed and entropy(text) >= 4.2 else 0


def _assigned(text: str) -> int:
    """Whether what a password or a key is set to looks like one."""
    return len(text) if entropy(text) >= 3.0 and re.search(r"\d", text) else 0


SECRETS: Final[dict[str, tuple[Detector, ...]]] = {
    "private_key": (
        Detector(
            "private_key",
            finding(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
            re.compile(r"[A-Z0-9 -]+"),
            90,
            until="PRIVATE KEY-----",
        ),
    ),
    "jwt": (
        Detector(
            "jwt",
            finding(r"(?<![\w-])eyJ[A-Za-z0-9_-]{10,2000}\.(?:eyJ[A-Za-z0-9_-]{4})"),
            _LETTERS,
            2020,
            word=_REST,
        ),
    ),
    "known": tuple(
        Detector(kind, finding(r"(?<![A-Za-z0-9])" + pattern), _LETTERS, 80, word=_REST)
        for kind, pattern in SECRET_SHAPES
    ),
    "assigned": (
        Detector(
            "password",
            finding(
                r"(?i)(?:api[_-]?key|secret|token|passw(?:or)?d|pwd|credential)[a-z_-]{0,12}"
                r"[\"']?[ ]{0,2}(?::=|=>|[:=])[ ]{0,2}[\"']?([^\s\"'`,;]{8,64})"
            ),
            re.compile(r"[^`,;\n]+"),
            120,
            _assigned,
            re.compile(r"[^\s\"'`,;]*"),
            re.compile(r"(?i)api|secret|token|passw|pwd|credential|[a-z]{1,9}\Z"),
        ),
    ),
    "random": (
        Detector(
            "token",
            finding(r"(?<![A-Za-z0-9_+/=.:@-])[A-Za-z0-9_+=-]{32,128}(?![A-Za-z0-9_+/=-])"),
            re.compile(r"[A-Za-z0-9_+/=.-]+"),
            130,
            _random,
        ),
    ),
}
"""By the names of ``entities``."""


_WORD: Final = re.compile(r"\S+")
HEAD: Final = 8
"""Characters of a secret by which a place is found worth a closer look."""


class Known:
    """Secrets that are to be found exactly, of which no more is kept than hashes under a key of
    this process."""

    def __init__(self, values: Iterable[str]) -> None:
        self._key = secrets.token_bytes(32)
        self._heads: set[int] = set()
        self._hashes: dict[int, set[bytes]] = {}
        for value in values:
            if len(value) >= HEAD and not re.search(r"\s", value):
                self._heads.add(self._head(value[:HEAD]))
                self._hashes.setdefault(len(value), set()).add(self._hash(value))
        self.longest = max(self._hashes, default=0)
        self._lengths = sorted(self._hashes, reverse=True)

    def _head(self, text: str) -> int:
        return hash(text) & 0xFFFF  # Python's own, under a key of the process: quick, says little

    def _hash(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._key).digest()

    def find(self, text: str, start: int) -> Hit | None:
        """Where the first of them at or after ``start`` stands."""
        heads = self._heads
        for i in range(start, len(text) - HEAD + 1):
            if hash(text[i : i + HEAD]) & 0xFFFF in heads:
                for length in self._lengths:
                    piece = text[i : i + length]
                    if len(piece) == length and self._hash(piece) in self._hashes[length]:
                        return Hit(i, i, i + length)
        return None

    def detector(self) -> Detector:
        """Finds them."""
        return Detector("gateway_secret", self.find, _WORD, self.longest + 1)
