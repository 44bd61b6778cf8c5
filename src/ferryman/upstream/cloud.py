"""Credentials of clouds: found by the cloud's own library, off the event loop, and renewed ahead.

A request needs header lines that say who asks: a signature over it (AWS), or an access token
(Google). Making them is quick and happens here; finding what they are made of can take seconds and
happens in a thread, once for all who wait.
"""

import asyncio
import contextlib
import functools
import os
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC
from typing import Any, Generic, Protocol, TypeVar

from ferryman.catalog.clouds import AWS_REGION, AWS_SERVICE, EXTRAS, GOOGLE_SCOPE, aws_region
from ferryman.wire.sigv4 import Credentials, sign

T = TypeVar("T")

AHEAD = 600.0
"""Seconds before their end from which credentials are renewed, while the old ones still serve."""
MARGIN = 30.0
"""Seconds before their end from which credentials are of no use any more: clocks differ."""
PAUSE = 5.0
"""Seconds from one look to the next, so that no crowd of calls makes a crowd of looks."""
PATIENCE = 20.0
"""Seconds that a call waits for credentials."""
AWS_FRESH = 60.0
"""Seconds after which AWS's library is asked again: it keeps what it has found, and renews that
10 to 15 minutes ahead of its end."""
AWS_USABLE = 600.0
"""Seconds for which its answer serves when it can't be asked again."""

_unprintable = re.compile(r"[^\x20-\x7e]+")
_TELLING = frozenset((
    "ConfigParseError", "DefaultCredentialsError", "NoCredentialsError", "PartialCredentialsError",
    "ProfileNotFound", "RefreshError", "SSOTokenLoadError", "TokenRetrievalError", "TransportError",
    "UnauthorizedSSOTokenError",
))  # fmt: skip
"""Errors of the libraries whose words are about what to do, and hold no secret."""


class Signer(Protocol):
    """Vouches for requests to one provider, where no key does."""

    async def ready(self, now: float) -> str:
        """Wait until :meth:`lines` can be called: empty then, or why it can't."""

    def lines(self, method: str, target: str, host: str, body: bytes, now: float) -> bytes:
        """Header lines to add, each with its line break.

        ``target`` is path and query as in the request line, ``host`` the Host header as sent,
        ``now`` in Unix seconds.
        """


class Grant(Generic[T]):
    """Credentials, and how long they are good for. Never shows them."""

    __slots__ = ("renew", "until", "value")

    def __init__(self, value: T, renew: float, until: float) -> None:
        """``renew``, ``until``: Unix seconds from which to look for newer ones, and their end."""
        self.value = value
        self.renew = renew
        self.until = until

    def __repr__(self) -> str:
        return "Grant([redacted])"


class Chain(Generic[T]):
    """Where credentials of one kind come from: asked in a thread, by one at a time."""

    def __init__(self, find: Callable[[float], Grant[T]], name: str) -> None:
        """``find`` is given the time (Unix seconds); what it raises is why there are none."""
        self._find = find
        self._name = name
        self._grant: Grant[T] | None = None
        self._looking = False
        self._looked = float("-inf")
        self._why = ""
        self._news: asyncio.Future[None] | None = None

    def value(self) -> T:
        """The credentials, after :meth:`ready` has returned nothing."""
        assert self._grant is not None, "lines() comes after ready()"
        return self._grant.value

    async def ready(self, now: float) -> str:
        """Wait until there are credentials that are good for a while: empty, or why not."""
        grant = self._grant
        if grant is not None and now < grant.renew:
            return ""
        usable = grant is not None and now < grant.until - MARGIN
        if not self._looking and now - self._looked >= PAUSE:
            self._look(now)
        if usable:
            return ""
        if self._news is not None and not self._news.done():
            await asyncio.shield(self._news)
        grant = self._grant
        if grant is not None and now < grant.until - MARGIN:
            return ""
        return self._why or "they are still being looked for"

    def _look(self, now: float) -> None:
        loop = asyncio.get_running_loop()
        self._looking = True
        self._looked = now
        self._why = ""
        news = self._news = loop.create_future()
        patience = loop.call_later(PATIENCE, _tell, news)

        def take(found: Grant[T] | str) -> None:
            self._looking = False
            patience.cancel()
            if isinstance(found, str):
                self._why = found
            else:
                self._grant = found
            _tell(news)

        def work() -> None:
            found = self._found(now)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(take, found)

        # Not in the loop's own pool: the end of the process would wait for a server that hangs.
        threading.Thread(target=work, name=f"credentials-{self._name}", daemon=True).start()

    def _found(self, now: float) -> Grant[T] | str:
        """In a thread."""
        try:
            return self._find(now)
        except ImportError as error:
            extra = EXTRAS.get(self._name, self._name)
            return f"{error.name} is not installed; pip install 'ferryman[{extra}]'"
        except Exception as error:
            return reason(error)


def _tell(news: "asyncio.Future[None]") -> None:
    if not news.done():
        news.set_result(None)


def reason(error: Exception) -> str:
    """What to tell of a library's error: its kind, and its words where they can't hold a secret."""
    kind = type(error).__name__
    if kind not in _TELLING or not error.args:
        return kind
    return f"{kind}: {_unprintable.sub(' ', str(error.args[0]))[:200]}"


# -- AWS ------------------------------------------------------------------------------------------


class AwsSigner:
    """Signs requests for one region (Signature Version 4)."""

    def __init__(self, region: str, chain: Chain[Credentials]) -> None:
        self._region = region
        self._chain = chain

    async def ready(self, now: float) -> str:
        """See :class:`Signer`."""
        return await self._chain.ready(now)

    def lines(self, method: str, target: str, host: str, body: bytes, now: float) -> bytes:
        """See :class:`Signer`."""
        path, _, query = target.partition("?")
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        added = sign(
            method, host, path, query, (), body, self._chain.value(), self._region, AWS_SERVICE,
            stamp,
        )  # fmt: skip
        return "".join([f"{name}: {value}\r\n" for name, value in added]).encode("latin-1")


class _AwsFinder:
    """AWS's own chain: environment, profiles, single sign-on, container and instance metadata."""

    def __init__(self) -> None:
        self._credentials: Any = None

    def __call__(self, now: float) -> Grant[Credentials]:
        if self._credentials is None:
            from botocore.exceptions import NoCredentialsError
            from botocore.session import Session

            self._credentials = Session().get_credentials()
            if self._credentials is None:
                raise NoCredentialsError
        frozen = self._credentials.get_frozen_credentials()
        # Only kinds that end have it; the library has no public name for it.
        end = getattr(self._credentials, "_expiry_time", None)
        until = now + AWS_USABLE
        if end is not None:
            until = min(until, end.timestamp())
        found = Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")
        return Grant(found, min(now + AWS_FRESH, until - MARGIN), until)


# -- Google ---------------------------------------------------------------------------------------


class GoogleSigner:
    """Sends an access token."""

    def __init__(self, chain: Chain[bytes]) -> None:
        self._chain = chain

    async def ready(self, now: float) -> str:
        """See :class:`Signer`."""
        return await self._chain.ready(now)

    def lines(self, method: str, target: str, host: str, body: bytes, now: float) -> bytes:
        """See :class:`Signer`."""
        return self._chain.value()


class _GoogleFinder:
    """Application default credentials."""

    def __init__(self) -> None:
        self._credentials: Any = None

    def __call__(self, now: float) -> Grant[bytes]:
        import google.auth
        from google.auth.transport.requests import Request

        if self._credentials is None:
            self._credentials, _ = google.auth.default(scopes=[GOOGLE_SCOPE])
        self._credentials.refresh(functools.partial(Request(), timeout=PATIENCE))
        lines = [f"authorization: Bearer {self._credentials.token}"]
        project = getattr(self._credentials, "quota_project_id", None)
        if project:
            lines.append(f"x-goog-user-project: {project}")
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise ValueError("a token with characters that no header can hold")
        end = self._credentials.expiry  # in UTC, without saying so
        until = now + AHEAD if end is None else end.replace(tzinfo=UTC).timestamp()
        block = "".join([f"{line}\r\n" for line in lines]).encode()
        return Grant(block, max(until - AHEAD, now + PAUSE), until)


# -- both -----------------------------------------------------------------------------------------

_chains: dict[str, Chain[Any]] = {}
"""By kind of ``auth``: one for all providers, and kept when the configuration changes."""


def _chain(auth: str, finder: Callable[[], Callable[[float], Grant[T]]]) -> Chain[T]:
    if auth not in _chains:
        _chains[auth] = Chain(finder(), auth)
    return _chains[auth]


def forget() -> None:
    """Look for all credentials anew, from the next configuration on."""
    _chains.clear()


def signer_of(auth: str, region: str, host: str) -> Signer | None:
    """Who signs requests to ``host`` for a provider with this ``auth``; None where a key does.

    Raises :class:`ValueError` when it can't be said for which region of AWS.
    """
    if auth == "google":
        return GoogleSigner(_chain(auth, _GoogleFinder))
    if auth != "sigv4":
        return None
    region = aws_region(host) or region or os.environ.get("AWS_REGION", "")
    if not AWS_REGION.fullmatch(region):
        raise ValueError("requests are signed for a region: give one as region, or in AWS_REGION")
    return AwsSigner(region, _chain(auth, _AwsFinder))
