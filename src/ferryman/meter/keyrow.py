"""A virtual key as a data plane knows it."""

from msgspec import Struct


class KeyRow(Struct, frozen=True):
    """What a data plane knows of a key."""

    id: str
    expires: int
    """Unix seconds; 0 = never."""
    revoked: bool

    def usable(self, now: float) -> bool:
        """Whether the key may be used at ``now`` (Unix seconds)."""
        return not self.revoked and (not self.expires or now < self.expires)
