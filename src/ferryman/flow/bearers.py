"""Callers with a token of an issuer: who they are, before anything of their call is read."""

import asyncio
import time
from typing import Final, NamedTuple

from ferryman.flow.call import Call, Plane
from ferryman.flow.headers import HeaderFacts
from ferryman.meter.caller import Caller, Stranger
from ferryman.upstream.fleet import Resolved, Target

PATIENCE: Final = 5.0
"""Seconds that a call waits for news of the key that its token is signed with."""


async def acquaint(call: Call, facts: HeaderFacts) -> None:
    """Note whose the call is, if an issuer vouches for that; ``identify`` has the last word."""
    found = await vouched_for(call.plane, facts)
    if found is not None:
        call.whose, call.models = found.whose, found.models


async def vouched_for(plane: Plane, facts: HeaderFacts) -> Caller | None:
    """Whose a token is, if an issuer vouches for that.

    Issuers change their keys: those of one that is not known are looked for, and waited for.
    """
    issuers = plane.issuers
    if issuers is None:
        return None
    found = issuers.admit(facts.bearer, facts.digest, time.time())
    if isinstance(found, Stranger) and found.keys and issuers.renew is not None:
        await asyncio.wait((issuers.renew(found.keys),), timeout=PATIENCE)
        issuers = plane.issuers or issuers  # these know what was found
        found = issuers.admit(facts.bearer, facts.digest, time.time())
    return found if isinstance(found, Caller) else None


def may_use(models: tuple[str, ...], model: str) -> bool:
    """Whether a caller of ``models`` may ask for ``model``."""
    return any(
        model.startswith(name[:-1]) if name.endswith("*") else model == name for name in models
    )


class Named(NamedTuple):
    """What callers of an issuer may ask for; lists of models ask it like a virtual key's bounds
    (:class:`~ferryman.flow.key_bounds.Confines`)."""

    models: tuple[str, ...]

    @property
    def may(self) -> str:
        """In words."""
        return f"models {', '.join(self.models)}"

    def shows(self, name: str, _: Resolved) -> bool:
        """Whether a list of models has ``name``: as for calls, what it leads to says nothing."""
        return may_use(self.models, name)

    def admits(self, _: Target) -> bool:
        """Whether calls may go to a target: names alone are bound."""
        return True
