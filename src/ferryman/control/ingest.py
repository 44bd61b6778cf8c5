"""Takes the data planes' journals into the ledger: every call exactly once, whoever is killed when.

Segments of a plane are read in order of their numbers. Rows and the checkpoint behind them go into
one transaction, so a crash leaves both or neither. A segment is deleted only after the commit that
took in the last of it, and never the newest one, so numbers are not used twice.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec.structs import asdict

from ferryman.ir.usage import EXTRA_COUNTS, PIECES, Extras, Usage, counts
from ferryman.log import log
from ferryman.store import intake, journal
from ferryman.store.intake import MAX_INT, MAX_TEXT, Batch, Position
from ferryman.telemetry.record import (
    CLOSED,
    OPENED,
    PRICED,
    Attempt,
    Candidate,
    Charge,
    Closed,
    Opened,
    Priced,
    candidate_row,
)

MAX_TOKENS: Final = 1 << 40
"""More than any call can have: keeps a mad upstream's number from spoiling every sum."""
READ_BYTES: Final = 64 << 10
YIELD_EVERY: Final = 32
"""Records between offers of the processor to others: a data plane that shares it would else wait
for a whole time slice, some milliseconds, whenever a round is on."""
POLITE_SECONDS: Final = 0.2
"""How long a run makes such offers: where all processors are busy, each may cost a time slice."""
_NO_TOKENS: Final = (None,) * 8
_NO_EXTRAS: Final = (None,) * (2 + len(EXTRA_COUNTS))


class Ingester:
    """Reads ``<journal_root>/<plane>/*.fj`` into the ledger. One thread uses it at a time.

    It holds ``<journal_root>/ingest.lock``: while another process has it, nothing is read here.
    """

    def __init__(self, engine: sa.Engine, journal_root: Path) -> None:
        self._engine = engine
        self._root = journal_root
        self._lock_fd = -1
        self._warned: set[str] = set()
        self._positions: dict[tuple[str, int], Position] | None = None
        self._settled: dict[str, str] = {}
        self.behind = False
        """True when the last run left something unread because of its limit."""

    def run_once(self, max_bytes: int = 4 << 20) -> int:
        """Take in about ``max_bytes`` of journal; returns how many rows were added to ``calls``.

        Raises SQLAlchemy's errors when the database fails; nothing is lost then, and the next run
        starts from the last commit.
        """
        if not self._locked():
            return 0
        if self._positions is None:
            self._positions = {(at.plane, at.segment): at for at in intake.positions(self._engine)}
        batch = Batch(polite_until=time.monotonic() + POLITE_SECONDS)
        self.behind = False
        planes = sorted(path for path in self._root.iterdir() if path.is_dir())
        opened: dict[str, tuple[_PlaneReader, str, Opened]] = {}
        finished: list[Path] = []
        for plane in planes:
            reader = _PlaneReader(plane, self._positions, batch, opened)
            try:
                reader.read(max(1, max_bytes // len(planes)))
            except OSError as error:
                self._warn(f"can't read the journal of plane {plane.name}: {error}")
            finished += reader.finished
            self.behind |= reader.behind
            if reader.boot and self._settled.get(plane.name) != reader.boot:
                batch.boots[plane.name] = reader.boot
        batch.opened = [reader.open_row(boot, start) for reader, boot, start in opened.values()]
        rows = self._commit(batch)
        self._delete(finished)
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
            taken = intake.take_in(self._engine, batch)
        except BaseException:
            self._positions = None  # whether it was committed is not known: ask the database
            raise
        for at in batch.positions:
            self._positions[at.plane, at.segment] = at
        for name in batch.gone:
            del self._positions[name]
        self._settled.update(batch.boots)
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


class _PlaneReader:
    """Adds what is new in one plane's journal to a batch."""

    def __init__(
        self,
        directory: Path,
        positions: dict[tuple[str, int], Position],
        batch: Batch,
        opened: "dict[str, tuple[_PlaneReader, str, Opened]]",
    ) -> None:
        self._directory = directory
        self._plane = directory.name
        self._positions = positions
        self._batch = batch
        self._opened = opened
        self.boot = ""
        """Boot id (hex) of the last segment that was reached; older boots have ended."""
        self.behind = False
        self.finished: list[Path] = []
        """Files to delete after the commit."""

    def read(self, limit: int) -> None:
        """Read about ``limit`` bytes. Raises OSError; what was read before it stays valid."""
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
            limit -= self._segment(number, path, boot, last, limit)
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

    def _segment(self, number: int, path: Path, boot: bytes | None, last: bool, limit: int) -> int:
        """Read one segment from its checkpoint, ``limit`` bytes or so; returns how many."""
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
        done = False
        try:
            while offset - start < limit:
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
        finally:
            moved = Position(self._plane, number, self.boot, offset, done)
            if moved != at:
                self._batch.positions.append(moved)
        return offset - start

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
                    batch.calls.append(self._call_row(call))
                    if opened.pop(call.id, None) is None:
                        batch.closed.append(call.id)
                    seconds = call.at_us // 1_000_000
                    if seconds > batch.used.get(call.key, 0):
                        batch.used[call.key] = seconds
                elif kind == OPENED:
                    start = _opened(payload)
                    opened[start.id] = (self, self.boot, start)
                elif kind == PRICED:
                    price = _priced(payload)
                    self._batch.prices.append(_price_row(price))
                elif kind == journal.BAD:
                    start_at = frames[number - 1].end if number else offset
                    self._damage(path, start_at, end - start_at)
                else:
                    self._count("journal_unknown")
            except msgspec.DecodeError as error:
                self._count("journal_undecodable")
                log("control", f"left out a record in {self._directory}: {error}")

    def open_row(self, boot: str, start: Opened) -> intake.Row:
        """``start`` as a row; most calls end before one is needed."""
        return (
            _text(start.id),
            self._plane,
            boot,
            start.at_us,
            _text(start.key),
            start.endpoint,
            _text(start.model),
            start.provider,
            _text(start.target),
            min(start.hold, MAX_INT),
            *_charge(start.charge),
        )

    def _call_row(self, call: Closed) -> intake.Row:
        usage, cost = call.usage, call.cost
        return (
            _text(call.id),
            call.at_us,
            call.duration_us,
            self._plane,
            _text(call.key),
            call.endpoint,
            _text(call.model),
            call.provider,
            _text(call.target),
            call.stream,
            call.status,
            call.error,
            *(_NO_TOKENS if usage is None else self._tokens(usage)),
            cost if cost is None else min(cost, MAX_INT),
            len(call.attempts),
            _attempts(call.attempts),
            call.first_token_us if call.first_token_us >= 0 else None,
            call.overhead_us if call.overhead_us >= 0 else None,
            intake.CLOSED,
            call.policy or None,
            _plan(call.plan),
            call.unknown_cost,
            call.cache or None,
            call.saved if call.saved is None else min(call.saved, MAX_INT),
            *_charge(call.charge),
            *(_NO_EXTRAS if usage is None or usage.extras is None else self._extras(usage.extras)),
            call.price or None,
            None if usage is None or usage.extras is None else _pieces(usage.extras),
        )

    def _tokens(self, usage: Usage) -> tuple[int, ...]:
        """Token counts in the order of ``TOKEN_CLASSES``."""
        counts = (
            usage.input,
            usage.cache_read,
            usage.cache_write,
            usage.cache_write_1h,
            usage.audio_input,
            usage.output,
            usage.reasoning,
            usage.audio_output,
        )
        if min(counts) < 0 or max(counts) > MAX_TOKENS:
            self._count("tokens_clamped")
            return tuple(max(0, min(count, MAX_TOKENS)) for count in counts)
        return counts

    def _extras(self, extras: Extras) -> tuple[str | int | None, ...]:
        counts = (getattr(extras, name) for name in EXTRA_COUNTS)
        clamped = (max(0, min(count, MAX_TOKENS)) or None for count in counts)
        return (extras.service or None, extras.region or None, *clamped)

    def _count(self, name: str, by: int = 1) -> None:
        self._batch.counts[name] = self._batch.counts.get(name, 0) + by


def _text(text: str) -> str:
    """``text`` as every database takes it: callers choose model names."""
    if len(text) > MAX_TEXT or "\0" in text:
        return text.replace("\0", "\ufffd")[:MAX_TEXT]
    return text


def _attempts(attempts: tuple[Attempt, ...]) -> str:
    return _encode([_attempt(each) for each in attempts]).decode()


def _attempt(each: Attempt) -> dict[str, Any]:
    """As in the ledger: what it used stands there where it is not what the call did."""
    row = asdict(each)
    for name in ("usage", "cost", "whole"):
        del row[name]
    if not each.price:
        del row["price"]
    if each.usage is not None:
        row["tokens"] = {name: count for name, count in counts(each.usage).items() if count}
    if each.cost is not None:
        row["cost_pico"] = min(each.cost, MAX_INT)
    return row if each.whole else {**row, "unknown_cost": True}


def _pieces(extras: Extras) -> str | None:
    """What the ledger has no column for, as far as there is any."""
    counts = {name: min(count, MAX_TOKENS) for name in PIECES if (count := getattr(extras, name))}
    said = {"context": extras.context, **counts} if extras.context else counts
    return _encode(said).decode() if said else None


def _charge(charge: Charge | None) -> tuple[str | None, int | None, int | None]:
    if charge is None:
        return None, None, None
    budgets = _encode(charge.budgets).decode().replace("\\u0000", "")
    return budgets, min(charge.picodollars, MAX_INT), min(charge.tokens, MAX_TOKENS)


def _plan(plan: tuple[Candidate, ...]) -> str | None:
    return _encode([candidate_row(each) for each in plan]).decode() if plan else None


def _price_row(price: Priced) -> intake.Row:
    listed = _encode(price.prices).decode()
    return (price.id, price.provider, _text(price.model), int(time.time()), listed)


_encode: Final = msgspec.json.Encoder().encode
_opened: Final = msgspec.msgpack.Decoder(Opened).decode
_priced: Final = msgspec.msgpack.Decoder(Priced).decode
_closed: Final[Any] = msgspec.msgpack.Decoder(Closed).decode
