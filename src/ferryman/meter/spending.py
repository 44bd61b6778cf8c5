"""What is spent and held of a budget, by key: taken before a call, settled after it. Pure."""

from typing import Final

from ferryman.meter.window import Window

SWEPT_AT: Final = 1024
"""Keys kept before those that have nothing to remember are looked for."""


class Account:
    """What counts with one key: ``total`` is the sum of ``buckets``, each [start, end, amount]."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.total = 0
        self.buckets: list[list[int]] = []


class Spending:
    """Amounts (picodollars or tokens) in a window, an account for each key. Times: Unix seconds."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._accounts: dict[str, Account] = {}
        self._sweep_at = SWEPT_AT

    def total(self, key: str, at: int) -> int:
        """Spent and held, as it counts at ``at``."""
        account = self._accounts.get(key)
        return 0 if account is None else _expire(account, at)

    def add(self, key: str, amount: int, at: int) -> int:
        """Count ``amount`` as of ``at``; returns the start of its bucket."""
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= self._sweep_at:
                self._sweep(at)
            account = self._accounts[key] = Account()
        start, end = self.window.bucket(at)
        account.total += amount
        buckets = account.buckets
        place = len(buckets)
        while place and buckets[place - 1][0] > start:
            place -= 1
        if place and buckets[place - 1][0] == start:
            buckets[place - 1][2] += amount
        else:
            buckets.insert(place, [start, end, amount])
        return start

    def change(self, key: str, start: int, by: int) -> None:
        """Change the bucket that begins at ``start``, as long as it counts."""
        if not by:
            return
        account = self._accounts.get(key)
        for bucket in reversed(account.buckets) if account is not None else ():
            if account is not None and bucket[0] == start:
                bucket[2] += by
                account.total += by
                return
        if by > 0:  # nothing was held there
            self.add(key, by, start)

    def frees(self, key: str, amount: int, at: int) -> int:
        """When ``amount`` less will count, if nothing is added; of nothing: its bucket's end."""
        account = self._accounts.get(key)
        for _, end, spent in account.buckets if account is not None else ():
            amount -= spent
            if amount <= 0:
                return end
        return self.window.bucket(at)[1]

    def keys(self) -> list[str]:
        """Those of which something is remembered."""
        return list(self._accounts)

    def _sweep(self, at: int) -> None:
        self._accounts = {key: each for key, each in self._accounts.items() if _expire(each, at)}
        self._sweep_at = max(2 * len(self._accounts), SWEPT_AT)


def _expire(account: Account, at: int) -> int:
    buckets = account.buckets
    while buckets and buckets[0][1] <= at:
        account.total -= buckets.pop(0)[2]
    return account.total
