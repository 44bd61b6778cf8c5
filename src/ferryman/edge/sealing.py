"""What opens sealed secrets at a data plane: its own key pair, and a key that comes wrapped to it.

Both are in memory in plain, and of the latter only the wrapped form is on the disk.
``cryptography`` is imported when there is something to open: a data plane that was started once
before, and whose keys of providers are all in variables and files, does not load it.
"""

import contextlib
from pathlib import Path

import msgspec

from ferryman.config.feed import SealKey
from ferryman.config.options import Paths, kept
from ferryman.config.seal import SealError
from ferryman.config.secret import resolve, sealed
from ferryman.config.snapshot import Snapshot

_held = msgspec.msgpack.Decoder(SealKey).decode


class Opener:
    """One data plane's. Raises ``OSError`` if it can't keep its key pair."""

    def __init__(self, paths: Paths, plane: str) -> None:
        self._plane = plane
        self._public, self._private = _pair(paths.plane_key(plane))
        self._held: SealKey | None = None
        self._key: bytes | None = None

    @property
    def public(self) -> str:
        """The public key, as the feed is asked with."""
        return self._public.hex()

    @property
    def secret(self) -> str:
        """The private key, as it stands in its file."""
        return self._private.hex()

    @property
    def mark(self) -> str:
        """What the feed calls the key that is here; empty = there is none."""
        return "" if self._held is None else self._held.mark

    def load(self, path: Path) -> None:
        """Take what was kept of it. It need not open: then it is as if it were not there."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            self._held = _held(path.read_bytes())

    def take(self, held: SealKey) -> None:
        """Take a new one. Raises :class:`SealError` if it does not open: the old one stays."""
        self._key = self._opened(held)
        self._held = held

    def look(self, snapshot: Snapshot) -> tuple[bytes | None, int]:
        """The key, if the snapshot needs one and it is here; and how many of its sealed secrets
        don't open."""
        texts = sealed(snapshot)
        if texts and self._key is None and self._held is not None:
            try:
                self._key = self._opened(self._held)
            except SealError:
                self._held = None  # the feed is asked for another
        key = self._key if texts else None
        return key, sum(resolve(secret, name, {}, key) is None for secret, name in texts)

    def _opened(self, held: SealKey) -> bytes:
        from ferryman.config.wrapping import unwrapped

        return unwrapped(held.wrapped, self._plane, self._private)


def _pair(file: Path) -> tuple[bytes, bytes]:
    """Public and private key; made where they are not there, or damaged."""
    for _ in range(2):
        with contextlib.suppress(ValueError):
            public, private = map(bytes.fromhex, kept(file, _made).split())
            if len(public) == len(private) == 32:
                return public, private
        file.unlink(missing_ok=True)
    raise OSError(f"{file} does not keep what is written into it")


def _made() -> str:
    from ferryman.config.wrapping import pair

    return " ".join(each.hex() for each in pair())
