"""What the admin API says of the audit log."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ferryman.client.documents import Time


class AuditEntry(Struct, kw_only=True):
    """Who did what, from where."""

    time: Time
    event: Literal["audit"] = "audit"
    seq: Annotated[int, Meta(description="Its number: the first is 1, and none is left out.")]
    actor: Annotated[str, Meta(description="Name of the token or session; `unknown`: nobody's.")]
    address: str
    client: Annotated[str, Meta(description="As the client calls itself.")]
    action: Annotated[str, Meta(description="As `key.create`.")]
    target: str
    outcome: Annotated[str, Meta(description="`done` or `refused`.")]
    before: Annotated[Any, Meta(description="As far as the act tells it, without secrets.")]
    after: Any
    mac: Annotated[str, Meta(description="HMAC-SHA-256 over this and the entry before it.")]


class AuditHead(Struct, kw_only=True):
    """Where the log ends."""

    seq: int
    mac: str
