"""The keys of filters, and of the facts about models that filters ask for."""

from typing import Final

from ferryman.config.conditions import ABILITIES, Flag
from ferryman.config.filters import DATA_POLICIES, QUANTIZATIONS, UNKNOWN
from ferryman.config.kinds import Word
from ferryman.config.limit_grammar import ACCOUNT
from ferryman.config.measures import USD, count
from ferryman.config.shapes import Key, ListOf, OneOrList, Table

_FLAG: Final = Flag(says="true or false", example="true")
_NAME: Final = Word(
    says="a provider, or a target as provider/model",
    example="lab",
    pattern=r"[a-z0-9][a-z0-9_-]{0,47}(/[^\s\x00-\x1f\x7f]{1,200})?",
)
_NAMES: Final = ListOf(
    says="a list of providers, or of targets as provider/model",
    example="[lab]",
    item=_NAME,
    least=1,
)
REGION: Final = Word(says="a region name", example="eu", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_POLICY: Final = Word(
    says="no_training, zero_retention or hipaa", example="no_training", choices=DATA_POLICIES
)
DATA_POLICY: Final = OneOrList(
    says="no_training, zero_retention or hipaa, or a list of them",
    example="no_training",
    one=_POLICY,
    several=ListOf(
        says="a list of data policies", example="[zero_retention, hipaa]", item=_POLICY, least=1
    ),
)
_KNOWN: Final = tuple(name for name in QUANTIZATIONS if name != UNKNOWN)
_CAN: Final = (*ABILITIES, "prompt_cache", "text")


def _quantization(names: tuple[str, ...]) -> Word:
    return Word(says=f"a quantization ({', '.join(names)})", example="fp8", choices=names)


MAX_PRICE: Final = Table(
    says="a mapping of prices",
    example="{ input: 1, output: 4 }",
    keys=(
        Key(name="input", kind=USD, doc="Most USD per million input tokens.", default="any"),
        Key(name="output", kind=USD, doc="Most USD per million output tokens.", default="any"),
        Key(
            name="request",
            kind=USD,
            doc="Most USD per call, on top of its tokens.",
            default="any",
        ),
    ),
    hints=(("prompt", "Write input: 1."), ("completion", "Write output: 4.")),
)

FILTER: Final = Table(
    says="a mapping",
    example="{ regions: [eu], ignore: [lab] }",
    keys=(
        Key(name="only", kind=_NAMES, doc="No others than these.", default="all"),
        Key(name="ignore", kind=_NAMES, doc="None of these.", default="none"),
        Key(
            name="regions",
            kind=ListOf(says="a list of regions", example="[eu]", item=REGION, least=1),
            doc="Those that compute in one of these regions: eu stands for eu-west-3, too.",
            default="any",
        ),
        Key(
            name="data_policy",
            kind=DATA_POLICY,
            doc="Those of which all of this is promised; zero_retention promises no_training, too.",
            default="any",
        ),
        Key(
            name="quantizations",
            kind=ListOf(
                says="a list of quantizations",
                example="[bf16, fp16]",
                item=_quantization(QUANTIZATIONS),
                least=1,
            ),
            doc="Those that run the model in one of these; unknown stands for those of which it is "
            "not known.",
            default="any",
        ),
        Key(
            name="max_price",
            kind=MAX_PRICE,
            doc="Those that cost no more for this request, at this hour.",
            default="any",
        ),
        Key(
            name="require_abilities",
            kind=_FLAG,
            doc="true: only those known to have every ability that the request needs. false: "
            "abilities don't matter.",
            default="as long as one is known to have them all, those known not to are left out",
        ),
        Key(
            name="require_parameters",
            kind=_FLAG,
            doc="true: only those that lose no part of the request.",
            default="false",
        ),
    ),
    hints=(
        ("region", "Write regions: [eu]."),
        ("quantization", "Write quantizations: [bf16]."),
        ("data_collection", "Write data_policy: no_training."),
        ("zdr", "Write data_policy: zero_retention."),
    ),
)

NOT_HERE: Final = tuple(
    (key.name, f"Write filter: {{ {key.name}: {key.kind.example} }}.") for key in FILTER.keys
)
"""Hints for those who write a filter's keys beside ``filter``."""

FACTS: Final = Table(
    says="a mapping of facts",
    example="{ quantization: fp8 }",
    keys=(
        Key(
            name="abilities",
            kind=ListOf(
                says="a list of abilities",
                example="[tools, vision]",
                item=Word(
                    says=f"an ability ({', '.join(_CAN)})", example="tools", choices=_CAN
                ),
                least=1,
            ),
            doc="All that it can; [text] if that is nothing else.",
            default="the catalogue's, or unknown",
        ),
        Key(
            name="context",
            kind=count("131072", 1, 10**9),
            doc="Tokens of its window.",
            default="the catalogue's, or unknown",
        ),
        Key(
            name="max_output",
            kind=count("8192", 1, 10**9),
            doc="Most tokens that it answers.",
            default="the catalogue's, or unknown",
        ),
        Key(
            name="quantization",
            kind=_quantization(_KNOWN),
            doc="How its weights are stored.",
            default="unknown",
        ),
        Key(
            name="region",
            kind=REGION,
            doc="Where it is computed, if not where its provider says.",
            default="the provider's",
        ),
        Key(
            name="data_policy",
            kind=DATA_POLICY,
            doc="What is promised for it, if not what its provider promises.",
            default="the provider's",
        ),
        Key(
            name="max_in_flight",
            kind=count("20", 1, 100_000),
            doc="Most calls at work with it at once, streams until their end.",
            default="no limit",
        ),
        *ACCOUNT,
    ),
)  # fmt: skip
