"""Counts of tokens that callers ask for: the provider's own where it offers them, else ours."""

from typing import Final

from ferryman.flow.call import Call
from ferryman.flow.measure import measure
from ferryman.http1.exchange import Headers
from ferryman.upstream.fleet import Target
from ferryman.wire.anthropic_messages import request as messages
from ferryman.wire.envelope import Request
from ferryman.wire.gemini_generate import counting as generate

COUNTS: Final = frozenset(("count_tokens", "count_content"))
"""Endpoints that count, and cost nothing."""


def counted_here(call: Call, target: Target) -> bool:
    """True when a call asks for a count that the target's provider does not offer."""
    return call.endpoint in COUNTS and not target.runtime.offers(call.endpoint)


async def count(call: Call, request: Request, target: Target) -> None:
    """Answer with a count of our own. Raises :class:`GatewayError` (400)."""
    if call.endpoint == "count_tokens":
        tokens, exact = await measure(messages.decode_count(request.body), target)
        body = messages.encode_count(tokens)
    else:
        tokens, exact = await measure(generate.decode_count(request.body, request.model), target)
        body = generate.encode_count(tokens)
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"x-ferryman-request-id", call.id.encode()),
        (b"x-ferryman-altered", b"count=exact" if exact else b"count=estimated"),
    ]
    if call.policy:
        headers.append((b"x-ferryman-policy", call.policy.encode()))
    call.exchange.respond(200, headers, body)
