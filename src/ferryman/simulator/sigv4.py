"""Checking who calls Amazon: signatures of version 4, or bearer tokens.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-use.html
"""

import hashlib
import hmac
import re
import time
from calendar import timegm
from urllib.parse import quote

import msgspec

from ferryman.simulator.ask import RefusedError, Request

ACCESS_KEY = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
"""The pair of Amazon's own examples: the key that is taken unless another one is set."""
ALGORITHM = "AWS4-HMAC-SHA256"
SCOPE = "bedrock aws4_request"
"""How the scope of a credential ends."""
SKEW = 300
"""Seconds that the caller's clock may be wrong."""
_FIELDS = re.compile(
    ALGORITHM + r" Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]+)"
)


class Signed(msgspec.Struct, frozen=True):
    """What the ``Authorization`` header says."""

    access: str
    """The access key's id."""
    scope: list[str]
    """Date, region, service and terminator."""
    names: list[str]
    """Headers under the signature."""
    signature: str


def check(request: Request, key: str) -> None:
    """Refuse calls that are neither signed rightly nor carry a bearer token.

    Raises :class:`RefusedError`. As everywhere, any token will do when ``key`` is empty; a
    signature must be right in any case.
    """
    given = request.headers.get("authorization", "")
    if not given:
        raise _refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    if not given.startswith(ALGORITHM):
        if key and not hmac.compare_digest(
            given.encode("utf-8", "replace"), f"Bearer {key}".encode()
        ):
            raise _refused("AccessDeniedException", "Authentication failed: API Key is invalid.")
        return
    signed = _read(given)
    date = request.headers.get("x-amz-date", "")
    _scoped(request, signed, date)
    wanted, explained = _signature(request, signed, date)
    if not hmac.compare_digest(wanted, signed.signature):
        raise _refused(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method. Consult the service documentation for "
            f"details.\n\n{explained}",
        )


def _refused(kind: str, message: str) -> RefusedError:
    return RefusedError(message, status=403, code=kind)


def _read(given: str) -> Signed:
    match = _FIELDS.fullmatch(given)
    parts = match[1].split("/") if match else []
    if match is None or len(parts) != 5:
        raise _refused(
            "IncompleteSignatureException",
            "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' "
            f"parameters. Authorization={given.partition(' ')[0]}",
        )
    return Signed(parts[0], parts[1:], match[2].split(";"), match[3])


def _scoped(request: Request, signed: Signed, date: str) -> None:
    """Refuse a signature that is not meant for this request."""
    if signed.access != request.aws[0]:
        raise _refused(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    if not re.fullmatch(r"\d{8}T\d{6}Z", date) or date[:8] != signed.scope[0]:
        raise _refused(
            "InvalidSignatureException",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{signed.scope[0]}' != '{date[:8]}'.",
        )
    then = timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    if abs(time.time() - then) > SKEW:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        raise _refused(
            "InvalidSignatureException", f"Signature expired: {date} is too far from {now}"
        )
    if " ".join(signed.scope[2:]) != SCOPE:
        raise _refused(
            "InvalidSignatureException",
            "Credential should be scoped to correct service: 'bedrock'.",
        )
    must = {"host", *(name for name in request.headers if name.startswith("x-amz-"))}
    if missing := must - set(signed.names):
        raise _refused(
            "InvalidSignatureException",
            f"'{min(missing)}' must be a 'SignedHeader' in the AWS Authorization.",
        )


def _signature(request: Request, signed: Signed, date: str) -> tuple[str, str]:
    """The right signature, and how it comes about."""
    digest = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join(
        [
            request.method,
            quote(request.path, safe="/~"),
            "&".join(
                f"{quote(name, safe='~')}={quote(value, safe='~')}"
                for name, value in sorted(request.query.items())
            ),
            *(f"{name}:{_plain(request.headers.get(name, ''))}" for name in signed.names),
            "",
            ";".join(signed.names),
            digest,
        ]
    )
    scope = "/".join(signed.scope)
    to_sign = "\n".join([ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + request.aws[1]).encode()
    for part in signed.scope:
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    explained = (
        f"The Canonical String for this request should have been\n'{canonical}'\n\n"
        f"The String-to-Sign should have been\n'{to_sign}'\n"
    )
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest(), explained


def _plain(value: str) -> str:
    return " ".join(value.split())
