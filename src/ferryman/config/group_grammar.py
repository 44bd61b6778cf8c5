"""The part ``identity.groups``: what groups of a directory (SCIM) give to those in them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from ferryman.config.kinds import Word
from ferryman.config.model import Grant
from ferryman.config.role_grammar import BUILT_IN
from ferryman.config.shapes import Key, MapOf, Table

_TEXT: Final = r"[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]{0,98}[^\s\x00-\x1f\x7f])?"
GROUP: Final = Table(
    says="a mapping with role and team",
    example="{ role: developer, team: engineering }",
    keys=(
        Key(
            name="role",
            kind=Word(says="a role", example="developer", pattern=r"[a-z][a-z0-9_-]{0,39}"),
            doc="What those in the group may: a role that is built in, but for owner, or one under "
            "roles.",
            default="none: they may nothing",
        ),
        Key(
            name="team",
            kind=Word(says="the name of a team", example="engineering", pattern=_TEXT),
            doc="The team that they belong to: they meet what is its own.",
            default="none",
        ),
    ),
)
GROUPS: Final = Key(
    name="groups",
    kind=MapOf(
        says="a mapping of names of groups to roles and teams",
        example="{ Engineering: { role: developer, team: engineering } }",
        key=Word(says="the name of a group", example="Engineering", pattern=_TEXT),
        item=GROUP,
    ),
    doc="What groups that a directory makes here give to those in them; who is in several gets "
    "what the first of these gives. See docs/scim.md.",
    default="groups give nothing, and roles are given by hand",
)


def groups_of(
    found: Mapping[str, Any], roles: Mapping[str, object], add: Callable[..., None]
) -> dict[str, Grant]:
    """Name of a group → what it gives; what can't be goes to ``add``."""
    known = {*BUILT_IN, *roles} - {"owner"}
    for name, given in found.items():
        role, at = given.get("role", ""), ("identity", "groups", name, "role")
        if role == "owner":
            add(at, "no group makes owners", f"Give one of {', '.join(sorted(known))}.")
        elif role and role not in known:
            fix = f"Give one of {', '.join(sorted(known))}, or add it under roles."
            add(at, f"there is no role {role}", fix)
    return {name: Grant(**given) for name, given in found.items()}
