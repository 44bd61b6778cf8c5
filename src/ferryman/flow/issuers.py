"""Callers with a token of an issuer (JWT) in place of a virtual key: who they are.

A token that has passed is remembered until it ends, so its signature is checked once. All of it is
forgotten when keys or configuration change: these are made anew then.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ferryman.config.feed import KeyFacts
from ferryman.config.identity_row import Issuer, PublicKey
from ferryman.meter import jwt
from ferryman.meter.caller import Caller, Stranger
from ferryman.meter.jwt import OtherAudienceError, Token, TokenError, UnknownKeyError

PREFIX: Final = "jwt:"
"""What ids of such callers begin with, where a virtual key's has ``key_``."""
KEPT: Final = 8192
"""Tokens that are remembered; beyond, those that came first are checked again."""
LONGEST: Final = 100
MOST_TAGS: Final = 64
"""Characters of a fact, and tags: as virtual keys may have (``store/keys.py``)."""
OTHER: Final = "of another issuer"
_pack: Final = msgspec.msgpack.Encoder().encode


class Issuers:
    """Those of a snapshot, with their public keys."""

    def __init__(
        self,
        issuers: tuple[Issuer, ...],
        keysets: Mapping[str, tuple[PublicKey, ...]],
        renew: Callable[[str], "asyncio.Future[None]"] | None = None,
    ) -> None:
        self.renew = renew
        """Looks for newer keys there (``Issuer.keys``)."""
        ready = {name: jwt.ready(keys) for name, keys in keysets.items()}
        nothing: jwt.Keys = {}
        self._rows = [(row, ready.get(row.keys, nothing)) for row in issuers if row.audiences]
        self._known: dict[bytes, Caller] = {}
        self._facts: dict[str, KeyFacts] = {}

    def admit(self, token: bytes, digest: bytes, now: float) -> Caller | Stranger:
        """Whose ``token`` is at that time (Unix seconds); ``digest`` stands for all of it."""
        known = self._known.get(digest)
        if known is not None:
            return known if now < known.until else Stranger("expired")
        try:
            found = self._found(jwt.read(token), now)
        except TokenError as error:
            return Stranger(str(error))
        if isinstance(found, Stranger):
            return found
        if len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        if len(self._facts) >= KEPT:
            del self._facts[next(iter(self._facts))]
        self._known[digest] = found
        self._facts[found.id] = found.whose
        return found

    def whose(self, key: str) -> KeyFacts | None:
        """The facts of a caller that was let in, by its id."""
        return self._facts.get(key)

    def _found(self, token: Token, now: float) -> Caller | Stranger:
        found = Stranger(OTHER)
        for row, keys in self._rows:
            if row.issuer != token.issuer:
                continue
            try:
                jwt.check_claims(token, row.issuer, row.audiences, now)
                jwt.check_signature(token, keys, row.algorithms)
                return caller_of(row, token)
            except UnknownKeyError as unknown:
                found = Stranger(str(unknown), row.keys)
            except OtherAudienceError as error:
                found = found if found.why != OTHER else Stranger(str(error))
            except TokenError as error:
                found = found if found.keys else Stranger(str(error))
        return found


def caller_of(row: Issuer, token: Token) -> Caller:
    """Whom a token that has been checked is of. Raises :class:`TokenError`."""
    for name, allowed in row.require:
        said = jwt.claim(token.claims, name)
        given = said if isinstance(said, list) else [said]
        if not any(_same(each, value) for each in given for value in allowed):
            raise TokenError(f"without the {name} that is required")
    said = {fact: jwt.claim(token.claims, name) for fact, name in row.claims}
    whose = KeyFacts(
        row.organisation or _text("organisation", said.get("organisation")),
        row.team or _text("team", said.get("team")),
        _text("user", said.get("user")),
        _tags(said.get("tags")),
    )
    mark = hashlib.blake2b(_pack((token.issuer, token.subject, whose)), digest_size=10)
    return Caller(f"{PREFIX}{row.name}:{mark.hexdigest()}", whose, row.models, token.expires)


def _same(given: Any, value: str | float | bool) -> bool:
    return isinstance(given, bool) == isinstance(value, bool) and bool(given == value)


def _text(fact: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not _plain(value):
        raise TokenError(f"with a claim that can't be its {fact}")
    return value


def _tags(value: Any) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(tag, str) and _plain(tag) and "," not in tag for tag in given):
        raise TokenError("with a claim that can't be its tags")
    found = tuple(sorted(set(given)))
    if len(found) > MOST_TAGS:
        raise TokenError("with too many tags")
    return found


def _plain(text: str) -> bool:
    return 0 < len(text) <= LONGEST and text.isprintable() and text.strip() == text
