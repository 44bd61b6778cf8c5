"""``python -m ferryman.control.compiling``: the configuration file, changed → a snapshot.

Reads an ``Order`` (msgpack) from standard input. Writes a ``Checked`` to standard output, then, if
there are no errors, a ``Compiled``, each as ``u32 LE length | msgpack``.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ferryman.config import nodes, vaulted
from ferryman.config.compile import compile_snapshot
from ferryman.config.file import Loaded, check, read
from ferryman.config.model import Config
from ferryman.config.nodes import Fault, Map, Node
from ferryman.config.options import Options
from ferryman.config.problem import WARNING, Path, Problem
from ferryman.config.seal import derive_for
from ferryman.config.secret import activate
from ferryman.config.snapshot import ModelRow, Snapshot
from ferryman.config.units import (
    MAX_TEXT,
    NOTHING,
    Units,
    changes,
    joined,
    long_form,
    merge,
    opened,
    opened_all,
    overlay_of,
    pair,
    patched,
    plan_of,
    split,
    text_of,
    too_large,
    unit_of,
)
from ferryman.config.uses import uses
from ferryman.config.version import SENT, Overlay
from ferryman.control.orders import (
    ENTRY,
    FILE,
    LENGTH,
    PATCH,
    REMOVE,
    RESET,
    TEXT,
    Checked,
    Compiled,
    Order,
)


class _Draft(Struct, frozen=True, kw_only=True):
    """What an order leads to."""

    tree: Node | None
    units: Units
    overlay: Overlay = {}
    lost: tuple[str, ...] = ()
    faults: Sequence[Fault] = ()
    name: str = ""
    """Where the tree stands, if not in the file."""
    sources: Mapping[Path, str] = {}
    """Where some of it stands, if not there."""


def main() -> None:
    """Read an ``Order`` from standard input, write the two answers. Options: the environment."""
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    for answer in answers(Options.from_env(), order):
        _write(answer)


def answers(options: Options, order: Order) -> Iterator[Checked | Compiled]:
    """What there is to say of it; and if there are no errors, what it comes to."""
    key = derive_for(options.paths.secret("pepper"), "configuration versions")
    data = order.file
    if order.kind == FILE and options.config is not None:
        found = read(options.config)
        if isinstance(found, Problem):
            yield Checked(problems=(found,))
            return
        data = found
    root, faults = (None, []) if data is None else nodes.parse(data)
    draft = _of_file(order, root, faults, key) if order.kind == FILE else _sent(order, root, key)
    if draft is None:
        yield Checked(missing=True)
        return
    tree = draft.tree
    loaded = check(
        tree,
        draft.faults,
        options.config,
        name=draft.name,
        sources=draft.sources,
        strict=options.strict,
    )
    if tree is not None and too_large(tree):
        message = f"aliases followed, this is more than {MAX_TEXT // 2:,} characters or "
        problem = Problem(file=loaded.file, message=f"{message}{nodes.MAX_NODES:,} values")
        loaded = replace(loaded, problems=(*loaded.problems, problem))
    usable, plain = not loaded.errors, loaded.config
    loaded = _vaulted(options, loaded)
    closed = usable and bool(loaded.errors)
    workers = loaded.config.server.workers
    yield Checked(problems=loaded.problems, workers=workers, closed=closed)
    if not loaded.errors:
        yield _binding(_compiled(options, loaded, order, draft, data, key), plain)


def _vaulted(options: Options, loaded: Loaded) -> Loaded:
    """``loaded`` with the secrets that it refers to; one that does not open is an error."""
    wanted = set() if loaded.errors else vaulted.names(loaded.config)
    if not wanted:
        return loaded
    from sqlalchemy.exc import SQLAlchemyError

    from ferryman.control.vault.envelope import VaultError
    from ferryman.control.vault.here import leave_no_core, texts
    from ferryman.store.db import DatabaseError

    leave_no_core()
    try:
        found = texts(options, wanted)
    except (VaultError, DatabaseError, SQLAlchemyError) as error:
        said = type(error).__name__ if isinstance(error, SQLAlchemyError) else str(error)
        problem = Problem(file=loaded.file, message=f"the vault can't be used: {said}")
        return replace(loaded, problems=(*loaded.problems, problem))
    missing = tuple(
        Problem(
            file=loaded.file,
            message=f"there is no secret {name} in the vault, so vault:{name} has no value",
            fix=f"Store it: ferryman vault set {name}",
            severity=WARNING,
        )
        for name in sorted(wanted - found.keys())
    )
    config = vaulted.filled(loaded.config, found, options.paths.seal_key())
    return replace(loaded, config=config, problems=(*loaded.problems, *missing))


def _of_file(order: Order, root: Node | None, faults: Sequence[Fault], key: bytes) -> _Draft:
    """The file, and what holds over it."""
    units, overlay, lost = merge(split(root), order.overlay, key)
    return _Draft(
        tree=joined(units) if overlay else root,
        units=units,
        overlay=overlay,
        lost=lost,
        faults=faults,
        sources=_sources(overlay),
    )


def _sources(overlay: Overlay) -> dict[Path, str]:
    return {
        unit_of(name): f"(version {change.version}, by {change.by})"
        for name, change in overlay.items()
    }


def _sent(order: Order, file: Node | None, key: bytes) -> _Draft | None:
    """What was in force, after the change; ``None``: there is no unit to change."""
    base = split(file)
    units, overlay, _ = merge(base, order.overlay, key)
    root, faults = nodes.parse(order.body, MAX_TEXT)
    if order.kind == RESET:
        return _Draft(tree=file, units=base)
    if order.kind == TEXT:
        if not isinstance(root, Map):
            if root is None and not faults:
                faults = [
                    Fault(mark=None, message="there is nothing in it", fix="Write {} for that.")
                ]
            return _Draft(tree=root, units={}, faults=faults, name=SENT)
        units = opened_all(split(root), key)
        name, sources = SENT, {}
    else:
        unit = unit_of(order.unit)
        if order.kind != ENTRY and unit not in units:
            return None
        name, sources = "", _sources(overlay)
        if order.kind == REMOVE:
            del units[unit]
        else:
            node = opened(unit, root or NOTHING, key)
            if order.kind == PATCH:
                node = patched(long_form(unit, units[unit][1]), node)
            units[unit] = pair(unit[-1], node)
            sources[unit] = SENT
        faults = [replace(fault, path=(*unit, *fault.path)) for fault in faults]
    return _Draft(
        tree=joined(units),
        units=units,
        overlay=overlay_of(base, units, overlay, key, version=order.version, by=order.by),
        faults=faults,
        name=name,
        sources=sources,
    )


def _compiled(
    options: Options, loaded: Loaded, order: Order, draft: _Draft, file: bytes | None, key: bytes
) -> Compiled:
    seal_key = options.paths.seal_key()
    snapshot = compile_snapshot(loaded, seal_key=seal_key)
    providers = snapshot.providers.values()
    active = [p.name for p in providers if activate(p, os.environ, seal_key) is not None]
    before = opened_all(split(nodes.parse(order.before.encode(), MAX_TEXT)[0]), key)
    return Compiled(
        version=snapshot.version,
        snapshot=msgspec.msgpack.encode(snapshot),
        drain_seconds=snapshot.server.drain_seconds,
        retention=loaded.config.retention,
        logs=loaded.config.logs,
        roles=loaded.config.roles,
        groups=loaded.config.groups,
        passwords=loaded.config.passwords,
        providers=tuple(active),
        example=example(snapshot, [each for each in active if not snapshot.providers[each].owner]),
        unpriced=unpriced(snapshot, active),
        file=file,
        text=text_of(draft.units, key),
        overlay=draft.overlay,
        lost=draft.lost,
        changes=changes(before, draft.units, key),
        written=msgspec.json.encode(plan_of(draft.units)),
    )


def _binding(found: Compiled, config: Config) -> Compiled:
    """``found``, and what may become different by those alone who may give as much. ``config`` is
    as it is without the vault."""
    sign_in, groups, snapshot = config.sign_in, config.groups, found.snapshot
    roles = {grant.role for grant in groups.values()}
    roles |= set() if sign_in is None else {sign_in.default, *(role for _, role in sign_in.roles)}
    return replace(
        found,
        uses=uses(config, msgspec.msgpack.decode(snapshot, type=Snapshot)),
        issuers=msgspec.msgpack.encode(config.issuers),
        entrance=msgspec.msgpack.encode((config.issuers, sign_in, groups, config.passwords)),
        entered=tuple(sorted(roles - {""})),
    )


def _write(answer: Struct) -> None:
    data = msgspec.msgpack.encode(answer)
    sys.stdout.buffer.write(LENGTH.pack(len(data)) + data)
    sys.stdout.buffer.flush()


def unpriced(snapshot: Snapshot, active: Sequence[str]) -> tuple[str, ...]:
    """Targets of active providers that routes name, and that have no price."""
    rows = msgspec.msgpack.Decoder(dict[str, ModelRow])
    named = {
        pair
        for route in snapshot.routes.values()
        for pair in (*route.targets, *route.fallbacks)
        if pair[0] in active
    }
    priced = {
        (provider, model)
        for provider in {provider for provider, _ in named}
        for model, row in rows.decode(snapshot.models[provider]).items()
        if row.prices
    }
    return tuple(sorted(f"{provider}/{model}" for provider, model in named - priced))


def example(snapshot: Snapshot, active: Sequence[str]) -> str:
    """A route with an active target, else the cheapest chat model of the first active provider."""
    for name, route in snapshot.routes.items():
        if any(provider in active for provider, _ in route.targets):
            return name
    rows = msgspec.msgpack.Decoder(dict[str, ModelRow])
    for name in active:
        models = rows.decode(snapshot.models[name]) if name in snapshot.models else {}
        if models:
            return f"{name}/{min(models, key=lambda model: _rank(models[model]))}"
    return ""


def _rank(row: ModelRow) -> tuple[bool, bool, int]:
    """Models that call tools are chat models; then by price, those of unknown price last."""
    price = 0
    if row.prices:
        rate = row.prices[-1].tiers[0][1]
        price = rate.input + rate.output
    return "tools" not in row.abilities, not price, price


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the control plane has ended
        main()
