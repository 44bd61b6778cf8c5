"""Errors of the Converse format.

https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html: an error's body is
``{"message": …}``, its name stands in the header ``x-amzn-errortype``. In a stream an exception is
a message of its own kind.
"""

from collections.abc import Iterable

import msgspec

from ferryman.ir.errors import ErrorKind
from ferryman.wire.openai_chat.errors import kind_of

_encode = msgspec.json.Encoder().encode

_KINDS = {
    "throttlingexception": ErrorKind.UPSTREAM_RATE_LIMIT,
    "toomanyrequestsexception": ErrorKind.UPSTREAM_RATE_LIMIT,
    "servicequotaexceededexception": ErrorKind.UPSTREAM_RATE_LIMIT,
    "modelnotreadyexception": ErrorKind.UPSTREAM_OVERLOADED,
    "serviceunavailableexception": ErrorKind.UPSTREAM_OVERLOADED,
    "serviceunavailable": ErrorKind.UPSTREAM_OVERLOADED,
    "modeltimeoutexception": ErrorKind.UPSTREAM_TIMEOUT,
    "resourcenotfoundexception": ErrorKind.MODEL_NOT_FOUND,
    "accessdeniedexception": ErrorKind.UPSTREAM_AUTH,
    "expiredtokenexception": ErrorKind.UPSTREAM_AUTH,
    "incompletesignature": ErrorKind.UPSTREAM_AUTH,
    "incompletesignatureexception": ErrorKind.UPSTREAM_AUTH,
    "invalidclienttokenid": ErrorKind.UPSTREAM_AUTH,
    "invalidsignatureexception": ErrorKind.UPSTREAM_AUTH,
    "missingauthenticationtokenexception": ErrorKind.UPSTREAM_AUTH,
    "notauthorized": ErrorKind.UPSTREAM_AUTH,
    "optinrequired": ErrorKind.UPSTREAM_AUTH,
    "requestexpired": ErrorKind.UPSTREAM_AUTH,
    "signaturedoesnotmatch": ErrorKind.UPSTREAM_AUTH,
    "unrecognizedclientexception": ErrorKind.UPSTREAM_AUTH,
}
"""Names in lower case: replies begin them with a capital, streams don't."""


_NAME = b"x-amzn-errortype"


def kind_of_reply(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> ErrorKind:
    """What an error reply of any provider means: Amazon's name for it says more than the status.

    A model that is not ready is 429 there, and a used-up quota 400.
    """
    kind = kind_of(status, body)
    for name, value in headers:
        if name == _NAME:
            named = _KINDS.get(_plain(value.decode("latin-1")), kind)
            # Of those that are refused, the words tell better why.
            return kind if named is ErrorKind.UPSTREAM_AUTH and status in (401, 403) else named
    return kind


def _plain(name: str) -> str:
    """A header's value may have a namespace before the name, and an address after it."""
    return name.partition(":")[0].rpartition("#")[2].strip().lower()


def kind_of_exception(name: str, message: str = "") -> ErrorKind:
    """What an exception means. ``name`` may be a header's value, with namespace and address.

    A ``ValidationException`` may mean that the input is too long, or that there is no such model:
    only ``message`` tells.
    """
    name = _plain(name)
    if name != "validationexception":
        return _KINDS.get(name, ErrorKind.UPSTREAM_ERROR)
    return kind_of(400, _encode({"message": message[:400]}))
