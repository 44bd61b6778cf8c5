"""What the admin API takes and gives about who may what."""

from typing import Annotated

from msgspec import Meta, Struct

from ferryman.client.documents import Time


class Token(Struct, kw_only=True):
    """A scoped token of this API, without the token itself."""

    id: str
    name: str
    state: Annotated[str, Meta(description="`active`, `expired` or `revoked`.")]
    hint: Annotated[str, Meta(description="First and last characters of the token.")]
    role: str
    organisation: str | None
    team: str | None
    created_at: Time
    created_by: Annotated[str, Meta(description="`admin`, or the id of the token that made it.")]
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Annotated[Time | None, Meta(description="To the minute.")]


class MadeToken(Token, kw_only=True):
    """A new token, which is shown this once."""

    token: Annotated[str, Meta(description="To send as `Authorization: Bearer`.")]


class NewToken(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A token to be made. Of `expires_in` and `expires_at`, give one; without, it ends after 90
    days."""

    name: Annotated[str, Meta(description="Whose, or what for: 1 to 100 printable characters.")]
    role: Annotated[str, Meta(description="GET /api/v1/roles lists them.")]
    organisation: Annotated[
        str | None, Meta(description="It meets only what is this organisation's.")
    ] = None
    team: Annotated[str | None, Meta(description="And of it, only what is this team's.")] = None
    expires_in: Annotated[
        int | str | None, Meta(description="Seconds, or a duration such as 30d.")
    ] = None
    expires_at: Annotated[
        int | str | None, Meta(description="RFC 3339, a date, or Unix seconds.")
    ] = None


class Role(Struct, kw_only=True):
    """What holders of a role may."""

    name: str
    built_in: Annotated[bool, Meta(description="False: it comes from the configuration.")]
    permissions: tuple[str, ...]


class Me(Struct, kw_only=True):
    """Who asks."""

    name: Annotated[str, Meta(description="`admin`, or the id of the token.")]
    role: str
    organisation: str | None
    team: str | None
    permissions: tuple[str, ...]
