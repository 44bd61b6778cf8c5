"""What is remembered between calls: stored responses, cached prompts, how far scripts are."""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable

MOST = 10_000
"""Responses, and prompts, that are remembered; the oldest go first."""


Unit = tuple[bytes, int, str]
"""A piece of a prompt: what it says, its tokens, and how long the prompt up to its end is to stay
in the cache (``5m``, ``1h``; empty: not on its account)."""


class Memory:
    """One simulator's memory."""

    def __init__(self) -> None:
        self.responses: OrderedDict[str, list[str]] = OrderedDict()
        """Names of the tools that each stored response called, by its number."""
        self.prompts: OrderedDict[bytes, None] = OrderedDict()
        """Digests of prompts in the cache."""
        self.turns: Counter[tuple[str, ...]] = Counter()
        """How many calls each script has had."""

    def turn(self, script: tuple[str, ...]) -> int:
        """The number, from 0, of the call that a script has now."""
        self.turns[script] += 1
        return self.turns[script] - 1

    def store(self, number: str, called: list[str]) -> None:
        """Remember a response."""
        self.responses[number] = called
        if len(self.responses) > MOST:
            self.responses.popitem(last=False)

    def cache(self, digest: bytes) -> bool:
        """Put a prompt into the cache. Returns whether it was there."""
        known = digest in self.prompts
        self.prompts[digest] = None
        if len(self.prompts) > MOST:
            self.prompts.popitem(last=False)
        return known

    def prompt(self, units: Iterable[Unit]) -> tuple[int, int, int]:
        """Look a marked prompt up in the cache, and put it there.

        Returns the tokens read from the cache, those written, and of the latter those that are to
        stay for an hour.
        """
        digest, count = hashlib.sha256(), 0
        marks: list[tuple[int, bytes, str]] = []
        for text, size, stay in units:
            digest.update(text)
            count += size
            if stay:
                marks.append((count, digest.digest(), stay))
        known = [place for place, key, _ in marks if self.cache(key)]
        read = max(known, default=0)
        last, written, hour = read, 0, 0
        for place, _, stay in marks:
            if place > last:
                written += place - last
                hour += place - last if stay == "1h" else 0
                last = place
        return read, written, hour
