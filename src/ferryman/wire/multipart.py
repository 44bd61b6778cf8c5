"""Forms (``multipart/form-data``) read as they come, as far as the gateway must know them.

RFC 7578 says what a form is, RFC 2046 §5.1 how its parts are told apart. Files are passed over; of
the plain fields only ``model`` is read, and where it stands is kept, so that another value can be
sent in its place.
"""

import hashlib
import re

from ferryman.http1.spool import Spool
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.wire.envelope import MAX_MODEL_NAME

MAX_PART_HEAD = 16_384
"""Bytes of a part's own headers."""
MAX_PARTS = 1_000
_READ = 65_536
_BOUNDARY = re.compile(rb"""(?i);[ \t]*boundary=(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))""")
_DISPOSITION = re.compile(rb"(?i)(?:^|\r\n)content-disposition:[ \t]*form-data([^\r\n]*)")
_PARAMETER = re.compile(rb"""[ \t]*;[ \t]*([^\s=;"]+)=(?:"([^"]*)"|([^\s;"]*))""")


def _bad(message: str, param: str | None = None) -> GatewayError:
    return GatewayError(400, ErrorKind.INVALID_REQUEST, message, param=param)


def _name(parameters: bytes) -> bytes:
    """A part's name, from what stands behind ``form-data``. Raises :class:`GatewayError`.

    Where readers differ (RFC 7578 §4.2, §5.1), another one could find another name than we do.
    """
    name = None
    at = 0
    while found := _PARAMETER.match(parameters, at):
        at = found.end()
        key = found[1].lower()
        value = found[2] if found[2] is not None else found[3]
        if b"\\" in value and (key == b"name" or value.endswith(b"\\")):
            break
        if key == b"name*" or (key == b"name" and name is not None):
            break
        if key == b"name":
            name = value
    else:
        if not parameters[at:].strip(b" \t;"):
            return name or b""
    raise _bad("A part's content-disposition can be read in several ways; write it plainly.")


class FormReader:
    """Follows a form through its spool, in any number of steps."""

    def __init__(self, spool: Spool, content_type: bytes, measured: bool = False) -> None:
        """``measured``: a digest is made. Raises :class:`GatewayError` (400) when the type names no
        boundary."""
        found = _BOUNDARY.search(content_type)
        if found is None:
            raise _bad("The content-type of the form names no boundary.")
        self.spool = spool
        self.model = ""
        """The model's name, once it has come."""
        self.model_at = (0, 0)
        """Where it stands in the spool, from and up to."""
        self.closed = False
        """True once the form's own end has come."""
        self._mark = b"\r\n--" + (found[1] or found[2])
        self._window = bytearray(b"\r\n")  # as if a line ended before the first mark
        self._base = -2  # where the window begins in the spool
        self._in_head = False
        self._is_model = False
        self._parts = 0
        self._began = 0
        self._whole = hashlib.sha256() if measured else None
        self._part = hashlib.sha256()

    @property
    def digest(self) -> bytes:
        """Of all parts, whatever the boundary between them; empty until their end has come."""
        return self._whole.digest() if self.closed and self._whole is not None else b""

    def follow(self) -> None:
        """Read what has come since the last time. Raises :class:`GatewayError` (400)."""
        window = self._window
        while not self.closed:
            data = self.spool.read(self._base + len(window), _READ)
            if not data:
                return
            window += data
            while not self.closed and (self._head() if self._in_head else self._content()):
                pass

    def _measure(self, count: int, ended: bool) -> None:
        """The next bytes of a part's head or content."""
        if self._whole is not None:
            self._part.update(memoryview(self._window)[:count])
            if ended:
                self._whole.update(self._part.digest())
                self._part = hashlib.sha256()

    def _drop(self, count: int) -> None:
        del self._window[:count]
        self._base += count

    def _content(self) -> bool:
        """Pass over a part's content; True when its end has come."""
        window, mark = self._window, self._mark
        at = window.find(mark)
        if at < 0:
            # What is gone from the window is never looked at again: a form may be of any length.
            passed = max(len(window) - len(mark) - 1, 0)
            self._measure(passed, ended=False)
            self._drop(passed)
            return False
        after = bytes(window[at + len(mark) : at + len(mark) + 2])
        if len(after) < 2:
            return False
        if after != b"--" and after[:1] not in (b"\r", b" ", b"\t"):
            raise _bad("The form's boundary stands within a longer line: what is meant is unclear.")
        if self._is_model:
            self._take_model(self._base + at)
        self.closed = after == b"--"
        self._in_head = not self.closed
        self._measure(at, ended=True)
        # Of the line end after the mark two bytes stay: a head without any line begins with it.
        self._drop(at + len(mark))
        return True

    def _head(self) -> bool:
        """Read a part's headers; True when all of them have come."""
        end = self._window.find(b"\r\n\r\n")
        if end > MAX_PART_HEAD or (end < 0 and len(self._window) > MAX_PART_HEAD):
            raise _bad(f"A part of the form has headers of over {MAX_PART_HEAD} bytes.")
        if end < 0:
            return False
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _bad(f"The form has over {MAX_PARTS} parts.")
        disposition = _DISPOSITION.search(bytes(self._window[:end]))
        self._is_model = disposition is not None and _name(disposition[1]) == b"model"
        self._in_head = False
        self._measure(end, ended=True)
        self._drop(end + 2)  # content without a byte ends right after the head's last line end
        self._began = self._base + 2
        return True

    def _take_model(self, end: int) -> None:
        if self.model:
            raise _bad("The form names a model twice.", "model")
        size = end - self._began
        value = self.spool.read(self._began, size) if 0 < size <= 4 * MAX_MODEL_NAME else b""
        try:
            self.model = value.decode()
        except UnicodeDecodeError:
            raise _bad("'model' must be text in UTF-8.", "model") from None
        if not 0 < len(self.model) <= MAX_MODEL_NAME:
            raise _bad(f"'model' must have 1 to {MAX_MODEL_NAME} characters.", "model")
        self.model_at = (self._began, end)
