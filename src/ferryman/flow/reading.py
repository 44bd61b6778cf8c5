"""What a call asks for, as its body says."""

from ferryman.flow.call import Call
from ferryman.flow.headers import HeaderFacts
from ferryman.flow.uploads import UPLOADS, receive
from ferryman.flow.witness import Witness
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.wire import envelope


def is_plain(call: Call, facts: HeaderFacts, model: str) -> bool:
    """Whether a call's body is all that says what it asks for, as of most: read without a wait."""
    return not (
        model
        or facts.compressed
        or call.exchange.incoming is not None
        or call.plane.contents is not None
        or call.endpoint == "responses"
        or call.endpoint in UPLOADS
    )


async def read_request(
    call: Call, facts: HeaderFacts, model: str, stream: bool
) -> envelope.Request:
    """What the call asks for, read from its body. Raises :class:`GatewayError`."""
    contents = call.plane.contents
    if contents is not None:
        call.exchange = call.witness = Witness(call.exchange, contents)
    exchange, endpoint = call.exchange, call.endpoint
    if facts.compressed:
        raise GatewayError(415, ErrorKind.UNSUPPORTED_MEDIA, "Send the body without compression.")
    if endpoint in UPLOADS:
        return await receive(call, measured=bool(facts.once))
    if exchange.incoming is not None:
        raise GatewayError(415, ErrorKind.UNSUPPORTED_MEDIA, "Send JSON here, not a form.")
    if model:
        return envelope.decode_named(exchange.body, model, stream)
    request = envelope.decode(endpoint, exchange.body)
    keeper = call.plane.keeper
    if keeper is not None and endpoint == "responses":
        return await keeper.resume(call, request)
    return request
