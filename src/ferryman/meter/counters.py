"""Limits as several data planes share them: what ``counters.lua`` is asked, and what it says. Pure.

How a meter stands there is adopted by the meter here, so that what is said of it to callers comes
from the same code, and a data plane that loses the server goes on from what it knew last.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ferryman.config.snapshot import LENGTHS
from ferryman.meter.limits import (
    INPUT,
    OUTPUT,
    REQUESTS,
    TOKENS,
    USD,
    Amounts,
    BudgetMeter,
    Limit,
    Meter,
    Moment,
    ParallelMeter,
    RateMeter,
    Refusal,
    refusal_of,
)

SCRIPT: Final = Path(__file__).with_name("counters.lua").read_text()
PASSED, REFUSED, OTHER_GENERATION, UNKNOWN_PLANE, UNKNOWN_BUDGET = range(5)
"""Its codes. After one of the last three nothing has happened."""
MICROS: Final = 10**6
_BETWEEN: Final = "\x1f"

Applying = Sequence[tuple[Limit, str]]
Form = list[object]
"""A meter as the script takes it."""


def forms(applying: Applying, asked: Amounts, at: Moment) -> list[Form]:
    """What a call takes of the meters of its limits, in their order."""
    return [_form(limit, meter, key, asked, at) for limit, meter, key in _meters(applying)]


def _meters(applying: Applying) -> Iterator[tuple[Limit, Meter, str]]:
    for limit, key in applying:
        for meter in limit.meters:
            yield limit, meter, key


def refusal(applying: Applying, asked: Amounts, at: Moment) -> Refusal:
    """Why the server has refused a call; what was adopted from it says so."""
    budgets = [m for _, m, _ in _meters(applying) if isinstance(m, BudgetMeter)]
    unknown = [meter.spending for meter in budgets if not meter.spending.known]
    for spending in unknown:
        spending.known = True  # there
    found = refusal_of(applying, asked, at)
    for spending in unknown:
        spending.known = False
    assert found is not None, "the server and the meters don't agree"
    return found


def _form(limit: Limit, meter: Meter, key: str, asked: Amounts, at: Moment) -> Form:
    if isinstance(meter, RateMeter):
        rate = meter.throttle
        name = f"{key}{_BETWEEN}{meter.measure}/{rate.most}/{rate.seconds}/{rate.burst}"
        cost = rate.seconds * MICROS
        return ["r", meter.measure, name, rate.most, cost, rate.burst, meter.asked(asked)]
    if isinstance(meter, BudgetMeter):
        start, end = meter.spending.window.bucket(at.unix)
        return [
            "b", meter.measure, account(meter, key), budget(limit.name, meter),
            str(meter.usual_at(at.unix)), str(meter.asked(asked)), start, end, at.unix, meter.soft,
            str(meter.most) if meter.carries else "", remembered(meter),
        ]  # fmt: skip
    return ["p", key, meter.most]


def remembered(meter: BudgetMeter) -> int:
    """Seconds for which a period that is over must be known: the next one may be as long again."""
    return 2 * LENGTHS[meter.spending.window.per] if meter.carries else 0


def budget(limit: str, meter: BudgetMeter) -> str:
    """Names a budget of a limit, for all of its keys."""
    return f"{limit}{_BETWEEN}{_identity(meter)}"


def account(meter: BudgetMeter, key: str) -> str:
    """Names what counts with one key of a budget."""
    return f"{_identity(meter)}{_BETWEEN}{key}"


def _identity(meter: BudgetMeter) -> str:
    window = meter.spending.window
    rolls, soft = "rolling" if window.rolling else window.zone, "soft" if meter.soft else "hard"
    carries = "/carries" if meter.carries else ""
    return f"{meter.measure}/{window.per}/{rolls}/{soft}{carries}"


def lasting(held: list[Form], attempt: bool = False) -> list[Form]:
    """What a call holds until it is settled, or an ``attempt`` of one, of what it takes."""
    return [form for form in held if form[0] != "r" or form[1] != REQUESTS or attempt]


def adopt(applying: Applying, stood: Sequence[Any], at: Moment) -> None:
    """Let the meters stand as the server said that they did before the call."""
    for (_, meter, key), said in zip(_meters(applying), stood, strict=True):
        if isinstance(meter, RateMeter):
            meter.throttle.adopt(key, int(said[0]), int(said[1]), at.ns)
        elif isinstance(meter, BudgetMeter):
            buckets = [[int(start), int(end), int(amount)] for start, end, amount in said]
            meter.spending.adopt(key, buckets)
        elif isinstance(meter, ParallelMeter):
            meter.hear(key, int(said), at)


def used_of(used: Amounts) -> tuple[dict[str, int], dict[str, str]]:
    """What a call has used: for rates, and for budgets."""
    units = {REQUESTS: used.calls, INPUT: used.input, OUTPUT: used.output}
    units[TOKENS] = used.input + used.output
    return units, {USD: str(used.picodollars), TOKENS: str(used.tokens)}
