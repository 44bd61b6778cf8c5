"""What may be sent so many times a minute, counted by who sends it: wrong keys and tokens by where
they come from, feedback by its key. Pure."""

import ipaddress
from typing import Final

SECONDS: Final = 60
"""How long they are remembered: until the next full minute."""
MOST_STRANGERS: Final = 300
"""Calls a minute from one place that are told that their key is not valid."""
MOST_PLACES: Final = 10_000
"""Places that are told apart in a minute; all others count as one."""
_OTHERS: Final = ""


class Strikes:
    """Knows who has sent too many. ``most`` of them in a minute are answered like a single one.

    An ``address`` may be any name: of those that are none, each counts by itself."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._minute = -1
        self._counts: dict[str, int] = {}

    def note(self, address: str, now: float) -> None:
        """One more came from there. ``now`` is in seconds, of any clock that goes on."""
        place = self._place(address, now)
        self._counts[place] = self._counts.get(place, 0) + 1

    def out(self, address: str, now: float) -> bool:
        """Whether as many as may be have come from there in this minute."""
        return self._counts.get(self._place(address, now), 0) >= self._most

    def rest(self, now: float) -> int:
        """Whole seconds until the next minute begins."""
        return SECONDS - int(now % SECONDS)

    def _place(self, address: str, now: float) -> str:
        minute = int(now // SECONDS)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        place = place_of(address)
        return place if place in self._counts or len(self._counts) < MOST_PLACES else _OTHERS


def place_of(address: str) -> str:
    """An address, or of IPv6 the network of which one caller has all addresses (/64)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Address(int(found) >> 64 << 64))
    return str(found)
