"""How well structured data is found: tables of what is, and of what only looks like it."""

import re

import pytest

from ferryman.catalog.secret_shapes import SECRET_SHAPES
from ferryman.guard.pii import ALWAYS, PII
from ferryman.guard.scan import scan
from ferryman.guard.secrets import SECRETS
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


REST = "A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6Q7R"
BEGINNINGS = {
    "provider_key": "sk-ant- sk-proj- sk-svcacct- sk-admin- sk-or- sk-lf- sk-None- sk- gsk_ xai- "
    "pplx- r8_ hf_ fw_ nvapi- csk- tgp_v1_ jina_",
    "cloud_key": "AIza ya29. AKIA ASIA ABIA ACCA",
    "service_token": "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- npm_ pypi- dop_v1_ shpat_ "
    "lin_api_ xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- sk_live_ sk_test_ rk_live_ rk_test_ "
    "SG.A1B2C3D4E5F6G7H8I9J0K1.",
}
CREDENTIALS = [
    (kind, each + REST) for kind, all_of in BEGINNINGS.items() for each in all_of.split()
]


@pytest.mark.parametrize(("kind", "value"), CREDENTIALS)
def test_a_credential_is_found_whole_by_its_beginning(kind: str, value: str) -> None:
    told: list[tuple[str, str]] = []

    def note(name: str, text: str) -> str:
        told.append((name, text))
        return ""

    assert scan(f"It is '{value}', she said.", SECRETS["known"], note) == "It is '', she said."
    assert told == [(kind, value)]


def test_each_shape_of_a_credential_has_one() -> None:
    for kind, pattern in SECRET_SHAPES:
        assert any(k == kind and re.match(pattern, text) for k, text in CREDENTIALS), pattern
    for word in (
        "sk-learn",
        "a task-force-of-many-good-people",
        "hf_hub",
        "AKIA",
        "npm_config",
        "SG.",
    ):
        assert scan(word, SECRETS["known"], lambda *_: "?") == word
