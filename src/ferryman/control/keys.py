"""Virtual keys as the control plane handles them: made, shut out, and the first one of all."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ferryman.control.problem import ProblemError
from ferryman.log import log
from ferryman.meter import keys as secrets
from ferryman.store import keys as store
from ferryman.store.keys import KeyInfo, NewKey

FIRST: Final = "first"
"""Name of the key that a new installation begins with."""


class KeyDesk:
    """Makes, lists and revokes keys; ``changed`` is called after each change, on any thread."""

    def __init__(self, engine: sa.Engine, pepper: str, first_file: Path) -> None:
        """``first_file`` holds the first key until it is revoked (see ``ensure_first``)."""
        self._engine = engine
        self._pepper = pepper.encode()
        self._first_file = first_file
        self.changed: Callable[[], None] = lambda: None

    def create(self, name: str, expires_at: int | None = None) -> tuple[KeyInfo, str]:
        """A new key and its secret, which exists nowhere else. Raises :class:`ProblemError`."""
        secret = secrets.mint()
        try:
            key = store.create(self._engine, self._row(name, secret, expires_at))
        except store.KeyFieldError as error:
            raise ProblemError(400, "invalid_key_field", str(error)) from None
        self.changed()
        log("control", f"key {key.id} created")
        return key, secret

    def list(self) -> list[KeyInfo]:
        """All keys, revoked ones too, oldest first."""
        return store.list_keys(self._engine)

    def revoke(self, id_or_name: str) -> KeyInfo:
        """Shut a key out for good; again is no error. Raises :class:`ProblemError`."""
        try:
            key = store.revoke(self._engine, id_or_name)
        except store.NoSuchKeyError as error:
            raise ProblemError(404, "key_not_found", str(error)) from None
        except store.AmbiguousKeyError as error:
            raise ProblemError(409, "ambiguous_key", str(error)) from None
        self.changed()
        self._forget_first(key)
        log("control", f"key {key.id} revoked")
        return key

    def ensure_first(self, given: str) -> bool:
        """See to it that there is a key: ``given`` (``FERRYMAN_KEY``), else one made here.

        A key made here is written to the first-key file (0600), so that the supervisor, and a
        newcomer on the next day, can show lines to paste. Returns whether one was made.
        """
        if given:
            key = store.ensure_fixed(self._engine, self._row(FIRST, given, None))
            if key.revoked_at is not None:
                log(
                    "control",
                    "the key in FERRYMAN_KEY was revoked and stays so: set it to another, "
                    "or make one with `ferryman keys create NAME`",
                )
            return False
        if store.key_seq(self._engine):  # there is, or was, a key
            return False
        secret = secrets.mint()
        self._first_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._first_file.with_name(f".{self._first_file.name}.{os.getpid()}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, secret.encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        # The file first: a crash in between leaves a file without a key, which the next start
        # replaces, and not a key that nobody has ever seen.
        draft.replace(self._first_file)
        store.create(self._engine, self._row(FIRST, secret, None))
        log("control", f"made the first key; it is in {self._first_file}")
        return True

    def _row(self, name: str, secret: str, expires_at: int | None) -> NewKey:
        fixed = not secrets.well_formed(secret)
        return NewKey(
            name=name,
            digest=secrets.digest(self._pepper, secret.encode()),
            # Of a key that a person thought up, ten characters would be too much to show.
            hint=secret[:3] + "…" if fixed else secrets.hint(secret),
            expires_at=expires_at,
        )

    def _forget_first(self, key: KeyInfo) -> None:
        """Delete the first-key file once the key in it is revoked."""
        with contextlib.suppress(OSError):
            kept = self._first_file.read_text().strip()
            if secrets.hint(kept) == key.hint and not key.fixed:
                self._first_file.unlink()
