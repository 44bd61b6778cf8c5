"""Images and speech made to order, in a common language: what each dialect reads and writes.

Members at their defaults mean "not said".
"""

from msgspec import Struct

from ferryman.ir.usage import Usage


class ImagesRequest(Struct, frozen=True, kw_only=True):
    """Images wanted of a text."""

    prompt: str
    n: int = 1
    width: int = 0
    """Pixels; 0 = the model's choice."""
    height: int = 0
    quality: str = ""
    """``low``, ``medium``, ``high`` and above, ``standard``, ``hd``."""
    background: str = ""
    output_format: str = ""
    """``png``, ``jpeg``, ``webp``."""
    output_compression: int | None = None
    """0 to 100."""
    response_format: str = ""
    """``url`` or ``b64_json``."""
    negative_prompt: str = ""
    """What is not to be seen."""
    seed: int | None = None
    stream: bool = False
    partial_images: int = 0
    """Sketches wanted before the image."""
    unknown: tuple[str, ...] = ()
    """Members that no other dialect has a place for."""


class Image(Struct, frozen=True):
    """One image."""

    data: str
    """Base64."""
    media_type: str = "image/png"


class ImagesReply(Struct, frozen=True):
    """The images."""

    images: tuple[Image, ...]
    usage: Usage | None = None


class SpeechRequest(Struct, frozen=True, kw_only=True):
    """A text to be said."""

    text: str
    voice: str = ""
    """A name that the target's provider may know."""
    instructions: str = ""
    """How to say it."""
    response_format: str = ""
    """``mp3``, ``opus``, ``aac``, ``flac``, ``wav``, ``pcm``."""
    speed: float = 1.0
    events: bool = False
    """The sound is wanted as a stream of events."""
    unknown: tuple[str, ...] = ()


class SpeechReply(Struct, frozen=True):
    """The sound: PCM of 16 bits, little-endian, one channel."""

    pcm: bytes
    rate: int = 24_000
    """Samples per second."""
    usage: Usage | None = None
