"""A guard, as the snapshot has it."""

from typing import Final

from msgspec import Struct

GUARDS: Final = "ferryman.guards"
"""The entry points of plugins that judge: functions from a text to (score, reasons)."""
LANGUAGES: Final = (
    "af", "am", "ar", "bg", "bn", "bo", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et", "fa",
    "fi", "fr", "gu", "he", "hi", "hr", "hu", "hy", "id", "it", "ja", "ka", "km", "kn", "ko", "lo",
    "lt", "lv", "mk", "ml", "mr", "my", "ne", "nl", "no", "or", "pa", "pl", "pt", "ro", "ru", "si",
    "sk", "sl", "so", "sq", "sv", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "zh",
)  # fmt: skip
"""Languages that guards tell apart (``guard/language.py``), by ISO 639-1."""
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}"
"""A guard's name."""


class Guard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A check of what calls and their answers say (``guard/engine.py``)."""

    name: str
    kind: str
    """See ``guard_grammar.KINDS``."""
    at: tuple[str, ...] = ("request", "reply", "tools")
    action: str = "redact"
    """``redact``, ``block``, ``annotate``, ``log``; or ``allow``: where others have found what
    it finds, and no more, they leave it."""
    how: str = "mask"
    """Of what is redacted: ``mask``, ``hash`` or ``tokenise``."""
    always: bool = True
    """False: only for calls whose policy or model names it."""
    on_error: str = "block"
    """``block`` or ``allow``: what becomes of calls that it can't check."""
    entities: tuple[str, ...] = ()
    """Empty = the usual ones."""
    patterns: tuple[tuple[str, str], ...] = ()
    most: int = 0
    """Characters."""
    need: tuple[str, ...] = ()
    """Names of metadata."""
    deny: tuple[str, ...] = ()
    """Models, with ``*``; or languages."""
    allow: tuple[str, ...] = ()
    """Hosts; those below them too. Or languages."""
    unknown: str = "allow"
    """``block`` or ``allow``: what becomes of texts whose language can't be told."""
    words: tuple[str, ...] = ()
    schema: str = ""
    """JSON Schema, as JSON."""
    threshold: float = 0.6
    """The score from which on something is taken for found."""
    model: str = ""
    """The classifier's: ``provider/model`` or a name from models."""
    plugin: str = ""
    """An entry point's name."""
    url: str = ""
    """The webhook's."""
    secret: str = ""
    """What signs its requests: ``env:…``, ``vault:…`` or ``sealed:…``; empty = nothing does."""
    region: str = ""
    """Where it is, as far as that is stated,"""
    data_policy: str = ""
    """and what is promised of what it gets, words with spaces between."""
    about: str = ""
    """What a judge looks for."""
    timeout: float = 2.0
    """Seconds that a classifier has."""
    turns: str = "last"
    """What of a request a classifier hears: the ``last`` turn; all that was ``said`` but for what
    system and developer say; or ``all``."""
    run: str = "before"
    """``before`` or ``parallel``: while the call goes on."""
