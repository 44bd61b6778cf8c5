"""What a call's headers say: who asks, and what is wanted beside the request."""

import time
from typing import Final
from urllib.parse import unquote_to_bytes

from ferryman.catalog.cache_headers import CACHE_HEADERS
from ferryman.flow.call import Plane
from ferryman.flow.tracing import traced
from ferryman.http1.exchange import Exchange, Headers
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.caller import Caller
from ferryman.meter.keys import digest

_TRACING = (b"traceparent", b"tracestate", b"baggage")
"""What an upstream gets to see of these, ``flow/tracing.py`` says. Beside them it sees an
Idempotency-Key and the next. All other request headers, credentials above all, end here."""
BETAS = (b"openai-beta", b"anthropic-beta")
"""Those that mean something to providers of the caller's own format only."""
_KEYS = (b"x-api-key", b"api-key", b"x-goog-api-key")
LONGEST_CLIENT: Final = 80
"""Characters of a user agent that are kept."""
_LABELS = (
    b"x-ferryman-metadata", b"x-ferryman-tags", b"x-ferryman-run-id", b"x-ferryman-parent-id",
)  # fmt: skip
_NO = (b"", b"0", b"false", b"no", b"off")


class HeaderFacts:
    """What a call's headers say, worked out once for as long as a connection repeats them."""

    __slots__ = (
        "baggage", "bearer", "cache", "client", "compressed", "digest", "explain", "forwarded",
        "labelled", "metadata", "mistake", "once", "parent", "providers", "retried", "run",
        "session", "steers", "strict", "summary", "tags", "timeout", "too_long", "trace",
        "translated",
    )  # fmt: skip

    def __init__(self, headers: Headers, target: bytes, pepper: bytes) -> None:
        token = b""
        self.forwarded = b""
        self.translated = b""
        """What is forwarded to providers of another format."""
        self.strict = False
        self.too_long = ""
        self.compressed = False
        self.summary = False
        self.metadata = self.tags = self.timeout = b""
        self.mistake = ""
        """What is wrong with another of ours."""
        self.steers = False
        """Whether there is one of the four."""
        self.providers = b""
        self.labelled = False
        """Whether one says for whom or what the call is."""
        self.run = self.parent = b""
        self.client = ""
        """Its user agent, shortened."""
        self.explain = False
        self.retried = False
        self.session = b""
        self.cache: Headers = []
        """Those about the cache of answers."""
        self.once = b""
        """The Idempotency-Key."""
        for name, value in headers:
            if name == b"authorization":
                token = value[7:].strip() if value[:7].lower() == b"bearer " else b""
            elif name in _KEYS and not token:
                token = value.strip()
            elif name == b"content-encoding":
                self.compressed = value.lower() != b"identity"
            elif name == b"x-ferryman-summary":
                self.summary = value.lower() not in _NO
            elif name == b"x-ferryman-explain":
                self.explain = value.lower() not in _NO
            elif name == b"x-stainless-retry-count":  # of the official SDKs
                self.retried = value.strip() not in (b"", b"0")
            elif name == b"x-ferryman-on-unsupported":
                self.strict = self._choice(name, value, ("drop", "reject")) == "reject"
            elif name == b"x-ferryman-too-long":
                self.too_long = self._choice(name, value, ("next", "error", "compress"))
            elif name in _LABELS:
                self._label(name, value)
            elif name == b"user-agent":
                self.client = _shortened(value)
            elif name == b"x-ferryman-session":
                self.session = value.strip()
            elif name == b"x-ferryman-timeout":
                self.timeout = value.strip() or b"0"
                self.steers = True
            elif name == b"x-ferryman-providers":
                self.providers += b"," + value if self.providers else value or b","
            elif name == b"idempotency-key":
                self.forwarded += b"%b: %b\r\n" % (name, value)
                self.translated += b"%b: %b\r\n" % (name, value)
                self.once = value.strip()
            elif name in CACHE_HEADERS:
                self.cache.append((name, value))
            elif name in BETAS:
                self.forwarded += b"%b: %b\r\n" % (name, value)
        if not token and b"key=" in target:
            token = _key_in_query(target)
        self.trace, self.baggage = traced([pair for pair in headers if pair[0] in _TRACING])
        self.digest = digest(pepper, token)
        self.bearer = token if token[:3] == b"eyJ" and token.count(b".") == 2 else b""
        """What may be a token of an issuer (JWT) in place of a virtual key."""
        self.steers = self.steers or bool(self.bearer)

    def _label(self, name: bytes, value: bytes) -> None:
        self.labelled = True
        if name == b"x-ferryman-run-id":
            self.run = value.strip()
        elif name == b"x-ferryman-parent-id":
            self.parent = value.strip()
        elif name == b"x-ferryman-tags":
            self.tags += b"," + value
            self.steers = True
        else:
            self.metadata = b"%b,%b" % (self.metadata, value) if self.metadata else value
            self.steers = True

    def _choice(self, name: bytes, value: bytes, choices: tuple[str, ...]) -> str:
        """One of the choices; anything else is a mistake that the call is refused for."""
        word = value.decode("latin-1").strip().lower()
        if word and word not in choices:
            self.mistake = f"'{name.decode()}' must be {', '.join(choices[:-1])} or {choices[-1]}."
            self.steers = True
            return ""
        return word


def _shortened(agent: bytes) -> str:
    text = agent[:LONGEST_CLIENT].decode("latin-1").strip()
    return "".join([letter if letter.isprintable() else "?" for letter in text])


def agent_of(exchange: Exchange) -> str:
    """The caller's user agent, shortened."""
    return _shortened(exchange.header(b"user-agent") or b"")


def _key_in_query(target: bytes) -> bytes:
    """The key of callers who send it as ``?key=``."""
    for pair in target.partition(b"?")[2].split(b"&"):
        if pair.startswith(b"key="):
            return unquote_to_bytes(pair[4:])
    return b""


def facts_of(plane: Plane, exchange: Exchange) -> HeaderFacts:
    """The facts of this exchange's headers."""
    facts = exchange.shared.get("facts")
    if not isinstance(facts, HeaderFacts):
        facts = exchange.shared["facts"] = HeaderFacts(
            exchange.headers, exchange.target, plane.pepper
        )
    return facts


def _vouched(plane: Plane, facts: HeaderFacts) -> tuple[str, str]:
    """The id of a caller whose token an issuer vouches for; else why it is not let in."""
    if not facts.bearer or plane.issuers is None:
        return "", "key unknown"
    found = plane.issuers.admit(facts.bearer, facts.digest, time.time())
    return (found.id, "") if isinstance(found, Caller) else ("", f"token {found.why}")


def identify(plane: Plane, facts: HeaderFacts) -> str:
    """The id of the caller's virtual key, or of one with a token of an issuer.

    Raises :class:`GatewayError`: 401, or 503 at start-up.
    """
    keys = plane.keys
    if keys is None or not plane.fleet.configured:
        raise GatewayError(
            503,
            ErrorKind.NOT_READY,
            "The gateway has no keys or no configuration yet: its control plane has not answered "
            "since it started. Retry in a moment.",
            headers=((b"retry-after", b"1"),),
        )
    row = keys.get(facts.digest)
    if row is None or row.revoked or (row.expires and row.expires <= time.time()):
        caller, why = _vouched(plane, facts) if row is None else ("", "")
        if caller:
            return caller
        raise GatewayError(
            401,
            ErrorKind.INVALID_KEY,
            "No valid virtual key. Send one as 'Authorization: Bearer fm-…'; "
            "'ferryman keys create NAME' makes one.",
            headers=((b"www-authenticate", b"Bearer"),),
            reason=why or f"key {'revoked' if row is not None and row.revoked else 'expired'}",
            key="" if row is None else row.id,
        )
    return row.id
