"""``python -m ferryman.control.compiling``: the configuration file → a snapshot.

Writes to standard output a ``Checked``, then, if there are no errors, a ``Compiled``, each as
``u32 LE length | msgpack``.
"""

import contextlib
import os
import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ferryman.config.compile import compile_snapshot
from ferryman.config.file import load
from ferryman.config.options import Options
from ferryman.config.seal import derive
from ferryman.config.secret import activate
from ferryman.config.snapshot import ModelRow, Snapshot
from ferryman.control.configuration import LENGTH, Checked, Compiled


def main() -> None:
    """Write the two answers. The options come from the environment."""
    options = Options.from_env()
    seal_key = derive(options.paths.secret("feed-token"))
    loaded = load(options.config, strict=options.strict)
    _write(Checked(tuple(map(str, loaded.problems)), tuple(map(str, loaded.errors))))
    if loaded.errors:
        return
    snapshot = compile_snapshot(loaded, seal_key=seal_key)
    providers = snapshot.providers.values()
    active = [p.name for p in providers if activate(p, os.environ, seal_key) is not None]
    _write(
        Compiled(
            version=snapshot.version,
            snapshot=msgspec.msgpack.encode(snapshot),
            drain_seconds=snapshot.server.drain_seconds,
            providers=tuple(active),
            example=example(snapshot, active),
        )
    )


def _write(answer: Struct) -> None:
    data = msgspec.msgpack.encode(answer)
    sys.stdout.buffer.write(LENGTH.pack(len(data)) + data)
    sys.stdout.buffer.flush()


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
