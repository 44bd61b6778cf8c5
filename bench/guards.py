"""Section "guards": what guards cost for 2 KB of text, in process, and how long a stream waits.

``python -m bench.guards`` prints it alone.
"""

import time
from collections.abc import Callable, Mapping
from itertools import accumulate
from statistics import median, quantiles

from bench.procs import say
from ferryman.config.guard_row import Guard
from ferryman.guard.engine import REPLY, REQUEST, Engine, Session, TextCheck
from ferryman.guard.injection import rules_of

TEXT = (
    "Dear Ms Smith, on 12 May 2026 we shipped order 48213 to Berlin; it costs 12.50 EUR. "
    "Write to ann@example.org or call +49 30 901820, and see https://example.org/a/path?with=more. "
) * 12
TEXT = TEXT[:2048]
PIECE = 4
"""Characters of a stream's token;"""
PACE_MS = 20
"""and the time between two of them: 50 tokens a second."""
GUARDS = {
    "pii": Guard(name="pii", kind="pii", action="log"),
    "secrets": Guard(name="secrets", kind="secrets", action="log"),
    "regex": Guard(name="regex", kind="regex", patterns=(("a", "(?i)blue.heron"),), action="log"),
    "words": Guard(name="words", kind="words", words=("blue heron", "kiosk"), action="log"),
    "urls": Guard(name="urls", kind="urls", allow=("example.com",), action="log"),
    "code": Guard(name="code", kind="code", action="log"),
    "names": Guard(name="names", kind="pii", entities=("name",), action="log"),
    "injection": Guard(name="injection", kind="injection", action="log", at=(REQUEST,)),
    "language": Guard(name="language", kind="language", allow=("en",), action="log"),
}
RULES = "injection rules"
"""A row: what of the injection guard is no model."""
MODELS = ("names", "injection", "language")
"""Rows of guards that ask a model; the others go by rules."""


def measure(*, quick: bool) -> dict[str, dict[str, float]]:
    """Guard → ms for the text whole and in tokens, and ms that a token waits (p50, p99)."""
    rounds = 30 if quick else 200
    own = [f"sk-a-key-of-a-provider-{i:032x}" for i in range(40)]
    engine = Engine(tuple(GUARDS.values()), own)
    found: dict[str, dict[str, float]] = {RULES: {"whole_ms": _ms(lambda: rules_of(TEXT), rounds)}}
    for name, guard in GUARDS.items():
        station = REPLY if REPLY in guard.at else REQUEST

        def check(name: str = name, station: str = station) -> TextCheck:
            session = Session(engine, [name])
            return TextCheck(session, station, answer=station == REPLY, main=True)

        row = found[name] = {"whole_ms": _ms(lambda: check().whole(TEXT), rounds)}
        if station == REPLY:
            row["streamed_ms"] = _ms(lambda: _streamed(check()), rounds)
            row["wait_p50_ms"], row["wait_p99_ms"] = _waits(check())
        waits = "".join(f"  {key} {row[key]:.2f}" for key in row)
        say(f"guards {name:16}{waits}")
    return found


def _ms(run: Callable[[], object], rounds: int) -> float:
    run()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return median(took) * 1000


def _tokens() -> list[str]:
    return [TEXT[i : i + PIECE] for i in range(0, len(TEXT), PIECE)]


def _streamed(check: TextCheck) -> None:
    for token in _tokens():
        check.feed(token)
    check.close()


def _waits(check: TextCheck) -> tuple[float, float]:
    """How long tokens are held at that pace, the check's own time among it."""
    ends, out, took = [], 0, []
    for token in _tokens():
        began = time.perf_counter()
        out += len(check.feed(token))
        took.append((time.perf_counter() - began) * 1000)
        ends.append(out)
    ends[-1] += len(check.close())
    waits = []
    for at, end in enumerate(accumulate(map(len, _tokens()))):
        gone = next(later for later in range(at, len(ends)) if ends[later] >= end)
        waits.append((gone - at) * PACE_MS + took[gone])
    cuts = quantiles(waits, n=100)
    return cuts[49], cuts[98]


def worst(rows: Mapping[str, Mapping[str, float]], *, models: bool) -> float:
    """The most ms for the text, of guards that ask a model or of those that don't."""
    return max(row["whole_ms"] for name, row in rows.items() if (name in MODELS) == models)


if __name__ == "__main__":
    measure(quick=False)
