"""The keys of limits: rates, calls at once, budgets."""

from decimal import Decimal
from typing import Final

from ferryman.config.conditions import WHEN, ZONE, Flag
from ferryman.config.kinds import Number, Word
from ferryman.config.measures import USD, count
from ferryman.config.shapes import Either, Key, ListOf, OneOrList, Table
from ferryman.config.snapshot import PERIODS, RATES

MOST: Final = 10**15
TOKENS: Final = count("1000000", 0, MOST)
_UNITS: Final = ("second", *PERIODS)
_FLAG: Final = Flag(says="true or false", example="true")
_UNTIL: Final = Word(
    says="a date, or a time in the form 2026-12-24T18:00:00Z",
    example="2026-12-24",
    pattern=r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?)?",
)

INCREASE: Final = Table(
    says="a mapping",
    example="{ usd: 10, until: 2026-12-24 }",
    keys=(
        Key(name="usd", kind=USD, doc="USD more, of a budget in USD."),
        Key(name="tokens", kind=TOKENS, doc="Tokens more, of a budget in tokens."),
        Key(
            name="until",
            kind=_UNTIL,
            doc="When that ends; in the budget's time zone unless it says another.",
            required=True,
        ),
    ),
)

_PER_CENT: Final = count("80", 1, 1000)

BUDGET: Final = Table(
    says="a mapping",
    example="{ usd: 20, per: day }",
    keys=(
        Key(name="usd", kind=USD, doc="Most that may be spent in a period, USD."),
        Key(name="tokens", kind=TOKENS, doc="Most tokens in a period, in place of usd."),
        Key(
            name="per",
            kind=Word(says=f"{', '.join(PERIODS[:-1])} or month", example="day", choices=PERIODS),
            doc="The period; weeks begin on Mondays.",
            required=True,
        ),
        Key(
            name="rolling",
            kind=_FLAG,
            doc="true: the last 24 hours in place of the day of the calendar, and so on; a month "
            "is 30 days then.",
            default="false",
        ),
        Key(name="zone", kind=ZONE, doc="Where days begin at midnight.", default="UTC"),
        Key(
            name="soft",
            kind=_FLAG,
            doc="true: nothing is refused; the gateway's log, replies and metrics tell of it.",
            default="false",
        ),
        Key(
            name="on_exceeded",
            kind=Word(says="finish or cut", example="cut", choices=("finish", "cut")),
            doc="finish: only calls begin that are sure to end within it. cut: streams begin as "
            "long as anything is left, and are ended, with an error, where it is used up.",
            default="finish",
        ),
        Key(
            name="carry_over",
            kind=_FLAG,
            doc="true: what is left of a period (of the calendar) is added to the next one, not to "
            "those after it. A period without a call carries nothing over.",
            default="false",
        ),
        Key(
            name="notify",
            kind=OneOrList(
                says="per cent of it, or a list of them",
                example="[50, 80, 100]",
                one=_PER_CENT,
                several=ListOf(
                    says="a list of per cents", example="[50, 80, 100]", item=_PER_CENT, least=1
                ),
            ),
            doc="When so much of it is spent, an alert opens, once a period; see docs/alerts.md.",
            default="100, or as rules on budget say",
        ),
        Key(name="increase", kind=INCREASE, doc="More than that, for a while.", default="none"),
    ),
    hints=(
        ("amount", "Write usd: 20."),
        ("limit", "Write usd: 20."),
        ("period", "Write per: day."),
        ("timezone", "Write zone: Europe/Berlin."),
    ),
)  # fmt: skip

RATE: Final = Table(
    says="a number per second, minute, hour, day, week or month, or a mapping",
    example="{ most: 600, per: minute, burst: 60 }",
    keys=(
        Key(name="most", kind=count("600", 1, MOST), doc="How many in that time.", required=True),
        Key(
            name="per",
            kind=Word(
                says="second, minute, hour, day, week or month", example="minute", choices=_UNITS
            ),
            doc="The time; a month is 30 days.",
            required=True,
        ),
        Key(
            name="burst",
            kind=count("60", 1, MOST),
            doc="How many of them at once, after a pause.",
            default="most",
        ),
    ),
)
_RATE: Final = Either(
    says=RATE.says,
    example="600/minute",
    short=Word(
        says=RATE.says,
        example="600/minute",
        pattern=rf"[1-9](_?[0-9]){{0,17}}/({'|'.join(_UNITS)})",
    ),
    table=RATE,
)
ACCOUNT: Final = (
    Key(
        name="requests",
        kind=_RATE,
        doc="Calls that the provider takes there in a time. A target without room is passed over, "
        "or waited for. See docs/limits.md.",
        default="no limit",
    ),
    Key(name="input_tokens", kind=_RATE, doc="The same of tokens of input.", default="no limit"),
    Key(name="output_tokens", kind=_RATE, doc="The same of tokens of output.", default="no limit"),
    Key(name="tokens", kind=_RATE, doc="The same of both together.", default="no limit"),
)
"""Rates of an account at a provider."""
_BY: Final = Word(
    says="organisation, team, user, key, end_user, run, tags, model, endpoint, provider, "
    "metadata.NAME or header.NAME",
    example="team",
    pattern=r"organisation|team|user|key|end_user|run|tags|model|endpoint|provider|metadata\.[^\s$]{1,64}"
    r"|header\.[A-Za-z0-9!#%&'*+^_`|~-]{1,100}",
)
_COUNTED: Final = {
    "requests": "Calls.",
    "input_tokens": "Tokens of input: as estimated when a call comes, as counted when it ends.",
    "output_tokens": "Tokens of output: the call's own limit, or 500, until it ends.",
    "tokens": "Tokens of input and output.",
}
assert tuple(_COUNTED) == RATES

LIMIT: Final = Table(
    says="a mapping",
    example="{ by: key, requests: 600/minute }",
    keys=(
        Key(
            name="name",
            kind=Word(
                says="a name (letters, digits, dots, - and _)",
                example="each-key",
                pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
            ),
            doc="What refusals and records call it. As long as it keeps its name, it goes on where "
            "it stood.",
            default="limit-N, by its place in the list",
        ),
        Key(
            name="when",
            kind=WHEN,
            doc="Which calls it is for; conditions as of policies.",
            default="all calls",
        ),
        Key(
            name="by",
            kind=OneOrList(
                says=_BY.says,
                example="key",
                one=_BY,
                several=ListOf(
                    says=f"a list of {_BY.says}", example="[key, model]", item=_BY, least=1
                ),
            ),
            doc="Each value has a limit of its own: each key, each pair of key and model. Calls "
            "that have no such value share one.",
            default="one for all",
        ),
        *(Key(name=name, kind=_RATE, doc=doc) for name, doc in _COUNTED.items()),
        Key(
            name="parallel",
            kind=count("10", 1, 10**6),
            doc="Calls at work at once, streams until their end.",
        ),
        Key(
            name="budget",
            kind=OneOrList(
                says="a budget, or a list of them",
                example=BUDGET.example,
                one=BUDGET,
                several=ListOf(
                    says="a list of budgets", example=f"[{BUDGET.example}]", item=BUDGET, least=1
                ),
            ),
            doc="What may be spent in a period; all of several hold.",
        ),
        Key(
            name="status",
            kind=Number(
                says="an HTTP status",
                example="402",
                least=Decimal(400),
                most=Decimal(499),
                step=Decimal(1),
            ),
            doc="What calls beyond a budget are refused with; beyond a rate it is 429.",
            default="402",
        ),
    ),
    hints=(
        ("rpm", "Write requests: 600/minute."),
        ("tpm", "Write tokens: 100000/minute."),
        ("max_parallel_requests", "Write parallel: 10."),
        ("max_budget", "Write budget: { usd: 20, per: day }."),
        ("usd", "Write budget: { usd: 20, per: day }."),
    ),
)  # fmt: skip
