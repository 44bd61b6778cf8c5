"""Media types and the shorter names that the chat format has for some of them.

https://platform.openai.com/docs/guides/audio, https://platform.openai.com/docs/guides/pdf-files
"""

AUDIO_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "pcm16": "audio/pcm",
}
"""``format`` of sound → media type, where it isn't ``audio/`` and the same word."""
_FORMATS = {
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mp3": "mp3",
    "audio/x-m4a": "m4a",
    "audio/l16": "pcm16",
    **{media_type: form for form, media_type in AUDIO_TYPES.items()},
}
PLAIN_AUDIO = ("wav", "mp3")
"""What the format itself knows; compatible servers know more."""

_BY_ENDING = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "xml": "application/xml",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def audio_format(media_type: str) -> str:
    """``format`` of sound of a media type."""
    plain = media_type.partition(";")[0].strip().lower()
    return _FORMATS.get(plain) or plain.removeprefix("audio/")


def media_type_of(file_name: str) -> str:
    """The media type of a document whose bytes come without one, by its name."""
    ending = file_name.rpartition(".")[2].lower()
    return _BY_ENDING.get(ending, "application/pdf")


def file_name_for(media_type: str) -> str:
    """A name for a document that has none; providers tell by its ending what it is."""
    plain = media_type.partition(";")[0].strip().lower()
    endings = (ending for ending, known in _BY_ENDING.items() if known == plain)
    return f"document.{next(endings, 'pdf')}"
