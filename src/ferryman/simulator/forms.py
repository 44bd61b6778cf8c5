"""Reading ``multipart/form-data``: https://www.rfc-editor.org/rfc/rfc7578."""

import re
from typing import Any

import msgspec

from ferryman.simulator.ask import RefusedError, Request


class File(msgspec.Struct, frozen=True):
    """A file of a form."""

    name: str
    content_type: str
    data: bytes

    @property
    def told(self) -> str:
        """How ``echo`` tells of it."""
        return f"[{self.content_type} {len(self.data)} bytes]"


def read(request: Request) -> dict[str, list[Any]]:
    """The fields of a form by name: texts, and :class:`File`. Raises :class:`RefusedError`."""
    kind = request.headers.get("content-type", "")
    match = re.search(r'boundary="?([^";]+)"?', kind)
    if not kind.startswith("multipart/form-data") or match is None:
        raise RefusedError(f"Unsupported content type: '{kind}'. Use 'multipart/form-data'.")
    fields: dict[str, list[Any]] = {}
    mark = b"--" + match[1].encode("latin-1")
    parts = (b"\r\n" + request.body).split(b"\r\n" + mark)
    if parts[-1].strip(b"\r\n") != b"--":
        raise RefusedError("Could not parse multipart form: it has no end")
    for part in parts[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace")
        name = re.search(r'\bname="([^"]*)"', lines)
        if name is None:
            raise RefusedError("Could not parse multipart form: a part has no name")
        filename = re.search(r'\bfilename="([^"]*)"', lines)
        value: Any = data.decode("utf-8", "replace")
        if filename is not None:
            told = re.search(r"(?im)^content-type:\s*(\S+)", lines)
            value = File(filename[1], told[1] if told else "application/octet-stream", data)
        fields.setdefault(name[1].removesuffix("[]"), []).append(value)
    return fields
