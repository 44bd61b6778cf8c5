"""Public keys of issuers: key sets as they publish them (RFC 7517, 7518, 8037), and what checks
signatures with them. Pure."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ferryman.config.identity_row import PublicKey

KINDS: Final = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
"""Algorithm → the kind of key that it takes, and no other."""
MOST_KEYS: Final = 100
LARGEST: Final = 262_144
"""Bytes of a key set."""
_PARTS: Final = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
_CURVES: Final = {"EC": "P-256", "OKP": "Ed25519"}
_BITS: Final = range(2048, 8193)
"""Of moduli: shorter ones are no protection, longer ones a load on whoever checks."""
_LONGEST_ID: Final = 200
Check = Callable[[bytes, bytes], bool]
"""(signature, what is signed) → whether it is this key's."""


class KeySetError(ValueError):
    """A key set can't be used; the message says why."""


def decoded(text: str) -> bytes:
    """base64url without padding (RFC 7515, 2), in its one spelling. Raises ``ValueError``."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encoded(raw) != text:
        raise ValueError("not the one spelling of these bytes")
    return raw


def encoded(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Members of a JSON object, for ``json.loads``. Raises ``ValueError`` where one is repeated:
    readers don't agree which of them counts."""
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands there twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def json_object(data: bytes) -> dict[str, Any]:
    """A JSON object, read strictly. Raises ``ValueError``."""
    try:
        found = json.loads(data.decode(), object_pairs_hook=once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def keys_of(data: bytes) -> tuple[PublicKey, ...]:
    """The keys of a key set that signatures can be checked with; others, of algorithms that are
    not let in or for encryption, are left out. Raises :class:`KeySetError` where there is none."""
    if len(data) > LARGEST:
        raise KeySetError(f"it has more than {LARGEST} bytes")
    try:
        listed = json_object(data).get("keys")
    except ValueError as error:
        raise KeySetError(f"it is no key set: {error}") from None
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise KeySetError(f"it has no list of up to {MOST_KEYS} keys")
    found = tuple(key for each in listed if (key := _key(each)) is not None)
    if not found:
        raise KeySetError("it has no key that tokens may be signed with")
    return found


def _key(said: Any) -> PublicKey | None:
    """A key; None where it is none that checks signatures."""
    if not isinstance(said, dict) or said.get("use", "sig") != "sig":
        return None
    kind, ident, algorithm = said.get("kty"), said.get("kid", ""), said.get("alg", "")
    uses = said.get("key_ops", ["verify"])
    if not isinstance(uses, list) or "verify" not in uses or kind not in _PARTS:
        return None
    if not isinstance(ident, str) or len(ident) > _LONGEST_ID:
        return None
    if said.get("crv") != _CURVES.get(kind) or (algorithm and KINDS.get(algorithm) != kind):
        return None
    try:
        parts = tuple(decoded(said[name]) for name in _PARTS[kind])
        found = PublicKey(ident, kind, algorithm, parts)
        checks(found)
    except (LookupError, TypeError, ValueError):
        return None
    return found


def checks(key: PublicKey) -> Mapping[str, Check]:
    """Algorithm → what checks a signature with ``key``. Raises ``ValueError`` for a bad key."""
    if key.kind == "RSA":
        found = _rsa(*key.parts)
    elif key.kind == "EC":
        found = _ec(*key.parts)
    else:
        found = _okp(*key.parts)
    return {name: each for name, each in found.items() if key.algorithm in ("", name)}


def _rsa(n: bytes, e: bytes) -> dict[str, Check]:
    modulus, exponent = int.from_bytes(n), int.from_bytes(e)
    if modulus.bit_length() not in _BITS or exponent >= 2**32:
        raise ValueError("no modulus of 2048 to 8192 bits, or a huge exponent")
    public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    digest = SHA256()
    pss = padding.PSS(padding.MGF1(digest), salt_length=digest.digest_size)

    def check(way: padding.PKCS1v15 | padding.PSS) -> Check:
        return lambda signature, signed: _good(
            lambda: public.verify(signature, signed, way, digest)
        )

    return {"RS256": check(padding.PKCS1v15()), "PS256": check(pss)}


def _ec(x: bytes, y: bytes) -> dict[str, Check]:
    if len(x) != 32 or len(y) != 32:
        raise ValueError("no point of P-256")
    point = ec.EllipticCurvePublicNumbers(
        int.from_bytes(x), int.from_bytes(y), ec.SECP256R1()
    ).public_key()
    way = ec.ECDSA(SHA256())

    def check(signature: bytes, signed: bytes) -> bool:
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        return _good(lambda: point.verify(encode_dss_signature(r, s), signed, way))

    return {"ES256": check}


def _okp(x: bytes) -> dict[str, Check]:
    public = ed25519.Ed25519PublicKey.from_public_bytes(x)
    return {"EdDSA": lambda signature, signed: _good(lambda: public.verify(signature, signed))}


def _good(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True
