"""The first page of a new installation: from nothing to a first call."""

import contextlib
from functools import partial

import msgspec

from ferryman.catalog.load import providers
from ferryman.config.version import API
from ferryman.control import orders
from ferryman.control.beyond import may_change
from ferryman.control.configuration import ChangeError, CompilerError
from ferryman.control.dashboard.desk import Asked, Desk, Go, Page
from ferryman.control.vault.orders import ready
from ferryman.store import keys


def shown(desk: Desk, asked: Asked) -> Page:
    """The same when calls have been made: another provider can be added."""
    return page(desk, later=True)


def page(desk: Desk, problem: str = "", chosen: str = "", later: bool = False) -> Page:
    """A provider, a key, a first call. ``later``: it stays, whatever calls come in."""
    key = ""
    with contextlib.suppress(OSError):
        key = desk.options.paths.first_key.read_text().strip()
    address = ""
    with contextlib.suppress(OSError):
        address = desk.options.paths.gateway_url.read_text().strip()
    rows = [row for row in providers().values() if row.key_env and "{" not in row.base_url]
    values = {
        "model": desk.example, "active": desk.providers, "key": key, "address": address,
        "catalogue": [(row.name, row.title) for row in rows],
        "problem": problem, "chosen": chosen, "later": later, "vault": ready(desk.options),
        "known": keys.any_key(desk.admin.engine),
    }  # fmt: skip
    return Page(
        template="welcome.html", title="Welcome", values=values, status=400 if problem else 200
    )


def add_provider(desk: Desk, asked: Asked) -> Page | Go:
    """Take a provider's key into the configuration, where it is kept sealed.

    Where there is a master key, the page stores it in the vault instead.
    """
    name, key = asked.form.get("provider", ""), asked.form.get("key", "").strip()
    later = asked.form.get("then") == "/welcome"
    if name not in providers():
        return page(desk, "Choose a provider from the list.", later=later)
    if not key or key.startswith(("env:", "file:")) or not key.isascii() or " " in key:
        return page(desk, "Paste the key itself, as the provider shows it.", name, later)
    body = msgspec.json.encode({"key": key})
    try:
        desk.configuration.change(
            orders.ENTRY, unit=f"providers/{name}", body=body, by=API,
            note="added in the dashboard", expected=None, trial=False,
            allow=partial(may_change, desk.admin.caller),
        )  # fmt: skip
    except ChangeError as error:
        return page(desk, "; ".join(each.message for each in error.checked.errors), name, later)
    except CompilerError as error:
        return page(desk, str(error), name, later)
    return Go("/models" if later else "/")
