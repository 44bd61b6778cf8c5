"""What the admin API says of the vault, and takes."""

from typing import Annotated

from msgspec import Meta, Struct

from ferryman.client.documents import Time


class Secret(Struct, kw_only=True):
    """A secret, without what it is."""

    name: str
    hint: Annotated[str, Meta(description="The last characters, of long ones.")]
    master: Annotated[str, Meta(description="Id of the master key that its own is wrapped by.")]
    created_at: Time
    changed_at: Time


class Stored(Struct, kw_only=True):
    """A secret was stored or removed."""

    name: str
    in_force: Annotated[
        bool, Meta(description="False: the configuration has mistakes, the last good one holds.")
    ]


class Intake(Struct, kw_only=True):
    """What secrets are sealed to."""

    key: Annotated[str, Meta(description="X25519, in base64.")]


class Verified(Struct, kw_only=True):
    """Which secrets open."""

    good: int
    wrong: Annotated[dict[str, str], Meta(description="Name → why it does not open.")]


class Rotate(Struct, kw_only=True, forbid_unknown_fields=True):
    """How secrets are encrypted anew."""

    master: Annotated[bool, Meta(description="Make a newer master key first, in its file.")] = False


class Rotated(Struct, kw_only=True):
    """Secrets were encrypted anew."""

    rotated: int


class Accepted(Struct, kw_only=True):
    """The vault was taken as it is."""

    number: int
    in_force: bool
