"""The sections ``content`` and ``logs``, as read → what the planes have of them."""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path as File
from typing import Any, Final

from ferryman.config.files import referred
from ferryman.config.model import Logs, SinkConfig
from ferryman.config.problem import WARNING, Path, shown
from ferryman.config.snapshot import Content, Storing

Found = dict[str, Any]
SINKS: Final = "ferryman.sinks"
"""The entry points of plugins that are sinks."""
_NEEDS: Final = {
    "stdout": (), "file": ("path",), "webhook": ("url",), "s3": ("bucket", "region"),
}  # fmt: skip
_TAKES: Final = {
    "stdout": (),
    "file": ("path", "max_size", "files"),
    "webhook": ("url", "private", "secret"),
    "s3": ("bucket", "region", "prefix", "url", "private", "access_key", "secret"),
}
_EXAMPLES: Final = {
    "path": "path: calls.log", "url": "url: https://example.org/logs",
    "bucket": "bucket: company-logs", "region": "region: eu-central-1",
}  # fmt: skip


def content_of(found: Found) -> Content:
    """The section ``content``."""
    largest = found.get("max_size", Content().largest)
    return Content(storing=storing_of(found), largest=largest)


def storing_of(found: Found | str) -> Storing:
    """Whose contents are kept: a word, or a mapping."""
    if isinstance(found, str):
        return Storing(what=found)
    usual = Storing()
    what, sample = found.get("store", usual.what), found.get("sample", usual.sample)
    redact = tuple(name for _, name in found["redact"]) if "redact" in found else None
    return Storing(what=what, sample=float(sample), redact=redact)


def logs_of(found: Found, folder: File, add: Callable[..., None]) -> Logs:
    """The section ``logs``; what one key can't tell goes to ``add``."""
    sinks = []
    for i, entry in found.get("sinks", []):
        given = {"kind": entry} if isinstance(entry, str) else entry
        if "kind" in given:
            _check(given, ("logs", "sinks", i), add)
            sinks.append(_sink(given, folder))
    usual = Logs()
    sample = float(found.get("sample", usual.sample))
    level, audit = found.get("level", usual.level), found.get("audit", usual.audit)
    return Logs(level=level, sample=sample, sinks=tuple(sinks), audit=audit)


def _check(found: Found, path: Path, add: Callable[..., None]) -> None:
    kind = found["kind"]
    for name in _NEEDS.get(kind, ()):
        if name not in found:
            add(path, f"a sink of the kind {kind} needs {name}", f"Example: {_EXAMPLES[name]}")
    for name in found.keys() - {"kind", *_TAKES.get(kind, ("options",))}:
        takes = ", ".join(_TAKES.get(kind, ("options",))) or "nothing more"
        add((*path, name), f"a sink of the kind {kind} has no {name}", f"It takes {takes}.")
    if kind == "s3" and len(found.keys() & {"access_key", "secret"}) == 1:
        add(path, "access_key and secret go together", "Give both, or neither.")
    if kind not in _TAKES and not entry_points(group=SINKS, name=kind):
        fix = f"Use {', '.join(_TAKES)}, or install a package that has it (entry point {SINKS})."
        add((*path, "kind"), f"no sink is called {shown(kind)} here", fix, WARNING)


def _sink(found: Found, folder: File) -> SinkConfig:
    given = {n: v for n, v in found.items() if n not in ("secret", "access_key", "options")}
    for name in ("secret", "access_key"):
        if name in found:
            given[name] = referred(found[name], folder)
    return SinkConfig(**given, options=tuple(found.get("options", {}).items()))
