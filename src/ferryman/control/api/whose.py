"""What of that which the gateway counts, and of alerts, is a caller's own."""

from collections.abc import Mapping
from functools import cached_property

from ferryman.control.admin import Admin
from ferryman.store import delegated, keys
from ferryman.store.alerts import Alert


class Theirs:
    """Who belongs to nobody may see all; anybody else, what tells of them alone."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._within = admin.caller.within

    def counted(self, key: str) -> bool:
        """Of what a limit counts, by its key (``meter.limits.key_of``): whether it is set for them
        or what is below them, or is counted by what only they have."""
        if not self._within:
            return True
        name, *values = (part.replace("%7C", "|").replace("%25", "%") for part in key.split("|"))
        if name in self._set:
            return True
        by = self._by.get(name, ())
        said = dict(zip(by, values, strict=False))
        if said.get("key") in self._keys:
            return True
        return all(said.get(fact) == value for fact, value in self._within.items())

    def alert(self, alert: Alert) -> bool:
        """Whether an alert is about a key of theirs, or a budget that is counted for them."""
        if not self._within or alert.subject in self._keys:
            return True
        return alert.about == "budget" and self.counted(alert.facts.get("key", ""))

    @cached_property
    def _set(self) -> set[str]:
        mine = delegated.tenant(self._within)
        found = delegated.every(self._admin.engine, self._within)
        return {each.name for each in found if not each.scope.above(mine)}

    @cached_property
    def _by(self) -> Mapping[str, tuple[str, ...]]:
        return {limit.name: limit.by for limit in self._admin.snapshot().limits}

    @cached_property
    def _keys(self) -> set[str]:
        return keys.ids(self._admin.engine, self._within)
