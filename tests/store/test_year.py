"""A slice of the proof that a year's pages are quick (``soak/year.py``)."""

from soak import year


def test_pages_of_many_days_are_right_and_quick(url: str) -> None:
    found = year.run(url, calls=600_000, days=4, seed=7, hours=1)
    assert found.rows > 2_000
    assert max(found.pages.values()) < 5, found.pages
