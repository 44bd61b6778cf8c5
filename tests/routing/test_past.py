"""Half an hour by minutes, against a list of everything that happened."""

from hypothesis import given
from hypothesis import strategies as st

from ferryman.routing.past import Past

_steps = st.lists(st.tuples(st.floats(0, 900), st.integers(0, 5), st.integers(0, 5)), max_size=60)


@given(_steps, st.floats(0, 4000))
def test_sums_are_those_of_the_last_thirty_minutes(
    steps: list[tuple[float, int, int]], later: float
) -> None:
    past, now, happened = Past(), 0.0, []
    for pause, asked, failed in steps:
        now += pause
        past.add(now, asked, failed, float(asked))
        happened.append((int(now // 60), asked, failed))
    now += later
    recent = [each for each in happened if each[0] > int(now // 60) - 30]
    asked = sum(each[1] for each in recent)
    assert past.sums(now) == (asked, sum(each[2] for each in recent), float(asked))
