"""What the admin API takes and gives about organisations, teams, and what they may take."""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ferryman.client.documents import Time

Amount = Annotated[int, Meta(ge=1, le=10**15)]
_Short = Annotated[
    str,
    Meta(
        pattern=r"^[1-9](_?[0-9]){0,14}/(second|minute|hour|day|week|month)$",
        examples=["600/minute"],
    ),
]

Period = Literal["minute", "hour", "day", "week", "month"]
"""That a budget holds for."""


class Organisation(Struct, kw_only=True):
    """An organisation that keys, tokens and teams may name."""

    name: str
    title: Annotated[str, Meta(description="For people; may be empty.")]
    state: Annotated[str, Meta(description="`active` or `archived`.")]
    created_at: Time
    created_by: str
    archived_at: Time | None


class Team(Organisation, kw_only=True):
    """A team of an organisation."""

    organisation: str


class NewTenant(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An organisation or a team to be made."""

    name: Annotated[
        str, Meta(description="1 to 100 printable characters, without slashes. It stays.")
    ]
    title: str = ""


class TenantChange(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be different about one."""

    title: str | UnsetType = UNSET
    archived: Annotated[
        bool | UnsetType, Meta(description="true: nothing new may name it; false: again.")
    ] = UNSET


class Rate(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many in a time."""

    most: Amount
    per: Literal["second", "minute", "hour", "day", "week", "month"]
    burst: Annotated[Amount | None, Meta(description="At once; without it, `most`.")] = None


class Increase(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """More of a budget for a while, in its unit."""

    usd: Decimal | None = None
    tokens: Annotated[int, Meta(ge=0, le=10**15)] | None = None
    until: Annotated[
        str,
        Meta(description="A date, in the budget's time zone, or a time.", examples=["2026-12-24"]),
    ]


class BudgetSet(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may be spent in a period. Of `usd` and `tokens`, give one."""

    usd: Decimal | None = None
    tokens: Annotated[int, Meta(ge=0, le=10**15)] | None = None
    per: Period
    rolling: bool = False
    zone: str = "UTC"
    soft: bool = False
    on_exceeded: Literal["finish", "cut"] = "finish"
    carry_over: Annotated[
        bool, Meta(description="true: what is left of a period is added to the next one.")
    ] = False
    notify: tuple[Annotated[int, Meta(ge=1, le=1000)], ...] = ()
    increase: Increase | None = None


class LimitSet(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What calls may take, in the words of the configuration's `limits`."""

    by: Annotated[
        tuple[str, ...],
        Meta(
            max_length=5, examples=[["key"]],
            description="Each value has a limit of its own: `key`, `user`, `model`, "
            "`metadata.NAME` and so on. Empty: one for all.",
        ),
    ] = ()  # fmt: skip
    requests: _Short | Rate | None = None
    input_tokens: _Short | Rate | None = None
    output_tokens: _Short | Rate | None = None
    tokens: _Short | Rate | None = None
    parallel: Annotated[int, Meta(ge=1, le=10**6)] | None = None
    budget: Annotated[tuple[BudgetSet, ...], Meta(max_length=10)] = ()
    status: Annotated[int, Meta(ge=400, le=499)] = 402


class DelegatedLimit(Struct, kw_only=True):
    """What was set for an organisation, team, user or key."""

    name: Annotated[str, Meta(description="As refusals, records and GET /api/v1/limits call it.")]
    organisation: str | None
    team: str | None
    user: str | None
    key: str | None
    limits: LimitSet
    changed_at: Time
    changed_by: str


class DelegatedOutcome(DelegatedLimit, kw_only=True):
    """What is set now."""

    lowered: Annotated[
        tuple[str, ...], Meta(description="Limits below it that were brought down to it.")
    ]
