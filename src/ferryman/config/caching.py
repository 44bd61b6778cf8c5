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
        scope=found.get("scope", usual.scope),
        store=found.get("store", usual.store),
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
        store=found.get("store", usual.store),
        size=found.get("size", usual.size),
        without_state=found.get("without_state", usual.without_state),
    )


def stateless(found: Found, has_state: bool, add: Callable[[Path, str, str], None]) -> None:
    """Tell ``add`` of sections of the file that keep answers at ``server.state`` if nobody says it;
    ``has_state``: somebody does, right or wrong."""
    fix = 'Write server: { state: "valkey://HOST:6379/0" }, or store: memory or sqlite'
    for section in ("cache", "idempotency"):
        kept = found.get(section, {})
        if kept.get("store") == "valkey" and not has_state:
            add((section, "store"), "there is no server.state to keep answers at", fix)
        elif kept.get("store") != "valkey" and "without_state" in kept:
            text = "it is about store: valkey, and answers are kept elsewhere"
            add((section, "without_state"), text, "Write store: valkey here, or leave this out")


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
