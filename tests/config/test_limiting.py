"""Limits and budgets of the file, as the snapshot has them."""

from datetime import UTC, datetime
from pathlib import Path

from ferryman.config.snapshot import Budget, CallLimit, RateLimit
from ferryman.ir.price import PICO
from tests.config.catalogue import loaded


def test_limits_come_down_to_integers(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        """\
limits:
  - { by: key, requests: 60_000/hour, tokens: { most: 5, per: day, burst: 2 }, parallel: 3 }
  - name: team
    by: [metadata.team, model]
    budget:
      - { usd: 0.000001, per: month, increase: { usd: 2, until: 2026-12-24 }, zone: Asia/Kolkata }
      - { tokens: 0, per: week, rolling: true, soft: true }
    status: 429
""",
    )
    assert not found.problems
    keys, team = found.config.limits
    assert keys == CallLimit(
        name="limit-1",
        by=("key",),
        rates=(
            RateLimit(measure="requests", most=60_000, per="hour", burst=60_000),
            RateLimit(measure="tokens", most=5, per="day", burst=2),
        ),
        parallel=3,
    )
    until = int(datetime(2026, 12, 23, 18, 30, tzinfo=UTC).timestamp())
    assert team == CallLimit(
        name="team",
        by=("metadata.team", "model"),
        budgets=(
            Budget(unit="usd", most=10**6, per="month", zone="Asia/Kolkata", extra=2 * PICO,
                   extra_until=until),
            Budget(unit="tokens", most=0, per="week", rolling=True, soft=True),
        ),
        status=429,
    )  # fmt: skip
