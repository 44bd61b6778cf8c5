"""An issuer of tokens, as the snapshot has it, and its public keys, as the feed has them."""

from typing import Final

from msgspec import Struct

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
"""How tokens may be signed: with private keys only. With a secret that both sides share, whoever
checks a token can make one."""
CLAIMED: Final = ("organisation", "team", "user", "tags")
"""What claims can say of a caller."""
Required = tuple[tuple[str, tuple[str | int | float | bool, ...]], ...]
"""Claims, each with the values of which it must have one."""


class Issuer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose tokens are let in in place of virtual keys."""

    name: str
    issuer: str
    """What ``iss`` is, to the letter."""
    keys: str
    """Where its public keys are: the URL of a key set, or of a description that names it (it ends
    with ``DISCOVERY``), or ``file:`` and a path."""
    audiences: tuple[str, ...] = ()
    """What ``aud`` names one of; empty = none of its tokens are let in."""
    private: bool | None = None
    """Whether ``keys`` may lead to a private address; None = if it names one."""
    algorithms: tuple[str, ...] = ALGORITHMS
    claims: tuple[tuple[str, str], ...] = ()
    """(one of ``CLAIMED``, the claim that says it)."""
    organisation: str = ""
    """Whose all of its callers are; empty = as claims say. The same of ``team``."""
    team: str = ""
    require: Required = ()
    models: tuple[str, ...] = ()
    """What its callers may ask for: names, or beginnings that end with ``*``; empty = all."""


DISCOVERY: Final = "/.well-known/openid-configuration"
"""OpenID Connect Discovery 1.0, 4."""


class PublicKey(Struct, frozen=True, array_like=True):
    """One key of a key set (RFC 7517), as far as signatures are checked with it."""

    id: str
    """``kid``; empty = it has none."""
    kind: str
    """``RSA``, ``EC`` (of P-256) or ``OKP`` (of Ed25519)."""
    algorithm: str
    """The only one that it is for; empty = all of its kind."""
    parts: tuple[bytes, ...]
    """n and e; x and y; or x: as RFC 7518 and RFC 8037 have them."""


KeySets = dict[str, tuple[PublicKey, ...]]
"""By ``Issuer.keys``."""
