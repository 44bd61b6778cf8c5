"""Damage to bytes and to JSON, drawn from a seed."""

import functools
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

Chance = random.Random
DEEP = "[" * 3000 + "]" * 3000
HUGE = "9" * 5000
_EVIL_JSON: Sequence[str] = (
    "null", "true", "0", "-1", "1e999", "-0.0", "1e-400", "9223372036854775808", HUGE, '""', "[]",
    "{}", '"\\ud800"', '"\\u0000"', '"x\\ud83d\\ude00y"', "NaN", "Infinity", "[[]]", '{"":0}',
    '{"a":1,"a":2}', "[null]", "[{}]", '"' + "x" * 3000 + '"', "2.5", '"0"', '"stop"', '"text"',
    '"error"', "-9999999999999999999999", DEEP, '{"type":"text"}', '{"text":null}', '["a",1,{}]',
)  # fmt: skip
_LETTERS = "é\0\ud800\udc00🙂=-+/\\\n\r\u2028\"' .:,;#%A0"
"""What stands where a text has something else, or nothing."""
_BYTES: Sequence[bytes] = (
    b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\0", b"\xef\xbb\xbf", b"\n\n",
    b"\r\n\r\n", b"\r", b"data: ", b"event: error\n", b"data: [DONE]\n\n", b":\n\n", b"{", b"}",
    b'"', b"\\", b",", b"[" * 2000, b"9" * 400, b"\\ud800", b"-", b"e9",
)  # fmt: skip


def cuts(chance: Chance, data: bytes) -> list[bytes]:
    """``data`` in pieces; one time in five byte by byte, if it is short."""
    if len(data) < 600 and chance.random() < 0.2:
        return [data[i : i + 1] for i in range(len(data))]
    pieces = []
    while data:
        size = chance.choice((1, 2, 5, 20, 100, 1000, 9000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def damaged(
    chance: Chance, data: bytes, words: Sequence[bytes] = _BYTES, others: Sequence[bytes] = ()
) -> bytes:
    """``data`` with a few mutations: ``words`` put in, pieces of ``others`` or of itself moved."""
    out = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(out) + 1)
        how = chance.randrange(7)
        if how == 0 and at < len(out):
            out[at] = chance.randrange(256)
        elif how == 1:
            out[at:at] = chance.choice(words)
        elif how == 2:
            del out[at : at + chance.randrange(1, 40)]
        elif how == 3:
            out[at:at] = out[at : at + chance.randrange(1, 200)]
        elif how == 4 and others:
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            out[at:at] = other[start : start + chance.randrange(1, 200)]
        elif how == 5 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif how == 6:
            out[at : at + chance.randrange(1, 12)] = chance.choice(words)
    return bytes(out)


class _Verbatim(str):
    """JSON that stands for itself."""


def _write(value: Any) -> str:
    if isinstance(value, _Verbatim):
        return value
    if isinstance(value, dict):
        members = ",".join(f"{json.dumps(name)}:{_write(each)}" for name, each in value.items())
        return f"{{{members}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_write, value))}]"
    return json.dumps(value)


Place = tuple[Callable[[Any], None], Any]


def _places(value: Any) -> list[Place]:
    """Every value inside ``value`` that can be set, with what sets it."""
    found: list[Place] = []
    stack = [value]
    while stack:
        each = stack.pop()
        pairs = (
            list(each.items()) if isinstance(each, dict)
            else list(enumerate(each)) if isinstance(each, list) else []
        )  # fmt: skip
        for key, inner in pairs:
            found.append((functools.partial(each.__setitem__, key), inner))
            stack.append(inner)
    return found


def twisted(chance: Chance, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """JSON whose members are exchanged, dropped, doubled or made absurd; other bytes unchanged."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        places = _places(value)
        if not places:
            return chance.choice(_EVIL_JSON).encode()
        put, old = chance.choice(places)
        how = chance.randrange(7)
        if how <= 1:
            put(_Verbatim(chance.choice(_EVIL_JSON)))
        elif how == 2:
            put(json.loads(json.dumps(chance.choice(places)[1], default=str)))
        elif how == 3 and isinstance(old, dict) and old:
            del old[chance.choice(list(old))]
        elif how == 3 and isinstance(old, list) and old:
            old.append(old[chance.randrange(len(old))])
        elif how == 4 and isinstance(old, dict) and others:
            old |= _members(chance, others)
        elif how == 5 and isinstance(old, list):
            chance.shuffle(old)
        elif how == 6 and isinstance(old, str):
            at = chance.randrange(len(old) + 1)
            put(old[:at] + chance.choice(_LETTERS) + old[at + chance.randrange(2) :])
        else:
            put([old] if chance.random() < 0.5 else {"type": old})
    return _write(value).encode("utf-8", "surrogatepass")


def _members(chance: Chance, others: Sequence[bytes]) -> dict[str, Any]:
    try:
        other = json.loads(chance.choice(others))
    except (ValueError, RecursionError):
        return {}
    objects = [old for _, old in _places(other) if isinstance(old, dict)]
    return dict(chance.choice(objects)) if objects else {}


def _event(chance: Chance, event: bytes) -> bytes:
    head, mark, data = event.partition(b"data:")
    return head + mark + twisted(chance, data) if mark else event


def of_stream(chance: Chance, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """A stream of events, some of them twisted, lost, doubled, moved, or another stream's."""
    end = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
    events = data.split(end)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(events))
        how = chance.randrange(6)
        if how <= 1:
            events[at] = _event(chance, events[at])
        elif how == 2:
            events.insert(at, chance.choice(events))
        elif how == 3:
            del events[at]
            events = events or [b""]
        elif how == 4:
            other = chance.randrange(len(events))
            events[at], events[other] = events[other], events[at]
        elif others:
            events.insert(at, chance.choice(chance.choice(others).split(end)))
    return end.join(events)
