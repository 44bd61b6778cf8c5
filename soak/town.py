"""Calls as an installation has them over months: seeded, and the same for the same seed.

Some two hundred keys of teams, a few of which call most; days that grow and weeks with ends;
models with prices; refusals, timeouts, fallbacks, callers that leave, answers given again; runs
with parents, tags, metadata, end users, traces and the providers' own ids.
"""

import bisect
import datetime
import itertools
import random
from collections.abc import Iterator

from msgspec import Struct

from ferryman.config.feed import KeyFacts
from ferryman.ir.price import Price, Rate
from ferryman.ir.usage import Usage
from ferryman.telemetry.record import (
    Attempt,
    Candidate,
    Charge,
    Closed,
    Estimate,
    Labels,
    Priced,
    Trace,
)

DAY = 86_400
DAY_US = DAY * 1_000_000
KEYS, END_USERS = 200, 20_000
ORGANISATIONS = ("acme", "globex")
TEAMS = ("web", "search", "support", "billing", "data", "mobile", "research", "ops", "legal",
         "sales", "growth", "labs")  # fmt: skip
PROVIDERS = ("lab", "quay", "dock", "pier")
TASKS = ("", "", "", "answer", "summarise", "classify", "extract", "translate")
TAGS: tuple[tuple[str, ...], ...] = (
    (), (), (), ("batch",), ("web",), ("beta", "web"), ("nightly", "batch"),
)  # fmt: skip
FEATURES = ("search-box", "chat", "mail", "editor", "import", "nightly-report")
CLIENTS = ("openai-python/2.8.1", "openai-node/6.9.0", "anthropic-python/0.74", "curl/8.5.0", "")
HOURS = (3, 2, 2, 2, 2, 3, 5, 9, 14, 18, 20, 20, 18, 19, 21, 21, 19, 16, 12, 10, 9, 8, 6, 4)
"""How many calls come in each hour of a day (UTC), to each other."""
FATES = (
    ("ok", 90.0), ("again", 3.0), ("fallback", 2.6), ("limited", 1.4), ("error", 0.9),
    ("timeout", 0.5), ("left", 1.0), ("wrong", 0.6),
)  # fmt: skip
"""What becomes of calls, in hundredths. ``again``: an answer given before; ``wrong``: the caller's
own mistake."""
ENDS = {
    "limited": (429, "upstream_rate_limited"), "error": (502, "upstream_error"),
    "timeout": (504, "upstream_timeout"), "left": (499, "client_closed_request"),
    "wrong": (400, "invalid_request"),
}  # fmt: skip
"""Status and error of calls that fail."""


class Model(Struct, frozen=True):
    """A model at a provider."""

    name: str
    """As callers write it, and"""
    target: str
    """as its provider does."""
    provider: str
    other: str
    """The provider that stands in."""
    rate: Rate
    price: str
    endpoint: str
    output: int
    """Tokens of a common answer."""


class Caller(Struct, frozen=True):
    """A virtual key and what it calls."""

    key: str
    facts: KeyFacts
    models: tuple[Model, ...]
    agent: bool
    """Its calls come in runs."""


class Run(Struct):
    """A run that is going on."""

    name: str
    root: str
    left: int
    """Calls still to come."""


class Town:
    """Who calls, and their calls day by day. ``first`` is the first day (since 1970), ``end`` the
    Unix second at which the last one stops."""

    def __init__(self, seed: int, calls: int, first: int, end: int) -> None:
        self._draw = draw = random.Random(seed)
        self.first, self.end = first, end
        self.models = tuple(_model(draw, number) for number in range(24))
        self.callers = tuple(_caller(draw, number, self.models) for number in range(KEYS))
        shares = [draw.paretovariate(1.1) for _ in self.callers]
        self._shares = list(itertools.accumulate(shares))
        self._fates = list(itertools.accumulate(share for _, share in FATES))
        self._hours = list(itertools.accumulate(HOURS))
        self._calls = calls
        self._runs: dict[str, Run] = {}
        self._boot = f"req_{first * DAY * 1000:011x}{draw.getrandbits(40):010x}"
        self._number = 1 << 32
        self._month = _month_began(end) * 1_000_000
        """Calls from then on are borne by budgets."""

    def prices(self) -> list[Priced]:
        """What all models cost."""
        return [
            Priced(each.price, each.provider, each.target, (Price(tiers=((-1, each.rate),)),))
            for each in self.models
        ]

    def days(self) -> Iterator[list[Closed]]:
        """The calls of each day, in their order."""
        last = (self.end - 1) // DAY
        weights = []
        for day in range(self.first, last + 1):
            whole = (self.end - day * DAY) / DAY if day == last else 1.0
            weekend = 0.45 if (day + 3) % 7 > 4 else 1.0
            weights.append(whole * weekend * (1 + 2 * (day - self.first) / (last - self.first + 1)))
        left, rest = self._calls, sum(weights)
        for day, weight in zip(range(self.first, last + 1), weights, strict=True):
            count = left if day == last else round(left * weight / rest)
            left, rest = left - count, rest - weight
            yield self._day(day, count)

    def rush(self, count: int, since_us: int, until_us: int) -> list[Closed]:
        """``count`` more calls, later than all others."""
        draw = self._draw
        times = sorted(draw.randrange(since_us, until_us) for _ in range(count))
        return self._calls_at(times)

    def _day(self, day: int, count: int) -> list[Closed]:
        draw = self._draw
        until = min(self.end - day * DAY, DAY) * 1_000_000
        times = []
        while len(times) < count:
            hour = bisect.bisect(self._hours, draw.random() * self._hours[-1])
            at = int((hour + draw.random()) * 3_600_000_000)
            if at < until or until < DAY_US // 24:
                times.append(at % until)
        return self._calls_at([day * DAY_US + at for at in sorted(times)])

    def _calls_at(self, times: list[int]) -> list[Closed]:
        draw, count = self._draw, len(times)
        callers = draw.choices(self.callers, cum_weights=self._shares, k=count)
        fates = draw.choices([name for name, _ in FATES], cum_weights=self._fates, k=count)
        each = zip(times, callers, fates, strict=True)
        return [self._call(at, caller, fate) for at, caller, fate in each]

    def _call(self, at_us: int, caller: Caller, fate: str) -> Closed:
        draw = self._draw
        chance = draw.random
        self._number += 1
        ident = f"{self._boot}{self._number:x}"
        model = caller.models[min(int(chance() * chance() * 4), len(caller.models) - 1)]
        status, error = ENDS.get(fate, (200, ""))
        stream = model.output > 0 and chance() < 0.6
        usage, cost, estimate = None, None, None
        took = int((300_000 + 15_000 * model.output) * (0.3 + 1.4 * chance()))
        if status == 200:
            cached = 1024 if chance() < 0.4 else 0
            usage = Usage(
                input=int(60 + 3000 * chance() ** 3), cache_read=cached,
                output=int(model.output * (0.2 + 1.6 * chance())),
                reasoning=model.output if chance() < 0.1 else 0,
            )  # fmt: skip
            cost = _cost(usage, model.rate)
        elif fate == "left":
            estimate = Estimate(900, model.output // 2, 900 * model.rate.input)
        elif fate != "timeout":
            took //= 10
        attempts = self._attempts(model, fate, status, error, took)
        provider = attempts[-1].provider
        saved, cache = None, "miss" if chance() < 0.3 else ""
        if fate == "again":
            saved, cost, took, attempts, cache = cost, 0, 900, (), "hit"
            usage = Usage()
        charge = None
        if at_us >= self._month:
            team = caller.facts.team
            charge = Charge(("all", f"teams|{team}"), cost or 0, 0 if usage is None else 500)
        planned = fate == "fallback" or chance() < 0.1
        return Closed(
            ident, at_us, took, caller.key, model.endpoint, model.name, provider, model.target,
            stream, status, error, usage, cost, attempts,
            first_token_us=took // 4 if stream and status == 200 else -1,
            overhead_us=90, policy="dear" if planned else "",
            plan=_plan(model) if planned else (), strategy="priority" if planned else "",
            unknown_cost=int(cost is None and status >= 499), cache=cache, saved=saved,
            charge=charge, price="" if len(attempts) != 1 else model.price,
            labels=self._labels(ident, caller), estimate=estimate,
            trace=Trace(f"{draw.getrandbits(128) | 1:032x}", "0" * 15 + "1", 1)
            if chance() < 0.3
            else None,
            client=CLIENTS[int(chance() * len(CLIENTS))],
        )  # fmt: skip

    def _attempts(
        self, model: Model, fate: str, status: int, error: str, took: int
    ) -> tuple[Attempt, ...]:
        theirs = f"req_{self._draw.getrandbits(96):024x}"
        if fate != "fallback":
            code = 0 if fate in ("timeout", "left") else status
            only = Attempt(model.provider, model.target, code, error, 60, took // 4, took,
                           upstream_id=theirs, sent_us=80)  # fmt: skip
            return (only,)
        first = Attempt(
            model.provider, model.target, 503, "upstream_overloaded", 60, 90_000, 91_000,
            usage=Usage(), cost=0, upstream_id=theirs[:-1] + "x",
        )  # fmt: skip
        second = Attempt(
            model.other, model.target, 200, "", 91_100, took // 4 + 91_000, took + 91_000,
            upstream_id=theirs, sent_us=91_200,
        )  # fmt: skip
        return first, second

    def _labels(self, ident: str, caller: Caller) -> Labels:
        draw, facts = self._draw, caller.facts
        chance = draw.random
        run = parent = ""
        if caller.agent:
            going = self._runs.get(caller.key)
            if going is None or not going.left:
                going = Run(f"run-{draw.getrandbits(64):016x}", ident, draw.randrange(2, 20))
                self._runs[caller.key] = going
            else:
                parent = going.root
            going.left -= 1
            run = going.name
        task = TASKS[int(chance() * len(TASKS))]
        said = {"feature": FEATURES[int(chance() * len(FEATURES))]} if chance() < 0.25 else {}
        return Labels(
            end_user=f"user-{int(chance() ** 2 * END_USERS)}" if chance() < 0.6 else "",
            run=run, task=task, tags=TAGS[int(chance() * len(TAGS))],
            metadata=said | ({"task": task} if task else {}),
            organisation=facts.organisation, team=facts.team, user=facts.user, parent=parent,
        )  # fmt: skip


def _model(draw: random.Random, number: int) -> Model:
    embeds = number % 8 == 7
    dear = draw.choice((100_000, 400_000, 1_250_000, 3_000_000))
    name = f"{'embed' if embeds else 'model'}-{number}"
    at = draw.randrange(len(PROVIDERS))
    return Model(
        name=name, target=f"{name}-2026", provider=PROVIDERS[at],
        other=PROVIDERS[(at + 1) % len(PROVIDERS)],
        rate=Rate(input=dear, cache_read=dear // 10, output=5 * dear, reasoning=5 * dear),
        price=f"{draw.getrandbits(48):012x}",
        endpoint="embeddings" if embeds else "chat.completions",
        output=0 if embeds else draw.choice((60, 200, 500)),
    )  # fmt: skip


def _caller(draw: random.Random, number: int, models: tuple[Model, ...]) -> Caller:
    team = TEAMS[number % len(TEAMS)]
    facts = KeyFacts(
        organisation=ORGANISATIONS[number % len(TEAMS) % 2], team=team, user=f"person-{number // 3}"
    )
    return Caller(
        key=f"key_{number:012}", facts=facts, agent=number % 5 == 0,
        models=tuple(draw.sample(models, draw.randrange(1, 5))),
    )  # fmt: skip


def _plan(model: Model) -> tuple[Candidate, ...]:
    return (
        Candidate(f"{model.provider}/{model.target}"),
        Candidate(f"{model.other}/{model.target}", fallback=True),
    )


def _cost(usage: Usage, rate: Rate) -> int:
    return (
        usage.input * rate.input + usage.cache_read * rate.cache_read
        + usage.output * rate.output + usage.reasoning * rate.reasoning
    )  # fmt: skip


def _month_began(now: int) -> int:
    """Unix seconds of the month's first midnight, UTC."""
    day = datetime.datetime.fromtimestamp(now, datetime.UTC)
    return int(day.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())
