"""Signatures that travel through a format that did not make them.

A provider's proof of its model's thoughts must come back to it unchanged, but the caller may speak
another format, which carries it in a field of its own. There it is put into an envelope that names
its origin, so that on the next turn it reaches the right provider, and no other. An empty envelope
says of thoughts and calls without a proof where they come from: their own format's provider gets
them back as they were, and another is not given what it could not believe.
"""

from ferryman.ir.request import Signature

_MARK = "fm1:"


def wrap(signature: Signature | None, carrier: str) -> str:
    """What stands for ``signature`` in messages of the format ``carrier``; empty for None."""
    if signature is None:
        return ""
    if signature.origin == carrier:
        return signature.value
    return f"{_MARK}{signature.origin}:{signature.value}"


def unwrap(text: str, carrier: str) -> Signature | None:
    """The signature that came as ``text`` in a message of ``carrier``; None for no proof."""
    if text.startswith(_MARK):
        origin, colon, inner = text[len(_MARK) :].partition(":")
        if colon:
            return Signature(inner, origin) if inner else None
    return Signature(text, carrier) if text else None
