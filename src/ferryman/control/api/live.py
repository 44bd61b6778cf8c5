"""What the running gateway knows, in the admin API: the cache, what becomes of a call."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct, structs

from ferryman.cache.key import choice
from ferryman.client.documents import CacheState, Cleared, Explain
from ferryman.control.admin import Admin
from ferryman.control.api.gateway import ask
from ferryman.control.api.route import Route
from ferryman.store import clears

_EXAMPLE: Final[dict[str, Any]] = {
    "request": {"model": "fast", "messages": [{"role": "user", "content": "Hello"}]}
}
MAX_REQUEST: Final = 1_000_000
"""Bytes of a request that is to be explained."""


class ClearQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which answers; without any of these, all."""

    key: Annotated[str, Meta(description="Of this virtual key (id or name).")] = ""
    model: Annotated[str, Meta(max_length=1000, description="As callers ask for it.")] = ""
    namespace: Annotated[str, Meta(max_length=1000, description="Of callers.")] = ""


def explain(admin: Admin, body: Explain) -> dict[str, Any]:
    """What would become of a call, without making it: policies, targets in order, who rests."""
    found: dict[str, Any] = ask(
        admin.options, "POST", "/internal/explain", dict, structs.asdict(body)
    )
    return found


def cache(admin: Admin) -> CacheState:
    """What the gateway keeps of answers, what came of it, and what it saved."""
    return ask(admin.options, "GET", "/internal/cache", CacheState)


def clear_cache(admin: Admin, query: ClearQuery) -> Cleared:
    """Forget answers at every gateway, within a second.

    With several parameters, those that all are about. Answers that are kept for an Idempotency-Key
    stay.
    """
    owner = admin.key_id(query.key)
    model, namespace = query.model or None, query.namespace or None
    number = clears.order(admin.engine, choice(owner, model, namespace))
    admin.cleared()
    return Cleared(order=number, cleared={"key": owner, "model": model, "namespace": namespace})


_AWAY: Final = (502, 503)
ROUTES: Final = (
    Route("POST", "/explain", "requests.explain", explain, errors=(404, *_AWAY), most=MAX_REQUEST,
          example=_EXAMPLE),
    Route("GET", "/cache", "cache.read", cache, errors=_AWAY),
    Route("DELETE", "/cache", "cache.write", clear_cache, status=202, errors=(404, 409)),
)  # fmt: skip
