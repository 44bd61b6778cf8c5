"""Where answers are kept that are given more than once, as the configuration has it."""

from collections.abc import Callable
from typing import Final

from ferryman.cache.shelf import Shelf
from ferryman.config.options import Paths
from ferryman.config.seal import derive_for
from ferryman.config.snapshot import Snapshot
from ferryman.flow.call import Plane

FRONT: Final = 64_000_000
"""Bytes of memory for answers that are on the disk as well."""


def equip(plane: Plane, snapshot: Snapshot, paths: Paths, log: Callable[[str], None]) -> None:
    """Give ``plane`` what the snapshot says; what is kept stays, where it may."""
    replays, caching, once = plane.replays, snapshot.caching, snapshot.idempotency
    replays.caching, replays.idempotency = caching, once
    plane.caching = caching.ttl > 0 or any(rule.cache > 0 for rule in snapshot.rules)
    size = caching.size if plane.caching else 0
    _arrange(replays.cache, size, size > 0 and caching.disk, "cache", paths, log)
    size = once.size if once.keep else 0
    _arrange(replays.once, size, size > 0 and once.disk, "idempotency", paths, log)


def _arrange(
    shelf: Shelf, size: int, disk: bool, name: str, paths: Paths, log: Callable[[str], None]
) -> None:
    shelf.resize(min(size, FRONT) if disk else size)
    store = shelf.backend
    if store is not None and not disk:
        shelf.backend = None
        store.close()
    elif store is not None:
        store.most = size
    elif disk:
        from ferryman.store.answers import AnswerStore  # most gateways need no SQLite

        key = derive_for(paths.secret("pepper"), f"answers: {name}")
        shelf.backend = AnswerStore(paths.root / f"{name}.db", key, size, log)


def close(plane: Plane) -> None:
    """Write what is still to be written."""
    for shelf in (plane.replays.cache, plane.replays.once):
        if shelf.backend is not None:
            shelf.backend.close()
