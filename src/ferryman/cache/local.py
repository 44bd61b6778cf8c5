"""A store of the data plane's own behind a shelf: nobody else fetches for it."""

from typing import TYPE_CHECKING

from ferryman.cache.key import Choice
from ferryman.cache.shelf import Stored

if TYPE_CHECKING:
    from ferryman.store.answers import AnswerStore  # most gateways need no SQLite


class Local:
    """Answers in a file (:class:`ferryman.cache.shelf.Backend`)."""

    def __init__(self, store: "AnswerStore") -> None:
        self.store = store

    async def claim(self, key: bytes, mark: bytes) -> Stored | None:
        found = await self.store.load(key)
        return None if found is None else Stored(*found)

    def save(self, key: bytes, data: bytes, until: float) -> None:
        self.store.save(key, data, until)

    def release(self, key: bytes, apart: bool) -> None:
        pass

    def clear(self, choice: Choice) -> None:
        self.store.clear(choice)

    async def sizes(self) -> tuple[int, int]:
        return await self.store.sizes()

    async def close(self) -> None:
        self.store.close()
