"""What stands around the control plane's port: names it answers to, headers, wrong tokens."""

import contextlib
import ipaddress
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

from ferryman.control import problem
from ferryman.meter.strikes import Strikes
from ferryman.wire.addresses import is_private

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LOOPBACK_NAMES: Final = frozenset(("localhost", "127.0.0.1", "[::1]"))
MOST_WRONG: Final = 100
"""Wrong tokens a minute from one place that are told so; all others are told to wait."""
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Of every reply that has none of that name: no page of another origin may use it, and what is no
page can't act as one."""


class Fence:
    """Who may knock at all."""

    def __init__(self, admin_host: str, names: str) -> None:
        """``names``: further names that the control plane has, with commas between."""
        self._loopback = allowed_hosts(admin_host)
        self._names = frozenset(name.strip().lower() for name in names.split(",") if name.strip())
        self._strikes: defaultdict[str, Strikes] = defaultdict(lambda: Strikes(MOST_WRONG))
        self._lost = Strikes(MOST_WRONG)

    def check_host(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Refuse names that a web page could have pointed here (DNS rebinding).

        Raises :class:`ProblemError` (403).
        """
        given = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
        name = _without_port(given[0]) if len(given) == 1 else ""
        if name in self._names:
            return
        if self._loopback is not None:
            if name not in self._loopback:
                raise problem.ProblemError(
                    403,
                    "host_not_allowed",
                    "This address is served for localhost, 127.0.0.1 and [::1] only. To reach it "
                    "by another name, start the control plane with --admin-names set to that.",
                )
        elif not _nobodys(name):
            raise problem.ProblemError(
                403,
                "host_not_allowed",
                "This address is served for addresses and for names of a private network only. To "
                "reach it by another name, start the control plane with --admin-names set to that.",
            )

    def check_place(self, client: tuple[str, int] | None, name: str) -> None:
        """Refuse a place that has sent too many wrong tokens of that name.

        Raises :class:`ProblemError` (429).
        """
        now = time.monotonic()
        strikes = self._strikes[name]
        if strikes.out(_place(client), now):
            raise problem.ProblemError(
                429,
                "too_many_wrong_tokens",
                f"{MOST_WRONG} wrong tokens came from this address within a minute. Wait "
                f"{strikes.rest(now)} seconds.",
            )

    def check_lost(self, name: str) -> None:
        """Refuse a tenant's caller who has asked for too much that is not there, or is another's.

        Raises :class:`ProblemError` (429).
        """
        now = time.monotonic()
        if self._lost.out(name, now):
            detail = f"{MOST_WRONG} times within a minute you asked for what is not there. Wait "
            raise problem.ProblemError(
                429, "too_many_unknown", f"{detail}{self._lost.rest(now)} seconds."
            )

    def note_lost(self, name: str) -> None:
        """That caller has asked for what is not there."""
        self._lost.note(name, time.monotonic())

    @contextlib.contextmanager
    def minding(self, scope: Scope, name: str) -> Iterator[None]:
        """Where a token of that name is checked: those that are wrong (401) are noted.

        A right one is listened to whatever came before it, so that no neighbour can keep it out.
        Raises :class:`ProblemError` (429) as ``check_place`` does.
        """
        try:
            yield
        except problem.ProblemError as error:
            if error.status == 401 and any(
                each == b"authorization" for each, _ in scope["headers"]
            ):
                client = scope.get("client")
                self.check_place(client, name)
                self._strikes[name].note(_place(client), time.monotonic())
            raise


def guarded(send: Send) -> Send:
    """``send``, whose replies have :data:`HEADERS`."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", ())}
            more = [pair for pair in HEADERS if pair[0] not in there]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


def allowed_hosts(admin_host: str) -> frozenset[str] | None:
    """``Host`` names to serve when listening on ``admin_host``; None = it is not loopback."""
    name = admin_host.lower()
    try:
        loopback = ipaddress.ip_address(name).is_loopback
        name = f"[{name}]" if ":" in name else name
    except ValueError:
        loopback = name == "localhost" or name.endswith(".localhost")
    return LOOPBACK_NAMES | {name} if loopback else None


def _nobodys(name: str) -> bool:
    """Whether a name is an address, or one that nobody else can have pointed here."""
    if not name:
        return False
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return is_private(name)
    return True


def _place(client: tuple[str, int] | None) -> str:
    return client[0] if client else ""


def _without_port(host: str) -> str:
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdigit() and not (head.count(":") and head[-1] != "]") else host
