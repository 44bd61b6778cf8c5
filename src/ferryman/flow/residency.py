"""Where a call's data may go: the configuration's ``residency``, which nobody can widen, and to no
provider that is another organisation's."""

from collections.abc import Mapping
from typing import Final

from ferryman.config.feed import NO_FACTS, KeyFacts
from ferryman.config.filters import Written, barred, unpromised
from ferryman.config.snapshot import Filter, Snapshot
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.routing.conditions import Meets, compiled

FOREIGN: Final = "another organisation's key"
"""What the source of a filter begins with that keeps calls from providers of others."""


class Residency:
    """The rules of a snapshot, ready to be asked by a gateway in ``regions`` (each with those that
    it is a part of) that promises ``data_policy``."""

    def __init__(
        self,
        rules: tuple[tuple[Meets, Filter], ...],
        regions: frozenset[str],
        data_policy: str,
        owners: Mapping[str, str],
    ) -> None:
        """``owners``: provider → the organisation that it alone serves."""
        self._others = {each: _others(owners, each) for each in ("", *owners.values())}
        """By organisation; under "" that of all that have no provider."""
        self._rules = rules
        self._regions = regions
        self._data_policy = data_policy

    def required(self, key: str, whose: KeyFacts | None) -> tuple[Filter, ...]:
        """What all targets of a virtual key's calls must pass.

        Raises :class:`GatewayError` (403) where the gateway itself doesn't.
        """
        found = self._of(key, whose)
        for wanted in found:
            why = unmet(self._regions, self._data_policy, wanted)
            if why:
                text = f"This gateway may not serve the call: it {why}, as {wanted.source} wants."
                fix = "Send it to another gateway, or ask whoever runs this one."
                raise GatewayError(403, ErrorKind.FORBIDDEN, f"{text} {fix}")
        return found

    def admits(self, key: str, place: Written, whose: KeyFacts | None = None) -> bool:
        """Whether calls of the gateway's own, in the name of ``key``, may go there."""
        return not any(barred(place, wanted) for wanted in self._of(key, whose))

    def others(self, whose: KeyFacts | None) -> Filter | None:
        """Keeps calls of these from the providers of others; None = there are none."""
        organisation = (whose or NO_FACTS).organisation
        return self._others.get(organisation, self._others[""])

    def _of(self, key: str, whose: KeyFacts | None) -> tuple[Filter, ...]:
        facts = whose or NO_FACTS
        said: dict[str, str | None] = {
            "key": key,
            "organisation": facts.organisation or None,
            "team": facts.team or None,
            "user": facts.user or None,
        }
        found = tuple([wanted for meets, wanted in self._rules if meets(said.get)])
        others = self.others(whose)
        return found if others is None else (others, *found)


def _others(owners: Mapping[str, str], organisation: str) -> Filter | None:
    foreign = tuple(sorted(name for name, owner in owners.items() if owner != organisation))
    source = f"{FOREIGN}, not {organisation}'s" if organisation else FOREIGN
    return Filter(source=source, ignore=foreign) if foreign else None


def unmet(here: frozenset[str], data_policy: str, wanted: Filter) -> str:
    """What a gateway in the regions ``here`` that promises ``data_policy`` lacks, in words; empty =
    nothing."""
    regions = wanted.regions
    if regions and not any(name.lower() in here for name in regions):
        where = max(here, key=len, default="a place that nobody has told")
        return f"runs in {where} (--region), not in {' or '.join(regions)}"
    missing = unpromised(data_policy, wanted.data_policy)
    return f"does not promise {', '.join(missing)} (--data-policy)" if missing else ""


def residency_of(snapshot: Snapshot, regions: frozenset[str], data_policy: str) -> Residency | None:
    """None: it requires nothing of any call. Raises as ``routing/conditions.py`` does."""
    rules = tuple([(compiled(rule.when), rule.filter) for rule in snapshot.residency])
    owners = {each.name: each.owner for each in snapshot.providers.values() if each.owner}
    return Residency(rules, regions, data_policy, owners) if rules or owners else None
