"""What every page shares: the environment of the templates, static files, and the headers."""

import mimetypes
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from ferryman import __version__
from ferryman.control.dashboard.shape import FILTERS

_HERE: Final = Path(__file__).parent
POLICY: Final = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
))  # fmt: skip
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
NAV: Final = (
    ("/", "Now", "n"),
    ("/calls", "Calls", "c"),
    ("/costs", "Costs", "o"),
    ("/models", "Models", "m"),
    ("/routes", "Routes", "r"),
    ("/teams", "Teams", "e"),
    ("/limits", "Limits", "l"),
    ("/guardrails", "Guardrails", "d"),
    ("/keys", "Keys", "k"),
    ("/users", "Users", "w"),
    ("/vault", "Vault", "v"),
    ("/alerts", "Alerts", "a"),
    ("/audit", "Audit", "u"),
    ("/playground", "Playground", "p"),
    ("/settings", "Settings", "s"),
)
"""Address, title, and the letter that leads there after ``g``."""


@cache
def statics() -> dict[str, tuple[bytes, str]]:
    """Name → bytes and media type of every static file."""
    found = {}
    for path in sorted((_HERE / "static").iterdir()):
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        kind = "text/javascript" if path.suffix == ".js" else kind
        found[path.name] = (path.read_bytes(), kind)
    return found


@cache
def edition() -> str:
    """Changes with any static file: part of their addresses, which browsers may keep for good."""
    return sha256(b"".join(data for data, _ in statics().values())).hexdigest()[:12]


@cache
def environment() -> Environment:
    """Jinja with every value escaped, and mistakes in templates as errors."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(FILTERS)
    made.globals.update(version=__version__, edition=edition())
    return made


def render(template: str, **values: Any) -> str:
    """A template with values."""
    return environment().get_template(template).render(**values)


def static(name: str) -> Response:
    """A static file; 404 for an unknown name."""
    found = statics().get(name)
    if found is None:
        return Response("There is no such file.\n", 404, HEADERS, "text/plain")
    kept = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(found[0], 200, HEADERS | kept, found[1])
