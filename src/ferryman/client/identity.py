"""What the admin API takes and gives about who may what."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

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
    created_by: Annotated[str, Meta(description="`admin`, or the id of a token or user.")]
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Annotated[Time | None, Meta(description="To the minute.")]
    user_id: Annotated[
        str | None, Meta(description="Whose it is, where it is a user's: it ends with them.")
    ] = None


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
    user: Annotated[
        str | None,
        Meta(
            description="Name or id of the user whose it is, such as a service account's: it ends "
            "with them."
        ),
    ] = None
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


class User(Struct, kw_only=True):
    """Who signs in at the dashboard."""

    id: str
    name: Annotated[str, Meta(description="To sign in with.")]
    display: Annotated[str, Meta(description="What people call them; may be empty.")]
    kind: Annotated[str, Meta(description="`person`, or `service`, which never signs in.")]
    role: str
    organisation: str | None
    team: str | None
    external_id: Annotated[str | None, Meta(description="Who that is in a directory.")]
    issuer: Annotated[str | None, Meta(description="The identity provider that knows them.")]
    subject: Annotated[str | None, Meta(description="Who that is to it.")]
    active: Annotated[bool, Meta(description="False: nobody comes in by this user.")]
    created_at: Time
    created_by: Annotated[str, Meta(description="`admin`, or the id of a token or user.")]
    changed_at: Time
    last_in_at: Time | None


class NewUser(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A user to be made."""

    name: Annotated[
        str,
        Meta(description="To sign in with, such as an e-mail address. Case makes no difference."),
    ]
    role: Annotated[str, Meta(description="GET /api/v1/roles lists them.")]
    display: Annotated[str | None, Meta(description="What people call them.")] = None
    kind: Literal["person", "service"] = "person"
    organisation: Annotated[
        str | None, Meta(description="They meet only what is this organisation's.")
    ] = None
    team: Annotated[str | None, Meta(description="And of it, only what is this team's.")] = None
    password: Annotated[
        str | None, Meta(description="12 to 256 characters. Kept as an argon2id hash only.")
    ] = None


class UserChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be another. What is left out stays."""

    name: str | UnsetType = UNSET
    display: str | UnsetType | None = UNSET
    role: str | UnsetType = UNSET
    organisation: Annotated[str | UnsetType | None, Meta(description="Null = nobody's.")] = UNSET
    team: Annotated[str | UnsetType | None, Meta(description="Null = nobody's.")] = UNSET
    active: Annotated[bool | UnsetType, Meta(description="False shuts them out.")] = UNSET


class Password(Struct, kw_only=True, forbid_unknown_fields=True):
    """Another password."""

    password: Annotated[str | None, Meta(description="12 to 256 characters; null = none.")]
