"""What ``ferryman up`` does not give the control plane: keys of providers, which it sends nowhere.

It is told that they are there, since it says which providers are active.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from ferryman.config.nodes import Map, Node, Scalar, Seq, parse
from ferryman.config.secret import PLACEHOLDER, withheld

_REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_KEYS: Final = ("key", "keys")
"""Members of a provider that hold its keys."""
_SHARED: Final = ("AWS_", "AZURE_", "GOOGLE_", "VAULT_", "OTEL_", "FERRYMAN_")
"""How variables begin that key services, sinks and telemetry of the control plane read, too."""


def for_control(env: Mapping[str, str], config: Path | None) -> dict[str, str]:
    """``env`` with a word in place of what the catalogue and the file ``config`` name as keys of
    providers, and the file for nothing else. All of it, where the file can't be read."""
    rows: dict[str, Any] = tomllib.loads(
        (resources.files("ferryman.catalog") / "providers.toml").read_text("utf-8")
    )
    keys = {name for row in rows.values() for name in row.get("key_env", ())}
    used = {name for row in rows.values() for name in PLACEHOLDER.findall(row["base_url"])}
    if config is not None:
        try:
            root, faults = parse(config.read_bytes())
        except OSError:
            return dict(env)
        if root is None and faults:
            return dict(env)
        for path, text in _texts(root, ()):
            found = {*_REFERENCE.findall(text), *PLACEHOLDER.findall(text)}
            if path[:1] == ("providers",) and path[2:3] and path[2] in _KEYS:
                keys |= found
            else:
                used |= found
    kept = keys - used
    return {
        name: withheld(name)
        if name in kept and value.strip() and not name.startswith(_SHARED)
        else value
        for name, value in env.items()
    }


def _texts(node: Node | None, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """All texts of a file, with the names of where they stand."""
    if isinstance(node, Map):
        for key, value in node.pairs:
            yield from _texts(value, (*path, key.text))
    elif isinstance(node, Seq):
        for each in node.items:
            yield from _texts(each, path)
    elif isinstance(node, Scalar):
        yield path, node.text
