"""JSON Web Tokens (RFC 7519), signed as JWS (RFC 7515), read by the advice of RFC 8725. Pure.

Whatever a token says about how it is to be checked counts for nothing but a choice among what is
allowed: no key, address or algorithm is taken from it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ferryman.config.identity_row import PublicKey
from ferryman.meter.jwk import KINDS, Check, checks, decoded, json_object

LONGEST: Final = 16_384
"""Bytes of a token."""
LEEWAY: Final = 60
"""Seconds that clocks may differ by."""
_LONGEST_SUBJECT: Final = 255
"""OpenID Connect Core, 2."""
MOST_TRIED: Final = 8
"""Keys that are tried where a token names none."""


class TokenError(Exception):
    """A token is not let in; the message says why, in words of ours alone."""


class OtherAudienceError(TokenError):
    """It is for somebody else."""


class UnknownKeyError(TokenError):
    """It names a key that is not known."""


class Token(NamedTuple):
    """What a token says, as long as nobody has checked who says so."""

    algorithm: str
    key: str
    """Empty = it names none."""
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @property
    def issuer(self) -> str:
        return str(self.claims["iss"])

    @property
    def subject(self) -> str:
        return str(self.claims["sub"])

    @property
    def expires(self) -> float:
        """Unix seconds until which it is let in."""
        return float(self.claims["exp"]) + LEEWAY


Keys = Mapping[str, tuple[Mapping[str, Check], ...]]
"""Id of a key → what checks signatures with those that have it; all keys under ``ANY_KEY``."""
ANY_KEY: Final = "\0"
"""No id in JSON that a token is let in with: what names no key."""


def ready(keys: Iterable[PublicKey]) -> Keys:
    """Keys made ready. One that can't be used is left out."""
    found: dict[str, tuple[Mapping[str, Check], ...]] = {ANY_KEY: ()}
    for key in keys:
        try:
            made = checks(key)
        except (TypeError, ValueError):
            continue
        found[ANY_KEY] = (*found[ANY_KEY], made)
        if key.id:
            found[key.id] = (*found.get(key.id, ()), made)
    return found


def read(token: bytes) -> Token:
    """What it says. Raises :class:`TokenError`."""
    if len(token) > LONGEST:
        raise TokenError("too long")
    parts = token.split(b".")
    if len(parts) != 3:
        raise TokenError("not of three parts")
    try:
        raw = [decoded(part.decode("ascii")) for part in parts]
        header, claims = json_object(raw[0]), json_object(raw[1])
    except ValueError:  # UnicodeDecodeError and binascii.Error are such
        raise TokenError("not readable") from None
    algorithm, key = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or algorithm not in KINDS:
        raise TokenError("signed by no algorithm that is let in")
    if "crit" in header or "b64" in header:
        raise TokenError("with extensions that must be understood")
    if not isinstance(key, str) or ANY_KEY in key:
        raise TokenError("with no id of a key")
    for name in ("iss", "sub"):
        if not isinstance(claims.get(name), str) or not claims[name]:
            raise TokenError(f"without {name}")
    if len(claims["sub"]) > _LONGEST_SUBJECT:
        raise TokenError("with too long a sub")
    return Token(algorithm, key, claims, token.rpartition(b".")[0], raw[2])


def check_claims(token: Token, issuer: str, audiences: Iterable[str], now: float) -> None:
    """Whether it is from there, for one of ``audiences``, and at that time (Unix seconds).

    Raises :class:`TokenError`.
    """
    claims = token.claims
    if claims["iss"] != issuer:
        raise TokenError("of another issuer")
    said = claims.get("aud")
    given = [said] if isinstance(said, str) else said
    if not isinstance(given, list) or not any(name in given for name in audiences):
        raise OtherAudienceError("for another audience")
    if not _is_time(claims.get("exp")) or not _is_time(claims.get("nbf", 0)):
        raise TokenError("without a time that it ends")
    if now >= token.expires:
        raise TokenError("expired")
    if now < claims.get("nbf", 0) - LEEWAY:
        raise TokenError("not valid yet")


def check_signature(token: Token, keys: Keys, algorithms: Iterable[str]) -> None:
    """Raise :class:`TokenError` unless one of ``keys`` has signed it, by one of ``algorithms``."""
    if token.algorithm not in algorithms:
        raise TokenError("signed by no algorithm that is let in")
    fitting = keys.get(token.key or ANY_KEY, ())
    if not fitting:
        raise UnknownKeyError("signed with a key that is not known")
    ways = [each[token.algorithm] for each in fitting if token.algorithm in each]
    if not any(check(token.signature, token.signed) for check in ways[:MOST_TRIED]):
        raise TokenError("not signed by its issuer")


def _is_time(value: object) -> bool:
    """Whether it is a number of seconds that a clock can show."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return good and 0 <= value < 2**53  # type: ignore[operator]


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a path with dots into claims that are objects; None = none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found
