"""How targets and keys fare: live latency, who has to rest for how long, who is back on trial.

Time (loop seconds) and chance come from outside, so that a simulation can replay everything.
"""

import math
from collections.abc import Collection
from typing import Final

from ferryman.routing.past import Past, Sums
from ferryman.routing.reactions import Reaction

DECAY_SECONDS: Final = 10.0
FADE_SECONDS: Final = 60.0
"""In which what is known fades to a third, while nothing is seen."""
STREAK: Final = 5
"""Failures in a row after which a target rests."""
WINDOW_SECONDS: Final = 10.0
WINDOW_LEAST: Final = 20
WINDOW_SHARE: Final = 0.5
"""Or: this share of at least so many attempts failed in about this time."""
RAMP_SECONDS: Final = 3.0
RAMP_FIRST: Final = 0.1
"""Slow start: the share of its calls that a target gets back at once, and when it has them all."""
THROTTLE: Final = 2.0
"""Who refuses calls for their number is sent so many times what it takes."""
FEW_TOKENS: Final = 16
"""Answers of fewer say how long the first one takes, not the others."""
LONGEST_HINT: Final = 3600.0
"""Seconds for which a provider's word is taken; then it is asked again."""

LATEST_TRIAL: Final = 30.0
"""Of a target as a whole: it is tried after so long, whatever it has said."""


class PeakEwma:
    """Expected seconds, of a target's first byte or token: a peak counts at once, less by and by.

    After Finagle's peak EWMA: an observation above the average replaces it, one below is blended in
    with weight ``1 - exp(-elapsed / DECAY_SECONDS)``.
    """

    __slots__ = ("at", "cost")

    def __init__(self) -> None:
        self.cost = 0.0
        self.at = 0.0

    def observe(self, seconds: float, now: float) -> None:
        """Take in what one answer took (seconds) at loop time ``now``."""
        if seconds > self.cost:
            self.cost = seconds
        else:
            keep = math.exp((self.at - now) / DECAY_SECONDS)
            self.cost = self.cost * keep + seconds * (1 - keep)
        self.at = now

    def forget(self) -> None:
        """Begin anew."""
        self.cost = 0.0

    def expected(self, now: float) -> float:
        """Seconds; 0 when nothing was ever measured, and fading towards 0 while nothing is."""
        return self.cost * math.exp((self.at - now) / FADE_SECONDS)


class Tail:
    """The time within which 95 of 100 answers begin, as one number that each answer moves a bit.

    A slower one moves it up 19 times as far as a quicker one moves it down, so that it comes to
    rest where one in twenty is slower. In proportion to itself, and at first in large steps.
    """

    __slots__ = ("_count", "_seconds")

    def __init__(self) -> None:
        self._count = 0
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        """An answer began after ``seconds``, or had not begun by then."""
        self._count += 1
        step = max(TAIL_STEP, 1 / self._count)
        if self._count == 1:
            self._seconds = seconds
        elif seconds > self._seconds:
            self._seconds = min(self._seconds * (1 + 0.95 * step), seconds)
        else:
            self._seconds *= 1 - 0.05 * step

    def seconds(self) -> float:
        """0 until enough answers are known."""
        return self._seconds if self._count >= TAIL_LEAST else 0.0


TAIL_STEP: Final = 0.1
TAIL_LEAST: Final = 20


class Rest:
    """Until when something is better not asked. After that, one call at a time is a trial."""

    __slots__ = ("rounds", "since", "until", "why")

    def __init__(self) -> None:
        self.rounds = 0
        """How often in a row it had to rest; 0 = it is well."""
        self.since = 0.0
        self.until = 0.0
        self.why = ""

    def begin(
        self, reaction: Reaction, why: str, started: float, now: float, hint: float, chance: float
    ) -> None:
        """Rest after an attempt that began at ``started``: for ``hint`` seconds, if not negative.

        Otherwise for a time that doubles from round to round, and is drawn (``chance``, 0 to 1)
        between its half and its whole, so that those who rest do not come back together.
        """
        if started < self.since and hint < 0:
            return  # it was on its way when the others failed: that is known already
        self.rounds += 1
        self.since = now
        self.why = why
        most: float = min(reaction.first * 2.0 ** min(self.rounds - 1, 16), reaction.most)
        seconds = min(hint, LONGEST_HINT) if hint >= 0 else most * (1 + chance) / 2
        self.until = max(self.until if hint >= 0 else 0.0, now + seconds)

    def claim(self, now: float, seconds: float) -> None:
        """A trial begins: for these ``seconds`` at most nobody else makes one."""
        self.until = max(self.until, now + seconds)

    def end(self, started: float) -> bool:
        """An attempt that began at ``started`` went well. True if that ends the rest."""
        if not self.rounds or started < self.since:
            return False
        self.rounds = 0
        self.until = 0.0
        return True


TRIAL_SECONDS: Final = 4.0
"""Another trial may begin if the last has not ended by then."""


STALE_SECONDS: Final = 0.25
"""After which a failure says little of one that may have come back meanwhile."""


class Health:
    """One target, that is one model at one provider, and its limits for each of its keys."""

    __slots__ = (
        "_asked", "_asked_before", "_failed", "_failed_before", "_limited", "_limited_before",
        "_past", "_seconds", "_streak", "_used", "_window", "in_flight", "limits", "pace",
        "pressed", "rest", "rested", "risen", "slow_stream", "slow_whole", "token", "used",
        "used_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self.pace = PeakEwma()
        """Seconds to the first byte, or the first token of a stream."""
        self.token = PeakEwma()
        """Seconds for each token of an answer, where a strategy asks for it."""
        self.used = 0.0
        """The share (0 to 1) of its limits that was used up, over all keys, where a strategy asks
        for it; and when."""
        self.used_at = 0.0
        self._used: dict[str, float] = {}
        self.slow_stream = Tail()
        """To the first token; like the next one, kept for models that hedge."""
        self.slow_whole = Tail()
        self.rest = Rest()
        self.limits: dict[str, Rest] = {}
        """By key: a rate limit is one of a key and a model."""
        self.in_flight = 0
        self._streak = 0
        self._window = 0.0
        self._asked = self._failed = self._asked_before = self._failed_before = 0
        self._limited = self._limited_before = 0
        self.pressed = False
        """Whether it refused calls for their number of late."""
        self._seconds = 0.0
        self._past = Past()
        self.rested = 0
        """How often it had to, or one of its limits."""
        self.risen = -RAMP_SECONDS
        """When its last rest ended."""

    def good(
        self, key: str, seconds: float, started: float, now: float, *, begun: bool = False
    ) -> None:
        """An attempt gave its first byte after ``seconds``; negative = that tells nothing.

        ``begun``: it is a stream that has only begun, and may yet fail (:meth:`bad` with ``late``)
        or be :meth:`finished`.
        """
        self._turn(now)
        self._asked += 1
        self._seconds += max(seconds, 0.0)
        if not begun:
            self._streak = 0
        if self.rest.rounds and self.rest.end(started):
            self.recover(now)
        if self.limits and key in self.limits and self.limits[key].end(started):
            del self.limits[key]
        if seconds >= 0:
            self.pace.observe(seconds, now)

    def answered(self, tokens: int, seconds: float, whole: bool, now: float) -> bool:
        """Take in how long ``tokens`` took; a ``whole`` answer's time has that of the first in it.

        False where they are so few that they tell nothing.
        """
        if tokens < FEW_TOKENS:
            return False
        first = self.pace.expected(now) if whole else 0.0
        self.token.observe(max(seconds - first, 0.0) / tokens, now)
        return True

    def left(self, key: str, share: float, now: float) -> None:
        """Take in the ``share`` (0 to 1) that is left of the limits of one key."""
        self._used[key] = 1 - share
        self.used = sum(self._used.values()) / len(self._used)
        self.used_at = now

    def keep(self, keys: Collection[str]) -> None:
        """Forget all keys but these."""
        self.limits = {key: rest for key, rest in self.limits.items() if key in keys}
        self._used = {key: used for key, used in self._used.items() if key in keys}

    def finished(self) -> None:
        """A stream that had begun has come to its end."""
        self._streak = 0

    def bad(
        self, reaction: Reaction, why: str, key: str, key_rest: Rest,
        started: float, now: float, hint: float, chance: float, *, late: bool = False,
    ) -> None:  # fmt: skip
        """An attempt with ``key`` failed; ``key_rest`` is the key's at all models.

        ``hint`` is how many seconds the provider wants to be left alone, negative = it didn't say.
        ``late``: it was a stream that had begun well.
        """
        if reaction.scope == "nothing":
            return
        if not late:
            # Who fails quickly is not quick, and who fails slowly is slow.
            self.pace.observe(max(now - started, self.pace.expected(now)), now)
        if reaction.scope == "key":
            key_rest.begin(reaction, why, started, now, hint, chance)
        elif reaction.scope == "limit":
            self._turn(now)
            self._limited += 1
            self.pressed = True
            limit = self.limits.setdefault(key, Rest())
            rounds = limit.rounds
            limit.begin(reaction, why, started, now, hint, chance)
            self.rested += limit.rounds > rounds
        else:
            self._turn(now)
            self._asked += not late
            self._failed += 1
            self._streak += 1
            hint = min(hint, LATEST_TRIAL)
            if reaction.at_once or hint >= 0 or self._fails():
                rounds = self.rest.rounds
                self.rest.begin(reaction, why, started, now, hint, chance)
                self.rested += self.rest.rounds > rounds

    def recover(self, now: float) -> None:
        """It is well again: its rest is over, and its failures are forgiven."""
        self.rest.rounds = 0
        self.rest.until = 0.0
        self.pace.forget()
        self.token.forget()
        self.risen = now
        self._past.add(now, 0, self._failed, 0.0)  # forgiven, not forgotten
        self._failed = self._failed_before = 0

    @property
    def lone(self) -> bool:
        """Whether the last failure was the only one of late."""
        return self._streak <= 1 and not self.rest.rounds

    def resting(self, key: str, key_rest: Rest) -> Rest:
        """Which rest, of the target, of the key, or of both, lasts longest with this key."""
        longest = self.rest
        if key_rest.until > longest.until:
            longest = key_rest
        if self.limits:
            limit = self.limits.get(key)
            if limit is not None and limit.until > longest.until:
                longest = limit
        return longest

    def may_be_back(self, rest: Rest, now: float) -> bool:
        """Whether ``rest`` is about failures, and the last one was so long ago that it says little.

        Where all rest, one that has just come back is asked by others than its trial, too.
        """
        return rest is self.rest and now - rest.since >= STALE_SECONDS

    def claim(self, key: str, key_rest: Rest, now: float) -> None:
        """An attempt begins: if any rest is just over, this is its trial."""
        limit = self.limits.get(key)
        for rest in (self.rest, key_rest, limit):
            if rest is not None and rest.rounds:
                rest.claim(now, TRIAL_SECONDS)

    def lately(self, now: float) -> Sums:
        """How attempts that say something of the target fared in the last half hour."""
        past = self._past.sums(now)
        return Sums(
            past.asked + self._asked, past.failed + self._failed, past.seconds + self._seconds
        )

    def share(self, now: float) -> float:
        """The part of its calls that it should get: less than 1 for a while after a rest, and
        while it refuses more for their number than it takes.

        The latter is adaptive throttling (https://sre.google/sre-book/handling-overload/), where
        what is held back goes to others. As long as a limit rests, or is on trial, that is enough.
        """
        share = min(1.0, RAMP_FIRST + (1 - RAMP_FIRST) * (now - self.risen) / RAMP_SECONDS)
        if not self.pressed or self.limits:
            return share
        self._turn(now)
        taken = self._asked + self._asked_before
        refused = self._limited + self._limited_before
        self.pressed = refused > 0
        return min(share, (THROTTLE * taken + 1) / (taken + refused + 1))

    def _fails(self) -> bool:
        if self._streak >= STREAK or self.rest.rounds:
            return True
        asked = self._asked + self._asked_before
        failed = self._failed + self._failed_before
        return asked >= WINDOW_LEAST and failed >= asked * WINDOW_SHARE

    def _turn(self, now: float) -> None:
        """Forget what is older than the window, half a window at a time."""
        if now - self._window < WINDOW_SECONDS / 2:
            return
        recent = now - self._window < WINDOW_SECONDS
        if self._asked:
            self._past.add(now, self._asked, self._failed, self._seconds)
            self._seconds = 0.0
        self._asked_before = self._asked if recent else 0
        self._limited_before = self._limited if recent else 0
        self._failed_before = self._failed if recent else 0
        self._asked = self._failed = self._limited = 0
        self._window = now


RETRY_SHARE: Final = 0.2
RETRY_SECONDS: Final = 10
RETRY_FLOOR: Final = 100


class RetryBudget:
    """Extra attempts over the last ten seconds: at most a fifth of the calls, or a hundred.

    What fails everywhere is not asked for over and over, while a quiet gateway may always retry.
    """

    __slots__ = ("_at", "_calls", "_extra", "calls", "extra")

    def __init__(self) -> None:
        self._at = 0
        self._calls = [0] * RETRY_SECONDS
        self._extra = [0] * RETRY_SECONDS
        self.calls = 0
        """Within the last ten seconds, like ``extra``."""
        self.extra = 0

    def call(self, now: float) -> None:
        """A call is put to its first target."""
        second = int(now)
        if second != self._at:
            self._forget(second)
        self._calls[second % RETRY_SECONDS] += 1
        self.calls += 1

    def spend(self, now: float, part: float = 1.0) -> bool:
        """Whether one more attempt is to be had within this part of all; it is spent then."""
        second = int(now)
        if second != self._at:
            self._forget(second)
        if self.extra >= max(RETRY_FLOOR, int(self.calls * RETRY_SHARE)) * part:
            return False
        self._extra[second % RETRY_SECONDS] += 1
        self.extra += 1
        return True

    def _forget(self, second: int) -> None:
        for gone in range(self._at + 1, min(second, self._at + RETRY_SECONDS) + 1):
            place = gone % RETRY_SECONDS
            self.calls -= self._calls[place]
            self.extra -= self._extra[place]
            self._calls[place] = self._extra[place] = 0
        self._at = second
