"""What becomes of a key that somebody who has it reports to the gateway."""

from collections.abc import Callable

import sqlalchemy as sa

from ferryman.control.keys import KeyDesk
from ferryman.store import audit, keys
from ferryman.store.audit import WHO, Act, Who
from ferryman.telemetry.record import Leaked


def shut_out(
    engine: sa.Engine, desk: KeyDesk, tell: Callable[[str, str], bool], report: Leaked
) -> None:
    """Revoke it, tell of it and write it down; again is nothing. Raises what the database does."""
    found = keys.find(engine, report.key)
    if not found or found[0].revoked_at is not None:
        return
    who = Who(actor="whoever has the key", address=report.address, client=report.client)
    before = WHO.set(who)
    try:
        said = {"where": report.where, "revoke": True}
        audit.record(engine, Act(action="key.leaked", target=report.key, after=said))
        tell(report.key, report.where)  # while it works: of others nobody need be told
    finally:
        try:
            desk.revoke(report.key)
        finally:
            WHO.reset(before)
