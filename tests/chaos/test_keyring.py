"""Keys reach the data plane as they change, and many of them change nothing."""

import uvloop
from soak import keyring
from soak.plant import Plant


def test_a_changed_key_is_known_at_once(running: Plant) -> None:
    found = uvloop.run(keyring.changes(running, 5))
    assert max(found.created + found.revoked) <= keyring.SOON


def test_many_keys_are_all_known() -> None:
    found = keyring.ring(20_000, calls=1000)  # every answer is looked at: a thousand of the keys
    assert found.edge_mb > 0
