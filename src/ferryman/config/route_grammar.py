"""The keys of a route that say who its targets are, and which calls stay together."""

from typing import Final

from ferryman.config.kinds import Word
from ferryman.config.measures import duration, seconds
from ferryman.config.shapes import Key, ListOf, OneOrList, Table
from ferryman.config.snapshot import Affinity

STRATEGIES: Final = (
    "ordered", "weighted", "latency", "throughput", "least_loaded", "headroom", "cost", "balanced",
)  # fmt: skip

TARGET: Final = Word(
    says="a target: provider/model, or a name from models",
    example="lab/llama-3.3-70b",
    pattern=r"[^\s\x00-\x1f\x7f]{1,200}",
)

TARGETS: Final = ListOf(
    says="a list of targets",
    example="[lab/llama-3.3-70b]",
    item=OneOrList(
        says="a target: provider/model, or a name from models; or a list of these",
        example="lab/llama-3.3-70b",
        one=TARGET,
        several=ListOf(
            says="a list of targets", example="[lab/llama-3.3-70b]", item=TARGET, least=1
        ),
    ),
    least=1,
)


AFFINITY: Final = Table(
    says="a mapping",
    example="{ by: session, for: 5m }",
    keys=(
        Key(
            name="by",
            kind=Word(
                says="session, cache_key or prefix",
                example="session",
                choices=("session", "cache_key", "prefix"),
            ),
            doc="What calls that belong together share: session (`x-ferryman-session`, or "
            "`session_id` in the metadata), cache_key (`prompt_cache_key` in the body), or prefix "
            "(the system text and the first message).",
            required=True,
        ),
        Key(
            name="for",
            kind=duration("5m", "1"),
            doc="How long after the last call; choose the time for which the provider keeps what "
            "it has read.",
            default=seconds(Affinity(by="session").seconds),
        ),
    ),
)


STICKING: Final = (
    Key(
        name="sticky",
        kind=Word(
            says="key, session, end_user or metadata.NAME",
            example="session",
            pattern=r"key|session|end_user|metadata\.[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        ),
        doc="Under strategy weighted: who always gets the same target: each virtual key, "
        "session (`x-ferryman-session`, or `session_id` in the metadata), end user (as the body "
        "names it), or value in the metadata.",
        default="nobody: each call is drawn anew",
    ),
    Key(
        name="affinity",
        kind=AFFINITY,
        doc="Calls that belong together stay at the target that served the last of them, "
        "whose cache knows them.",
        default="none",
    ),
)
