"""The page Settings: where everything is, how large, who is connected; and who is signed in."""

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct
from sqlalchemy import Engine

from ferryman.config.secret import REFERENCES, SEALED, is_there
from ferryman.config.snapshot import Provider, Secret
from ferryman.control import journals
from ferryman.control.dashboard.desk import Asked, Desk, Go, Page
from ferryman.control.dashboard.models import snapshot
from ferryman.store.audit import Act, record
from ferryman.store.sizes import size

OWN: Final = ("admin-token", "feed-token", "pepper", "seal-key")
PUBLIC: Final = 0o077
"""Bits of a mode that let others in."""


class Presence(Struct, frozen=True, kw_only=True):
    """A secret: whose it is, where it is found, and whether it is there. Never what it is."""

    owner: str
    where: str
    there: bool
    fault: str = ""


def page(desk: Desk, asked: Asked) -> Page:
    """Everything that is not calls."""
    return _page(desk)


def link(desk: Desk, asked: Asked) -> Page:
    """A way in for somebody else, shown once."""
    return _page(desk, token=desk.admin.link())


def alone(desk: Desk, asked: Asked) -> Go:
    """Sign out everybody else."""
    record(desk.admin.engine, Act(action="session.end", target="all others"))
    desk.doors.leave_others(asked.session)
    return Go("/settings")


def _page(desk: Desk, token: str = "") -> Page:
    desk.admin.catch_up()
    compiled = desk.configuration.compiled
    seen, keys_seq = desk.planes()
    values = {
        "token": token, "sessions": desk.doors.open(), "places": places(desk),
        "ledger": size(desk.admin.engine), "dialect": desk.admin.engine.dialect.name,
        "retention": None if compiled is None else compiled.retention,
        "journal": journals.journals(desk.admin), "planes": seen, "keys_seq": keys_seq,
        "snapshot": desk.admin.version(), "number": desk.configuration.number,
        "changed": desk.configuration.changed, "secrets": _secrets(desk), "now": time.time(),
        "python": platform.python_version(),
    }  # fmt: skip
    return Page(template="settings.html", title="Settings", values=values)


def places(desk: Desk) -> list[tuple[str, str]]:
    """Where things are; without passwords."""
    options = desk.options
    found = [
        ("Configuration", str(options.config) if options.config else "none: the defaults"),
        ("Data directory", str(options.data_dir)),
        ("Database", _address(desk.admin.engine)),
        ("Journals", str(options.paths.journal)),
    ]
    for name, path in (("Calls go to", options.paths.gateway_url),
                       ("This is at", options.paths.admin_url)):  # fmt: skip
        try:
            found.append((name, path.read_text().strip()))
        except OSError:
            found.append((name, "not on this machine"))
    return found


def _address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _secrets(desk: Desk) -> list[Presence]:
    paths = desk.options.paths
    found = [_own(paths.root / "secrets" / name, name) for name in OWN]
    compiled = snapshot(desk)
    if compiled is None:
        return found
    key = paths.seal_key()
    shown = [p for p in compiled.providers.values() if p.enabled or p.name in desk.providers]
    for provider in sorted(shown, key=lambda each: each.name):
        found += _keys(provider, os.environ, key)
    return found


def _own(path: Path, name: str) -> Presence:
    variable = "FERRYMAN_" + name.upper().replace("-", "_")
    if os.environ.get(variable):
        return Presence(owner="Ferryman", where=f"env:{variable} ({name})", there=True)
    try:
        mode = path.stat().st_mode
    except OSError:
        return Presence(owner="Ferryman", where=f"secrets/{name}", there=False)
    fault = "others on this machine can read it: chmod 600" if mode & PUBLIC else ""
    return Presence(owner="Ferryman", where=f"secrets/{name}", there=True, fault=fault)


def _keys(provider: Provider, env: Mapping[str, str], key: bytes) -> list[Presence]:
    rows = [
        Presence(
            owner=provider.name, where=_where(secret, number),
            there=secret.kind == SEALED or is_there(secret, provider.name, env, key),
        )
        for number, secret in enumerate(provider.keys, 1)
    ]  # fmt: skip
    if provider.alternatives:  # places to look, of which one is enough
        return [row for row in rows if row.there][:1] or rows[:1]
    return rows


def _where(secret: Secret, number: int) -> str:
    known = secret.kind in REFERENCES
    return (
        f"{secret.kind}:{secret.value}"
        if known
        else f"sealed, of the vault or configuration ({number})"
    )
