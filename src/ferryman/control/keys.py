"""Virtual keys as the control plane handles them: made, shut out, and the first one of all."""

import contextlib
import hmac
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from ferryman.config.feed import NO_FACTS, KeyFacts
from ferryman.control.problem import ProblemError
from ferryman.log import log
from ferryman.meter import keys as secrets
from ferryman.store import keys as store
from ferryman.store.delegated import BeyondParentError
from ferryman.store.dimensions import Within
from ferryman.store.keys import KeyInfo, NewKey

FIRST: Final = "first"
"""Name of the key that a new installation begins with."""


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the store says no to, as the admin API does."""
    try:
        yield
    except store.KeyFieldError as error:
        raise ProblemError(400, "invalid_key_field", str(error)) from None
    except store.NoSuchKeyError as error:
        raise ProblemError(404, "key_not_found", str(error)) from None
    except store.AmbiguousKeyError as error:
        raise ProblemError(409, "ambiguous_key", str(error)) from None
    except BeyondParentError as error:
        raise ProblemError(409, "beyond_parent", str(error)) from None
    except store.KeyReusedError as error:
        raise ProblemError(422, "idempotency_key_reused", str(error)) from None


class KeyDesk:
    """Makes, lists and revokes keys; ``changed`` is called after each change, on any thread."""

    def __init__(self, engine: sa.Engine, pepper: str, seed: bytes, first_file: Path) -> None:
        """``first_file`` holds the first key until it is revoked (see ``ensure_first``); from
        ``seed`` come the secrets that have to be the same when they are asked for again."""
        self._engine = engine
        self._pepper = pepper.encode()
        self._seed = seed
        self._first_file = first_file
        self.changed: Callable[[], None] = lambda: None
        self.limits_changed: Callable[[], None] = lambda: None
        """Is called, before ``changed``, when what is set for a key holds for another one, too."""

    def create(
        self, name: str, expires_at: int | None = None, facts: KeyFacts = NO_FACTS, *,
        once: str = "", said: object = None, within: Within = store.EVERYBODY,
    ) -> tuple[KeyInfo, str]:  # fmt: skip
        """A new key and its secret, which exists nowhere else. Raises :class:`ProblemError`.

        With ``once`` (an Idempotency-Key), ``said`` again makes no other key: the same comes back.
        """
        row, secret = self._new(once, said, within)
        row = replace(row, name=name, expires_at=expires_at, facts=facts)
        with _told():
            key = store.create(self._engine, row)
        self.changed()
        log("control", f"key {key.id} created")
        return key, secret

    def rotate(
        self,
        id_or_name: str,
        overlap: int,
        *,
        once: str = "",
        said: object = None,
        within: Within = store.EVERYBODY,
    ) -> tuple[KeyInfo, str]:
        """A new key in place of one, which works on for ``overlap`` seconds; else as ``create``."""
        row, secret = self._new(once, [id_or_name, said], within)
        with _told():
            old, key = store.rotate(self._engine, id_or_name, row, overlap, within=within)
        self.limits_changed()
        self.changed()
        self._forget_first(old)
        log("control", f"key {old.id} replaced by {key.id}")
        return key, secret

    def _new(self, once: str, said: object, within: Within) -> tuple[NewKey, str]:
        """A key without a name, and its secret. Both follow from ``once``, so nothing has to be
        kept for when it comes again: the id from it alone, the secret from what was said, too."""
        if not once:
            secret = secrets.mint()
            return self._row("", secret, None), secret
        if within:  # what one tenant says is not what another one says
            once = msgspec.json.encode([once, sorted(within.items())]).decode()
        mark = hmac.digest(self._seed, b"id\0" + once.encode(), "sha256")
        heard = once.encode() + b"\0" + msgspec.json.encode(said)
        secret = secrets.mint(hmac.digest(self._seed, b"secret\0" + heard, "sha256"))
        number = int.from_bytes(mark) % 62**12
        return replace(self._row("", secret, None), id=store.id_of(number)), secret

    def works(self, hint: str) -> bool:
        """Whether a key with this hint is not revoked."""
        return store.any_key(self._engine, hint)

    def revoke(self, id_or_name: str, within: Within = store.EVERYBODY) -> KeyInfo:
        """Shut a key out for good; again is no error. Raises :class:`ProblemError`."""
        with _told():
            key = store.revoke(self._engine, id_or_name, within=within)
        self.changed()
        self._forget_first(key)
        log("control", f"key {key.id} revoked")
        return key

    def describe(
        self, id_or_name: str, *, within: Within = store.EVERYBODY, **facts: Any
    ) -> KeyInfo:
        """Say anew whose a key is (``store.keys.describe``). Raises :class:`ProblemError`."""
        with _told():
            key = store.describe(self._engine, id_or_name, within=within, **facts)
        self.changed()
        log("control", f"key {key.id}: {', '.join(facts) or 'nothing'} set")
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
