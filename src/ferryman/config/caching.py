"""The sections about answers that are given more than once, as read → what the snapshot has."""

from collections.abc import Callable
from typing import Any

from ferryman.config.problem import Path
from ferryman.config.snapshot import Caching, Idempotency

Found = dict[str, Any]


def caching_of(found: Found) -> Caching:
    """The section ``cache``."""
    usual = Caching()
    return Caching(
        ttl=float(found.get("ttl", 0)),
        asked=found.get("when") == "asked",
        shared=found.get("scope") == "all",
        disk=found.get("store") == "sqlite",
        size=found.get("size", usual.size),
        largest=found.get("max_answer", usual.largest),
        tool_calls=found.get("tool_calls", usual.tool_calls),
        coalesce=found.get("coalesce", usual.coalesce),
    )


def idempotency_of(found: Found) -> Idempotency:
    """The section ``idempotency``."""
    usual = Idempotency()
    return Idempotency(
        keep=float(found.get("keep", usual.keep)),
        size=found.get("size", usual.size),
        disk=found.get("store") == "sqlite",
    )


def timed(found: Found, has_ttl: bool, add: Callable[[Path, str, str], None]) -> None:
    """Give policies that say ``cache: true`` the time that the section has; ``found`` is the file.

    ``has_ttl``: it says one, right or wrong; else ``add`` is told.
    """
    for i, policy in found.get("policies", []):
        if policy.get("cache") is True:
            policy["cache"] = found.get("cache", {}).get("ttl", 0)
            if not has_ttl:
                fix = "Write a duration here, cache: 10m, or the section cache: { ttl: 10m }"
                add(("policies", i, "cache"), "nobody says for how long", fix)
