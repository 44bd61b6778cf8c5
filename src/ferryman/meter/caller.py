"""Who calls with a token of an issuer in place of a virtual key."""

from typing import NamedTuple

from ferryman.config.feed import KeyFacts


class Caller(NamedTuple):
    """Whoever a token is of."""

    id: str
    """Stands in records for a virtual key's id: one for each person, and each set of facts."""
    whose: KeyFacts
    models: tuple[str, ...]
    """As in :class:`~ferryman.config.identity_row.Issuer`."""
    until: float
    """Unix seconds."""


class Stranger(NamedTuple):
    """A token that is not let in."""

    why: str
    keys: str = ""
    """Where there may be newer keys that it is signed with; empty = that isn't what it lacks."""
