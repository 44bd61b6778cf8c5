"""Lists of models and counts of tokens as callers of the Messages format get them.

https://platform.claude.com/docs/en/api/models and
https://platform.claude.com/docs/en/api/messages-count-tokens.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

_encode = msgspec.json.Encoder().encode
MOST = 1000
"""Models on one page at most."""


class Model(NamedTuple):
    """One model, as far as its list tells."""

    id: str
    title: str = ""
    """Empty = its id."""
    created: int = 0
    """Unix seconds; 0 = unknown, as the format has it."""
    context: int = 0
    """Window in tokens; 0 = unknown."""
    max_output: int = 0


def encode_count(tokens: int) -> bytes:
    """The reply of ``/v1/messages/count_tokens``."""
    return b'{"input_tokens":%d}' % tokens


def model_page(
    models: Sequence[Model], *, limit: int = 20, after: str = "", before: str = ""
) -> bytes:
    """The reply of ``GET /v1/models``: at most ``limit`` models after or before one of that id.

    An id that is not listed begins at the front, or ends at the back.
    """
    ids = [model.id for model in models]
    first, last = 0, len(ids)
    limit = max(1, min(limit, MOST))
    if before and before in ids:
        last = ids.index(before)
        first = max(0, last - limit)
        more = first > 0
    else:
        if after and after in ids:
            first = ids.index(after) + 1
        last = min(first + limit, last)
        more = last < len(ids)
    page = models[first:last]
    return _encode(
        {
            "data": [_members(model) for model in page],
            "has_more": more,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
    )


def one_model(model: Model) -> bytes:
    """The reply of ``GET /v1/models/{id}``."""
    return _encode(_members(model))


def _members(model: Model) -> dict[str, Any]:
    created = datetime.fromtimestamp(model.created, UTC)
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.title or model.id,
        "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_input_tokens": model.context or None,
        "max_tokens": model.max_output or None,
    }
