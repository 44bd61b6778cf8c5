"""What the parts of an encoder of requests share: whom they write for, and what they report."""

from typing import Any

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import CacheMark, Request
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.format import Aim

MAX_MARKS = 4
"""Cache marks that the API takes in one request."""


class Scope:
    """One request on its way to one provider.

    ``native``: the caller speaks the format, too. What it says stays as it is, and what is wrong
    with it the provider says itself; only what its own words can't mean here is changed.
    """

    def __init__(self, request: Request, aim: Aim, receipt: Receipt) -> None:
        self.request = request
        self.aim = aim
        self.receipt = receipt
        self.native = request.origin == NAME
        self._can = {*aim.abilities, *aim.quirks}
        self._knows = bool(aim.abilities)
        self._marked: list[tuple[dict[str, Any], str]] = []

    def can(self, *names: str) -> bool:
        """Whether the target has one of these abilities or quirks."""
        return not self._can.isdisjoint(names)

    def lacks(self, ability: str) -> bool:
        """Whether the catalogue knows the model, and that it can't."""
        return self._knows and ability not in self._can

    def mark(self, block: dict[str, Any], cache: CacheMark | None, path: str) -> dict[str, Any]:
        """``block`` with its cache mark."""
        if cache is None:
            return block
        control = {"type": "ephemeral"}
        if cache.ttl:
            control["ttl"] = "5m" if cache.ttl <= 300 else "1h"
            if cache.ttl not in (300, 3600):
                self.receipt.alter(f"{path}.cache", control["ttl"])
        block["cache_control"] = control
        self._marked.append((block, path))
        return block

    def limit_marks(self) -> None:
        """Keep the last marks, which cover most, where there are more than the API takes."""
        if not self.native:
            for block, path in self._marked[:-MAX_MARKS]:
                del block["cache_control"]
                self.receipt.drop(f"{path}.cache")
