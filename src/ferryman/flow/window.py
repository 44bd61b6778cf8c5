"""Does a request fit into a model's window? Known before the call, so that nothing is cut."""

from collections.abc import Sequence
from typing import Final

from ferryman.catalog.shorten import shorten
from ferryman.catalog.tokens import Gauge, estimate, text_bytes
from ferryman.flow.measure import measure
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request
from ferryman.upstream.fleet import Target
from ferryman.wire.framing import mentions

MEASURED = 65_536
"""Bodies up to this size calibrate."""
SURE = 20
"""Calls after which a model's ratio is taken to be known."""
MARGIN, WIDE_MARGIN = 1.05, 1.25
"""How far an estimate must lie beyond the window to be believed; wide until the ratio is known."""

NEAR, FAR = 0.5, 4.0
"""Estimates of less or more windows than these are clear enough without a closer count."""


def text_size(body: bytes) -> int:
    """Bytes of a body that seems to be text only and is worth measuring; else 0."""
    size = len(body)
    if size > MEASURED:
        return 0
    return 0 if mentions(body, _NO_TEXT) else size


_NO_TEXT: Final[tuple[str, ...]] = ("base64", '"data"', '"file', "_url", "Url")


def limit(target: Target) -> float:
    """Estimated tokens of input that the target certainly can't take."""
    return target.context * (MARGIN if target.gauge.seen >= SURE else WIDE_MARGIN)


def surely_fits(body: bytes, target: Target) -> bool:
    """True when no closer look is needed: a token is at least one byte."""
    return not target.context or len(body) <= target.context


def gives(target: Target, output: int) -> bool:
    """Whether the target can give ``output`` tokens, as far as the catalogue knows."""
    return not target.max_output or output <= target.max_output


def roomiest(order: Sequence[Target], output: int) -> Sequence[Target]:
    """``order`` with those first that can give ``output`` tokens; else as it is."""
    if len(order) < 2 or not output:
        return order
    return sorted(order, key=lambda target: not gives(target, output))


def too_much(output: int, target: Target) -> GatewayError:
    """The refusal of a request that asks for more output than the target gives."""
    return GatewayError(
        400,
        ErrorKind.CONTEXT_TOO_LONG,
        f"The request asks for up to {output} tokens of output, and {target.provider}/"
        f"{target.model} gives {target.max_output} at most. Ask for less, choose another model, or "
        "let the gateway lower it: 'x-ferryman-too-long: compress'.",
    )


async def too_long(request: Request, target: Target) -> tuple[GatewayError, Gauge] | None:
    """Why the request does not fit into the target's window, and its own bytes per token.

    None when it seems to fit.
    """
    tokens, exact, most = estimate(request, target.gauge), False, limit(target)
    gauge = target.gauge
    if NEAR < tokens / target.context < FAR:
        tokens, exact = await measure(request, target)
        size, media = text_bytes(request)
        gauge = Gauge.of(size, tokens - media)
    if tokens <= (target.context if exact else most):
        return None
    about = "" if exact else "about "
    error = GatewayError(
        400,
        ErrorKind.CONTEXT_TOO_LONG,
        f"The request has {about}{tokens} tokens, and {target.provider}/{target.model} takes "
        f"{target.context}. Shorten it, choose a model with a larger window, or let the gateway "
        "leave messages out of the middle: 'x-ferryman-too-long: compress'.",
    )
    return error, gauge


def compressed(request: Request, target: Target, gauge: Gauge, receipt: Receipt) -> Request | None:
    """The request with messages left out of its middle until it fits, which the receipt says.

    None when not even both of its ends fit.
    """
    room = target.context - max(request.max_output, min(target.max_output, target.context // 4))
    found = shorten(request, gauge, max(room, 1))
    if found is None:
        return None
    shorter, left_out = found
    receipt.alter("messages", f"{left_out} left out of the middle to fit the window")
    return shorter
