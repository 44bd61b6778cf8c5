"""The keys that say what models cost, and what is paid of it."""

from decimal import Decimal
from typing import Final

from ferryman.catalog.amendments import DAY_NAMES
from ferryman.config.kinds import PER_CENT, Number, Word
from ferryman.config.measures import USD, duration
from ferryman.config.shapes import Key, ListOf, MapOf, OneOrList, Table
from ferryman.ir.usage import SERVICES

_MODEL: Final = Word(
    says="a model name (no spaces, at most 200 characters)", example="fast",
    pattern=r"[^\s\x00-\x1f\x7f]{1,200}",
)  # fmt: skip
CURRENCY: Final = Word(says="a currency's code, such as EUR", example="EUR", pattern="[A-Z]{3}")
_DATE: Final = Word(says="a date (UTC)", example="2026-12-31", pattern=r"20\d\d-\d\d-\d\d")
_DAYS: Final = "|".join(DAY_NAMES)
_HOURS: Final = Word(
    says="hours of the day in UTC, perhaps on some days of the week", example="16:30-00:30",
    pattern=rf"(({_DAYS})(-({_DAYS}))? )?([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d",
)  # fmt: skip


def per_cent(example: str, most: int) -> Number:
    """A percentage."""
    return Number(
        says=f"a percentage in the form {example}", example=example, least=Decimal(0),
        most=Decimal(most), units=PER_CENT, bare=False,
    )  # fmt: skip


DISCOUNT: Final = per_cent("15%", 100)
_SHARE: Final = per_cent("50%", 10_000)

_FURTHER: Final = (
    Key(
        name="cache_read",
        kind=USD,
        doc="USD per million input tokens read from the provider's cache.",
        default="input",
    ),
    Key(
        name="cache_write",
        kind=USD,
        doc="USD per million input tokens written to the provider's cache (5 minutes).",
        default="input",
    ),
    Key(
        name="cache_write_1h",
        kind=USD,
        doc="USD per million input tokens written to the provider's cache for an hour.",
        default="cache_write",
    ),
    Key(
        name="audio_input",
        kind=USD,
        doc="USD per million audio input tokens.",
        default="input",
    ),
    Key(
        name="audio_cache_read",
        kind=USD,
        doc="USD per million audio input tokens read from the provider's cache.",
        default="cache_read",
    ),
    Key(
        name="image_input",
        kind=USD,
        doc="USD per million input tokens of images.",
        default="input",
    ),
    Key(
        name="reasoning",
        kind=USD,
        doc="USD per million reasoning tokens.",
        default="output",
    ),
    Key(
        name="audio_output",
        kind=USD,
        doc="USD per million audio output tokens.",
        default="output",
    ),
    Key(
        name="image_output",
        kind=USD,
        doc="USD per million output tokens of images.",
        default="output",
    ),
    Key(name="request", kind=USD, doc="USD per call, on top of its tokens.", default="0"),
    Key(
        name="request_low",
        kind=USD,
        doc="The same where the reply says that its search brought in little of the web "
        "(search_context_size).",
        default="request",
    ),
    Key(name="request_medium", kind=USD, doc="And where it was middling.", default="request"),
    Key(
        name="search",
        kind=USD,
        doc="USD per web search of the provider's; of rankings, per search that is billed.",
        default="0",
    ),
    Key(
        name="searched",
        kind=USD,
        doc="USD per call that searched the web, however often.",
        default="0",
    ),
    Key(name="file_search", kind=USD, doc="USD per search in stored files.", default="0"),
    Key(
        name="code_unit",
        kind=USD,
        doc="USD per run of code, or per gigabyte of a container, as the provider charges.",
        default="0",
    ),
    Key(name="source", kind=USD, doc="USD per source that a search used.", default="0"),
    Key(
        name="image_cache_read",
        kind=USD,
        doc="USD per million input tokens of images read from the provider's cache.",
        default="cache_read",
    ),
    Key(
        name="citation",
        kind=USD,
        doc="USD per million tokens of sources that were read for an answer.",
        default="0",
    ),
    Key(
        name="character",
        kind=USD,
        doc="USD per million characters of a text that is said.",
        default="0",
    ),
    Key(
        name="image",
        kind=USD,
        doc="USD per image made, where it isn't charged by its tokens.",
        default="0",
    ),
    Key(
        name="audio_hour",
        kind=USD,
        doc="USD per hour of audio, where a transcript is charged by time.",
        default="0",
    ),
)


def _rates(whole: bool) -> tuple[Key, ...]:
    default = "" if whole else "as below the threshold"
    return (
        Key(name="input", kind=USD, doc="USD per million input tokens.", required=whole,
            default=default),
        Key(name="output", kind=USD, doc="USD per million output tokens.", required=whole,
            default=default),
        *_FURTHER,
    )  # fmt: skip


LONG: Final = Table(
    says="a mapping of prices",
    example="{ input: 1, output: 3 }",
    keys=_rates(whole=False),
)
PRICES: Final = Table(
    says="a mapping of prices",
    example="{ input: 0.5, output: 1.5 }",
    keys=(
        *_rates(whole=True),
        Key(
            name="above",
            kind=MapOf(
                says="a mapping of numbers of tokens to prices",
                example="{ 200000: { input: 1, output: 3 } }",
                key=Word(says="a number of tokens", example="200000", pattern="[1-9][0-9]{0,8}"),
                item=LONG,
            ),
            doc="What a whole call costs whose input is longer than so many tokens. What is left "
            "out costs what it costs below.",
            default="the same for every length",
        ),
        Key(
            name="services",
            kind=MapOf(
                says="a mapping of service tiers to percentages",
                example="{ batch: 50%, priority: 175% }",
                key=Word(
                    says=f"a service tier ({', '.join(SERVICES)})",
                    example="batch",
                    pattern="|".join(SERVICES),
                ),
                item=_SHARE,
            ),
            doc="How much of it, fees apart, calls cost that the provider serves in another "
            "service tier.",
            default="100%",
        ),
        Key(
            name="hours",
            kind=MapOf(
                says="a mapping of hours to percentages",
                example="{ '16:30-00:30': 50% }",
                key=_HOURS,
                item=_SHARE,
            ),
            doc="How much of it, fees apart, calls cost that begin in these hours (UTC).",
            default="100%",
        ),
        Key(
            name="audio_least",
            kind=duration("10s", "0", Decimal(3600)),
            doc="How long a call's audio counts at least, where it is charged by time.",
            default="as long as it is",
        ),
        Key(
            name="currency",
            kind=CURRENCY,
            doc="The currency of these amounts; currencies says what it is worth.",
            default="USD",
        ),
        Key(
            name="since",
            kind=_DATE,
            doc="The first day (UTC) on which it holds.",
            default="from the beginning",
        ),
        Key(
            name="until",
            kind=_DATE,
            doc="The first day (UTC) on which it does not hold any more.",
            default="without end",
        ),
    ),
)

PRICING: Final = (
    Key(
        name="discount",
        kind=DISCOUNT,
        doc="What you pay less than the catalogue's prices. Prices given under prices are "
        "not discounted.",
        default="0%",
    ),
    Key(
        name="discounts",
        kind=MapOf(
            says="a mapping of model names to percentages",
            example="{ llama-3.3-70b: 20% }",
            key=_MODEL,
            item=DISCOUNT,
        ),
        doc="The same by model, in place of discount.",
        default="discount",
    ),
    Key(
        name="surcharge",
        kind=per_cent("10%", 1000),
        doc="What you pay more than the catalogue's prices, after the discount: for a region, or "
        "to a reseller.",
        default="0%",
    ),
    Key(
        name="prices",
        kind=MapOf(
            says="a mapping of model names to prices",
            example="{ llama-3.3-70b: { input: 0.5, output: 1.5 } }",
            key=_MODEL,
            item=OneOrList(
                says="a mapping of prices, or a list of such",
                example="{ input: 0.5, output: 1.5 }",
                one=PRICES,
                several=ListOf(
                    says="a list of prices",
                    example="[{ input: 1, output: 2, until: 2027-01-01 }]",
                    item=PRICES,
                    least=1,
                ),
            ),
        ),
        doc="Your own prices by model, in USD per million tokens; a list where they change with "
        "time. They replace everything the catalogue says about that model's price.",
        default="the catalogue's",
    ),
)

CURRENCIES: Final = Key(
    name="currencies",
    kind=MapOf(
        says="a mapping of currencies to amounts in USD",
        example="{ EUR: 1.08 }",
        key=CURRENCY,
        item=USD,
    ),
    doc="What one unit of a currency is worth in USD, for prices in it. Calls keep the cost that "
    "they had.",
    default="none",
)
