"""Times and durations as people write them."""

import pytest

from ferryman.control.when import WhenError, duration, moment, rfc3339

NOW = 1_795_000_000.7


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("90m", 5400), ("12h", 43_200), ("30d", 2_592_000), ("2W", 1_209_600)],
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text) == seconds
    assert moment(text, NOW) == int(NOW) - seconds
    assert moment(text, NOW, ahead=True) == int(NOW) + seconds


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("2026-11-22", 1_795_305_600),
        ("20261122", 1_795_305_600),
        ("2026-11-22T01:00:00Z", 1_795_309_200),
        ("2026-11-22T01:00:00", 1_795_309_200),
        ("2026-11-22T01:00:00+01:00", 1_795_305_600),
        ("2026-11-22T01:00:00 01:00", 1_795_305_600),
        ("1795305600", 1_795_305_600),
        ("0", 0),
    ],
)
def test_moments(text: str, unix: int) -> None:
    assert moment(text, NOW) == unix


@pytest.mark.parametrize(
    "text",
    ["", "soon", "d", "30 parsecs", "-5d", "2026-13-01", "9999-01-01", "4294967296", "\uff11d"],
)
def test_what_is_no_time_is_told_with_the_right_forms(text: str) -> None:
    with pytest.raises(WhenError) as error:
        moment(text, NOW)
    assert repr(text) in str(error.value)


def test_rfc3339_shows_milliseconds_only_when_there_are_some() -> None:
    assert rfc3339(1_795_305_600) == "2026-11-22T00:00:00Z"
    assert rfc3339(1_795_305_600.0625) == "2026-11-22T00:00:00.062Z"
    assert moment(rfc3339(1_795_305_600), NOW) == 1_795_305_600
