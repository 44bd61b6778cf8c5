"""How the journals stand, in the admin API: what is not in the ledger yet, and what is damaged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ferryman.client.documents import Damage, Journal, PlaneJournal
from ferryman.control.admin import Admin
from ferryman.control.api.route import Route
from ferryman.store import intake, journal


def journals(admin: Admin) -> Journal:
    """What waits to be taken into the ledger, what of it is damaged, and what was met so far."""
    read_to = {(at.plane, at.segment): at for at in intake.positions(admin.engine)}
    root = admin.options.paths.journal
    planes = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    ahead = {seen.plane: seen.ahead for seen in admin.planes()}
    return Journal(
        failing=admin.failing() or None,
        planes=[_plane(path, read_to, ahead.get(path.name)) for path in planes],
        met={
            name: number
            for name, number in intake.counts(admin.engine).items()
            if name.startswith(_MET)
        },
    )


_MET = ("calls_", "journal_", "tokens_")
"""How the names of what ingestion counts begin (docs/ledger.md)."""


def _plane(
    path: Path, positions: dict[tuple[str, int], intake.Position], ahead: float | None
) -> PlaneJournal:
    size = behind = segments = 0
    for number, segment in journal.segments(path):
        try:
            held = segment.stat().st_size
        except OSError:  # taken in and deleted meanwhile
            continue
        at = positions.get((path.name, number))
        read = journal.HEADER_BYTES if at is None else held if at.done else at.read_to
        segments, size, behind = segments + 1, size + held, behind + max(held - read, 0)
    return PlaneJournal(
        plane=path.name, segments=segments, bytes=size, waiting_bytes=behind,
        damaged=list(_damaged(path)), clock_ahead_seconds=ahead,
    )  # fmt: skip


def _damaged(path: Path) -> Iterator[Damage]:
    for kept in sorted(path.glob(f"*{journal.DAMAGED}")):
        try:
            places = journal.damages(kept)
        except OSError as error:
            yield Damage(file=str(kept), offset=None, bytes=None, error=error.strerror)
            continue
        for offset, size in places:
            yield Damage(file=str(kept), offset=offset, bytes=size, error=None)


ROUTES: Final = (Route("GET", "/journal", "journal.read", journals),)
