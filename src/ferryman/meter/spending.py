"""What is spent and held of a budget, by key: taken before a call, settled after it. Pure.

Clocks may jump: what has gone out of date is kept for a while, and counts again when they go back.
"""

from typing import Final

from ferryman.config.snapshot import LENGTHS
from ferryman.meter.window import PARTS, Window

SWEPT_AT: Final = 1024
"""Keys kept before those that have nothing to remember are looked for."""
PERIODS_KEPT: Final = 2
"""Periods of the calendar that are remembered although they are over."""


class Bucket:
    """What was taken from ``start`` on, which counts until ``end``."""

    __slots__ = ("amount", "end", "start")

    def __init__(self, start: int, end: int, amount: int) -> None:
        self.start = start
        self.end = end
        self.amount = amount


class Account:
    """What counts with one key: ``total`` is the sum of ``buckets`` from ``first`` on; those before
    it were over ``at`` the last look."""

    __slots__ = ("at", "buckets", "first", "total")

    def __init__(self) -> None:
        self.at = 0
        self.first = 0
        self.total = 0
        self.buckets: list[Bucket] = []


class Spending:
    """Amounts (picodollars or tokens) in a window, an account for each key. Times: Unix seconds."""

    def __init__(self, window: Window, begun_us: int = 0) -> None:
        self.window = window
        self.begun_us = begun_us
        """Unix microseconds; what was spent before that it has to be told,"""
        self.known = False
        """and has been, once, for all meters that count here."""
        self.without: set[str] = set()
        """Ids of calls that began before, and count here by themselves."""
        self._accounts: dict[str, Account] = {}
        self._sweep_at = SWEPT_AT
        self._kept = PARTS + PERIODS_KEPT if window.rolling else PERIODS_KEPT

    def total(self, key: str, at: int) -> int:
        """Spent and held, as it counts at ``at``."""
        account = self._accounts.get(key)
        return 0 if account is None else self._expire(account, at)

    def carried(self, key: str, most: int, at: int) -> int:
        """What was left of ``most`` in the period before; 0 if there was no call in it."""
        account = self._accounts.get(key)
        start = self.window.bucket(at)[0]
        for bucket in account.buckets if account is not None else ():
            if bucket.end == start:
                return max(most - bucket.amount, 0)
        return 0

    def add(self, key: str, amount: int, at: int) -> int:
        """Count ``amount`` as of ``at``; returns the start of its bucket."""
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= self._sweep_at:
                self._sweep(at)
            account = self._accounts[key] = Account()
        start, end = self.window.bucket(at)
        buckets = account.buckets
        place = len(buckets)
        while place and buckets[place - 1].start > start:
            place -= 1
        if place and buckets[place - 1].start == start:
            place -= 1
            buckets[place].amount += amount
        else:
            buckets.insert(place, Bucket(start, end, amount))
            if place < account.first or end <= account.at:
                account.first += 1
        if place >= account.first:
            account.total += amount
        return start

    def change(self, key: str, start: int, by: int) -> None:
        """Change the bucket that begins at ``start``, as long as it is remembered."""
        if not by:
            return
        account = self._accounts.get(key)
        if account is not None:
            place = len(account.buckets)
            while place:
                place -= 1
                bucket = account.buckets[place]
                if bucket.start == start:
                    bucket.amount += by
                    if place >= account.first:
                        account.total += by
                    return
        if by > 0:  # nothing was held there
            self.add(key, by, start)

    def frees(self, key: str, amount: int, at: int) -> int:
        """When ``amount`` less will count, if nothing is added; of nothing: its bucket's end."""
        account = self._accounts.get(key)
        if account is not None:
            self._expire(account, at)
            place, buckets = account.first, account.buckets
            while place < len(buckets):
                bucket = buckets[place]
                amount -= bucket.amount
                if amount <= 0:
                    return bucket.end
                place += 1
        return self.window.bucket(at)[1]

    def adopt(self, key: str, buckets: list[list[int]]) -> None:
        """Go by what is counted elsewhere: [start, end, amount], the oldest first."""
        account = self._accounts[key] = Account()
        account.buckets = [Bucket(start, end, amount) for start, end, amount in buckets]
        account.total = sum([bucket.amount for bucket in account.buckets])

    def keys(self) -> list[str]:
        """Those of which something is remembered."""
        return list(self._accounts)

    def _sweep(self, at: int) -> None:
        over = at - LENGTHS[self.window.per]
        self._accounts = {
            key: each
            for key, each in self._accounts.items()
            if self._expire(each, at) or (each.buckets and each.buckets[-1].end > over)
        }
        self._sweep_at = max(2 * len(self._accounts), SWEPT_AT)

    def _expire(self, account: Account, at: int) -> int:
        buckets = account.buckets
        if at < account.at:  # the clock has gone back
            account.first = 0
            account.total = sum([bucket.amount for bucket in buckets])
        account.at = at
        first = account.first
        while first < len(buckets) and buckets[first].end <= at:
            account.total -= buckets[first].amount
            first += 1
        if first > self._kept:
            del buckets[: first - self._kept]
            first = self._kept
        account.first = first
        return account.total
