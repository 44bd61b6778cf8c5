"""Which target served the last of the calls that belong together. Time comes from outside."""

from typing import Final

KEPT: Final = 65_536
"""Bonds kept: those of the calls that came last."""


class Bond:
    """The target that knows what calls of one kind begin with."""

    __slots__ = ("cost", "target", "tokens", "until")

    def __init__(self, target: str, tokens: int, cost: int | None, until: float) -> None:
        self.target = target
        """``provider/model``."""
        self.tokens = tokens
        """Input tokens of the last call that its cache holds."""
        self.cost = cost
        """Picodollars to read them once more; None = unknown."""
        self.until = until


class Bonds:
    """Bonds by what the calls share."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._bonds: dict[bytes, Bond] = {}

    def __len__(self) -> int:
        return len(self._bonds)

    def get(self, shared: bytes, now: float) -> Bond | None:
        """The bond of these calls, unless the cache has forgotten them."""
        bond = self._bonds.get(shared)
        return bond if bond is not None and bond.until > now else None

    def keep(self, shared: bytes, bond: Bond) -> None:
        """A call was served: the others that belong to it shall go there too."""
        self._bonds.pop(shared, None)
        if len(self._bonds) >= self._kept:
            del self._bonds[next(iter(self._bonds))]
        self._bonds[shared] = bond
