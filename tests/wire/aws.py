"""AWS event streams written by hand, apart from the code that reads them."""

import json
import struct
import zlib
from typing import Any

Header = tuple[str, int, Any]
"""Name, type number, value."""

_NUMBERS = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}


def header(name: str, kind: int, value: Any) -> bytes:
    """One header."""
    out = bytes([len(name.encode())]) + name.encode() + bytes([kind])
    if kind in _NUMBERS:
        return out + struct.pack(_NUMBERS[kind], value)
    if kind == 6:
        return out + struct.pack(">H", len(value)) + bytes(value)
    if kind == 7:
        return out + struct.pack(">H", len(value.encode())) + value.encode()
    return out + (value if kind == 9 else b"")


def frame(headers: list[Header], payload: bytes) -> bytes:
    """One message."""
    raw = b"".join(header(*h) for h in headers)
    prelude = struct.pack(">II", 16 + len(raw) + len(payload), len(raw))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + raw + payload
    return body + struct.pack(">I", zlib.crc32(body))


def event(name: str, value: Any) -> bytes:
    """One event with a JSON payload (bytes are sent as they are)."""
    headers = [(":event-type", 7, name), (":content-type", 7, "application/json"),
               (":message-type", 7, "event")]  # fmt: skip
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    return frame(headers, payload)


def exception(name: str, message: str) -> bytes:
    """One exception."""
    headers = [(":exception-type", 7, name), (":content-type", 7, "application/json"),
               (":message-type", 7, "exception")]  # fmt: skip
    return frame(headers, json.dumps({"message": message}).encode())
