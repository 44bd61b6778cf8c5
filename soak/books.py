"""Budgets while processes are killed: they stand at what the ledger has, and nothing stays held."""

import datetime
import json
import time
from collections import Counter
from decimal import Decimal
from typing import Any

from tests.processes import PATIENCE, request

from soak.plant import PRICED, PROVIDER, Ledger, Plant

_MODELS = ", ".join(f"{PROVIDER}/{name}" for name in PRICED)
LIMITS = f"""\
limits:
  - name: money
    when: {{ model: {{ in: [{_MODELS}] }} }}
    budget: [{{ usd: 100000, per: month }}, {{ tokens: 1000000000000, per: month }}]
  - name: each
    when: {{ model: {{ in: [{_MODELS}] }} }}
    by: model
    parallel: 1000
    budget: {{ usd: 100000, per: month }}
"""
"""Configuration of limits that nobody reaches."""
UNITS = {"usd": "charged_pico", "tokens": "charged_tokens"}


def balanced(plant: Plant, ledger: Ledger) -> int:
    """Wait until every budget of the data plane stands at the sum of the ledger's calls, exactly.

    No call may be at work. Returns how many counters were compared; raises AssertionError.
    """
    end = time.monotonic() + PATIENCE
    while True:
        rows = _standing(plant)
        wrong = _differences(rows, _sums(ledger))
        if not wrong:
            return len(rows)
        assert time.monotonic() < end, f"counters and ledger differ: {wrong}"
        time.sleep(0.2)


def _standing(plant: Plant) -> list[dict[str, Any]]:
    token = (plant.data / "secrets" / "feed-token").read_text().strip()
    url = f"http://127.0.0.1:{plant.port}"
    found: list[dict[str, Any]] = request(url, "GET", "/internal/limits", token=token).json()
    return found


def _sums(ledger: Ledger) -> Counter[tuple[str, str]]:
    """(counter, unit) → what this month's calls have charged to it."""
    now = datetime.datetime.now(datetime.UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp() * 1e6
    sums = Counter[tuple[str, str]]()
    for row in ledger.rows:
        if row["budgets"] is None or row["at_us"] < month:
            continue
        if row["state"] == "lost" or (row["cost_pico"] is not None and not row["unknown_cost"]):
            assert row["charged_pico"] == row["cost_pico"], f"a call is charged another sum: {row}"
        for key in json.loads(row["budgets"]):
            for unit, column in UNITS.items():
                sums[key, unit] += row[column]
    return sums


def _differences(rows: list[dict[str, Any]], sums: Counter[tuple[str, str]]) -> list[str]:
    wrong = []
    for row in rows:
        key, unit = row["key"], row["measure"]
        spent = Decimal(str(row["most"])) - Decimal(str(row["left"]))
        wanted = Decimal(sums[key, unit])
        wanted = wanted.scaleb(-12) if unit == "usd" else wanted if unit == "tokens" else Decimal(0)
        if spent != wanted:
            wrong.append(f"{key} has {spent} {unit}, the calls {wanted}")
    missing = {key for key, _ in sums} - {row["key"] for row in rows}
    return wrong + [f"nothing counts for {key}" for key in missing]
