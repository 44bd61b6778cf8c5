"""Tells channels what is noted for them: again and again until it arrives, beside all else.

Each channel is told by a thread of its own, so that a slow one delays no other.
"""

import http.client
import os
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from ferryman import __version__
from ferryman.config.secret import ALERTS, resolve
from ferryman.config.snapshot import Channel, Mail, Secret, Snapshot
from ferryman.control.alerts import words
from ferryman.control.links import PATIENCE, reached, within
from ferryman.log import log
from ferryman.store import notices
from ferryman.wire.addresses import ANY, PUBLIC
from ferryman.wire.webhooks import SIGNATURE, signature

PAUSE: Final = 1.0
"""Seconds between looks for what is to be told."""
WHOLE: Final = 30.0
"""Seconds that the receiver has for all of an answer."""
LEASE: Final = 120
"""Seconds in which no other process tries the same."""
LONGEST: Final = 3600
"""Seconds between two tries at most; they double from 1."""
GIVE_UP: Final = 3 * 86_400
"""Seconds after which it is given up."""
AT_ONCE: Final = 20
_snapshot: Final = msgspec.msgpack.Decoder(Snapshot)


class ChannelError(Exception):
    """A channel could not be told; the message says why."""


class Courier:
    """Tells the configuration's channels what is noted for them."""

    def __init__(self, engine: sa.Engine, open_key: bytes) -> None:
        self._engine = engine
        self._open_key = open_key
        self._channels: dict[str, Channel] = {}
        self._ca_files: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._failing: dict[str, str] = {}
        self._busy: dict[str, threading.Thread] = {}
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def adopt(self, snapshot: bytes) -> None:
        """Tell the channels of this snapshot (msgpack). On any thread."""
        found = _snapshot.decode(snapshot)
        self._ca_files = found.ca_files
        self._channels = {channel.name: channel for channel in found.alerts.channels}

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Those that there are."""
        return tuple(self._channels.values())

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what has not arrived is told after the next start."""
        self._stopping.set()

    def tell(self, channel: Channel, body: str) -> None:
        """Tell it now. Raises :class:`ChannelError`."""
        try:
            if channel.mail is not None:
                _mail(channel.mail, channel.private, body, self._secret, self._tls())
            else:
                self._post(channel, body)
        except ssl.SSLCertVerificationError as error:
            raise ChannelError(
                f"its certificate is not trusted ({error.verify_message}); tls.ca_files names "
                "further authorities"
            ) from None
        except (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError) as error:
            raise ChannelError(str(error) or type(error).__name__) from None

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE):
            try:
                self._look()
            except Exception as error:
                self._note("", f"{type(error).__name__}: {error}")

    def _look(self) -> None:
        """Start a thread for each channel that there is news for."""
        self._busy = {name: each for name, each in self._busy.items() if each.is_alive()}
        found = sorted(
            notices.due(self._engine, int(time.time()), AT_ONCE), key=lambda each: each.channel
        )
        for name, news in groupby(found, key=lambda each: each.channel):
            channel = self._channels.get(name)
            if channel is None:
                for notice in news:
                    notices.tried(self._engine, notice.id, None)
            elif name not in self._busy:
                job = threading.Thread(
                    target=self._round, args=(channel, list(news)), name="channel", daemon=True
                )
                self._busy[name] = job
                job.start()

    def _round(self, channel: Channel, news: Sequence[notices.Notice]) -> None:
        try:
            for notice in news:
                if self._stopping.is_set():
                    return
                if not notices.claim(self._engine, notice, int(time.time()) + LEASE):
                    continue
                if not self._tried(channel, notice):
                    return  # the others wait as well: it would be the same again
        except Exception as error:  # the database, for one; what is claimed comes again
            self._note(channel.name, f"{type(error).__name__}: {error}")

    def _tried(self, channel: Channel, notice: notices.Notice) -> bool:
        why = ""
        try:
            self.tell(channel, notice.body)
        except ChannelError as error:
            why = str(error)
        now = int(time.time())
        if not why:
            notices.tried(self._engine, notice.id, None, now)
            if self._failing.pop(channel.name, ""):
                log("control", f"the channel {channel.name} takes alerts again")
            return True
        self._note(channel.name, why)
        last = abs(now - notice.at) > GIVE_UP
        again = None if last else now + min(2 ** min(notice.tries, 12), LONGEST)
        notices.tried(self._engine, notice.id, again)
        if last:
            log("control", f"the channel {channel.name} could not be told for days: {notice.body}")
        return False

    def _note(self, channel: str, why: str) -> None:
        if why != self._failing.get(channel):
            where = f"the channel {channel}" if channel else "channels"
            log("control", f"{where} can't be told ({why}); it is tried again, later and later")
        self._failing[channel] = why

    # -- sending

    def _secret(self, secret: Secret | None) -> str:
        if secret is None:
            return ""
        found = resolve(secret, ALERTS, os.environ, self._open_key)
        if found is None:
            raise ChannelError(f"its secret {secret.kind}:{secret.value} is not there")
        return found

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        for file in self._ca_files:
            context.load_verify_locations(file)
        return context

    def _post(self, channel: Channel, body: str) -> None:
        headers = {"content-type": "application/json", "user-agent": f"ferryman/{__version__}"}
        secret = self._secret(channel.secret)
        url, sent = channel.url, body.encode()
        if channel.kind == "slack":
            url, sent = secret, words.slack(body)
        else:
            headers[SIGNATURE] = signature(secret.encode(), sent, int(time.time()))
        try:
            status = _posted(url, sent, headers, channel.private, self._tls)
        except ValueError:
            raise ChannelError("its URL is not one") from None  # it may be a secret
        if not 200 <= status < 300:
            raise ChannelError(f"it answered {status}")


def _posted(
    url: str, body: bytes, headers: dict[str, str], private: bool, tls: Callable[[], ssl.SSLContext]
) -> int:
    """The status of the answer. Redirects are not followed: the destination is what is configured.

    Raises ``OSError``, ``HTTPException``, ``ValueError``.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(url)
    secure = parts.scheme == "https"
    socket_ = reached(
        parts.hostname, parts.port or (443 if secure else 80), ANY if private else PUBLIC
    )
    link = http.client.HTTPConnection(parts.hostname, parts.port)
    with within(WHOLE, socket_):
        try:
            link.sock = (
                tls().wrap_socket(socket_, server_hostname=parts.hostname) if secure else socket_
            )
            path = parts.path or "/"
            headers = {"host": parts.netloc.rpartition("@")[2], **headers}
            link.request("POST", f"{path}?{parts.query}" if parts.query else path, body, headers)
            return link.getresponse().status
        finally:
            link.close()
            socket_.close()


def _mail(
    mail: Mail, private: bool, body: str, secret: Callable[[Secret | None], str],
    context: ssl.SSLContext,
) -> None:  # fmt: skip
    """Hand an e-mail to its server. Raises ``OSError``, ``SMTPException``, ``ChannelError``."""
    password = secret(mail.password)
    link = reached(mail.host, mail.port, ANY if private else PUBLIC)
    with within(WHOLE, link):
        try:
            if mail.implicit:
                link = context.wrap_socket(link, server_hostname=mail.host)
            server = _Server(link, mail.host)
            server.ehlo_or_helo_if_needed()
            if not mail.implicit:
                server.starttls(context=context)
            if mail.user:
                server.login(mail.user, password)
            refused = server.send_message(words.email(mail, body, int(time.time())))
            if refused:
                raise ChannelError(f"it takes nothing for {', '.join(refused)}")
            server.quit()
        finally:
            link.close()


class _Server(smtplib.SMTP):
    """A mail server behind a connection that there is already."""

    def __init__(self, link: socket.socket, host: str) -> None:
        self._link = link
        super().__init__(host, timeout=PATIENCE)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._link
