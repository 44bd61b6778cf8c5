"""The key of sealed secrets opens at the data plane that it is wrapped for, and nowhere else."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ferryman.config.seal import SealError
from ferryman.config.wrapping import pair, unwrapped, wrapped

KEY = bytes(range(32))
PUBLIC, PRIVATE = pair()


def test_it_opens_for_its_plane_and_no_other() -> None:
    first, again = (wrapped(KEY, "east", PUBLIC) for _ in range(2))
    assert first != again, "a new key of the sender's each time"
    assert unwrapped(first, "east", PRIVATE) == unwrapped(again, "east", PRIVATE) == KEY
    _, other = pair()
    for plane, private in (("east", other), ("west", PRIVATE), ("", PRIVATE), ("east", KEY)):
        with pytest.raises(SealError):
            unwrapped(first, plane, private)


def test_every_cut_and_every_changed_bit_is_noticed() -> None:
    data = wrapped(KEY, "east", PUBLIC)
    bent = [data[:at] for at in range(len(data))] + [data + b"\0"]
    for at in range(len(data) * 8):
        one = bytearray(data)
        one[at // 8] ^= 1 << at % 8
        bent.append(bytes(one))
    # X25519 ignores the highest bit of a public key (RFC 7748); what is derived does not.
    for each in bent:
        with pytest.raises(SealError):
            unwrapped(each, "east", PRIVATE)


LOW = (
    bytes(32), (1).to_bytes(32, "little"), (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"), (2**255 - 18).to_bytes(32, "little"),
)  # fmt: skip
"""Points of small order: what is agreed on with them everybody knows (RFC 7748, section 6.1)."""


@pytest.mark.parametrize(
    "public",
    [b"", PUBLIC[:-1], PUBLIC + b"\0", b"x" * 5000, *LOW],
    ids=lambda public: f"{len(public)} bytes",  # keys are others in each process
)
def test_nothing_is_wrapped_to_what_is_no_key(public: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wrapped(KEY, "east", public)


def test_it_is_hpke() -> None:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    held = X25519PrivateKey.from_private_bytes(PRIVATE)
    data = wrapped(KEY, "east", PUBLIC)
    assert suite.decrypt(data, held, b"ferryman seal key v1\neast") == KEY
    assert len(data) == 32 + 32 + 16
