"""Cache points: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html.

Models that can't cache refuse them. Among tools, and with a lifetime of an hour, only models of
Claude take them.
"""

from typing import Any

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import CacheMark
from ferryman.wire.format import Aim

DEFAULT_SECONDS = 300


class CachePoints:
    """Turns the marks of one request into cache points, as far as its model takes them."""

    __slots__ = ("_caching", "_claude", "_receipt")

    def __init__(self, aim: Aim, receipt: Receipt) -> None:
        self._caching = not aim.abilities or "prompt_cache" in aim.abilities
        name = aim.model.lower()
        self._claude = "claude" in name or (name.startswith("arn:") and not aim.abilities)
        self._receipt = receipt

    def point(
        self, mark: CacheMark | None, path: str, *, tool: bool = False
    ) -> dict[str, Any] | None:
        """The block that marks the prompt before it as worth caching, None for none."""
        if mark is None:
            return None
        if not self._caching or (tool and not self._claude):
            self._receipt.drop(f"{path}.cache_control")
            return None
        point = {"type": "default"}
        if mark.ttl > DEFAULT_SECONDS:
            if self._claude:
                point["ttl"] = "1h"
            else:
                self._receipt.alter(f"{path}.cache_control", "5 minutes")
        return {"cachePoint": point}
