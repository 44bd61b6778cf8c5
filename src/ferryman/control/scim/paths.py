"""Names of attributes (RFC 7644, section 3.10), and what they find in a resource.

Names of attributes and schemas have no case. An attribute of the core schemas stands at the top of
a resource, one of an extension below the extension's URN.
"""

import re
from typing import Any, Final

from msgspec import Struct

from ferryman.control.scim.error import wrong

CORE: Final = (
    "urn:ietf:params:scim:schemas:core:2.0:User",
    "urn:ietf:params:scim:schemas:core:2.0:Group",
)
USER, GROUP = CORE
ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
_NAME: Final = re.compile(r"\$?[A-Za-z][A-Za-z0-9_$-]*")
_URN: Final = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9-]{0,31}:[A-Za-z0-9_.:-]+", re.IGNORECASE)
Json = dict[str, Any]
"""A JSON object."""


class Path(Struct, frozen=True):
    """``schema:name.sub``; empty ``schema`` = core, empty ``name`` = the whole extension."""

    name: str
    sub: str = ""
    schema: str = ""

    def __str__(self) -> str:
        dotted = self.name + (f".{self.sub}" if self.sub else "")
        return ":".join(each for each in (self.schema, dotted) if each)


def path_of(text: str, kind: str = "invalidPath") -> Path:
    """The path that ``text`` is. Raises :class:`ScimError` of that kind."""
    schema, rest = "", text
    if text[:4].lower() == "urn:":
        if not _URN.fullmatch(text):
            raise wrong(kind, f"{text[:100]!r} is no attribute.")
        if text.lower() == ENTERPRISE.lower():
            return Path("", schema=ENTERPRISE)
        schema, _, rest = text.rpartition(":")
        known = [each for each in (*CORE, ENTERPRISE) if each.lower() == schema.lower()]
        schema = known[0] if known else schema
        schema = "" if schema in CORE else schema
    name, _, sub = rest.partition(".")
    if not _NAME.fullmatch(name) or (sub and not _NAME.fullmatch(sub)) or rest.endswith("."):
        raise wrong(kind, f"{text[:100]!r} is no attribute.")
    return Path(name, sub, schema)


def key_in(of: Json, name: str) -> str:
    """What ``name`` is called in an object: as it stands there, else as it is given."""
    if name in of:
        return name
    folded = name.lower()
    return next((key for key in of if key.lower() == folded), name)


def holder(resource: Json, path: Path) -> Json:
    """The object that has the attribute; an empty one where there is none."""
    if not path.schema:
        return resource
    found = resource.get(key_in(resource, path.schema))
    return found if isinstance(found, dict) else {}


def values_of(resource: Json, path: Path) -> list[Any]:
    """All that ``path`` finds; of a list, its elements; of these, their ``sub``."""
    of = holder(resource, path)
    if not path.name:
        return [of] if of else []
    found = listed(of.get(key_in(of, path.name)))
    if not path.sub:
        return found
    below = [each.get(key_in(each, path.sub)) for each in found if isinstance(each, dict)]
    return [one for each in below for one in listed(each)]


def listed(value: Any) -> list[Any]:
    """A value as a list of values: none for null."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
