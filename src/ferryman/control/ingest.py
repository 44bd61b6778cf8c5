"""Takes the data planes' journals into the ledger: every call exactly once, whoever is killed when.

Segments of a plane are read in order of their numbers. Rows and the checkpoint behind them go into
one transaction, so a crash leaves both or neither. A segment is deleted only after the commit that
took in the last of it, and never the newest one, so numbers are not used twice.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from ferryman.control import entries
from ferryman.log import log
from ferryman.store import intake, journal
from ferryman.store.intake import Batch, Position
from ferryman.store.schema import DAY_US
from ferryman.telemetry.record import (
    CLOSED,
    FEEDBACK,
    LEAKED,
    OPENED,
    PRICED,
    RAISED,
    REFUSED,
    Charge,
    Closed,
    Feedback,
    Leaked,
    Opened,
    Priced,
    Refused,
)

READ_BYTES: Final = 64 << 10
MOST_GROUPS: Final = 20_000
"""Of groups of calls that are kept in mind, so that they are not written again: 2 MB."""
YIELD_EVERY: Final = 32
"""Records between offers of the processor to others: a data plane that shares it would else wait
for a whole time slice, some milliseconds, whenever a round is on."""
POLITE_SECONDS: Final = 0.2
"""How long a run makes such offers: where all processors are busy, each may cost a time slice."""
READ_SECONDS: Final = 0.5
"""After which a run reads no further, and writes what it has: where others want all processors,
what a run does otherwise takes minutes."""


class Hears(Protocol):
    """Who hears what budgets bear: (Unix microseconds, charge) of each call."""

    def __call__(self, charged: Sequence[tuple[int, Charge]], *, doubtful: bool) -> None:
        """``doubtful``: the ledger has taken in more or less than that."""


class Exports(Protocol):
    """Who is handed the calls that the ledger has taken in, now and then one twice."""

    @property
    def on(self) -> bool:
        """Whether it wants them now."""

    def take(self, calls: Sequence[Closed]) -> None:
        """They are committed."""


class Ingester:
    """Reads ``<journal_root>/<plane>/*.fj`` into the ledger. One thread uses it at a time.

    It holds ``<journal_root>/ingest.lock``: while another process has it, nothing is read here.
    """

    def __init__(
        self,
        engine: sa.Engine,
        journal_root: Path,
        charged: "Hears | None" = None,
        exports: "Sequence[Exports]" = (),
        leaked: Callable[[Leaked], None] = lambda _: None,
    ) -> None:
        """``charged`` hears after each run what budgets bear of the calls in it, ``exports`` are
        given these themselves; ``leaked`` hears of reported keys before they are taken in, and
        after a crash or an error of its own again."""
        self._leaked = leaked
        self._charged = charged
        self._exports = exports
        self._engine = engine
        self._root = journal_root
        self._lock_fd = -1
        self._warned: set[str] = set()
        self._positions: dict[tuple[str, int], Position] | None = None
        self._slot: int | None = None
        self._in_slot = 0
        self._groups: set[bytes] = set()
        """Some of those that are in the database."""
        self._settled: dict[str, str] = {}
        self._doubtful = True
        """True: what the ledger has is not what was told of it."""
        self.behind = False
        """True when the last run left something unread because of its limit."""

    def run_once(self, max_bytes: int = 4 << 20, *, polite: bool = True) -> int:
        """Take in about ``max_bytes`` of journal; returns how many rows were added to ``calls``.

        ``polite``: now and then, others are let through. However little time there is for it, a
        run gets further.

        Raises SQLAlchemy's errors when the database fails; nothing is lost then, and the next run
        starts from the last commit.
        """
        if not self._locked():
            return 0
        if self._positions is None:
            self._slot, self._in_slot = intake.slot(self._engine)
            self._groups.clear()
            self._positions = {(at.plane, at.segment): at for at in intake.positions(self._engine)}
        if self._slot is not None and self._in_slot >= intake.SLOT_CALLS:
            self._slot, self._in_slot = self._slot + 1, 0
        began = time.monotonic()
        batch = Batch(
            polite_until=began + POLITE_SECONDS if polite else 0.0,
            slot=self._slot,
            groups=self._groups,
        )
        if any(each.on for each in self._exports):
            batch.ended = []
        self.behind = False
        planes = sorted(path for path in self._root.iterdir() if path.is_dir())
        opened: dict[str, tuple[_PlaneReader, str, bytes]] = {}
        finished: list[Path] = []
        for plane in planes:
            reader = _PlaneReader(plane, self._positions, batch, opened)
            try:
                reader.read(max(1, max_bytes // len(planes)), began + READ_SECONDS)
            except OSError as error:
                self._warn(f"can't read the journal of plane {plane.name}: {error}")
            finished += reader.finished
            self.behind |= reader.behind
            if reader.boot and self._settled.get(plane.name) != reader.boot:
                batch.boots[plane.name] = reader.boot
        for reader, boot, payload in opened.values():
            reader.leave_open(boot, payload)
        for report in batch.leaked:
            self._leaked(report)
        rows = self._commit(batch)
        self._delete(finished)
        for each in self._exports if batch.ended else ():
            each.take(batch.ended or ())
        if self._charged is not None:
            doubtful, self._doubtful = self._doubtful, True
            self._charged(batch.charged, doubtful=doubtful)
            self._doubtful = False
        return rows

    def drain(self, max_bytes: int = 4 << 20) -> int:
        """Run until nothing is left to read; returns how many rows were added."""
        rows = self.run_once(max_bytes)
        while self.behind:
            rows += self.run_once(max_bytes)
        return rows

    def close(self) -> None:
        """Let another process ingest."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _commit(self, batch: Batch) -> int:
        assert self._positions is not None
        if not (batch.positions or batch.boots):
            return 0
        try:
            self._doubtful = True
            taken = intake.take_in(self._engine, batch)
        except BaseException:
            self._positions = None  # whether it was committed is not known: ask the database
            raise
        for at in batch.positions:
            self._positions[at.plane, at.segment] = at
        for name in batch.gone:
            del self._positions[name]
        self._settled.update(batch.boots)
        self._in_slot += taken.rows
        if len(self._groups) > MOST_GROUPS:
            self._groups.clear()
        self._groups.update(taken.groups)
        self._doubtful = bool(taken.lost) or taken.rows != len(batch.calls)
        if taken.lost:
            log("control", f"{taken.lost} calls of a gateway that died are settled at their hold")
        return taken.rows

    def _locked(self) -> bool:
        if self._lock_fd >= 0:
            return True
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._root / "ingest.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            self._warn(f"another control plane ingests {self._root}: this one waits until it ends")
            return False
        self._lock_fd = fd
        return True

    def _delete(self, finished: list[Path]) -> None:
        for path in finished:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._warn(f"can't delete {path}, which is in the ledger: {error.strerror}")

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            log("control", message)


def batch_of(plane: str, calls: Iterable[Closed], prices: Iterable[Priced] = ()) -> Batch:
    """What ingestion would write of ``calls`` that ended on ``plane``, without a journal."""
    batch = Batch(prices=[entries.price_row(each) for each in prices])
    reader = _PlaneReader(Path(plane), {}, batch, {})
    for each in calls:
        reader.end(each)
    return batch


class _PlaneReader:
    """Adds what is new in one plane's journal to a batch."""

    def __init__(
        self,
        directory: Path,
        positions: dict[tuple[str, int], Position],
        batch: Batch,
        opened: "dict[str, tuple[_PlaneReader, str, bytes]]",
    ) -> None:
        self._directory = directory
        self._plane = directory.name
        self._positions = positions
        self._batch = batch
        self._opened = opened
        self._raised: set[str] = set()
        """Calls that were opened before, maybe in an earlier batch."""
        self.boot = ""
        """Boot id (hex) of the last segment that was reached; older boots have ended."""
        self.behind = False
        self.finished: list[Path] = []
        """Files to delete after the commit."""

    def read(self, limit: int, until: float) -> None:
        """Read about ``limit`` bytes, until about then (monotonic) at the longest, but something.

        Raises OSError; what was read before it stays valid.
        """
        # Listed before anything is read: a segment with a successor gets no more frames.
        found = journal.segments(self._directory)
        numbers = {number for number, _ in found}
        self._batch.gone += [
            name for name in self._positions if name[0] == self._plane and name[1] not in numbers
        ]
        for place, (number, path) in enumerate(found):
            last = number == found[-1][0]
            boot = journal.boot_of(path)
            if boot is None and path.stat().st_size >= journal.HEADER_BYTES:
                boot = self._lost_boot(number, found[place + 1 :])
                if boot is None:
                    return  # until there is one
                if (self._plane, number) not in self._positions:
                    self._damage(path, 0, journal.HEADER_BYTES)
            limit -= self._segment(number, path, boot, last, limit, until)
            if limit <= 0:
                self.behind = True
                return
            if not last:
                self.finished.append(path)

    def _lost_boot(self, number: int, later: list[tuple[int, Path]]) -> bytes | None:
        """The boot of a segment whose header is damaged: as known, or else that of the next one.

        The next one settles no call too early; an older one might.
        """
        at = self._positions.get((self._plane, number))
        if at is not None:
            return bytes.fromhex(at.boot)
        boots = (journal.boot_of(path) for _, path in later)
        return next((boot for boot in boots if boot is not None), None)

    def _segment(
        self, number: int, path: Path, boot: bytes | None, last: bool, limit: int, until: float
    ) -> int:
        """Read one segment from its checkpoint, ``limit`` bytes or so; returns how many, or at
        least as many if the time was up."""
        at = self._positions.get((self._plane, number))
        if boot is None:
            if not last and at is None:
                self._skip(path, 0)
                self._batch.positions.append(Position(self._plane, number, "", 0, True))
            return 0
        self.boot = boot.hex()
        if at is None or at.boot != self.boot:
            at = Position(self._plane, number, self.boot, 0, False)
        elif at.done:
            return 0
        start = offset = max(at.read_to, journal.HEADER_BYTES)
        done = late = False
        try:
            while offset - start < limit and not late:
                frames, torn = journal.read_segment(path, offset, limit=min(limit, READ_BYTES))
                self._take(path, offset, frames)
                offset = frames[-1].end if frames else offset
                sound = journal.next_frame(path, offset) if torn else None
                if sound is not None:
                    if sound > offset:
                        self._damage(path, offset, sound - offset)
                    offset = sound
                elif torn or not frames:
                    done = not last
                    if torn and done:
                        self._skip(path, offset)
                    break
                late = time.monotonic() > until
        finally:
            moved = Position(self._plane, number, self.boot, offset, done)
            if moved != at:
                self._batch.positions.append(moved)
        return limit if late else offset - start

    def _skip(self, path: Path, offset: int) -> None:
        lost = path.stat().st_size - offset
        self._count("journal_torn")
        self._count("journal_torn_bytes", lost)
        log(
            "control",
            f"skipped the last {lost} bytes of {path} from offset {offset}: not a whole record. "
            "That is normal where a machine or process died while writing; else check the disk",
        )

    def _damage(self, path: Path, offset: int, size: int) -> None:
        """Tell of a damaged place, and keep the segment for whoever wants to look at it."""
        self._count("journal_damaged")
        self._count("journal_damaged_bytes", size)
        try:
            kept = f"kept as {journal.set_aside(path)}"
        except OSError as error:
            kept = f"it can't be kept: {error.strerror}"
        log(
            "control",
            f"alert: {size} bytes of {path} at offset {offset} are damaged and left out; what "
            f"comes before and after them is taken in ({kept}). Check the disk",
        )

    def _take(self, path: Path, offset: int, frames: list[journal.Frame]) -> None:
        """Take in ``frames`` of ``path``, the first of which begins at ``offset``."""
        batch, opened = self._batch, self._opened
        for number, (kind, payload, end) in enumerate(frames):
            if number % YIELD_EVERY == 0:
                batch.give_way()
            try:
                if kind == CLOSED:
                    call = _closed(payload)
                    self.end(call)
                    if opened.pop(call.id, None) is None or call.id in self._raised:
                        batch.closed.append(call.id)
                elif kind == OPENED:
                    opened[_named(payload).id] = (self, self.boot, payload)
                elif kind == RAISED:
                    name = _named(payload).id
                    opened[name] = (self, self.boot, payload)
                    self._raised.add(name)
                elif kind == PRICED:
                    price = _priced(payload)
                    self._batch.prices.append(entries.price_row(price))
                elif kind == FEEDBACK:
                    batch.feedback.append(entries.feedback_row(_feedback(payload)))
                elif kind == LEAKED:
                    batch.leaked.append(_leaked(payload))
                elif kind == REFUSED:
                    batch.refused.append(entries.noted(_refused(payload)))
                elif kind == journal.BAD:
                    start_at = frames[number - 1].end if number else offset
                    self._damage(path, start_at, end - start_at)
                else:
                    self._count("journal_unknown")
            except msgspec.DecodeError as error:
                self._leave_out(error)

    def leave_open(self, boot: str, payload: bytes) -> None:
        """Take in that a call has begun; most end before that is worth reading."""
        try:
            start = _opened(payload)
        except msgspec.DecodeError as error:
            self._leave_out(error)
        else:
            self._batch.opened.append(entries.open_row(self._plane, boot, start))

    def end(self, call: Closed) -> None:
        """Add a call that has ended."""
        batch = self._batch
        slot = call.at_us // DAY_US if batch.slot is None else batch.slot
        batch.calls.append(entries.call_row(self._plane, slot, call, self._count))
        if len(call.attempts) > 1:
            batch.upstream_ids += entries.given_up(call)
        if batch.ended is not None:
            batch.ended.append(call)
        if call.charge is not None:
            batch.charged.append((call.at_us, call.charge))
        seconds = call.at_us // 1_000_000
        if seconds > batch.used.get(call.key, 0):
            batch.used[call.key] = seconds

    def _leave_out(self, error: msgspec.DecodeError) -> None:
        self._count("journal_undecodable")
        log("control", f"left out a record in {self._directory}: {error}")

    def _count(self, name: str, by: int = 1) -> None:
        self._batch.counts[name] = self._batch.counts.get(name, 0) + by


class _Named(Struct, array_like=True):
    """A record of which only the id is read."""

    id: str


_named: Final = msgspec.msgpack.Decoder(_Named).decode
_leaked: Final = msgspec.msgpack.Decoder(Leaked).decode
_feedback: Final = msgspec.msgpack.Decoder(Feedback).decode
_refused: Final = msgspec.msgpack.Decoder(Refused).decode
_opened: Final = msgspec.msgpack.Decoder(Opened).decode
_priced: Final = msgspec.msgpack.Decoder(Priced).decode
_closed: Final[Any] = msgspec.msgpack.Decoder(Closed).decode
