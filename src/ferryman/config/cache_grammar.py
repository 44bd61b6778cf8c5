"""The keys about answers that are kept: for the same request, to be repeated, to go on from."""

from decimal import Decimal
from typing import Final

from ferryman.config.conditions import Flag
from ferryman.config.kinds import Word
from ferryman.config.measures import duration, size
from ferryman.config.shapes import FlagOr, Key, Table
from ferryman.config.snapshot import Caching, Idempotency

_CACHING = Caching()
_ONCE = Idempotency()
_MONTH: Final = Decimal(2_592_000)
_GB: Final = 10**9
_TTL: Final = duration("10m", "1", _MONTH)
_STORE: Final = Word(
    says="memory, sqlite or valkey", example="sqlite", choices=("memory", "sqlite", "valkey")
)
_FLAG: Final = Flag(says="true or false", example="true")


def _megabytes(count: int) -> str:
    return f"{count // 10**6}MB"


CACHED: Final = Key(
    name="cache",
    kind=FlagOr(says="true, false or a duration such as 10m", example="10m", other=_TTL),
    doc="Whether these calls' answers are cached, and for how long; true: as long as cache.ttl "
    "says.",
    default="as the section cache has it",
)
"""Of a policy."""

CACHE: Final = Table(
    says="a mapping",
    example="{ ttl: 1h }",
    keys=(
        Key(
            name="ttl",
            kind=_TTL,
            doc="How long an answer is kept. Callers may ask for less.",
            required=True,
        ),
        Key(
            name="when",
            kind=Word(says="always or asked", example="asked", choices=("always", "asked")),
            doc="Which calls it is for: all of them, or those that ask for it "
            "(`x-ferryman-cache: on`) or that a policy names.",
            default="always",
        ),
        Key(
            name="scope",
            kind=Word(
                says="key, team, organisation or all",
                example="team",
                choices=("key", "team", "organisation", "all"),
            ),
            doc="Who gets an answer again: the virtual key that had it first, those of its team "
            "(within its organisation), of its organisation, or all. Keys without a team or "
            "organisation have their own cache, and answers of the Responses API stay with their "
            "key.",
            default="key",
        ),
        Key(
            name="store",
            kind=_STORE,
            doc="Where answers are kept: in memory; in an encrypted file in the data directory, "
            "which outlives restarts; or, encrypted, on the server that `server.state` names, for "
            "several gateways together.",
            default="memory",
        ),
        Key(
            name="size",
            kind=size("1GB", 1000, 1000 * _GB),
            doc="Most that all answers may take; with store: sqlite, on the disk. Those that were "
            "not used for longest go first, on the disk the oldest. On a server, its own "
            "`maxmemory` counts.",
            default=_megabytes(_CACHING.size),
        ),
        Key(
            name="max_answer",
            kind=size("1MB", 1000, 64 * 10**6),
            doc="A larger answer is not kept, and not repeated for an Idempotency-Key either.",
            default=_megabytes(_CACHING.largest),
        ),
        Key(
            name="tool_calls",
            kind=_FLAG,
            doc="Whether answers that call tools are cached.",
            default="false",
        ),
        Key(
            name="coalesce",
            kind=_FLAG,
            doc="Whether calls that ask the same at the same time wait for the first one's answer.",
            default="true",
        ),
    ),
    hints=(
        ("max_age", "Write ttl: 1h."),
        ("mode", "Write when: always, or when: asked."),
        ("namespace", "Callers give it: x-ferryman-cache-namespace."),
    ),
)

IDEMPOTENCY: Final = Table(
    says="a mapping",
    example="{ keep: 24h }",
    keys=(
        Key(
            name="keep",
            kind=duration("24h", "0", _MONTH),
            doc="How long an answer is kept for the Idempotency-Key that its call came with. 0s: "
            "the header is only passed on to providers.",
            default="24h",
        ),
        Key(
            name="store",
            kind=_STORE,
            doc="Where, as in the section cache.",
            default="memory",
        ),
        Key(
            name="size",
            kind=size("1GB", 1000, 1000 * _GB),
            doc="Most that all of them may take; the oldest go first.",
            default=_megabytes(_ONCE.size),
        ),
        Key(
            name="without_state",
            kind=Word(says="go_on or refuse", example="refuse", choices=("go_on", "refuse")),
            doc="With store: valkey, what becomes of calls that have an Idempotency-Key while the "
            "server can't be asked. go_on: each gateway sees to its own, and a call that is "
            "repeated at another one may be made twice. refuse: 503.",
            default=_ONCE.without_state,
        ),
    ),
)

RESPONSES: Final = Table(
    says="a mapping",
    example="{ keep: 24h }",
    keys=(
        Key(
            name="keep",
            kind=duration("24h", "0", Decimal(31_536_000)),
            doc="How long answers are kept, encrypted, so that callers of the Responses API can go "
            "on from them (`previous_response_id`) with any provider. 0s: not at all.",
            default="0s",
        ),
    ),
)
