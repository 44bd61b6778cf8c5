"""Errors of the Converse format.

https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html: an error's body is
``{"message": …}``, its name stands in the header ``x-amzn-errortype``. In a stream an exception is
a message of its own kind.
"""

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


def kind_of_exception(name: str, message: str = "") -> ErrorKind:
    """What an exception means. ``name`` may be a header's value, with namespace and address.

    A ``ValidationException`` may mean that the input is too long, or that there is no such model:
    only ``message`` tells.
    """
    name = name.partition(":")[0].rpartition("#")[2].strip().lower()
    if name != "validationexception":
        return _KINDS.get(name, ErrorKind.UPSTREAM_ERROR)
    return kind_of(400, _encode({"message": message[:400]}))
