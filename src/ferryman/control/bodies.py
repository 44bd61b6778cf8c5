"""Takes what data planes keep of prompts and answers into the database, still sealed."""

from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from ferryman.log import log
from ferryman.store import journal
from ferryman.store.bodies import BODY, Sealed
from ferryman.store.contents import Contents

AT_ONCE: Final = 4 << 20
"""Bytes read in one step."""
_sealed: Final = msgspec.msgpack.Decoder(Sealed).decode


class BodyIntake:
    """Reads ``<root>/<plane>/*.fj``. One thread uses it.

    Where it stands is not written down: what is read again after a restart is there already.
    """

    def __init__(self, contents: Contents, root: Path) -> None:
        self._contents = contents
        self._root = root
        self._read_to: dict[Path, int] = {}
        self._failure = ""

    def step(self) -> None:
        """Take in a little of each. Never raises: what fails is said once, and tried again."""
        try:
            planes = [path for path in self._root.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return
        try:
            for plane in planes:
                self._plane(plane)
            self._failure = ""
        except (OSError, sa.exc.SQLAlchemyError) as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            if cause != self._failure:
                log("control", f"can't take in the contents of calls ({cause}); trying again")
            self._failure = cause

    def _plane(self, plane: Path) -> None:
        found = journal.segments(plane)
        for path in self._read_to.keys() - {path for _, path in found}:
            if path.parent == plane:
                del self._read_to[path]
        for number, path in found:
            last = number == found[-1][0]
            offset = self._read_to.get(path, 0)
            if path.stat().st_size > max(offset, journal.HEADER_BYTES):
                frames, torn = journal.read_segment(path, offset, limit=AT_ONCE)
                self._contents.add(_whole(frames))
                offset = frames[-1].end if frames else offset
                if torn and not last and not frames:
                    offset = journal.next_frame(path, offset) or path.stat().st_size
                self._read_to[path] = offset
            if last or offset < path.stat().st_size:
                return
            path.unlink(missing_ok=True)


def _whole(frames: list[journal.Frame]) -> list[Sealed]:
    found = []
    for frame in frames:
        if frame.kind == BODY:
            try:
                found.append(_sealed(frame.payload))
            except msgspec.DecodeError:
                continue
    return found
