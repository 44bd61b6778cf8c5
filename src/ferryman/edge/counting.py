"""Looks after the counters that data planes share: joins them, builds them anew from the ledger.

Counters belong to a *generation*. One begins when the server has none or was started anew, for then
some of what was counted may be gone. Every data plane joins it with the calls that it has under
way; what budgets had borne before comes from the ledger, without those. A data plane that dies
leaves holds: once its lease is over, others settle them as the ledger says.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ferryman.config.options import Options
from ferryman.edge.restoring import ask, counts_from, fitting, step_of
from ferryman.edge.sharing import installation
from ferryman.flow.call import Plane
from ferryman.flow.counters import NOTHING, Counters
from ferryman.flow.limiting import Limiter
from ferryman.http1.connect import Connector, Origin
from ferryman.http1.pool import Pool
from ferryman.meter.counters import OTHER_GENERATION, SCRIPT, account, budget, remembered
from ferryman.meter.limits import USD, BudgetMeter
from ferryman.store.valkey import AwayError, Link, connect, server_of, shown

TIMEOUT: Final = 0.5
"""Seconds for an answer; then calls go without the server until it is there again."""
BEAT: Final = 0.5
"""Seconds between two signs of life."""
LEASE: Final = 10
"""Seconds after the last of them at which others take a data plane for dead."""
GRACE: Final = 1.0
"""Seconds that a new generation waits for others to join."""
LOOK: Final = 0.2
RETRY_SECONDS: Final = (0.1, 0.2, 0.5)
"""Pauses; none so long that others wait in vain."""
_MARKS: Final = (b"?", b"*")
"""Beside the names of budgets that are known: building has begun, and ended."""
AT_ONCE: Final = 500
"""Calls asked of the ledger, or told to the server, in one go."""


def counters_of(options: Options, log: Callable[[str], None]) -> Counters:
    """Those of this process. The pepper tells installations apart."""
    mark = installation(options.paths.secret("pepper"))
    key = f"ferryman:{{{mark}}}:limits:"  # braces: all of them in one place of a cluster
    marker = options.paths.journal / options.plane / "alone"
    return Counters(log, key, f"{options.plane}-{os.urandom(8).hex()}", marker)


class Counting:
    """Ties one data plane's limits to those of others."""

    def __init__(self, options: Options, token: str, plane: Plane, counters: Counters) -> None:
        self._origin = Origin.of(options.feed_url)
        self._token = token
        self._name = options.plane
        self._plane = plane
        self._log: Callable[[str], None] = plane.log
        self._counters = counters
        self._grace_until = 0.0
        self._anew = counters.marked
        """True: what is counted there can't be right any more."""
        self._had: set[bytes] | None = None
        """The budgets that there were at the last look."""
        self._said = ""

    async def run(self, setting: Callable[[], str], env: dict[str, str]) -> None:
        """Share as long as there are limits, and ``setting`` names a server. Never ends."""
        counters, failures, said = self._counters, 0, ""
        pool = Pool(self._origin, Connector(asyncio.get_running_loop()), max_connections=2)
        try:
            while True:
                wanted = setting()
                if not wanted or not counters.wanted:
                    await asyncio.sleep(LOOK)
                    continue
                try:
                    await self._with(wanted, setting, env, pool)
                    failures, said = 0, ""
                except Exception as error:
                    if counters.connected:
                        failures = 0
                    text = f"no shared limits ({error}): {counters.away}"
                    if text != said:
                        self._log(text)
                    said = text
                    failures += 1
                counters.lost()
                await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
        finally:
            pool.close()

    async def _with(
        self, wanted: str, setting: Callable[[], str], env: dict[str, str], pool: Pool
    ) -> None:
        link = await connect(server_of(wanted, env), TIMEOUT)
        chores: asyncio.Future[None] | None = None
        try:
            run = await self._begin(link)
            await self._join(link, run)
            self._log(f"limits are shared through {shown(wanted)}")
            while setting() == wanted and self._counters.wanted:
                dead = await self._beat(link, run)
                await self._tell(link, run)
                if chores is None or chores.done():
                    if chores is not None:
                        self._heard(chores)
                    chores = asyncio.ensure_future(self._chores(link, pool, dead))
                await self._pause(link)
            await link.call("DEL", f"{self._counters.key}generation")  # calls count elsewhere now
        finally:
            link.close()
            if chores is not None:
                chores.cancel()
                await asyncio.gather(chores, return_exceptions=True)

    async def _begin(self, link: Link) -> str:
        """Returns the server's id, a new one each time that it is started."""
        await link.load(SCRIPT)
        info = (await link.call("INFO")).decode("utf-8", "replace")
        policy = re.search(r"^maxmemory_policy:(\S+)", info, re.MULTILINE)
        if policy is not None and policy[1] != "noeviction":
            self._log(f"the server of shared limits may forget what is counted (maxmemory-policy "
                      f"{policy[1]}): set it to noeviction")  # fmt: skip
        run = re.search(r"^run_id:(\S+)", info, re.MULTILINE)
        return run[1] if run is not None else ""

    async def _pause(self, link: Link) -> None:
        """Until the next look."""
        trouble = self._counters.trouble
        waits = [asyncio.ensure_future(each.wait()) for each in (trouble, link.lost)]
        try:
            await asyncio.wait(waits, timeout=BEAT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if link.lost.is_set():
            raise AwayError("the connection is lost")
        if trouble.is_set():
            trouble.clear()
            await asyncio.sleep(LOOK / 10)  # whatever it is, there is no need to hurry more

    # -- to belong to them ---------------------------------------------------------------------

    async def _beat(self, link: Link, run: str) -> list[str]:
        """Give a sign of life; returns who has given none for too long."""
        counters = self._counters
        code, known, dead = await link.run(
            counters.key, "beat", counters.generation, counters.plane, LEASE
        )
        if code != OTHER_GENERATION and not known and counters.open:
            self._anew = True  # others may have settled what we hold
        if not known or self._anew:
            await self._join(link, run)
        return [str(each) for each in dead]

    async def _join(self, link: Link, run: str) -> None:
        """Become part of the generation that there is, or begin one."""
        counters = self._counters
        while True:
            value = ((await link.call("GET", f"{counters.key}generation")) or b"").decode()
            generation, _, of_run = value.partition(":")
            if not value or of_run != run or self._anew or counters.forgot:
                new = f"{os.urandom(8).hex()}:{run}"
                [value] = await link.run(counters.key, "begin", new, counters.plane, value, GRACE)
                if value == new:
                    self._anew = counters.forgot = False
                    self._grace_until = time.monotonic() + GRACE
                    self._log("counters of limits are built from the ledger")
                continue
            calls = [
                (call, held, held.forms)
                for call, held in counters.open.items()
                if held.generation != generation
            ]
            since = time.time_ns() // 1000
            code, *said = await link.run(
                counters.key, "join", generation, counters.plane, self._name, since, LEASE,
                [(call, [] if held.used is NOTHING else forms) for call, held, forms in calls],
            )  # fmt: skip
            if code == OTHER_GENERATION:
                continue
            known, here = said
            if known and not here and any(held.forms or held.noted for _, held, _ in calls):
                self._anew = True  # it was built without knowing of these
                continue
            for _, held, forms in calls:
                # One that waited may have gone alone meanwhile: then what it holds is yet to tell.
                if held.forms is forms and held.untold(generation):
                    held.generation = generation
            counters.joined(link, generation)
            if counters.marked and not any(h.untold(generation) for h in counters.open.values()):
                counters.unmark()
            return

    async def _tell(self, link: Link, run: str) -> None:
        """Tell what could not be told at its time."""
        counters = self._counters
        if any(held.untold(counters.generation) for held in counters.open.values()):
            await self._join(link, run)
        for call, held in reversed(list(counters.open.items())):  # attempts before their calls
            if held.used is not None and held.generation == counters.generation:
                counters.settle(call, held)

    # -- chores --------------------------------------------------------------------------------

    async def _chores(self, link: Link, pool: Pool, dead: list[str]) -> None:
        await self._build(link, pool, self._plane.limits)
        for plane in dead:
            await self._bury(link, pool, plane)

    async def _build(self, link: Link, pool: Pool, limiter: Limiter | None) -> None:
        """Add what budgets have borne to counters that do not have it yet."""
        key, generation = self._counters.key, self._counters.generation
        known = set(await link.call("HKEYS", f"{key}{generation}:g:known"))
        mine = {budget(*each).encode(): each for each in _budgets(limiter)}
        await self._leave(link, generation, known.difference(mine, _MARKS))
        self._had = set(mine)
        missing = [each for name, each in mine.items() if name not in known]
        first = b"*" not in known
        if not missing and not first:
            return
        if not await self._mine(link, "building"):
            return
        left = await link.call("SMEMBERS", f"{key}{generation}:g:left")
        if not mine.keys().isdisjoint(left):  # it is back, and lacks what was spent meanwhile
            self._anew = True
            return
        await asyncio.sleep(max(self._grace_until - time.monotonic(), 0))
        # From now on, who joins with calls under way comes too late: the ledger may have them.
        await link.run(key, "learn", generation, "?", [], 0)
        if not first and int(await link.call("ZCARD", f"{key}planes")) > 1:
            await asyncio.sleep(GRACE)  # others hear of these, and tell what they have under way
        answers: dict[tuple[int, int, tuple[str, ...]], Any] = {}
        now = int(time.time())
        for name, meter in missing:
            since = meter.since(now)
            step = step_of(since, now)
            late = await link.call("SMEMBERS", f"{key}{generation}:j:{budget(name, meter)}")
            asked = (since - since % step, step, tuple(sorted(call.decode() for call in late)))
            if asked not in answers:
                await self._mine(link, "building")
                answers[asked] = await self._spent(link, pool, generation, *asked, first=first)
            sums: dict[tuple[str, int, int], int] = {}
            for spent in answers[asked]:
                amount = spent.picodollars if meter.measure == USD else spent.tokens
                at = counts_from(spent.at, step, now)
                start, end = meter.spending.window.bucket(at)
                for each in fitting(name, spent.budgets):
                    place = (account(meter, each), start, end)
                    sums[place] = sums.get(place, 0) + amount
            rows = [[*place, str(amount)] for place, amount in sums.items() if amount > 0]
            learnt = (budget(name, meter), rows, remembered(meter))
            await link.run(key, "learn", generation, *learnt)
        if first:
            await link.run(key, "learn", generation, "*", [], 0)
            await self._sweep(link, generation)
        await link.call("DEL", f"{key}building")
        self._counters.news()

    async def _leave(self, link: Link, generation: str, others: set[bytes]) -> None:
        """Let budgets be unknown that are no more: from now on calls do not count in them."""
        gone = others.intersection(others if self._had is None else self._had)
        if gone:
            place = f"{self._counters.key}{generation}:g:"
            await link.call("SADD", f"{place}left", *gone)
            await link.call("HDEL", f"{place}known", *gone)

    async def _mine(self, link: Link, what: str) -> bool:
        """Whether it is on this data plane to do it."""
        key, me = f"{self._counters.key}{what}", self._counters.plane
        holder = await link.call("GET", key)
        if holder is not None and holder.decode() != me:
            return False
        if holder is not None:
            return bool(await link.call("PEXPIRE", key, "5000"))
        return await link.call("SET", key, me, "NX", "PX", "5000") is not None

    async def _spent(
        self, link: Link, pool: Pool, generation: str, since: int, step: int,
        late: tuple[str, ...], *, first: bool,
    ) -> Any:  # fmt: skip
        """What the ledger has, without what is counted in this generation by its calls, ``late``
        ones among them."""
        place = f"{self._counters.key}{generation}:"
        names = await link.call("HGETALL", f"{place}g:names")
        begun: dict[str, int] = {}
        without = {call.decode() for call in await link.call("SMEMBERS", f"{place}g:joined")}
        without.update(late)
        for plane, said in zip(names[::2], names[1::2], strict=True):
            us, _, name = said.decode().partition(":")
            begun[name] = min(int(us), begun.get(name, int(us)))
            held = await link.call("HKEYS", f"{place}h:{plane.decode()}")
            without.update(call.decode() for call in held)
        without = {call for call in without if "/" not in call}  # attempts go with their calls
        until = 1 << 62 if first else time.time_ns() // 1000
        body = {"since": since, "step": step, "until": until, "without": sorted(without),
                "begun": begun if first else {}}  # fmt: skip
        return await self._ask(pool, body)

    async def _ask(self, pool: Pool, body: dict[str, Any]) -> Any:
        data = json.dumps(body).encode()
        return await ask(pool, self._origin, self._token, "POST", "/internal/counted", data)

    async def _sweep(self, link: Link, generation: str) -> None:
        """Delete the counters of generations that are over."""
        key = self._counters.key
        keep = tuple(f"{key}{kind}".encode() for kind in (f"{generation}:", "r:", "planes"))
        keep += (f"{key}generation".encode(), f"{key}building".encode())
        at = "0"
        while True:
            found, names = await link.call("SCAN", at, "MATCH", f"{key}*", "COUNT", "500")
            old = [name for name in names if not name.startswith(keep)]
            if old:
                await link.call("UNLINK", *old)
            at = found.decode()
            if at == "0":
                return

    async def _bury(self, link: Link, pool: Pool, plane: str) -> None:
        """Settle what a dead data plane holds: as the ledger has it, or it never went anywhere."""
        key, generation = self._counters.key, self._counters.generation
        if not await self._mine(link, f"burying:{plane}"):
            return
        attempts: dict[str, list[str]] = {}
        for held in await link.call("HKEYS", f"{key}{generation}:h:{plane}"):
            name = held.decode()
            call, slash, _ = name.partition("/")
            attempts.setdefault(call, []).extend([name] if slash else [])
        calls = list(attempts)
        for start in range(0, len(calls), AT_ONCE):
            some = calls[start : start + AT_ONCE]
            charged = await self._ask(pool, {"ids": some})
            for call in some:
                picodollars, tokens, at, apart = charged.get(call, (0, 0, 0, []))
                amounts = {"usd": str(picodollars), "tokens": str(tokens)}
                borne = self._borne(at, apart)
                await link.run(
                    key, "settle", generation, plane, call, {}, amounts, attempts[call], borne
                )
        await link.run(key, "bury", generation, plane)
        if calls:
            self._log(f"settled {len(calls)} calls of a gateway that died")

    def _borne(self, at: int, apart: Sequence[tuple[str, int, int]]) -> list[object]:
        """What budgets bear of attempts of a call from the Unix time ``at``, as the script has
        it."""
        limiter = self._plane.limits
        return [
            [account(meter, key), *meter.spending.window.bucket(at), str(amount), remembered(meter)]
            for name, meter in _budgets(limiter)
            for key, picodollars, tokens in apart
            if fitting(name, (key,)) and (amount := picodollars if meter.measure == USD else tokens)
        ]

    def _heard(self, chores: "asyncio.Future[None]") -> None:
        error = None if chores.cancelled() else chores.exception()
        text = "" if error is None else f"counters of limits are not complete yet ({error})"
        if text and text != self._said:
            self._log(text)
        self._said = text


def _budgets(limiter: Limiter | None) -> Iterator[tuple[str, BudgetMeter]]:
    for name, meters in limiter.budgets.items() if limiter is not None else ():
        for meter in meters:
            yield name, meter
