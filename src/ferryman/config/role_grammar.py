"""The section ``roles``: permission sets of one's own for tokens of the admin API."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from ferryman.config.kinds import Word
from ferryman.config.shapes import Key, ListOf, MapOf

PERMISSIONS: Final = (
    "alerts.read",
    "alerts.write",
    "api.read",
    "audit.read",
    "cache.read",
    "cache.write",
    "calls.read",
    "config.read",
    "config.write",
    "content.read",
    "dashboard.enter",
    "feedback.read",
    "journal.read",
    "keys.read",
    "keys.write",
    "limits.read",
    "limits.write",
    "logs.read",
    "metrics.read",
    "models.read",
    "prices.read",
    "requests.explain",
    "tenants.read",
    "tenants.write",
    "scim.write",
    "tokens.read",
    "tokens.write",
    "usage.read",
    "users.read",
    "users.write",
    "vault.read",
    "vault.write",
)
"""All that a route of the admin API may ask for."""
ENTER: Final = "dashboard.enter"
"""Opens the dashboard as an owner, and signs others out: so it is the owner's alone."""
BUILT_IN: Final = ("owner", "admin", "billing", "developer", "viewer", "auditor", "provisioner")
ROLES: Final = Key(
    name="roles",
    kind=MapOf(
        says="a mapping of names to lists of permissions",
        example="{ support: [api.read, calls.read, content.read] }",
        key=Word(says="a name", example="support", pattern=r"[a-z][a-z0-9_-]{0,39}"),
        item=ListOf(
            says="a list of permissions",
            example="[api.read, calls.read]",
            item=Word(
                says="a permission, as docs/api.md has them for each route",
                example="calls.read",
                choices=tuple(name for name in PERMISSIONS if name != ENTER),
            ),
            least=1,
        ),
    ),
    doc="Roles of your own for tokens of the admin API. See docs/identity.md.",
    default="those that are built in",
)


def roles_of(found: Mapping[str, Any], add: Callable[..., None]) -> dict[str, tuple[str, ...]]:
    """Role → its permissions; what can't be goes to ``add``."""
    for name in found:
        if name in BUILT_IN:
            add(("roles", name), f"the role {name} is built in", "Choose another name.")
    return {name: tuple(each for _, each in items) for name, items in found.items()}
