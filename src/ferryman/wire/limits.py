"""How long an application's own names may be in formats: users, cache keys, metadata.

What is longer than the target takes is altered or left out, for it would be refused otherwise.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256

from ferryman.ir.receipt import Receipt

OPENAI_IDENTIFIER = 64
"""Characters of ``user``, ``safety_identifier`` and ``prompt_cache_key`` that every version of
OpenAI's API takes (https://github.com/earendil-works/pi/issues/4720, and for ``user``
https://github.com/maximhq/bifrost/pull/1000); other hosts take 128."""
OPENAI_PAIRS = 16
"""Most of ``metadata`` (https://platform.openai.com/docs/api-reference/chat/create)."""


def identifier(said: str, longest: int, path: str, receipt: Receipt) -> str:
    """``said``, or what stands for it as well: its hash (64 characters), when it is too long."""
    if len(said) <= longest:
        return said
    receipt.alter(path, "its hash")
    return sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def openai_pair(name: str, value: str) -> bool:
    """Whether ``metadata`` may hold the pair: 64 characters for a name, 512 for a value."""
    return 0 < len(name) <= 64 and len(value) <= 512


def fitting(
    pairs: Iterable[tuple[str, str]], fits: Callable[[str, str], bool], most: int, receipt: Receipt
) -> dict[str, str]:
    """The first ``most`` of ``pairs`` that fit; the receipt names the others."""
    out: dict[str, str] = {}
    for name, value in pairs:
        if len(out) < most and fits(name, value):
            out[name] = value
        else:
            receipt.drop(f"metadata.{name}")
    return out
