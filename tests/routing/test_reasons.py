"""What is said of a condition that is not met; where it is said: ``test_conditions.py``."""

from typing import Any

import pytest

from ferryman.config.snapshot import Condition
from ferryman.routing.reasons import unmet


@pytest.mark.parametrize(
    ("op", "value", "found", "said"),
    [
        ("eq", "a", None, 'a is missing; wanted: "a"'),
        ("ne", True, True, "a is true; wanted: anything but true"),
        ("not_in", (1, 2), "1", 'a is "1"; wanted: none of 1, 2'),
        ("gte", 3, 2, "a is 2; wanted: at least 3"),
        ("exists", True, frozenset(), "a is missing; wanted: anything"),
        ("exists", False, frozenset("xy"), 'a is "x", "y"; wanted: missing'),
        ("regex", "^a", "b" * 200, f'a is "{"b" * 119}…; wanted: something that has "^a"'),
    ],
)
def test_reasons_name_what_is_there_and_what_is_wanted(
    op: str, value: Any, found: Any, said: str
) -> None:
    condition = Condition(op=op, fact="a", value=value)
    assert unmet(condition, lambda _: found) == said
    assert (
        unmet(Condition(op="all", parts=(Condition(op="all"), condition)), lambda _: found) == said
    )
    hours = Condition(op="within", fact="time", value=("UTC", 0, 1440, 0, 1, 2, 3, 4, 5, 6))
    negated = Condition(op="not", parts=(hours,))
    assert unmet(negated, lambda _: 0) == "it must not be that the hour is right"
