"""The thread that takes the journal into the ledger, again and again, and never dies."""

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from ferryman.control import priority
from ferryman.control.ingest import Ingester
from ferryman.control.priority import Worker
from ferryman.log import log
from ferryman.store.db import MovedError

T = TypeVar("T")
BUSY_PAUSE: Final = 0.2
"""Seconds between looks at the journal while calls come in."""
CROWD: Final = 250
"""Calls in one look after which the next comes later: each costs something beside its calls, and
more calls of one have the same sums, and both of their records, in it."""
CROWDED_PAUSE: Final = 0.5
IDLE_PAUSE: Final = 1.0
IDLE_AFTER: Final = 30.0
"""Seconds without a new row after which looking once a second is enough."""
LONGEST_RETRY: Final = 10.0
CATCH_UP: Final = 5.0
"""Seconds a reader waits at most for the ledger to be up to date."""
KEYS_PAUSE: Final = 0.5
"""Seconds between looks at what the feed tells, for changes made past this process."""

STEPS: Final = (19, 10, 0)
"""Nice steps of the thread, of those there are: the journal can wait, and who asks the admin API
less so. But not for ever: where others want all processors, the first gets a hundredth of one."""
BEHIND: Final = 5.0
"""Seconds that a record may wait before that counts."""
STARVED: Final = 0.25
"""Who gets a smaller share of a processor than that is kept from working."""


def urgency(now: int, waiting: float, share: float) -> int:
    """The place in ``STEPS`` of what is done next, after one at ``now`` got this ``share``.

    ``waiting``: for how long the oldest record has been there, seconds. Where there is processor
    enough, being behind is no reason to take it from others.
    """
    if waiting < BEHIND:
        return 0
    return min(now + 1, len(STEPS) - 1) if share < STARVED else now


class Rounds:
    """Ingests in the background; ``catch_up`` waits until what is there now is in."""

    def __init__(
        self,
        ingester: Ingester,
        look_at_keys: Callable[[], None],
        tidy: Callable[[], None],
        moved: Callable[[], None],
    ) -> None:
        """``look_at_keys`` is called about twice a second as well, ``tidy`` after each round, and
        ``moved`` at the end where the database was moved elsewhere."""
        self._tidy = tidy
        self._moved = moved
        self._ingester = ingester
        self._look_at_keys = look_at_keys
        self._keys_due = 0.0
        self._wake = threading.Condition()
        self._asked = 0
        self._begun = 0
        self._done = 0
        """Rounds are counted: one that began after a reader asked has seen all that was there."""
        self._stopping = False
        self._failing = ""
        self._whole = time.monotonic()
        """When the last look at the journal began after which nothing was left."""
        self._urgency = 0
        self._urgent = 0
        """Rounds up to this one are waited for by data planes, whose calls wait for them."""
        self._workers: dict[int, Worker] = {}
        self._thread = threading.Thread(target=self._run, name="ingestion", daemon=True)

    @property
    def failing(self) -> str:
        """What keeps ingestion from working now; empty when it works."""
        return self._failing

    def start(self) -> None:
        """Begin."""
        priority.as_at_first(self._thread.start)

    def catch_up(self, patience: float = CATCH_UP, *, urgent: bool = False) -> bool:
        """Wait until everything journaled before now is in the ledger, or ``patience`` seconds.

        While ingestion fails it doesn't wait: an answer from yesterday beats none. ``urgent``:
        it is done as urgently as the calls that wait for it. Returns whether all of it is in.
        """
        with self._wake:
            target = self._begun + 1
            self._asked = max(self._asked, target)
            if urgent:
                self._urgent = target
            self._wake.notify_all()
            self._wake.wait_for(
                lambda: self._done >= target or self._stopping or bool(self._failing), patience
            )
            return self._done >= target and not self._failing

    def stop(self, patience: float) -> None:
        """Take in what is left, for ``patience`` seconds at most, and end."""
        self.catch_up(patience)
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join(patience)
        if not self._thread.is_alive():
            self._ingester.close()

    def _run(self) -> None:
        self._workers = {steps: Worker(f"ingestion-{steps}", steps) for steps in STEPS}
        last_row = time.monotonic()
        retry = BUSY_PAUSE
        while True:
            with self._wake:
                if self._stopping:
                    return
                self._begun += 1
                begun = self._begun
            try:
                rows = self._round()
            except MovedError as error:
                self._note_moved(error)
                return
            except Exception as error:
                # Whatever it is, the journal keeps the records: say it, wait, try again.
                self._note_failure(error, retry)
                pause, retry = retry, min(retry * 2, LONGEST_RETRY)
            else:
                if self._failing:
                    log("control", "the ledger takes records in again")
                    self._failing = ""
                retry = BUSY_PAUSE
                now = time.monotonic()
                if rows:
                    last_row = now
                pause = BUSY_PAUSE if now - last_row < IDLE_AFTER else IDLE_PAUSE
                pause = CROWDED_PAUSE if rows >= CROWD else pause
            with self._wake:
                self._done = begun
                self._wake.notify_all()
                self._wake.wait_for(
                    lambda done=begun: self._stopping or self._asked > done,  # type: ignore[misc]
                    pause,
                )

    def _round(self) -> int:
        rows = self._do(self._look)
        while self._ingester.behind and not self._stopping:
            rows += self._do(self._take)
        if not self._stopping:
            self._do(self._tidy)
        return rows

    def _do(self, work: Callable[[], T]) -> T:
        """Have it done as urgently as it is now."""
        if self._begun <= self._urgent:
            return self._workers[STEPS[-1]].do(work)[0]
        done, share = self._workers[STEPS[self._urgency]].do(work)
        self._urgency = urgency(self._urgency, time.monotonic() - self._whole, share)
        return done

    def _look(self) -> int:
        now = time.monotonic()
        if now >= self._keys_due:
            self._keys_due = now + KEYS_PAUSE
            self._look_at_keys()
        return self._take()

    def _take(self) -> int:
        began = time.monotonic()
        rows = self._ingester.run_once(polite=not self._urgency and self._begun > self._urgent)
        if not self._ingester.behind:
            self._whole = began
        return rows

    def _note_moved(self, error: MovedError) -> None:
        log("control", f"{error} The journal goes there from the next start on.")
        with self._wake:
            self._failing = str(error)
            self._wake.notify_all()
        self._moved()

    def _note_failure(self, error: Exception, retry: float) -> None:
        cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        text = f"{type(error).__name__}: {cause}"
        if text != self._failing:
            log(
                "control",
                f"can't take records into the ledger ({text}); they stay in the journal, "
                f"trying again every {LONGEST_RETRY:g} s or sooner",
            )
        self._failing = text
