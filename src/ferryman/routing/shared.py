"""Rests that several data planes tell each other: what is news here, and how news is taken in."""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from ferryman.routing.health import LONGEST_HINT, Health, Rest

LONGEST_NAME: Final = 500
MOST_ROUNDS: Final = 64


class Notice(Struct, frozen=True, array_like=True):
    """One rest as it stands; ``rounds`` 0 = it has ended."""

    plane: str
    """Whose news it is: planes hear their own words too."""
    name: str
    """``target␟provider/model``, ``limit␟provider/model␟key`` or ``key␟key`` (␟ = U+001F)."""
    seconds: float = 0.0
    """That are left of it."""
    rounds: int = 0
    why: str = ""


class Shared:
    """What this plane and the others last said of each rest."""

    def __init__(self, plane: str) -> None:
        self.plane = plane
        self._said: dict[str, tuple[int, float]] = {}

    def forget(self) -> None:
        """Tell everything anew: who was told may have forgotten it."""
        self._said.clear()

    def news(
        self, targets: dict[str, Health], keys: dict[str, Rest], now: float, most: int
    ) -> list[Notice]:
        """Rests that have begun, grown or ended since the last call, ``most`` at most.

        Of targets that are not among ``targets`` nothing is told.
        """
        standing = dict(_rests(targets, keys))
        found: list[Notice] = []
        for name, rest in standing.items():
            if len(found) < most and self._said.get(name) != (rest.rounds, rest.until):
                self._said[name] = (rest.rounds, rest.until)
                left = max(rest.until - now, 0.0)
                found.append(Notice(self.plane, name, left, rest.rounds, rest.why))
        for name in [name for name in self._said if name not in standing]:
            kind, of, *_ = name.split("\x1f")
            if kind != "key" and of not in targets:  # not asked for here (again) yet: still true
                if self._said[name][1] < now:
                    del self._said[name]
            elif len(found) < most:
                del self._said[name]
                found.append(Notice(self.plane, name))
        return found

    def take_in(
        self, notice: Notice, health_of: Callable[[str], Health | None], keys: dict[str, Rest],
        now: float,
    ) -> None:  # fmt: skip
        """Let a rest be what another plane says; what makes no sense changes nothing."""
        if notice.plane == self.plane or len(notice.name) > LONGEST_NAME:
            return
        kind, *rest = notice.name.split("\x1f")
        if kind == "key" and len(rest) == 1:
            if notice.rounds:
                _adopt(keys.setdefault(rest[0], Rest()), notice, now)
            else:
                keys.pop(rest[0], None)
        elif (kind, len(rest)) in (("target", 1), ("limit", 2)):
            health = health_of(rest[0])
            if health is None:
                return
            if kind == "limit":
                if notice.rounds:
                    _adopt(health.limits.setdefault(rest[1], Rest()), notice, now)
                else:
                    health.limits.pop(rest[1], None)
            elif notice.rounds:
                _adopt(health.rest, notice, now)
            elif health.rest.rounds:
                health.recover(now)
        else:
            return
        self._remember(notice.name, health_of, keys)

    def _remember(
        self, name: str, health_of: Callable[[str], Health | None], keys: dict[str, Rest]
    ) -> None:
        """Say nothing of it as long as it stays as it is."""
        kind, of, *key = name.split("\x1f")
        health = health_of(of) if kind != "key" else None
        if kind == "key":
            found = keys.get(of)
        elif kind == "limit":
            found = health.limits.get(key[0]) if health is not None else None
        else:
            found = health.rest if health is not None else None
        if found is not None and found.rounds:
            self._said[name] = (found.rounds, found.until)
        else:
            self._said.pop(name, None)


def _rests(targets: dict[str, Health], keys: dict[str, Rest]) -> Iterator[tuple[str, Rest]]:
    for name, health in targets.items():
        if health.rest.rounds:
            yield f"target\x1f{name}", health.rest
        for key, rest in health.limits.items():
            if rest.rounds:
                yield f"limit\x1f{name}\x1f{key}", rest
    for key, rest in keys.items():
        if rest.rounds:
            yield f"key\x1f{key}", rest


def _adopt(rest: Rest, notice: Notice, now: float) -> None:
    seconds = min(max(notice.seconds, 0.0), LONGEST_HINT)
    rest.rounds = min(max(notice.rounds, rest.rounds, 1), MOST_ROUNDS)
    rest.since = now
    rest.until = max(rest.until, now + seconds)
    rest.why = notice.why[:100]
