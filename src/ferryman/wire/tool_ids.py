"""Ids of tool calls that fit what a provider accepts, the same for a call and its result."""

import hashlib
import re


def fit(call_id: str, allowed: "re.Pattern[str]", prefix: str = "call_", length: int = 24) -> str:
    """``call_id`` if ``allowed`` matches all of it, else an id made from it, always the same.

    ``prefix`` and ``length`` hexadecimal digits must match ``allowed``.
    """
    if allowed.fullmatch(call_id):
        return call_id
    return prefix + hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:length]
