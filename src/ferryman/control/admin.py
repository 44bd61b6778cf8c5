"""What the handlers of the admin API, and the pages of the dashboard, work with."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import Engine

from ferryman.client.documents import Sink
from ferryman.config.options import Options
from ferryman.config.snapshot import Snapshot
from ferryman.control.alerts.courier import Courier
from ferryman.control.api.access import OWNER, Caller, Gate
from ferryman.control.configuration import Configuration
from ferryman.control.feed import Seen
from ferryman.control.keys import KeyDesk
from ferryman.control.problem import ProblemError
from ferryman.store import keys, users
from ferryman.store.contents import Contents
from ferryman.store.users import UserInfo

_snapshot: Final = msgspec.msgpack.Decoder(Snapshot)


class Admin(Struct, frozen=True, kw_only=True):
    """The parts of the control plane."""

    engine: Engine
    desk: KeyDesk
    configuration: Configuration
    options: Options
    admin_token: str
    catch_up: Callable[[], object]
    """Ingests what the journal holds now."""
    version: Callable[[], str]
    """The snapshot's that the data planes have."""
    link: Callable[[], str]
    """Makes a token that opens the dashboard once."""
    sessions: Callable[[], int]
    """How many sessions of it are open."""
    sign_out: Callable[[], int]
    """Ends these, and says how many there were."""
    cleared: Callable[[], None]
    """Is told of each order to clear the cache."""
    failing: Callable[[], str]
    """What keeps the journals from being taken in, or nothing."""
    contents: Contents
    """Prompts and answers that are kept."""
    sinks: Callable[[], list[Sink]]
    """How those of the log stand."""
    leaked: Callable[[str, str], bool]
    """Tells of a key (by id) that was found where it must not be."""
    courier: Courier
    """Tells channels of alerts."""
    planes: Callable[[], Sequence[Seen]]
    """The data planes that follow the feed."""
    keys_seq: Callable[[], int]
    """Which state of the keys these should have."""
    ahead: Callable[[], dict[str, int]]
    """Those whose clocks are off (``FeedHub.ahead``)."""
    gate: Gate
    """Knows callers, and makes tokens for them."""
    caller: Caller = OWNER
    """Who asks."""

    def key_id(self, id_or_name: str | None) -> str | None:
        """The id behind what a caller calls a key. Raises :class:`ProblemError`."""
        if not id_or_name:
            return None
        found = [key.id for key in keys.find(self.engine, id_or_name, self.caller.within)]
        if len(found) == 1:
            return found[0]
        if found:
            detail = f"{len(found)} keys are named {id_or_name!r}: {', '.join(found[:10])}."
            raise ProblemError(409, "ambiguous_key", detail)
        raise ProblemError(404, "key_not_found", f"No key has the id or name {id_or_name!r}.")

    def user(self, id_or_name: str) -> UserInfo:
        """The user whom a caller calls so, of those whom they may reach.

        Raises :class:`ProblemError` (404).
        """
        within = self.caller.within
        found = users.find(self.engine, id_or_name, within)
        found = found or users.find_by_name(self.engine, id_or_name, within)
        if found is None:
            detail = f"There is no user with the id or name {id_or_name!r}."
            raise ProblemError(404, "user_not_found", detail)
        return found

    def snapshot(self) -> Snapshot:
        """What the data planes go by. Raises :class:`ProblemError` where there is none."""
        compiled = self.configuration.compiled
        if compiled is None:
            raise ProblemError(409, "no_configuration", "There is no good configuration yet.")
        return decoded(compiled.snapshot)

    def foreign(self) -> frozenset[str]:
        """Providers that are not there for the caller, since they are another organisation's.

        Raises :class:`ProblemError` as the above.
        """
        if not self.caller.within:
            return frozenset()
        own, every = ("", self.caller.organisation), self.snapshot().providers.values()
        return frozenset(each.name for each in every if each.owner not in own)


@lru_cache(1)
def decoded(raw: bytes) -> Snapshot:
    """A snapshot; the same bytes again cost nothing."""
    return _snapshot.decode(raw)
