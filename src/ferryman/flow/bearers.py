"""Callers with a token of an issuer: who they are, before anything of their call is read."""

import asyncio
import time
from typing import Final

from ferryman.flow.call import Call
from ferryman.flow.headers import HeaderFacts
from ferryman.meter.caller import Caller, Stranger

PATIENCE: Final = 5.0
"""Seconds that a call waits for news of the key that its token is signed with."""


async def acquaint(call: Call, facts: HeaderFacts) -> None:
    """Note whose the call is, if an issuer vouches for that; ``identify`` has the last word.

    Issuers change their keys: those of one that is not known are looked for, and waited for.
    """
    issuers = call.plane.issuers
    if issuers is None:
        return
    found = issuers.admit(facts.bearer, facts.digest, time.time())
    if isinstance(found, Stranger) and found.keys and issuers.renew is not None:
        await asyncio.wait((issuers.renew(found.keys),), timeout=PATIENCE)
        issuers = call.plane.issuers or issuers  # these know what was found
        found = issuers.admit(facts.bearer, facts.digest, time.time())
    if isinstance(found, Caller):
        call.whose, call.models = found.whose, found.models


def may_use(models: tuple[str, ...], model: str) -> bool:
    """Whether a caller of ``models`` may ask for ``model``."""
    return any(
        model.startswith(name[:-1]) if name.endswith("*") else model == name for name in models
    )
