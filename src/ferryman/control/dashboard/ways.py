"""Which pages there are, what each takes, and who may: the one table of it.

A page that is not in it does not exist; one without a permission can't be written down.
"""

from typing import Final

from msgspec import Struct

from ferryman.control.api.access import PERMISSIONS, Caller
from ferryman.control.dashboard import (
    alerts,
    audit,
    calls,
    compare,
    costs,
    guardrails,
    keys,
    limits,
    models,
    now,
    people,
    playground,
    reference,
    routes,
    secrets,
    settings,
    teams,
    tenants,
    welcome,
)
from ferryman.control.dashboard.desk import View


class Way(Struct, frozen=True):
    """A page, or what its forms send."""

    method: str
    path: str
    permission: str
    """Of :data:`~ferryman.control.api.access.PERMISSIONS`."""
    view: View | None
    """None: it is no page, and ``app.py`` answers itself."""
    tenants: bool = False
    """Open to users of an organisation or a team: it minds ``desk.admin.caller.within``."""
    download: bool = False
    """It may take as long as there are calls: made on threads of its own."""
    act: str = ""
    """As ``api/route.py`` has it: what this is called in the audit log, where nothing else puts it
    there. Downloads have one."""

    def __post_init__(self) -> None:
        if self.permission not in PERMISSIONS:
            raise ValueError(f"{self.method} {self.path}: no permission {self.permission!r}")
        if self.download and not self.act:
            raise ValueError(f"{self.method} {self.path}: a download has to be in the audit log")

    def open_to(self, caller: Caller) -> bool:
        """Whether the caller may."""
        return self.permission in caller.permissions and (self.tenants or not caller.within)


WAYS: Final = (
    Way("GET", "/", "calls.read", now.page),
    Way("GET", "/live", "calls.read", None),
    Way("POST", "/", "config.write", welcome.add_provider),
    Way("GET", "/welcome", "config.write", welcome.shown),
    Way("GET", "/calls", "calls.read", calls.page, tenants=True),
    Way("POST", "/calls/views", "config.write", calls.save_view),
    Way(
        "GET",
        "/calls/export.csv",
        "calls.read",
        calls.export,
        tenants=True,
        download=True,
        act="calls.export",
    ),
    Way("GET", "/calls/{request_id}", "calls.read", calls.one, tenants=True),
    Way("GET", "/costs", "usage.read", costs.page, tenants=True),
    Way(
        "GET",
        "/costs/table.csv",
        "usage.read",
        costs.table,
        tenants=True,
        download=True,
        act="usage.export",
    ),
    Way(
        "GET",
        "/costs/focus.csv",
        "usage.read",
        costs.focus,
        tenants=True,
        download=True,
        act="usage.export",
    ),
    Way("GET", "/models", "models.read", models.page),
    Way("GET", "/models/compare", "models.read", compare.page),
    Way("GET", "/routes", "config.read", routes.page),
    Way("GET", "/routes/edit", "config.write", routes.edit),
    Way("POST", "/routes/edit", "config.write", routes.save),
    Way("POST", "/routes/check", "config.write", routes.check),
    Way("POST", "/routes/weights", "config.write", routes.weights),
    Way("GET", "/routes/versions", "config.read", routes.history),
    Way("GET", "/routes/versions/{number}", "config.read", routes.version),
    Way("POST", "/routes/rollback", "config.write", routes.rollback),
    Way("GET", "/routes/explain", "requests.explain", routes.explain),
    Way("GET", "/teams", "keys.read", teams.page),
    Way("POST", "/teams/assign", "keys.write", teams.assign),
    Way("POST", "/teams/records", "tenants.write", tenants.create),
    Way("POST", "/teams/archive", "tenants.write", tenants.archive),
    Way("POST", "/teams/limits", "limits.write", tenants.limit),
    Way("GET", "/limits", "limits.read", limits.page),
    Way("POST", "/limits/raise", "config.write", limits.increase),
    Way("GET", "/guardrails", "config.read", guardrails.page),
    Way("GET", "/keys", "keys.read", keys.page, tenants=True),
    Way("POST", "/keys", "keys.write", keys.create, tenants=True),
    Way("POST", "/keys/bounds", "keys.write", keys.bind, tenants=True),
    Way("POST", "/keys/rotate", "keys.write", keys.rotate, tenants=True),
    Way("POST", "/keys/revoke", "keys.write", keys.revoke, tenants=True),
    Way("GET", "/vault", "vault.read", secrets.page, tenants=True),
    Way("POST", "/vault", "vault.write", secrets.store, tenants=True),
    Way("POST", "/vault/intake", "vault.write", secrets.intake, tenants=True, act="vault.intake"),
    Way("POST", "/vault/remove", "vault.write", secrets.remove, tenants=True),
    Way("POST", "/vault/rotate", "vault.write", secrets.rotate),
    Way("POST", "/vault/verify", "vault.write", secrets.verify, act="vault.verify"),
    Way("GET", "/alerts", "alerts.read", alerts.page),
    Way("POST", "/alerts/acknowledge", "alerts.write", alerts.acknowledge),
    Way("POST", "/alerts/silence", "alerts.write", alerts.silence),
    Way("POST", "/alerts/unsilence", "alerts.write", alerts.unsilence),
    Way("POST", "/alerts/test", "alerts.write", alerts.test, act="alert.test"),
    Way("GET", "/users", "users.read", people.page, tenants=True),
    Way("POST", "/users", "users.write", people.create, tenants=True),
    Way("POST", "/users/change", "users.write", people.change, tenants=True),
    Way("POST", "/users/password", "users.write", people.password, tenants=True),
    Way("POST", "/users/tokens", "tokens.write", people.make_token, tenants=True),
    Way("POST", "/users/revoke", "tokens.write", people.revoke_token, tenants=True),
    Way("GET", "/audit", "audit.read", audit.page),
    # Who may make keys may call: the playground's calls are made with a key of its own.
    Way("GET", "/playground", "keys.write", playground.page),
    Way("POST", "/playground/run", "keys.write", None),
    Way("POST", "/playground/feedback", "keys.write", None),
    Way("GET", "/playground/outcome/{request_id}", "keys.write", playground.outcome),
    Way("GET", "/settings", "journal.read", settings.page),
    Way("POST", "/settings/link", "dashboard.enter", settings.link),
    Way("POST", "/settings/alone", "dashboard.enter", settings.alone),
    Way("GET", "/reference", "api.read", reference.page, tenants=True),
)
BY_PLACE: Final = {(way.method, way.path): way for way in WAYS}
