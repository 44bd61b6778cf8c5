"""The page Vault: secrets go in, sealed by the browser, and never come out again."""

import msgspec

from ferryman.catalog.load import providers
from ferryman.client.vault import Rotate
from ferryman.config.vault_names import split
from ferryman.control import orders, vaults
from ferryman.control.dashboard.desk import Asked, Desk, File, Go, Page
from ferryman.control.dashboard.models import snapshot
from ferryman.control.dashboard.routes import changed
from ferryman.control.dashboard.shape import plural
from ferryman.control.problem import ProblemError
from ferryman.control.vault.orders import ready


def page(desk: Desk, asked: Asked) -> Page:
    """What is in the vault; ``name`` of the query is the one to store."""
    return _page(desk, name=asked.query.get("name", ""))


def intake(desk: Desk, asked: Asked) -> File:
    """The key that the browser seals a secret to, or why there is none."""
    try:
        said = {"key": vaults.intake(desk.admin).key}
    except ProblemError as error:
        said = {"problem": error.detail}
    return File("", "application/json", msgspec.json.encode(said))


def store(desk: Desk, asked: Asked) -> Page | Go:
    """Store what comes in sealed; as the key of a provider, if one is chosen."""
    provider = asked.form.get("provider", "")
    name = asked.form.get("name", provider).strip()
    body = msgspec.json.encode({"sealed": asked.form.get("sealed", "")})
    try:
        if provider and provider not in dict(_providers(desk)):
            raise ProblemError(400, "invalid_body", "Choose a provider from the list.")
        if provider and split(name)[0]:
            detail = f"With {name}, {provider} would serve that organisation alone."
            fix = "Store it for no provider, and write a provider of its own: docs/vault.md."
            raise ProblemError(400, "invalid_body", f"{detail} {fix}", fix=fix)
        kept = vaults.put_secret(desk.admin, name, body).in_force
        done = f"Stored: {name}. In the configuration: vault:{name}"
        if provider:
            _use(desk, name, provider)
            done = f"Stored: {name}, the key of {provider} from now on."
    except ProblemError as error:
        return _page(desk, name=name, provider=provider, problem=error.detail)
    if kept and asked.form.get("then") in ("/", "/models"):  # the welcome
        return Go(asked.form["then"])
    return _page(desk, done=done, kept=kept)


def remove(desk: Desk, asked: Asked) -> Page:
    """Remove one for good."""
    name = asked.form.get("name", "")
    try:
        kept = vaults.remove_secret(desk.admin, name).in_force
    except ProblemError as error:
        return _page(desk, problem=error.detail)
    return _page(desk, done=f"Removed: {name}.", kept=kept)


def rotate(desk: Desk, asked: Asked) -> Page:
    """New data keys for all, under the newest master key."""
    master = asked.form.get("master") == "1"
    try:
        count = vaults.rotate_vault(desk.admin, Rotate(master=master)).rotated
    except ProblemError as error:
        return _page(desk, problem=error.detail)
    backup = " Back the master key up again." if master else ""
    return _page(desk, done=f"Every secret has a new data key ({plural(count, 'secret')}).{backup}")


def verify(desk: Desk, asked: Asked) -> Page:
    """Open every secret, beside this process."""
    try:
        done = vaults.verify(desk.admin)
    except ProblemError as error:
        return _page(desk, problem=error.detail)
    return _page(desk, done=f"Good: {plural(done.good, 'secret')}.", wrong=done.wrong)


def _use(desk: Desk, name: str, provider: str) -> None:
    """Make the secret the key of the provider. Raises :class:`ProblemError`."""
    body = msgspec.json.encode({"key": f"vault:{name}"})
    unit, note = f"providers/{provider}", f"{provider}: its key is vault:{name}"
    try:
        changed(desk, orders.PATCH, body, unit, note)
    except ProblemError as error:
        if error.code != "entry_not_found":
            raise
        changed(desk, orders.ENTRY, body, unit, note)


def _providers(desk: Desk) -> list[tuple[str, str]]:
    """Names and titles of the providers that take a key, those of the configuration first; none for
    who belongs to an organisation."""
    if desk.admin.caller.within:
        return []
    known = {row.name: row.title for row in providers().values() if row.key_env}
    compiled = snapshot(desk)
    ours = [] if compiled is None else [
        each.name for each in compiled.providers.values() if each.keys and each.name not in known
    ]  # fmt: skip
    return [(name, name) for name in sorted(ours)] + list(known.items())


def _page(
    desk: Desk, *, name: str = "", provider: str = "", problem: str = "", done: str = "",
    kept: bool = True, wrong: dict[str, str] | None = None,
) -> Page:  # fmt: skip
    rows = vaults.list_secrets(desk.admin).data
    compiled, caller = desk.configuration.compiled, desk.admin.caller
    named = set() if compiled is None else vaults.used(compiled)
    used = {each for each in named if vaults.theirs(caller, split(each)[0])}
    values = {
        "rows": rows, "used": used, "missing": sorted(used - {row.name for row in rows}),
        "ready": ready(desk.options), "whose": caller.organisation if caller.within else None,
        "providers": _providers(desk), "name": name, "provider": provider, "problem": problem,
        "done": done, "kept": kept, "wrong": wrong or {},
    }  # fmt: skip
    return Page(template="vault.html", title="Vault", status=400 if problem else 200, values=values)
