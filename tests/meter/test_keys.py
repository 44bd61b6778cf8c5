"""Secrets of virtual keys."""

import hmac
import string

from hypothesis import given
from hypothesis import strategies as st

from ferryman.meter import keys

BASE62 = string.digits + string.ascii_letters


def test_minted_keys_are_well_formed_and_differ() -> None:
    minted = {keys.mint() for _ in range(200)}
    assert len(minted) == 200
    for token in minted:
        assert len(token) == 52
        assert token.startswith("fm-")
        assert set(token[3:]) <= set(BASE62)
        assert keys.well_formed(token)
        assert keys.well_formed(token.encode())


@given(st.integers(0, 51), st.sampled_from(BASE62 + "-_é\0"))
def test_one_wrong_character_is_noticed(place: int, letter: str) -> None:
    token = "fm-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
    token += keys._checksum(token)
    assert keys.well_formed(token)
    wrong = token[:place] + letter + token[place + 1 :]
    assert keys.well_formed(wrong) is (wrong == token)


@given(st.one_of(st.text(max_size=60), st.binary(max_size=60)))
def test_other_texts_are_not_well_formed(token: str | bytes) -> None:
    assert not keys.well_formed(token)


def test_swapped_and_cut_keys_are_noticed() -> None:
    token = keys.mint()
    assert not keys.well_formed(token[:-1])
    assert not keys.well_formed(token + "0")
    assert not keys.well_formed(token.upper() if token.upper() != token else token.lower())


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_digest_is_hmac_sha256(pepper: bytes, token: bytes) -> None:
    assert keys.digest(pepper, token) == hmac.digest(pepper, token, "sha256")


def test_the_hint_shows_ends_only() -> None:
    assert keys.hint("fm-AbCdefghijklmnopwxyz") == "fm-AbC…wxyz"
