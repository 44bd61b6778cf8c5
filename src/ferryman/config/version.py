"""A numbered version of the configuration, and what of it was not written into the file."""

from msgspec import Struct

FILE, API, CLI = "file", "api", "cli"
"""Who applied a version."""


class Change(Struct, frozen=True, kw_only=True, array_like=True):
    """One entry that was changed elsewhere than in the file."""

    text: str | None
    """The entry as YAML, literal keys sealed; None = it was removed."""
    base: str
    """Digest of the file's entry when this was said; empty = it had none. Another one now means
    that the file's is the later word."""
    version: int
    by: str


Overlay = dict[str, Change]
"""Entry (``models/fast``, ``timeouts``) → what holds in place of the file's."""


class Version(Struct, frozen=True, kw_only=True):
    """What was in force from ``at`` on."""

    number: int
    at: int
    """Unix seconds."""
    by: str
    """``file``, ``api`` or ``cli``."""
    note: str
    changes: tuple[str, ...]
    """What is different from the version before, as ``models/fast: changed``."""
    snapshot: str
    """Version of the snapshot that the data planes got."""
    text: str = ""
    """The whole configuration as YAML, literal keys sealed."""
    overlay: Overlay = {}
