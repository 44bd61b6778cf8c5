"""Issuers at a data plane: made anew with each snapshot and each change of their keys, and asked
for newer keys, through the control plane, when a token is signed with one that is not known."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from ferryman.config.identity_row import Issuer, KeySets
from ferryman.config.options import Options
from ferryman.edge.restoring import fetch
from ferryman.flow.call import Plane
from ferryman.http1.connect import Connector, Origin
from ferryman.http1.pool import Pool

PAUSE: Final = 1.0
"""Seconds between two questions for newer keys of an issuer."""
_keysets: Final = msgspec.msgpack.Decoder(KeySets).decode


class Vouchers:
    """Keeps ``plane.issuers``."""

    def __init__(
        self, options: Options, token: str, plane: Plane, log: Callable[[str], None]
    ) -> None:
        self._origin = Origin.of(options.feed_url)
        self._token = token
        self._plane = plane
        self._log = log
        self._rows: tuple[Issuer, ...] = ()
        self._keys: KeySets = {}
        self._asking: dict[str, asyncio.Future[None]] = {}
        """Questions for newer keys, by ``Issuer.keys``, and for :data:`PAUSE` their answers."""
        self._failing = False
        self.found: Callable[[bytes], Awaitable[None]] | None = None
        """Takes over the keys that a question has found."""

    def adopt(self, rows: tuple[Issuer, ...]) -> None:
        """Let in tokens of these from now on."""
        self._rows = rows
        self._make()

    def take_keys(self, keysets: bytes) -> None:
        """Check them with these keys. Raises ``msgspec.MsgspecError``."""
        self._keys = _keysets(keysets)
        self._make()

    def _make(self) -> None:
        plane = self._plane
        if not any(row.audiences for row in self._rows):
            plane.issuers = None
            return
        from ferryman.flow.issuers import Issuers  # loads what checks signatures

        plane.issuers = Issuers(self._rows, self._keys, self._renew)

    def _renew(self, source: str) -> asyncio.Future[None]:
        """Ends when it has been looked for newer keys there, whatever came of it."""
        asking = self._asking.get(source)
        if asking is None:
            asking = self._asking[source] = asyncio.ensure_future(self._ask(source))
        return asking

    async def _ask(self, source: str) -> None:
        loop = asyncio.get_running_loop()
        pool = Pool(self._origin, Connector(loop), max_connections=1)
        try:
            path = "/internal/keysets"
            keysets = await fetch(pool, self._origin, self._token, "POST", path, source.encode())
            if self.found is not None:
                await self.found(keysets)
            self._failing = False
        except Exception as error:
            if not self._failing:
                self._log(
                    f"newer keys of issuers can't be asked for ({error}); the known ones hold"
                )
            self._failing = True
        finally:
            pool.close()
            loop.call_later(PAUSE, self._asking.pop, source, None)
