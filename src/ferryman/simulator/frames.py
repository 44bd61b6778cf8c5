"""Amazon's event stream encoding: binary messages with headers and two checksums.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html describes the frame;
https://smithy.io/2.0/aws/amazon-eventstream.html what the headers mean.
"""

import base64
import struct
import zlib

import msgspec

from ferryman.simulator.directives import Behaviour
from ferryman.simulator.event import Event, Framing

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7
"""The type of a header whose value is text."""


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message."""
    packed = b"".join(
        struct.pack(f">B{len(name)}sBH{len(value)}s", len(name), name, _STRING, len(value), value)
        for name, value in ((n.encode(), v.encode()) for n, v in headers.items())
    )
    prelude = struct.pack(">II", 12 + len(packed) + len(payload) + 4, len(packed))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _kind(event: Event) -> dict[str, str]:
    if event.name.endswith("Exception"):
        told = {":exception-type": event.name, ":message-type": "exception"}
    else:
        told = {":event-type": event.name, ":message-type": "event"}
    return {**told, ":content-type": "application/json"}


def _converse(event: Event, _number: int, _wish: Behaviour) -> bytes:
    return frame(_kind(event), event.data)


def _invoke(event: Event, _number: int, _wish: Behaviour) -> bytes:
    """Events of another format, each wrapped: ``{"bytes": base64}``."""
    if event.name.endswith("Exception"):
        return frame(_kind(event), event.data)
    wrapped = msgspec.json.encode({"bytes": base64.b64encode(event.data).decode(), "p": "abc"})
    return frame(_kind(Event(wrapped, "chunk")), wrapped)


CONVERSE = Framing(CONTENT_TYPE, _converse)
INVOKE = Framing(CONTENT_TYPE, _invoke)
