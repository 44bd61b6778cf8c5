"""A call's limits where several data planes share them: asked of the server, or what else is done.

What a call holds stands in ``open`` until the server has settled it, so that whatever is lost
between the two, or forgotten there, can be told again.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ferryman.http1.exchange import Headers
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.counters import (
    PASSED,
    REFUSED,
    Applying,
    Form,
    adopt,
    forms,
    lasting,
    refusal,
    used_of,
)
from ferryman.meter.limits import Amounts, Grant, Moment, Refusal, admit, take
from ferryman.store.valkey import AwayError, Link, RefusedError

PATIENCE: Final = 3.0
"""Seconds that a call waits where counters are being built, or for the first connection, before it
goes on without them,"""
CLOSED_PATIENCE: Final = 10.0
"""or is refused."""
NOTHING: Final = Amounts()
MOST_OPEN: Final = 20_000
"""Calls kept in mind before those that are over are left to the ledger."""
LOCAL, FAIL_OPEN, FAIL_CLOSED = "local", "fail_open", "fail_closed"


class Held:
    """What a call holds there, or has used; or one of its attempts."""

    __slots__ = ("attempts", "forms", "generation", "noted", "of", "sent", "told", "used")

    def __init__(self, held: list[Form], of: "Held | None" = None) -> None:
        self.forms = held
        """Empty: it waits, and holds nothing yet."""
        self.generation = ""
        """Under which the server has it; empty = it may not have it."""
        self.used: Amounts | None = None
        """None: the call is under way."""
        self.sent = ""
        """The generation that its settlement is on the way to,"""
        self.told = ""
        """or the one that has it."""
        self.noted = False
        """Whether budgets bear its attempts, so that it must be known there until it has ended."""
        self.attempts: list[str] = []
        """Of a call that is noted, by their ids."""
        self.of = of
        """Of such an attempt: its call, which may not be forgotten before, nor after it."""

    def untold(self, generation: str) -> bool:
        """Whether a generation has to be told of it."""
        matters = self.noted or bool(self.forms) or self.used is not None
        return matters and self.generation != generation


class Counters:
    """The shared counters, as far as calls see them; ``edge/counting.py`` looks after them."""

    def __init__(self, log: Callable[[str], None], key: str, plane: str, marker: Path) -> None:
        """``key`` begins all keys there, ``plane`` names this process, no other ever.

        ``marker`` is a file that is there while calls are open of which the server knows nothing:
        a gateway that finds it at its start has the counters built anew.
        """
        self._marker = marker
        self.marked = marker.exists()
        self._log = log
        self.key = key
        self.plane = plane
        self.wanted = False
        """Whether there are limits, and a server to share them through."""
        self.away = LOCAL
        """What happens to calls while there is none."""
        self.link: Link | None = None
        """None: there is none."""
        self.generation = ""
        self.open: dict[str, Held] = {}
        """By the ids of calls, and of their attempts: the call's, a slash and a number."""
        self.trouble = asyncio.Event()
        """Set when there is something to look after."""
        self.alone = 0
        """Calls that were admitted, or refused, without the server."""
        self.forgot = False
        """Whether settlements were given up: the counters have to be built from the ledger."""
        self._attempts = 0
        self._tried = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def connected(self) -> bool:
        """Whether the server counts."""
        return self.link is not None

    def joined(self, link: Link, generation: str) -> None:
        """Calls may go there from now on."""
        self.link, self.generation = link, generation
        self._tried = True
        self.news()

    def lost(self) -> None:
        """They may not any more; who waits for the first connection need not."""
        self.link, self._tried = None, True
        self.news()

    def news(self) -> None:
        """Something has changed for those who wait."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def attempt(
        self, call: str, applying: Applying, asked: Amounts, at: Moment
    ) -> Grant | Refusal:
        """As :meth:`admit`, for an attempt of the call."""
        self._attempts += 1
        name = f"{call}/{self._attempts}"
        of = self.open.get(call)
        if of is None or not of.noted or not any(limit.budgeted for limit, _ in applying):
            return await self.admit(name, applying, asked, at)
        of.attempts.append(name)
        return await self.admit(name, applying, asked, at, of=of)

    async def admit(
        self, call: str, applying: Applying, asked: Amounts, at: Moment, *, noted: bool = False,
        of: Held | None = None, left: float = CLOSED_PATIENCE,
    ) -> Grant | Refusal:  # fmt: skip
        """Take ``asked`` of all limits, or of none. Raises :class:`GatewayError` (503).

        ``noted``: budgets bear its attempts; ``of`` is the call, if it is such an attempt; ``left``
        are the seconds that its caller waits.
        """
        meters = forms(applying, asked, at)
        held = self.open[call] = Held([], of)
        loop = asyncio.get_running_loop()
        patience = CLOSED_PATIENCE if self.away == FAIL_CLOSED else PATIENCE
        until = loop.time() + min(patience, left)
        heard = True
        while True:
            link, generation = self.link, self.generation
            if link is None:
                if self._tried:
                    break
            else:
                try:
                    said = await link.run(
                        self.key, "admit", generation, self.plane, call, meters, noted
                    )
                except (AwayError, RefusedError) as error:
                    self._failed(link, error)
                    heard = False
                    break
                if said[0] in (PASSED, REFUSED):
                    held.noted = noted and said[0] == PASSED
                    return self._said(call, applying, asked, at, meters, generation, said)
                self.trouble.set()
            before = loop.time()
            if before >= until:
                break
            await self._wait(min(until - before, 0.1 if link is not None else PATIENCE))
            at = Moment(at.ns + int((loop.time() - before) * 1e9), at.unix)
        held.forms = lasting(meters, "/" in call)
        found = self._alone(applying, asked, at)
        if isinstance(found, Grant):
            held.noted, found.id = noted, call
            found.settled = lambda used: self._settled(call, used)
        elif heard:
            self._drop(call)
        else:
            self._settled(call, NOTHING)  # it may have been admitted there
        if found is None:
            raise _away()
        return found

    def _said(
        self, call: str, applying: Applying, asked: Amounts, at: Moment, meters: list[Form],
        generation: str, said: Any,
    ) -> Grant | Refusal:  # fmt: skip
        adopt(applying, said[2], at)
        if said[0] == REFUSED:
            self._drop(call)
            return refusal(applying, asked, at)
        grant = take(applying, asked, at)
        held = self.open[call]
        held.forms, held.generation = lasting(meters, "/" in call), generation
        if held.forms or held.noted:
            grant.id = call
            grant.settled = lambda used: self._settled(call, used)
        else:
            self._drop(call)
        return grant

    def extend(self, call: str, more: list[Form]) -> None:
        """What is under way, or over as an attempt of such a call, counts in other budgets, too."""
        held = self.open.get(call)
        if held is None:
            return
        held.forms = [*held.forms, *more]
        held.generation = held.told = ""
        self.trouble.set()  # it is joined, and settled, once more

    def _drop(self, call: str) -> None:
        """It is over, and its attempts with it."""
        held = self.open.pop(call)
        for attempt in held.attempts:
            self.open.pop(attempt, None)
        if held.of is not None:
            held.of.attempts.remove(call)

    def _alone(self, applying: Applying, asked: Amounts, at: Moment) -> Grant | Refusal | None:
        """What becomes of a call without the server; None: it is not served."""
        self.alone += 1
        if not self.marked:
            self._mark()
        if self.away == FAIL_CLOSED:
            return None
        return admit(applying, asked, at) if self.away == LOCAL else take(applying, asked, at)

    def _mark(self) -> None:
        self.marked = True
        try:
            self._marker.touch()
        except OSError as error:
            self._log(f"can't write {self._marker}: {error.strerror}")

    def unmark(self) -> None:
        """The server knows of all that is open."""
        self.marked = False
        self._marker.unlink(missing_ok=True)

    def _settled(self, call: str, used: Amounts) -> None:
        held = self.open.get(call)
        if held is None:
            return
        held.used = used
        if len(self.open) > MOST_OPEN:
            self._forget()
        if held.generation and held.generation == self.generation:
            self.settle(call, held)

    def _forget(self) -> None:
        """Of a long time without the server: the ledger has what is over, and is asked instead."""
        self.forgot = True
        self.open = {
            call: held
            for call, held in self.open.items()
            if held.used is None or (held.of is not None and held.of.used is None)
        }

    def settle(self, call: str, held: Held) -> None:
        """Tell the server what a call has used, if it is there."""
        link, generation = self.link, self.generation
        if link is None or held.sent or held.used is None or held.told == generation:
            return
        attempts = [self.open[each] for each in held.attempts]
        if any(
            generation not in (each.sent, each.told) for each in attempts if each.used is not None
        ):
            self.trouble.set()  # the call would end them unheard
            return
        held.sent = generation
        used, more = used_of(held.used), held.attempts if held.of is None else True
        answer = asyncio.ensure_future(
            link.run(self.key, "settle", generation, self.plane, call, *used, more)
        )

        def heard(answer: "asyncio.Future[Any]") -> None:
            held.sent = ""
            if answer.cancelled():
                return
            error = answer.exception()
            if error is not None:
                self._failed(link, error)
            elif answer.result()[0] != PASSED:
                self.trouble.set()
            elif held.of is not None:
                held.told = held.generation  # none, if it has been extended meanwhile
            elif call in self.open:
                self._drop(call)

        answer.add_done_callback(heard)

    def _failed(self, link: Link, error: BaseException) -> None:
        if isinstance(error, RefusedError):  # such as: out of memory, read only, loading
            self._log(f"the server of shared limits refused: {error}")
        link.close()
        if self.link is link:
            self.lost()
        self.trouble.set()

    async def _wait(self, seconds: float) -> None:
        """For news; a driven coroutine has no task that a timeout could cancel."""
        loop = asyncio.get_running_loop()
        waits = loop.create_future()
        self._waiting.append(waits)
        timer = loop.call_later(seconds, _wake, waits)
        await waits
        timer.cancel()


def _wake(waits: "asyncio.Future[None]") -> None:
    if not waits.done():
        waits.set_result(None)


def _away() -> GatewayError:
    headers: Headers = [(b"retry-after", b"1")]
    text = (
        "The counters of limits can't be reached, and this gateway does not serve without them "
        "(server.state_away: fail_closed). Retry in a moment."
    )
    return GatewayError(503, ErrorKind.NOT_READY, text, headers=tuple(headers))
