"""What groups of a directory give to those in them, by the configuration in force."""

import time
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from ferryman.config.model import Grant
from ferryman.log import log
from ferryman.store import scim
from ferryman.store.names import folded
from ferryman.store.scim import Grants


def grants_of(groups: Mapping[str, Grant], roles: Mapping[str, frozenset[str]]) -> Grants:
    """The configuration's ``groups``, by names as they are compared, and what ``roles`` may."""
    found: dict[str, Grant] = {}
    for name, given in groups.items():
        found.setdefault(folded(name), given)
    return Grants(of=found, roles=roles)


class Granter:
    """Sees to it that users have what their groups give, once the configuration has changed."""

    def __init__(self, engine: sa.Engine, grants: Callable[[], Grants]) -> None:
        self._engine, self._grants = engine, grants
        self._done = Grants()
        self._failure = ""

    def step(self) -> None:
        """Do it, if there is something to do. Never raises: what fails is said, and tried again."""
        grants = self._grants()
        if grants == self._done:
            return
        try:
            count = scim.grant_all(self._engine, grants, int(time.time()))
        except sa.exc.SQLAlchemyError as error:
            failure = type(error).__name__
            if failure != self._failure:
                log("control", f"can't give users what their groups give ({failure})")
            self._failure = failure
            return
        self._done, self._failure = grants, ""
        if count:
            log("control", f"groups give something else now: {count} changes of users")
