"""What the admin API says of alerts, and takes."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from ferryman.client.documents import Time

_TEXT: Final = 500
"""Characters."""


class Alert(Struct, kw_only=True):
    """Something that is, or was, wrong."""

    id: str
    state: Annotated[str, Meta(description="`open` or `resolved`.")]
    severity: str
    on: Annotated[str, Meta(description="What its rule looks at.")]
    rule: str
    subject: Annotated[str, Meta(description="Such as a model, or a key's id; empty = the whole.")]
    host: Annotated[str | None, Meta(description="The machine that sees it, if others can't.")]
    title: str
    detail: str
    facts: dict[str, str]
    opened_at: Time
    seen_at: Annotated[Time, Meta(description="When it was so last.")]
    told_at: Time | None
    acknowledged_at: Time | None
    acknowledged_by: str | None
    silenced_until: Time | None
    resolved_at: Time | None


class Silence(Struct, kw_only=True):
    """Alerts that nobody is told of for a while."""

    id: str
    rule: Annotated[str | None, Meta(description="null = any, like the next.")]
    subject: str | None
    until: Time
    made_at: Time
    note: str


class Channel(Struct, kw_only=True):
    """Who is told of alerts."""

    name: str
    kind: str
    where: Annotated[str, Meta(description="No secret, and of a URL the host alone.")]


class Alerts(Struct, kw_only=True):
    """What is wrong now, what is silent, and who is told."""

    data: list[Alert]
    silences: list[Silence]
    channels: list[Channel]


class NewSilence(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be silent: of one alert, or a rule and subject."""

    until: Annotated[
        int | str, Meta(description="RFC 3339, a date, Unix seconds, or a duration: 4h.")
    ]
    alert: Annotated[
        str, Meta(description="Id of an alert, whose rule and subject it is then.")
    ] = ""
    rule: Annotated[str, Meta(max_length=_TEXT, description="Empty = of any.")] = ""
    subject: Annotated[str, Meta(max_length=1000, description="Empty = of any.")] = ""
    note: Annotated[str, Meta(max_length=_TEXT, description="Why, for others.")] = ""


class Ended(Struct, kw_only=True):
    """A silence that is over."""

    id: str


class Delivered(Struct, kw_only=True):
    """A channel took a test."""

    channel: str
    seconds: Annotated[float, Meta(description="That it took.")]
