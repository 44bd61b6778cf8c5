"""How well structured data is found: tables of what is, and of what only looks like it."""

import pytest

from ferryman.guard.pii import ALWAYS, PII
from ferryman.guard.scan import scan
from tests.guard.tables import ARE, ARE_NOT, LABELLED

DETECTORS = tuple(each for name in ALWAYS for each in PII[name])


def found(text: str) -> list[str]:
    out: list[str] = []

    def note(kind: str, value: str) -> str:
        out.append(value)
        return ""

    scan(text, DETECTORS, note)
    return out


@pytest.mark.parametrize("value", ARE)
def test_is_found_whole(value: str) -> None:
    assert found(f"It is {value}, she said.") == [value]


@pytest.mark.parametrize(("text", "value"), LABELLED)
def test_a_word_beside_it_makes_it_a_number(text: str, value: str) -> None:
    assert found(text) == [value]
    assert found(value) == []


@pytest.mark.parametrize("text", ARE_NOT)
def test_is_none(text: str) -> None:
    assert found(f"It is {text}, she said.") == []
