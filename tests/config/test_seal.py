"""Sealed secrets open for the right plane and provider, and for nobody else."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.config.seal import SealError, derive_for, seal, unseal

KEY = derive_for("seal key", "sealed secrets")


@given(text=st.text(), name=st.text(max_size=20))
def test_what_is_sealed_opens(text: str, name: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    name = name.encode("utf-8", "replace").decode()
    sealed = seal(text, key=KEY, name=name)
    assert unseal(sealed, key=KEY, name=name) == text
    assert sealed == seal(text, key=KEY, name=name), "equal configurations, equal snapshots"


def test_every_changed_bit_is_noticed() -> None:
    data = base64.b64decode(seal("abc", key=KEY, name="lab"))
    for at in range(len(data) * 8):
        bent = bytearray(data)
        bent[at // 8] ^= 1 << at % 8
        with pytest.raises(SealError):
            unseal(base64.b64encode(bent).decode(), key=KEY, name="lab")


@pytest.mark.parametrize("sealed", ["", "!!", "QUJD", "é", "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD"])
def test_rubbish_is_refused(sealed: str) -> None:
    with pytest.raises(SealError):
        unseal(sealed, key=KEY, name="lab")


def test_another_name_or_key_does_not_open() -> None:
    sealed = seal("abc", key=KEY, name="lab")
    with pytest.raises(SealError):
        unseal(sealed, key=KEY, name="lab2")
    with pytest.raises(SealError):
        unseal(sealed, key=derive_for("seal keys", "sealed secrets"), name="lab")


def test_nonces_differ_between_texts_and_names() -> None:
    pairs = [("abc", "lab"), ("abd", "lab"), ("abc", "lab2"), ("c", "labab"), ("", "lababc")]
    nonces = {base64.b64decode(seal(text, key=KEY, name=name))[:12] for text, name in pairs}
    assert len(nonces) == len(pairs)


def test_the_key_is_hkdf_sha256() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    other = HKDF(SHA256(), 32, salt=None, info=b"ferryman sealed secrets v1")
    assert derive_for("token", "sealed secrets") == other.derive(b"token")
    assert len(KEY) == 32
