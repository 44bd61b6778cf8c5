"""Compiled conditions, against a reference that is slow and says the rules one by one."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.config.linear import PatternError, regex
from ferryman.config.snapshot import Condition
from ferryman.routing.conditions import compiled
from ferryman.routing.reasons import unmet

FACTS = ("metadata.a", "header.b", "tags")
_plain = st.sampled_from(["a", "b", "ab", "1", "1.0", "-2", "true", "", 0, 1, 2.5, -2, True, False])
_found = st.none() | _plain | st.frozensets(st.sampled_from(["a", "b", "1"]))


def _leaf() -> st.SearchStrategy[Condition]:
    def of(op: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
        return st.builds(Condition, op=st.just(op), fact=st.sampled_from(FACTS), value=values)

    several = st.lists(_plain, min_size=1, max_size=3).map(tuple)
    numbers = st.sampled_from([0, 1, 2.5, -2])
    patterns = st.sampled_from(["a", "^b", "[0-9]+", "^$"])
    return st.one_of(
        *[of(op, _plain) for op in ("eq", "ne")],
        *[of(op, several) for op in ("in", "not_in")],
        *[of(op, numbers) for op in ("gt", "gte", "lt", "lte")],
        of("exists", st.booleans()),
        of("regex", patterns),
    )


_conditions = st.recursive(
    _leaf(),
    lambda inner: (
        st.builds(
            Condition,
            op=st.sampled_from(["all", "any"]),
            parts=st.lists(inner, max_size=3).map(tuple),
        )
        | st.builds(Condition, op=st.just("not"), parts=st.tuples(inner))
    ),
    max_leaves=8,
)


def _reference(condition: Condition, facts: dict[str, Any]) -> bool:
    op, value = condition.op, condition.value
    if op in ("all", "any"):
        found = [_reference(part, facts) for part in condition.parts]
        return False not in found if op == "all" else True in found
    if op == "not":
        return not _reference(condition.parts[0], facts)
    fact = facts[condition.fact]
    several = sorted(fact) if isinstance(fact, frozenset) else [] if fact is None else [fact]
    if op == "exists":
        return bool(several) == value
    positive = {"ne": "eq", "not_in": "in"}.get(op, op)
    met = [one for one in several if _one(positive, one, value)]
    return bool(met) == (positive == op)


def _one(op: str, found: Any, value: Any) -> bool:
    if op == "in":
        return any(_one("eq", found, each) for each in value)
    if op == "regex":
        return isinstance(found, str) and bool(re.search(value, found))
    number = None if isinstance(found, bool) else _as_number(found)
    if op == "eq" and isinstance(value, str):
        return str(found).lower() == value if isinstance(found, bool) else str(found) == value
    if op == "eq" and isinstance(value, bool):
        return found is value or found == ("true" if value else "false")
    if number is None:
        return False
    return {
        "eq": number == value, "gt": number > value, "gte": number >= value,
        "lt": number < value, "lte": number <= value,
    }[op]  # fmt: skip


def _as_number(found: Any) -> float | None:
    try:
        return float(found)
    except ValueError:
        return None


@settings(max_examples=1000, deadline=None)
@given(condition=_conditions, found=st.tuples(_found, _found, _found))
def test_compiled_conditions_say_what_the_rules_say(
    condition: Condition, found: tuple[Any, Any, Any]
) -> None:
    facts = dict(zip(FACTS, found, strict=True))
    met = _reference(condition, facts)
    assert compiled(condition)(facts.__getitem__) is met
    assert (unmet(condition, facts.__getitem__) == "") is met, "a reason is there where it is due"


def test_no_more_is_asked_than_has_to_be_known() -> None:
    asked: list[str] = []

    def ask(name: str) -> object:
        asked.append(name)
        return "x"

    cheap = Condition(op="eq", fact="metadata.a", value="y")
    dear = Condition(op="gt", fact="tokens", value=1)
    assert not compiled(Condition(op="all", parts=(cheap, dear)))(ask)
    assert asked == ["metadata.a"]


NIGHT = Condition(op="within", fact="time", value=("Europe/Berlin", 22 * 60, 6 * 60, 4))
OFFICE = Condition(op="within", fact="time", value=("UTC", 9 * 60, 17 * 60, 0, 1, 2, 3, 4))


@pytest.mark.parametrize(
    ("condition", "moment", "met"),
    [
        # 2026-11-27 is a Friday; Berlin is an hour ahead of UTC then, two in summer.
        (NIGHT, "2026-11-27T20:59", False),
        (NIGHT, "2026-11-27T21:00", True),
        (NIGHT, "2026-11-28T04:59", True),
        (NIGHT, "2026-11-28T05:00", False),
        (NIGHT, "2026-11-27T02:00", False),
        (NIGHT, "2026-07-03T20:00", True),
        (OFFICE, "2026-11-27T08:59", False),
        (OFFICE, "2026-11-27T09:00", True),
        (OFFICE, "2026-11-27T16:59", True),
        (OFFICE, "2026-11-27T17:00", False),
        (OFFICE, "2026-11-28T12:00", False),
    ],
)
def test_hours_and_weekdays(condition: Condition, moment: str, met: bool) -> None:
    seconds = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    assert compiled(condition)({"time": seconds}.__getitem__) is met


def test_long_numbers_and_texts_are_no_trouble() -> None:
    ask = {"header.b": "9" * 5000, "tags": "a" * 100_000}.__getitem__
    assert not compiled(Condition(op="gt", fact="header.b", value=1))(ask)
    assert not compiled(Condition(op="regex", fact="tags", value="(a+)+$"))(ask)


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)", "(", "a" * 100 + "{1000}{1000}"])
def test_patterns_that_are_not_linear_are_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        regex(pattern)
