"""Proofs of other formats in a request that is to be relayed to a provider of this one.

An answer that came from a provider of another format has its proofs in ``encrypted_content``, in an
envelope (``ir/signature.py``). When the conversation goes on with a provider of the Responses API,
which refuses what it has not encrypted itself, these thoughts have to stay behind.
"""

import msgspec
from msgspec import Raw

from ferryman.ir.signature import unwrap
from ferryman.wire.carry import UNREADABLE, Fields
from ferryman.wire.openai_responses.items import ATTACHED
from ferryman.wire.openai_responses.parts import NAME
from ferryman.wire.openai_responses.types import Proof

MARK = b'"fm1'
"""Stands in every body that holds such a proof."""

_items = msgspec.json.Decoder(list[Raw]).decode
_proof = msgspec.json.Decoder(Proof).decode
_encode = msgspec.json.Encoder().encode


def without_foreign(fields: Fields) -> list[str]:
    """Take out of a request's members the reasoning items whose proof is another format's.

    Returns their paths. What is not as the API says is left as it is, for the provider to judge.
    """
    try:
        items = _items(fields.get("input", b"null"))
        foreign = [number for number, item in enumerate(items) if _is_foreign(item)]
    except UNREADABLE:
        return []
    if foreign:
        gone = set(foreign)
        fields["input"] = Raw(_encode([raw for n, raw in enumerate(items) if n not in gone]))
    return [f"input[{number}]" for number in foreign]


def _is_foreign(item: Raw) -> bool:
    if MARK not in bytes(item):
        return False
    try:
        said = _proof(item)
    except UNREADABLE:
        return False
    value = said.encrypted_content or ""
    if said.type != "reasoning":
        return False
    signature = unwrap(value, NAME)
    return value.startswith(ATTACHED) or (signature is not None and signature.origin != NAME)
