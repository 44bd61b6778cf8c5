"""The vault in the admin API: secrets go in, and never come out again."""

import base64
import time
from typing import Any, Final

from ferryman.client.documents import Items
from ferryman.client.vault import Accepted, Intake, Rotate, Rotated, Secret, Stored, Verified
from ferryman.config.secret import VAULT
from ferryman.config.vault_names import joined, split
from ferryman.control.admin import Admin
from ferryman.control.api.access import Caller
from ferryman.control.api.route import Route
from ferryman.control.api.tenants import told
from ferryman.control.orders import Compiled
from ferryman.control.problem import ProblemError
from ferryman.control.vault import orders
from ferryman.control.vault.orders import Done, Order
from ferryman.control.when import rfc3339
from ferryman.log import log
from ferryman.meter.strikes import Strikes
from ferryman.store import tenants, vault
from ferryman.store.audit import WHO
from ferryman.store.db import writing

MOST_A_MINUTE: Final = 30
"""Acts of one organisation: each starts a process."""
_acts: Final = Strikes(MOST_A_MINUTE)


def list_secrets(admin: Admin) -> Items[Secret]:
    """The secrets, without what they are; an organisation's own, to who belongs to one."""
    rows = [row for row in vault.rows(admin.engine).values() if row.name[:1] != "@"]
    return Items(data=[_shown(row) for row in rows if theirs(admin.caller, row.tenant)])


def theirs(caller: Caller, organisation: str) -> bool:
    """Whether secrets of the organisation are the caller's business: of who belongs to one it is
    theirs alone, and of no team."""
    within = caller.within
    return not within or within == {"organisation": organisation}


def put_secret(admin: Admin, name: str, body: bytes) -> Stored:
    """Store a secret, sealed to the vault's key.

    `NAME` is the installation's, `ORGANISATION/NAME` that organisation's: who belongs to one
    stores those. The body is `{"sealed": "…"}`: base64 of what docs/vault.md says how to make.
    """
    organisation, _ = split(name)
    if not theirs(admin.caller, organisation):
        detail = f"{admin.caller.name} may store none but those of an organisation."
        if "team" not in admin.caller.within:
            whose = admin.caller.organisation
            detail = f"{admin.caller.name} may store {whose}/NAME and no others."
        raise ProblemError(403, "forbidden", detail)
    if organisation:
        with told(), writing(admin.engine) as connection:
            tenants.check(connection, organisation, None)
    _ask(admin, orders.PUT, name=name, body=body)
    log("control", f"the secret {name} was stored in the vault")
    return Stored(name=name, in_force=_in_force(admin, name))


def remove_secret(admin: Admin, name: str) -> Stored:
    """Remove a secret, for good."""
    if not theirs(admin.caller, split(name)[0]):
        raise ProblemError(404, "secret_not_found", f"There is no secret {name!r} in the vault.")
    _ask(admin, orders.REMOVE, name=name)
    log("control", f"the secret {name} was removed from the vault")
    return Stored(name=name, in_force=_in_force(admin, name))


def intake(admin: Admin) -> Intake:
    """The key to seal secrets to."""
    return Intake(key=base64.b64encode(_ask(admin, orders.INTAKE).key).decode())


def verify(admin: Admin) -> Verified:
    """Open every secret, and say which don't."""
    done = _ask(admin, orders.VERIFY)
    return Verified(good=done.count, wrong=done.wrong)


def rotate_vault(admin: Admin, body: Rotate) -> Rotated:
    """Encrypt every secret under a new data key."""
    count = _ask(admin, orders.ROTATE, master=body.master).count
    what = "data keys and the master key" if body.master else "data keys"
    log("control", f"the vault's {what} were rotated ({count} secrets)")
    return Rotated(rotated=count)


def accept(admin: Admin) -> Accepted:
    """Take a restored vault as it is."""
    number = _ask(admin, orders.ACCEPT).count
    log("control", "the vault was accepted as it stands in the database")
    return Accepted(number=number, in_force=_in_force(admin, ""))


def pace(acts: Strikes, caller: Caller, now: float) -> None:
    """Note one more of ``acts``. Raises :class:`ProblemError` (429): an organisation did too many.
    ``now``: seconds of any clock that goes on."""
    whose = caller.within.get("organisation")
    if whose is None:
        return
    if acts.out(whose, now):
        detail = f"That was too much of the vault for a minute: go on in {acts.rest(now)} seconds."
        raise ProblemError(429, "too_many_acts", detail)
    acts.note(whose, now)


def _ask(admin: Admin, what: str, **more: Any) -> Done:
    pace(_acts, admin.caller, time.monotonic())
    return orders.ask(admin.options, Order(what=what, who=WHO.get(), **more))


def _shown(row: vault.Row) -> Secret:
    return Secret(
        name=joined(row.tenant, row.name), hint=row.hint, master=row.master,
        created_at=rfc3339(row.created_at), changed_at=rfc3339(row.changed_at),
    )  # fmt: skip


def _in_force(admin: Admin, name: str) -> bool:
    """Compile anew if the configuration needs it; False: it has mistakes, the old one holds."""
    compiled = admin.configuration.compiled
    if compiled is not None:
        named = used(compiled)
        if not named or (name and name not in named):
            return True
    return not admin.configuration.reload()


def used(compiled: Compiled) -> set[str]:
    """The secrets of the vault that a configuration names."""
    mark = f"{VAULT}:"
    return {each.removeprefix(mark) for each, _ in compiled.uses if each.startswith(mark)}


_SECRET: Final = "/vault/secrets/{name}"  # noqa: S105 - a path
_BAD: Final = (404, 409, 429, 503)
ROUTES: Final = (
    Route("GET", "/vault", "vault.read", list_secrets, tenants=True),
    Route("PUT", _SECRET, "vault.write", put_secret, errors=_BAD, example={"sealed": "c2VhbGVk…"},
          tenants=True),
    Route("DELETE", _SECRET, "vault.write", remove_secret, errors=_BAD, tenants=True),
    Route("POST", "/vault/intake", "vault.write", intake, errors=_BAD, act="vault.intake",
          tenants=True),
    Route("POST", "/vault/verify", "vault.write", verify, errors=_BAD, act="vault.verify"),
    Route("POST", "/vault/rotate", "vault.write", rotate_vault, errors=_BAD,
          example={"master": True}),
    Route("POST", "/vault/accept", "vault.write", accept, errors=_BAD),
)  # fmt: skip
