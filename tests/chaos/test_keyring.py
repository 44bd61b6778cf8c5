"""Keys reach the data plane as they change, and many of them change nothing."""

import uvloop
from soak import keyring
from soak.plant import Plant


def test_a_changed_key_is_known_at_once(running: Plant) -> None:
    found = uvloop.run(keyring.changes(running, 5))
    assert max(found.created + found.revoked) <= keyring.SOON


def test_many_keys_are_all_known_and_no_others() -> None:
    assert keyring.known(10_000, calls=1000) == 1000
