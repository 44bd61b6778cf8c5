"""Counters of the queues for places at providers, and of calls that are turned away."""

from collections import Counter
from typing import Final

from ferryman.telemetry import native
from ferryman.telemetry.metrics import bucket, buckets, family

WAIT_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds."""


class QueueCounts:
    """What is counted of one provider's queue."""

    def __init__(self) -> None:
        self.waits = [0] * (len(WAIT_BUCKETS) + 1)
        self.seconds = 0.0
        self.native: native.Buckets = {}
        self.shed: Counter[str] = Counter()
        """Calls that got no place, by reason."""

    def waited(self, seconds: float, finely: bool) -> None:
        """A call got its place after waiting for it; ``finely``: count in native buckets too."""
        self.waits[bucket(WAIT_BUCKETS, seconds)] += 1
        self.seconds += seconds
        if finely:
            native.count(self.native, seconds)


def render(queues: dict[str, tuple[int, int, QueueCounts]], refused: int) -> bytes:
    """Metrics of queues by provider: calls at work, calls waiting, counts.

    ``refused`` is how many calls were turned away because the whole gateway had too many.
    """
    out = family("shed_calls_total", "counter", "Calls turned away for lack of a place, by reason.")
    out.append(f'ferryman_shed_calls_total{{provider="",reason="max_calls"}} {refused}')
    for name, (_, _, counts) in queues.items():
        for reason, count in sorted(counts.shed.items()):
            label = f'provider="{name}",reason="{reason}"'
            out.append(f"ferryman_shed_calls_total{{{label}}} {count}")
    if queues:
        out += family("limited_calls", "gauge", "Calls at work at a provider with max_in_flight.")
        out += [f'ferryman_limited_calls{{provider="{n}"}} {q[0]}' for n, q in queues.items()]
        out += family("queued_calls", "gauge", "Calls waiting for a place at a provider.")
        out += [f'ferryman_queued_calls{{provider="{n}"}} {q[1]}' for n, q in queues.items()]
        out += family("queue_seconds", "histogram", "How long calls waited that got a place.")
        for name, (_, _, counts) in queues.items():
            label = f'provider="{name}"'
            count = buckets(out, "ferryman_queue_seconds", label, WAIT_BUCKETS, counts.waits)
            out.append(f"ferryman_queue_seconds_sum{{{label}}} {counts.seconds:.6f}")
            out.append(f"ferryman_queue_seconds_count{{{label}}} {count}")
            native.write(out, "ferryman_queue_seconds", label, counts.native)
    return ("\n".join(out) + "\n").encode()
