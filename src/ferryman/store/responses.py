"""Answers that callers of the Responses API want kept, to go on from later: encrypted, expiring.

One file per answer, ``<sha256 of tenant and id>.r``: expiry (8 bytes, Unix seconds), nonce (12),
AES-256-GCM of the payload. Tenant, id and expiry are authenticated, so that a file can't be moved
to another tenant, renamed, or kept longer. Every method does blocking file work: call them off the
event loop. ``cryptography`` is imported when a store is made: a data plane that keeps nothing never
loads it.
"""

import contextlib
import hashlib
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct(">Q")
_NONCE: Final = 12
SUFFIX: Final = ".r"
MAX_BYTES: Final = 64 << 20
"""A longer conversation is not kept."""


class StoreError(Exception):
    """An answer could not be kept; the message says why."""


class ResponseStore:
    """The kept answers of one data plane."""

    def __init__(self, directory: Path, key: bytes) -> None:
        """``key``: 32 bytes."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._directory = directory
        self._cipher = AESGCM(key)

    def save(self, tenant: str, ident: str, payload: bytes, seconds: float) -> None:
        """Keep ``payload`` for ``seconds``. Raises :class:`StoreError`."""
        if len(payload) > MAX_BYTES:
            raise StoreError(f"An answer of {len(payload)} bytes is over {MAX_BYTES}: not kept.")
        head = _HEAD.pack(int(time.time() + seconds))
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, zlib.compress(payload, 1), _bound(tenant, ident, head))
        path = self._path(tenant, ident)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(head + nonce + sealed)
            draft.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise StoreError(f"Cannot keep an answer in {self._directory}: {error}.") from error

    def load(self, tenant: str, ident: str) -> bytes | None:
        """The payload; None when it is not there, has expired, or is damaged."""
        from cryptography.exceptions import InvalidTag

        try:
            data = self._path(tenant, ident).read_bytes()
        except OSError:
            return None
        head, nonce = data[: _HEAD.size], data[_HEAD.size : _HEAD.size + _NONCE]
        if len(nonce) < _NONCE or _HEAD.unpack(head)[0] <= time.time():
            return None
        try:
            packed = self._cipher.decrypt(
                nonce, data[_HEAD.size + _NONCE :], _bound(tenant, ident, head)
            )
        except InvalidTag:
            return None
        return zlib.decompress(packed)

    def delete(self, tenant: str, ident: str) -> bool:
        """Forget an answer; False when there was none."""
        try:
            self._path(tenant, ident).unlink()
        except OSError:
            return False
        return True

    def sweep(self) -> int:
        """Delete what has expired, and drafts that a crash left; returns how many files."""
        gone = 0
        now = time.time()
        try:
            paths = list(self._directory.iterdir())
        except OSError:
            return 0
        for path in paths:
            with contextlib.suppress(OSError):
                if path.suffix == SUFFIX:
                    with path.open("rb") as file:
                        head = file.read(_HEAD.size)
                    stale = len(head) < _HEAD.size or _HEAD.unpack(head)[0] <= now
                else:
                    stale = now - path.stat().st_mtime > 3600
                if stale:
                    path.unlink()
                    gone += 1
        return gone

    def _path(self, tenant: str, ident: str) -> Path:
        name = hashlib.sha256(_bound(tenant, ident, b"")).hexdigest()
        return self._directory / (name + SUFFIX)


def _bound(tenant: str, ident: str, head: bytes) -> bytes:
    """What an answer belongs to, without ambiguity."""
    owner, name = tenant.encode(), ident.encode("utf-8", "surrogatepass")
    return b"%d:%b%d:%b%b" % (len(owner), owner, len(name), name, head)
