"""Keeps the ledger small and quick to read: small steps between the rounds of ingestion."""

import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from ferryman.config.model import Retention
from ferryman.log import log
from ferryman.store import condensed, retention
from ferryman.store.db import DatabaseError

EVERY: Final = 600.0
"""Seconds between two looks at what is old enough."""


class Keeper:
    """Does what the configuration says about how long things are kept. One thread uses it."""

    def __init__(self, engine: sa.Engine, kept: Callable[[], Retention | None]) -> None:
        """``kept`` is None as long as there is no good configuration: then nothing goes."""
        self._engine = engine
        self._kept = kept
        self._due = 0.0
        self._sweeping = False
        self._over: list[Callable[[], None]] = []
        """What is still to be done to condense what is over."""
        self._failure = ""
        self._failed = False
        """Whether something has since the last look at what is to be done."""

    def step(self) -> None:
        """Do a little, if it is time. Never raises: what fails is said once, and tried again."""
        kept = self._kept()
        if kept is None or time.monotonic() < self._due:
            return
        try:
            self._step(kept)
        except (sa.exc.SQLAlchemyError, DatabaseError) as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            if cause != self._failure:
                log("control", f"can't tidy up the ledger ({cause}); trying again later")
            self._failure, self._failed = cause, True
            # What else is to be condensed waits as well: the database may be what fails.
            self._due, self._sweeping = time.monotonic() + EVERY / 10, False
        else:
            if not self._sweeping and not self._over:
                self._due = time.monotonic() + EVERY

    def _step(self, kept: Retention) -> None:
        if self._sweeping:
            self._sweeping = retention.sweep(self._engine)
            return
        if self._over:
            self._over.pop(0)()
            return
        if not self._failed:
            self._failure = ""
        self._failed = False
        retention.make_ahead(self._engine, time.time())
        retention.raise_floors(self._engine, kept, time.time())
        self._over = condensed.steps(self._engine, time.time())
        # From the next step on: whoever reads by the floors that were has ended by then.
        self._sweeping = True
