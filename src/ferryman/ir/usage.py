"""Token usage in disjoint classes: every token is counted in exactly one field."""

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace


class Extras(Struct, frozen=True, array_like=True, kw_only=True):
    """What few calls use: further disjoint classes of tokens, and what else has a price."""

    service: str = ""
    """The service tier that served it, of :data:`SERVICES`; empty = the standard one."""
    region: str = ""
    """Where it was computed, if the provider says so and it has a price: Anthropic's ``us``."""
    searches: int = 0
    """Web searches that the provider made for it."""
    audio_cache_read: int = 0
    """Audio input tokens served from the provider's prompt cache."""
    image_input: int = 0
    image_output: int = 0
    audio_ms: int = 0
    """Milliseconds of audio, where the provider charges for time."""
    context: str = ""
    """How much of the web a search brings in (``low``, ``medium``, ``high``), if it is told."""
    image_cache_read: int = 0
    """Input tokens of images served from the provider's prompt cache."""
    citations: int = 0
    """Tokens of sources read for the answer, which their provider counts apart from all others."""
    characters: int = 0
    """Of a text that was said, where nothing else tells what it costs."""
    images: int = 0
    """Images made, where nothing else tells what they cost."""
    file_searches: int = 0
    """Searches in stored files."""
    code_units: int = 0
    """Runs of code, as they are charged for: each call, or each gigabyte of a container."""
    sources: int = 0
    """Sources that a search used, where each is charged for."""


class Usage(Struct, frozen=True, array_like=True):
    """Tokens of one call, each in exactly one class (the sum is the total).

    Formats nest their counts differently (``prompt_tokens`` includes cached ones in one, excludes
    them in another); decoders in ``wire/`` subtract until the classes are disjoint.
    """

    input: int = 0
    """Fresh text input tokens."""
    cache_read: int = 0
    """Input tokens served from the provider's prompt cache."""
    cache_write: int = 0
    """Input tokens written to the prompt cache with the default (about 5 minute) lifetime."""
    cache_write_1h: int = 0
    """Input tokens written to the prompt cache with a one-hour lifetime."""
    audio_input: int = 0
    output: int = 0
    """Visible text output tokens."""
    reasoning: int = 0
    """Output tokens spent on reasoning."""
    audio_output: int = 0
    extras: Extras | None = None
    """None for most calls, which is all that they pay for it."""

    @property
    def total_input(self) -> int:
        extras = self.extras
        return (
            self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.audio_input
            + (_given(extras) if extras is not None else 0)
        )  # fmt: skip

    @property
    def total_cache_read(self) -> int:
        extras = self.extras
        if extras is None:
            return self.cache_read
        return self.cache_read + extras.audio_cache_read + extras.image_cache_read

    @property
    def total_output(self) -> int:
        extras = self.extras
        made = self.output + self.reasoning + self.audio_output
        return made if extras is None else made + extras.image_output


def _given(extras: Extras) -> int:
    return extras.audio_cache_read + extras.image_cache_read + extras.image_input


CLASSES: Final = (
    "input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "output", "reasoning",
    "audio_output",
)  # fmt: skip
"""Fields of :class:`Usage` that count tokens;"""
EXTRA_COUNTS: Final = ("searches", "audio_cache_read", "image_input", "image_output", "audio_ms")
"""fields of :class:`Extras` that are numbers;"""
PIECES: Final = (
    "image_cache_read", "citations", "characters", "images", "file_searches", "code_units",
    "sources",
)  # fmt: skip
"""and those of them that are kept together, since so few calls have any."""

SERVICES: Final = ("batch", "flex", "priority", "fast")
"""Service tiers with prices of their own."""
_SERVICES: Final = {name: name for name in SERVICES} | {
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
    "service_tier_flex": "flex",
    "service_tier_priority": "priority",
}


def service_of(said: object) -> str:
    """What a provider calls a service tier (``flex``, ``ON_DEMAND_FLEX``…) → of ``SERVICES``.

    Empty for the standard tier by any of its names, and for unknown ones.
    """
    return _SERVICES.get(said.lower(), "") if isinstance(said, str) else ""


def served(usage: Usage | None, said: object) -> Usage | None:
    """``usage`` with the service tier that the provider says beside it."""
    if usage is None or not said:
        return usage
    service = service_of(said)
    if not service:
        return usage
    return replace(usage, extras=replace(usage.extras or Extras(), service=service))


def made(images: int) -> Usage:
    """The usage of an answer that tells of nothing but the images in it."""
    return Usage(extras=Extras(images=images))


def said(characters: int) -> Usage:
    """That of speech of which nothing is known but the length of its text."""
    return Usage(extras=Extras(characters=characters))


def added(one: Usage, other: Usage) -> Usage:
    """The sum of both; the words of ``one``, or else of ``other``."""
    sums = {name: getattr(one, name) + getattr(other, name) for name in CLASSES}
    a, b = one.extras, other.extras
    if a is None or b is None:
        return Usage(**sums, extras=a or b)
    counts = {name: getattr(a, name) + getattr(b, name) for name in (*EXTRA_COUNTS, *PIECES)}
    words = {
        name: getattr(a, name) or getattr(b, name) for name in ("service", "region", "context")
    }
    return Usage(**sums, extras=Extras(**words, **counts))


def counts(usage: Usage) -> dict[str, int | str]:
    """Field → what it says: every class of tokens, and of the extras those that say something."""
    said: dict[str, int | str] = {name: getattr(usage, name) for name in CLASSES}
    if usage.extras is not None:
        extras = ((name, getattr(usage.extras, name)) for name in Extras.__struct_fields__)
        said |= {name: value for name, value in extras if value}
    return said


def from_counts(said: dict[str, Any]) -> Usage:
    """The usage that :func:`counts` said."""
    extras = {name: said[name] for name in Extras.__struct_fields__ if name in said}
    classes = {name: said.get(name, 0) for name in CLASSES}
    return Usage(**classes, extras=Extras(**extras) if extras else None)
