"""JSON as guards read it: every text and number in it, but for media and proofs.

Media are Base64 beside a word of what they are; proofs are what providers sign or encrypt their
model's thoughts with. Both are left only if they decode to something that is no text.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

Clean = Callable[[str], str]
SHORT: Final = 64
"""Characters; what is shorter is a text, whatever it is said to be."""
_PROOFS: Final = (
    "signature", "encrypted_content", "encrypted_index", "thoughtSignature", "thought_signature",
)  # fmt: skip
"""Members that hold proofs, in any format."""
_MEDIUM: Final = ("media_type", "mimeType", "mime_type", "format")
"""Members that say what stands in ``data`` beside them."""
_URL: Final = re.compile(r"data:([^,]{0,200}?)(;base64)?,", re.IGNORECASE)
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def checked(raw: bytes, clean: Clean, model: str = "") -> bytes:
    """JSON with every text ``clean``; the same bytes, where nothing has changed.

    Of members with the same name the last stays, so that no provider reads another than was
    checked. ``model``: what the member ``model`` of the whole may be without a check. Raises
    ValueError, RecursionError.
    """
    doubled = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        found = dict(pairs)
        doubled = doubled or len(found) < len(pairs)
        return found

    said = json.loads(raw, object_pairs_hook=members, parse_float=Decimal)
    left = isinstance(said, dict) and bool(model) and said.get("model") == model
    name = said.pop("model") if left else None
    got = walked(said, clean)
    if got == said and not doubled:
        return raw
    return _encode({"model": name, **got} if left else got)


def walked(value: Any, clean: Clean) -> Any:
    """What JSON says, every text and number in it ``clean``; a number that is not becomes a text.
    Raises RecursionError."""
    if isinstance(value, str):
        return text(value, clean)
    if isinstance(value, list):
        return [walked(each, clean) for each in value]
    if isinstance(value, dict):
        return {clean(key): _member(value, key, each, clean) for key, each in value.items()}
    if value is None or isinstance(value, bool):
        return value
    said = str(value)
    got = clean(said)
    return value if got == said else got


def _member(whole: dict[str, Any], key: str, value: Any, clean: Clean) -> Any:
    if isinstance(value, str):
        if key in _PROOFS or (key == "data" and whole.get("type") == "redacted_thinking"):
            return value if _binary(value) else clean(value)
        if key == "data" and (whole.get("type") == "base64" or any(n in whole for n in _MEDIUM)):
            return medium(value, clean)
    return walked(value, clean)


def text(said: str, clean: Clean) -> str:
    """A text, or a medium that is written as a URL."""
    url = _URL.match(said)
    if url is None:
        return clean(said)
    head, rest = said[: url.end()], said[url.end() :]
    if url[2]:
        return clean(head) + medium(rest, clean)
    plain = unquote(rest)
    got = clean(plain)
    return clean(head) + (rest if got == plain else quote(got))


def medium(data: str, clean: Clean) -> str:
    """Base64, as it is if what it holds is no text; what is not Base64 is a text."""
    plain = _decoded(data) if len(data) >= SHORT else None
    if plain is None:
        return clean(data)
    try:
        said = plain.decode("utf-8")
    except UnicodeDecodeError:
        return data
    got = clean(said)
    return data if got == said else base64.b64encode(got.encode("utf-8")).decode()


def _binary(data: str) -> bool:
    """Whether it can be a proof."""
    plain = _decoded(data.replace("-", "+").replace("_", "/")) if len(data) >= SHORT else None
    if plain is None:
        return False
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _decoded(data: str) -> bytes | None:
    try:
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
