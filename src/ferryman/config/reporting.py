"""The section ``telemetry`` as read → what the snapshot has of it."""

from collections.abc import Callable
from typing import Any

from ferryman.config.model import Ref
from ferryman.config.problem import Path
from ferryman.config.snapshot import Otlp, Telemetry
from ferryman.ir.price import PICO

Found = dict[str, Any]
HEADERS: Path = ("telemetry", "otlp", "headers")
_SAME = ("endpoint", "private", "protocol", "compression", "temporality", "follow_caller")


def telemetry_of(found: Found) -> Telemetry:
    """The section without the headers, which may be secrets."""
    otlp = found.get("otlp")
    return Telemetry(
        traceparent=found.get("traceparent", True),
        baggage=found.get("baggage", False),
        native_histograms=found.get("native_histograms", False),
        otlp=None if otlp is None else _otlp(otlp),
    )


def _otlp(found: Found) -> Otlp:
    always = found.get("always", {})
    signals = found.get("signals")
    return Otlp(
        **{name: found[name] for name in _SAME if name in found},
        timeout=float(found.get("timeout", 0)),
        signals=None if signals is None else tuple(dict.fromkeys(each for _, each in signals)),
        metrics_every=float(found.get("metrics_every", 0)),
        sample=float(found["sample"]) if "sample" in found else None,
        errors=always.get("errors", True),
        slower=float(always.get("slower_than", 0)),
        dearer=int(always.get("dearer_than", 0) * PICO),
        attributes=tuple(sorted(found.get("attributes", {}).items())),
    )


def headers_of(
    found: Found, checked: Callable[[Path, str, Ref], Ref], add: Callable[[Path, str, str], None]
) -> tuple[tuple[str, Ref], ...]:
    """The headers; ``checked`` looks at what each refers to, and ``add`` is told of mistakes."""
    out: dict[str, tuple[str, Ref]] = {}
    for name, ref in found.get("otlp", {}).get("headers", {}).items():
        if name.lower() in out:
            add((*HEADERS, name), "this header is given twice", "Keep one of them.")
        out[name.lower()] = (name.lower(), checked((*HEADERS, name), name, ref))
    return tuple(out.values())
