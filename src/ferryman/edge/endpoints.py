"""How the targets of a model stand: ``GET /v1/models/{id}/endpoints``, and their metrics.

The shape is that of https://openrouter.ai/docs/api-reference/list-endpoints-for-a-model where it
fits; ``live`` is ours.
"""

import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ferryman.edge.listing import Bounds, shown_of
from ferryman.flow.call import Plane
from ferryman.flow.deliver import usd
from ferryman.flow.live import STATES, Live, live, shown
from ferryman.ir.price import Rate
from ferryman.meter.cost import rate_at
from ferryman.telemetry.metrics import escape, family
from ferryman.upstream.fleet import Target

_json = msgspec.json.Encoder().encode
MOST_TARGETS: Final = 500
"""Targets in the metrics; the names of models that callers make up never are."""
SLICE: Final = 100
SUFFIX: Final = "/endpoints"
_STATUS: Final = {"well": 0, "coming back": -1, "on trial": -2, "rests": -3}


def endpoints(plane: Plane, name: str, confines: Bounds | None) -> bytes:
    """The targets behind ``name`` that the caller may use.

    Raises :class:`~ferryman.ir.errors.GatewayError` (404)."""
    resolved = shown_of(plane.fleet, name, confines)
    places = ((resolved.targets, "target"), (resolved.fallbacks, "fallback"))
    rows = [
        _endpoint(plane, target, role)
        for targets, role in places
        for target in targets
        if confines is None or confines.admits(target)
    ]
    data = {"id": name, "name": name, "strategy": resolved.strategy, "endpoints": rows}
    return _json({"data": data})


def _endpoint(plane: Plane, target: Target, role: str) -> dict[str, Any]:
    standing = live(plane, target)
    row = target.runtime.rows.get(target.model)
    return {
        "name": f"{target.provider} | {target.model}",
        "model_name": target.model,
        "provider_name": target.provider,
        "context_length": target.context or None,
        "max_completion_tokens": target.max_output or None,
        "pricing": _pricing(rate_at(target.prices, int(time.time()), 0)),
        "abilities": row.abilities if row is not None else (),
        "status": _STATUS[standing.state],
        "uptime_last_30m": _uptime(standing),
        "latency_last_30m": round(standing.mean, 6) or None,
        "role": role,
        "live": {
            **shown(standing),
            "tokens_per_second": round(standing.pace, 3) or None,
            "attempts_last_30m": standing.asked,
            "rests": standing.rested,
        },
    }


def _uptime(standing: Live) -> float | None:
    """Percent of the attempts that did not fail; None = there were none."""
    if not standing.asked:
        return None
    return round(100 * (standing.asked - standing.failed) / standing.asked, 3)


def _pricing(rate: Rate | None) -> dict[str, str] | None:
    """Dollars for a token, and for a request; None = unknown."""
    if rate is None:
        return None
    return {
        "prompt": usd(rate.input),
        "completion": usd(rate.output),
        "request": usd(rate.request),
        "input_cache_read": usd(rate.cache_read),
        "input_cache_write": usd(rate.cache_write),
        "internal_reasoning": usd(rate.reasoning),
    }


def target_page(plane: Plane) -> Iterator[bytes]:
    """The metrics of the targets that have been asked for, in pieces."""
    named = [target for target in plane.fleet.targets() if target.named][:MOST_TARGETS]
    lines: dict[str, list[str]] = {name: family(name, kind, text) for name, kind, text in _FAMILIES}
    for count, target in enumerate(named, 1):
        labels = f'provider="{escape(target.provider)}",model="{escape(target.model)}"'
        standing = live(plane, target)
        values = (
            STATES.index(standing.state), standing.rests, standing.rested, standing.in_flight,
            standing.expected, standing.share,
        )  # fmt: skip
        for (name, _, _), value in zip(_FAMILIES, values, strict=True):
            lines[name].append(f"ferryman_{name}{{{labels}}} {value:.6g}")
        if not count % SLICE:
            yield b""  # let calls go on
    yield ("\n".join(line for found in lines.values() for line in found) + "\n").encode()
    yield _key_page(plane)


def _key_page(plane: Plane) -> bytes:
    """The metric of keys that can't be used with any model."""
    out = family("key_resting_seconds", "gauge", "How long a key still rests, and why.")
    for runtime in plane.fleet.runtimes.values():
        for key, name in zip(runtime.keys, runtime.key_names, strict=True):
            rest = plane.key_rests.get(key)
            if rest is not None:
                left = max(rest.until - plane.now(), 0.0)
                labels = f'provider="{runtime.name}",key="{escape(name)}",because="{rest.why}"'
                out.append(f"ferryman_key_resting_seconds{{{labels}}} {left:.6g}")
    return ("\n".join(out) + "\n").encode()


_FAMILIES: Final = (
    ("target_state", "gauge", "0 well, 1 coming back, 2 on trial, 3 rests."),
    ("target_resting_seconds", "gauge", "How long it still rests."),
    ("target_rests_total", "counter", "How often it had to rest, all keys together."),
    ("target_in_flight", "gauge", "Calls that it is working on."),
    ("target_expected_seconds", "gauge", "Expected to its first byte; 0 = not measured."),
    ("target_share", "gauge", "The part of its calls that it gets while it is coming back."),
)
