"""How the journals stand, in the admin API: what is not in the ledger yet, and what is damaged."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response

from ferryman.control.changes import answer
from ferryman.store import intake, journal

if TYPE_CHECKING:
    from ferryman.control.admin import Admin


def add(app: FastAPI, admin: "Admin") -> None:
    """Add the route."""

    @app.get("/admin/v1/journal", tags=["ledger"], summary="What waits, and what is damaged")
    def journals() -> Response:
        read_to = {(at.plane, at.segment): at for at in intake.positions(admin.engine)}
        root = admin.journal
        planes = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        return answer(
            {
                "failing": admin.failing() or None,
                "planes": [_plane(path, read_to) for path in planes],
                "met": {
                    name: number
                    for name, number in intake.counts(admin.engine).items()
                    if name.startswith(_MET)
                },
            }
        )


_MET = ("calls_", "journal_", "tokens_")
"""How the names of what ingestion counts begin (docs/ledger.md)."""


def _plane(path: Path, positions: dict[tuple[str, int], intake.Position]) -> dict[str, Any]:
    size = behind = segments = 0
    for number, segment in journal.segments(path):
        try:
            held = segment.stat().st_size
        except OSError:  # taken in and deleted meanwhile
            continue
        at = positions.get((path.name, number))
        read = journal.HEADER_BYTES if at is None else held if at.done else at.read_to
        segments, size, behind = segments + 1, size + held, behind + max(held - read, 0)
    return {
        "plane": path.name,
        "segments": segments,
        "bytes": size,
        "waiting_bytes": behind,
        "damaged": list(_damaged(path)),
    }


def _damaged(path: Path) -> Iterator[dict[str, Any]]:
    for kept in sorted(path.glob(f"*{journal.DAMAGED}")):
        try:
            places = journal.damages(kept)
        except OSError as error:
            yield {"file": str(kept), "offset": None, "bytes": None, "error": error.strerror}
            continue
        for offset, size in places:
            yield {"file": str(kept), "offset": offset, "bytes": size, "error": None}
