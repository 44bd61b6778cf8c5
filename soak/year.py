"""A year of calls as sums, condensed as they are in use, and how long its pages take."""

import random
import time
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from ferryman.store import condensed, db, latency, ledger, rollup
from ferryman.store.schema import SUMS

DAY = 86_400
_COST = SUMS.index("cost_micro")
KEYS, MODELS, MODELS_OF_A_KEY = 100, 20, 4
FAILURES = ("429", "upstream_error", "timeout")
TOP = 50
"""Groups that a page shows, and the others together."""
PAGES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "by day": (("day",), {}),
    "by model": (("model",), {}),
    "by key": (("key",), {}),
    "by day and model": (("day", "model"), {}),
    "by key and model": (("key", "model"), {}),
    "of one key by day and model": (("day", "model"), {"key": f"key_{7:012}"}),
    "by day, key and model": (("day", "key", "model"), {}),
}
"""What is looked at."""
BAR = 1.0
"""Seconds that each may take,"""
UNBOUND = "by day, key and model"
"""but this one: as many groups as there are sums, for a program to read, not a page."""


class Year(Struct):
    """What was written, and the seconds that each page of it took."""

    calls: int
    rows: int
    """Of sums over days."""
    condensing: float
    """Seconds that all days and weeks took, which a running installation condenses one by one."""
    pages: dict[str, float]


def run(url: str, *, calls: int, days: int, seed: int, hours: int = 40) -> Year:
    """Fill the empty database at ``url``, and time the pages; their sums must be right.

    The last days, ``hours`` many, have their hours too.
    """
    engine = db.open_engine(url)
    db.migrate(engine)
    end = int(time.time()) // DAY * DAY
    spent: Counter[str] = Counter()
    with db.writing(engine) as connection:
        for day, found in enumerate(_days(end - days * DAY, calls, days, seed, hours)):
            for (_, group), sums in found.sums.items():
                for key in ("", found.groups[group][0]):
                    spent[key] += sums[_COST] * rollup.MICRO + sums[_COST + 1]
            late = ("hour",) if day >= days - hours else ()
            rollup.put(connection, found, lambda: None, (*late, "day"))
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")
        rows = connection.exec_driver_sql("SELECT COUNT(*) FROM calls_by_day").scalar() or 0
    began = time.perf_counter()
    for step in condensed.steps(engine, end + DAY):
        step()
    condensing = time.perf_counter() - began
    since = end - days * DAY
    pages = {}
    for name, (by, where) in PAGES.items():
        began = time.perf_counter()
        found_rows = ledger.usage(engine, by=by, where=where, since_us=since * 10**6, top=TOP)
        total = ledger.total(found_rows)
        pages[name] = time.perf_counter() - began
        assert total.cost == spent[where.get("key", "")]
        assert where or total.calls == calls
    began = time.perf_counter()
    found_times = latency.latencies(
        engine, by=("model",), since_us=since * 10**6, until_us=end * 10**6
    )
    pages["percentiles by model"] = time.perf_counter() - began
    assert len(found_times) == MODELS
    engine.dispose()
    return Year(calls=calls, rows=rows, condensing=condensing, pages=pages)


def _days(first: int, calls: int, days: int, seed: int, hours: int) -> Iterator[rollup.Collected]:
    """The sums of each day, as ingestion would have made them, in hours."""
    draw = random.Random(seed)
    users = [
        (f"key_{number:012}", f"model-{model}", stream, draw.paretovariate(1.2))
        for number in range(KEYS)
        for model in draw.sample(range(MODELS), MODELS_OF_A_KEY)
        for stream in (False, True)
    ]
    weight = sum(user[3] for user in users)
    left = calls
    for day in range(days):
        today = left if day == days - 1 else calls // days
        left -= today
        found = rollup.Collected({}, {}, {}, {})
        rest = today
        for number, (key, model, stream, share) in enumerate(users):
            count = min(rest, int(today * share / weight) + 1)
            if number == len(users) - 1:
                count = rest
            rest -= count
            in_hours = min(8, max(1, count)) if day >= days - hours else 1
            _one(draw, found, first + day * DAY, (key, model, stream), count, in_hours)
        yield found


def _one(
    draw: random.Random,
    found: rollup.Collected,
    day: int,
    who: tuple[str, str, bool],
    count: int,
    in_hours: int,
) -> None:
    """The calls of one key to one model in a day: in some of its hours, some of them failed."""
    key, model, stream = who
    hours = draw.sample(range(24), in_hours)
    for number, hour in enumerate(hours):
        calls = count // len(hours) + (count % len(hours) if number == 0 else 0)
        failed = calls // 50
        for outcome, n in ((rollup.OK, calls - failed), (draw.choice(FAILURES), failed)):
            if not n:
                continue
            group = (key, "chat.completions", model, "lab", f"{model}-2026", None, stream, None)
            sums = dict.fromkeys(SUMS, 0) | {"calls": n}
            if outcome == rollup.OK:
                micro = n * draw.randrange(900, 1100)
                sums |= {"input": n * 900, "cache_read": n * 200, "output": n * 300,
                         "cost_micro": micro, "cost_rest": n * 7}  # fmt: skip
            else:
                sums |= {"errors": n, "unknown_usage": n, "unknown_cost": n}
            ident = rollup.known(found.groups, (*group, outcome))
            found.sums[day + hour * 3600, ident] = list(sums.values())
            if outcome == rollup.OK:
                _times(draw, found, (day + hour * 3600, *group[1:5], stream), n)


def _times(
    draw: random.Random,
    found: rollup.Collected,
    where: tuple[int, str, str, str, str, bool],
    n: int,
) -> None:
    at, *common, stream = where
    ident = rollup.known(found.groups, ("*", *common, None, stream, None, rollup.OK))
    for measure, middle in ((rollup.DURATION, 13.8), (rollup.FIRST_TOKEN, 12.5)):
        buckets = [rollup.bucket(int(draw.lognormvariate(middle, 0.6))) for _ in range(min(n, 8))]
        for number, each in enumerate(buckets):
            calls = n // len(buckets) + (n % len(buckets) if number == 0 else 0)
            known = found.times.setdefault((at, ident, measure, each), [0])
            known[0] += calls
