"""Who is told of alerts: a webhook and a mail server, real ones, on this machine."""

import socket
import ssl
import threading
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Hook:
    """A webhook that refuses as often as it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.refuse = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = 200
                if hook.refuse:
                    hook.refuse -= 1
                    status = 503
                else:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    hook.got.append((self.path, headers, body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Post:
    """A mail server that takes mail by TLS from one user alone; ``implicit``: TLS at once."""

    def __init__(self, context: ssl.SSLContext, *, implicit: bool = False) -> None:
        self.got: list[Message] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.controller = Controller(
            self, "127.0.0.1", self.port, require_starttls=not implicit, auth_required=True,
            auth_require_tls=not implicit, authenticator=self._knows,
            ssl_context=context if implicit else None,
            tls_context=None if implicit else context,
        )  # fmt: skip
        self.controller.start()

    def _knows(self, *asked: object) -> AuthResult:
        given = asked[-1]
        right = isinstance(given, LoginPassword) and given == LoginPassword(b"ferry", b"pa55")
        return AuthResult(success=right, handled=False)

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Take a mail."""
        assert isinstance(envelope.content, bytes)
        self.got.append(message_from_bytes(envelope.content, policy=default))
        return "250 taken"
