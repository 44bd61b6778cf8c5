"""A page of metrics in Prometheus' protobuf format, the only one that has native histograms.

https://prometheus.io/docs/instrumenting/exposition_formats/#protobuf-format; messages:
https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from struct import pack
from typing import Final

from ferryman.telemetry.native import FAMILIES, SCHEMA, ZERO, ZERO_THRESHOLD, Buckets, add

# By hand: a gateway is installed without protobuf, and these four messages need few lines.

SLICE: Final = 100
"""Lines that are read, or series that are written, in one go."""
_KINDS: Final = {"counter": (0, 3), "gauge": (1, 2), "histogram": (4, 7)}
"""Kind → its number as ``MetricType``, and that of the field of ``Metric`` with its value."""
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class _Series:
    """What a page says of one set of labels."""

    __slots__ = ("bounds", "buckets", "count", "value")

    def __init__(self) -> None:
        self.value = 0.0
        """Of histograms, the sum."""
        self.count = 0
        self.bounds: list[bytes] = []
        self.buckets: Buckets = {}


def encoded(page: bytes) -> Iterator[bytes]:
    """A page of text, with the lines of native histograms, as messages with their lengths before
    them; in pieces, some empty: let calls go on between them."""
    for name, kind, text, lines in _families(page):
        found: dict[str, _Series] = {}
        for start in range(0, len(lines), SLICE):
            for line in lines[start : start + SLICE]:
                _read(found, name, line)
            yield b""
        number, field = _KINDS[kind]
        parts = [_nested(1, name.encode()), _nested(2, text.encode()), _whole(3, number)]
        for place, (labels, series) in enumerate(found.items()):
            if kind == "histogram":
                value = _histogram(series, native=name in FAMILIES)
            else:
                value = _double(1, series.value)
            parts.append(_nested(4, _labels(labels) + _nested(field, value)))
            if not place % SLICE:
                yield b""
        family = b"".join(parts)
        yield _varint(len(family)) + family


def _families(page: bytes) -> Iterator[tuple[str, str, str, list[str]]]:
    """Name, kind, description and samples of each."""
    for family in page.decode().removeprefix("# HELP ").split("\n# HELP "):
        head, kind, *lines = family.removesuffix("\n").split("\n")
        name, _, text = head.partition(" ")
        yield name, kind.rpartition(" ")[2], text, lines


def _read(found: dict[str, _Series], name: str, line: str) -> None:
    """Take in one sample of the family ``name``."""
    sample, _, value = line.rpartition(" ")
    what, _, labels = sample[len(name) :].removesuffix("}").partition("{")
    bound = ""
    if what == "_bucket":
        labels, _, bound = labels.rpartition('le="')
        labels = labels.removesuffix(",")
    series = found.get(labels)
    if series is None:
        series = found[labels] = _Series()
    if what == "_bucket":
        series.bounds.append(_nested(3, _whole(1, int(value)) + _double(2, float(bound[:-1]))))
    elif what == "_count":
        series.count = int(value)
    elif what == "_native":
        add(series.buckets, value)
    else:
        series.value = float(value)


@lru_cache(4096)
def _labels(text: str) -> bytes:
    """Labels of the text format. Those of a series come with each of its families."""
    pairs = [(name, _plain(value)) for name, value in _LABEL.findall(text)]
    return b"".join(_nested(1, _nested(1, n.encode()) + _nested(2, v.encode())) for n, v in pairs)


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)


def _histogram(series: _Series, *, native: bool) -> bytes:
    classic = _whole(1, series.count) + _double(2, series.value) + b"".join(series.bounds)
    if not native:
        return classic
    buckets = dict(series.buckets)
    # What was counted while they were switched off is in no narrow bucket, but all are the count:
    # it stands in the zero bucket, where no rate sees it.
    zero = buckets.pop(ZERO, 0)
    zero += max(series.count - zero - sum(buckets.values()), 0)
    out = [classic, _whole(5, _signed(SCHEMA)), _double(6, ZERO_THRESHOLD), _whole(7, zero)]
    spans: list[tuple[int, int]] = []
    deltas, end, before = [], 0, 0
    for number, count in sorted(buckets.items()):
        if spans and number == end:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((number - end, 1))
        end = number + 1
        deltas.append(_varint(_signed(count - before)))
        before = count
    out += [_nested(12, _whole(1, _signed(gap)) + _whole(2, length)) for gap, length in spans]
    return b"".join([*out, _nested(13, b"".join(deltas))] if deltas else out)


# -- https://protobuf.dev/programming-guides/encoding/ --------------------------------------------


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _signed(number: int) -> int:
    """Small numbers of both signs as small ones without."""
    return number * 2 if number >= 0 else -number * 2 - 1


def _whole(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _double(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + pack("<d", number)


def _nested(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content
