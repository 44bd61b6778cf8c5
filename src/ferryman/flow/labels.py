"""What reports sort a call by, taken from its headers and from named members of its body."""

from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw

from ferryman.config.feed import KeyFacts
from ferryman.flow.headers import HeaderFacts
from ferryman.flow.policies import Metadata, metadata_of, tags_of
from ferryman.ir.unreadable import UNREADABLE
from ferryman.telemetry.record import Labels
from ferryman.wire.envelope import Request

MOST_METADATA: Final = 32
LONGEST_NAME: Final = 64
LONGEST: Final = 200
"""Characters of a value; the ledger is no place for prompts."""
_metadata: Final = msgspec.json.Decoder(dict[str, Raw])
_plain: Final = msgspec.json.Decoder(str | int | float | bool | None)
_text: Final = msgspec.json.Decoder(str)


def labels_of(request: Request, facts: HeaderFacts, whose: KeyFacts) -> Labels:
    """The labels of a call, with the facts of its key. What its body says in another form than a
    label's is left out.

    Raises :class:`GatewayError` (400) for headers that can't be read.
    """
    given = _of_body(request.fields.get("metadata")) | metadata_of(facts.metadata)
    end_user = _member(request, "user") or _member(request, "safety_identifier")
    tags = sorted(tags_of(facts.tags).union(whose.tags))
    return Labels(
        organisation=whose.organisation,
        team=whose.team,
        user=whose.user,
        end_user=end_user[:LONGEST] or _value(given, "user_id"),
        run=facts.run.decode("latin-1")[:LONGEST],
        parent=facts.parent.decode("latin-1")[:LONGEST],
        task=_value(given, "task"),
        tags=tuple([tag[:LONGEST_NAME] for tag in tags]),
        metadata=_bounded(given),
    )


@lru_cache(maxsize=4096)
def labels_by_key(whose: KeyFacts) -> Labels:
    """The labels of calls of a key that say nothing themselves."""
    return Labels(
        organisation=whose.organisation,
        team=whose.team,
        user=whose.user,
        tags=tuple([tag[:LONGEST_NAME] for tag in sorted(set(whose.tags))]),
    )


def _value(given: Metadata, name: str) -> str:
    found = given.get(name)
    if found is None:
        return ""
    text = found if isinstance(found, str) else msgspec.json.encode(found).decode()
    return text[:LONGEST]


def _bounded(given: Metadata) -> dict[str, str]:
    """As texts, so that every database compares them alike."""
    kept = {name[:LONGEST_NAME]: _value(given, name) for name in list(given)[:MOST_METADATA]}
    return {name: value for name, value in kept.items() if value}


def _of_body(raw: Raw | None) -> Metadata:
    if raw is None:
        return {}
    found: Metadata = {}
    try:
        members = _metadata.decode(raw)
    except UNREADABLE:
        return {}
    for name, value in members.items():
        try:
            found[name] = _plain.decode(value)
        except UNREADABLE:
            continue
    return found


def _member(request: Request, name: str) -> str:
    raw = request.fields.get(name)
    try:
        return _text.decode(raw) if raw is not None else ""
    except UNREADABLE:
        return ""
