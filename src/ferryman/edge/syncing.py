"""The thread that has the journal survive a power cut, every so often."""

import threading
from collections.abc import Callable
from typing import Final

from ferryman.store.journal import JournalError, JournalWriter

SECONDS: Final = 0.05
"""Between two syncs, unless the configuration says otherwise."""


class Syncing:
    """Syncs a journal in a thread of its own, of which the event loop need not hear."""

    def __init__(self, journal: JournalWriter, log: Callable[[str], None]) -> None:
        self._journal = journal
        self._log = log
        self._seconds = SECONDS
        self._failure = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal sync", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def adopt(self, milliseconds: int) -> None:
        """Sync so often from now on; 0: at every record, before anything that counts on it."""
        self._seconds = milliseconds / 1000 or SECONDS
        if not milliseconds and not self._journal.eager:
            self._sync()
        self._journal.eager = not milliseconds

    def stop(self) -> None:
        """End; a sync that is under way is waited for."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            if not self._journal.eager:
                self._sync()

    def _sync(self) -> None:
        try:
            self._journal.sync()
            self._failure = ""
        except JournalError as error:
            if str(error) != self._failure:
                self._log(str(error))
            self._failure = str(error)
