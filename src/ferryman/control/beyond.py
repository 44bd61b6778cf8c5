"""What a change of the configuration may not do: give anybody more than whoever makes it may give.

The file itself is its owner's: reading it again asks for nothing of this.
"""

from ferryman.config.uses import WRITTEN
from ferryman.control.api.access import ROLES, Caller, may, may_all
from ferryman.control.orders import Compiled
from ferryman.control.problem import ProblemError


def may_change(caller: Caller, before: Compiled, after: Compiled) -> None:
    """Raise :class:`ProblemError` (403) where ``after`` lets somebody do what ``caller`` may not,
    or sends a secret to where it was not sent ``before``, which takes ``vault.write``."""
    for name, permissions in after.roles.items():
        may_all(caller, frozenset(permissions) - {*before.roles.get(name, ())}, name)
    if after.entrance != before.entrance:  # whoever says who comes in could come in as anybody
        roles = {name: frozenset(each) for name, each in after.roles.items()} | ROLES
        for name in after.entered:
            may_all(caller, roles.get(name, frozenset()), name)
    if after.issuers != before.issuers:  # their tokens are good for calls, like virtual keys
        may(caller, "keys.write")
    known = {secret for secret, _ in before.uses}
    for secret, place in sorted({*after.uses} - {*before.uses}):
        own = secret.startswith(WRITTEN)
        if own and secret not in known:  # the caller wrote it down
            continue
        if "vault.write" not in caller.permissions:
            detail = (
                f"This sends {'a key of the configuration' if own else secret} to {place}, where "
                f"it is not sent now: that takes the permission vault.write, and {caller.name} "
                "lacks it."
            )
            raise ProblemError(403, "forbidden", detail)
