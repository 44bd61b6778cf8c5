"""Where answers are kept that are given more than once, as the configuration has it."""

import asyncio
from collections.abc import Callable
from typing import Final

from ferryman.cache.local import Local
from ferryman.cache.shelf import Backend, Shelf
from ferryman.config.options import Paths
from ferryman.config.seal import derive_for
from ferryman.config.snapshot import Snapshot
from ferryman.edge.common import CommonAnswers
from ferryman.flow.call import Plane

FRONT: Final = 64_000_000
"""Bytes of memory for answers that are elsewhere as well."""
_ending: Final[set[asyncio.Future[None]]] = set()


class Keeping:
    """Gives a data plane its shelves."""

    def __init__(
        self, plane: Plane, paths: Paths, env: dict[str, str], log: Callable[[str], None]
    ) -> None:
        self._plane = plane
        self._paths = paths
        self._env = env
        self._log = log

    def equip(self, snapshot: Snapshot) -> None:
        """Give the plane what the snapshot says; what is kept stays, where it may."""
        plane, replays = self._plane, self._plane.replays
        caching, once = snapshot.caching, snapshot.idempotency
        replays.caching, replays.idempotency = caching, once
        plane.caching = caching.ttl > 0 or any(rule.cache > 0 for rule in snapshot.rules)
        state = snapshot.server.state
        size = caching.size if plane.caching else 0
        # What all share is looked up there each time: it may have been renewed, or cleared.
        front = 0 if caching.store == "valkey" else FRONT
        self._arrange(replays.cache, "cache", size, front, caching.store, state)
        size = once.size if once.keep else 0
        self._arrange(replays.once, "idempotency", size, FRONT, once.store, state)
        replays.once.strict = once.store == "valkey" and once.without_state == "refuse"

    async def close(self) -> None:
        """Write what is still to be written."""
        for shelf in (self._plane.replays.cache, self._plane.replays.once):
            if shelf.backend is not None:
                await shelf.backend.close()

    def _arrange(
        self, shelf: Shelf, name: str, size: int, front: int, store: str, state: str
    ) -> None:
        store = store if size else "memory"
        shelf.resize(size if store == "memory" else min(size, front))
        old = shelf.backend
        largest = self._plane.replays.caching.largest
        if store == "sqlite" and isinstance(old, Local):
            old.store.most = size
            return
        if store == "valkey" and isinstance(old, CommonAnswers) and old.setting == state:
            old.largest = largest
            return
        shelf.backend = self._made(name, size, store, state, largest)
        if old is not None:
            task = asyncio.ensure_future(old.close())
            _ending.add(task)
            task.add_done_callback(_ending.discard)

    def _made(self, name: str, size: int, store: str, state: str, largest: int) -> Backend | None:
        if store == "memory":
            return None
        key = derive_for(self._paths.secret("pepper"), f"answers: {name}")
        if store == "valkey":
            return CommonAnswers(state, self._env, name, key, largest, self._log)
        from ferryman.store.answers import AnswerStore  # most gateways need no SQLite

        return Local(AnswerStore(self._paths.root / f"{name}.db", key, size, self._log))
