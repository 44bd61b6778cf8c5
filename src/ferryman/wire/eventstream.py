"""Messages of ``application/vnd.amazon.eventstream``: the binary framing of AWS streams.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTSelectObjectAppendix.html and
https://smithy.io/2.0/aws/amazon-eventstream.html: total length and length of the headers (32 bits
each, big-endian), CRC-32 of these eight bytes, headers, payload, CRC-32 of all that came before.
"""

import struct
import zlib
from typing import NamedTuple, TypeAlias

MAX_HEADER_BYTES = 128 << 10
MAX_MESSAGE_BYTES = 24 << 20
"""The format's own limits."""
MAX_REMEMBERED = 64
"""Messages repeat their headers: so many forms of them are kept, of so many bytes each."""
LONGEST_REMEMBERED = 512

HeaderValue: TypeAlias = str | bytes | int | bool
"""Strings, byte arrays and UUIDs (16 bytes), numbers and timestamps (milliseconds), booleans."""

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_NUMBERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"),
            5: struct.Struct(">q"), 8: struct.Struct(">q")}  # fmt: skip
_BYTES, _STRING, _UUID = 6, 7, 9
_OVERHEAD = _PRELUDE.size + _CRC.size


class FrameError(ValueError):
    """The bytes are no event stream; the message says what is wrong with them."""


class Frame(NamedTuple):
    """One message."""

    headers: dict[str, HeaderValue]
    """Shared between messages: not to be changed."""
    payload: bytes

    def text(self, name: str) -> str:
        """The header ``name``, empty when it is missing or no string."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class FrameDecoder:
    """Cuts a byte stream into messages, incrementally: any cut gives the same messages."""

    __slots__ = ("_buffer", "_need", "_seen")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = _PRELUDE.size
        """Bytes that the buffer must have before there is anything new to do."""
        self._seen: dict[bytes, dict[str, HeaderValue]] = {}

    @property
    def pending(self) -> bool:
        """True while a message is not complete."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> tuple[list[Frame], FrameError | None]:
        """The messages that ``data`` completes, and what is wrong with the bytes after them.

        An error is final: what follows can't be framed.
        """
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._need:
                return [], None
            data = bytes(buffer)
            buffer.clear()
        frames: list[Frame] = []
        at, size = 0, len(data)
        try:
            while size - at >= _PRELUDE.size:
                length = self._length(data, at)
                if size - at < length:
                    self._need = length
                    break
                frames.append(self._frame(data, at, length))
                at += length
            else:
                self._need = _PRELUDE.size
        except FrameError as error:
            return frames, error
        if at < size:
            buffer += memoryview(data)[at:]
        return frames, None

    def _length(self, data: bytes, at: int) -> int:
        length, headers, crc = _PRELUDE.unpack_from(data, at)
        if zlib.crc32(data[at : at + 8]) != crc:
            raise FrameError("the checksum of a message's lengths is wrong")
        if length > MAX_MESSAGE_BYTES:
            raise FrameError(f"a message is longer than {MAX_MESSAGE_BYTES} bytes")
        if headers > MAX_HEADER_BYTES:
            raise FrameError(f"a message's headers are longer than {MAX_HEADER_BYTES} bytes")
        if headers + _OVERHEAD > length:
            raise FrameError("a message is shorter than its own headers")
        return int(length)

    def _frame(self, data: bytes, at: int, length: int) -> Frame:
        end = at + length - _CRC.size
        if zlib.crc32(memoryview(data)[at:end]) != _CRC.unpack_from(data, end)[0]:
            raise FrameError("the checksum of a message is wrong")
        start = at + _PRELUDE.size
        middle = start + _PRELUDE.unpack_from(data, at)[1]
        raw = data[start:middle]
        headers = self._seen.get(raw)
        if headers is None:
            headers = _headers(raw)
            if len(self._seen) < MAX_REMEMBERED and len(raw) <= LONGEST_REMEMBERED:
                self._seen[raw] = headers
        return Frame(headers, data[middle:end])


def _headers(raw: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(raw):
            start = at + 1
            at = start + raw[at]
            name = raw[start:at].decode()
            kind = raw[at]
            at += 1
            value: HeaderValue
            if kind in (_STRING, _BYTES):
                start = at + _LENGTH.size
                at = start + _LENGTH.unpack_from(raw, at)[0]
                value = raw[start:at] if kind == _BYTES else raw[start:at].decode()
            elif kind in _NUMBERS:
                number = _NUMBERS[kind]
                value = number.unpack_from(raw, at)[0]
                at += number.size
            elif kind == _UUID:
                value = raw[at : at + 16]
                at += 16
            elif kind in (0, 1):
                value = kind == 0
            else:
                raise FrameError(f"a header has a value of unknown type {kind}")
            if at > len(raw):
                raise FrameError("a header is longer than the headers")
            if name in headers:
                raise FrameError("a header comes twice")
            headers[name] = value
    except (IndexError, struct.error):
        raise FrameError("a header is longer than the headers") from None
    except UnicodeDecodeError:
        raise FrameError("a header is not valid UTF-8") from None
    return headers
