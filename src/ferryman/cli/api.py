"""The commands' client of the admin API: loopback or wherever the control plane is, no proxies."""

import http.client
import json
import os
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from ferryman.config.options import Options, variable

TIMEOUT: Final = 60.0
"""Seconds for one answer."""


class ApiError(Exception):
    """The control plane wasn't reached or said no; the message is for the user."""

    def __init__(self, message: str, status: int = 0, **more: Any) -> None:
        """``more``: further members of the answer."""
        super().__init__(message)
        self.status = status
        self.more = more


class Api:
    """Calls the admin API with the data directory's admin token."""

    def __init__(self, options: Options) -> None:
        self._token = _token(options.data_dir)
        self.url = _url(options)

    def call(
        self,
        method: str,
        path: str,
        query: dict[str, object] | None = None,
        body: object = None,
        **headers: str,
    ) -> Any:
        """The decoded JSON answer; None when it is empty.

        ``query`` items that are None or empty are left out; a ``body`` of bytes is YAML. Raises
        :class:`ApiError`.
        """
        given = {k: v for k, v in (query or {}).items() if v is not None and v != ""}
        target = path + ("?" + urlencode(given) if given else "")
        status, answer = self._exchange(method, target, body, headers)
        if status == 401:
            raise ApiError(
                f"The control plane at {self.url} refused the admin token. It belongs to another "
                "data directory: set --data-dir to the one it runs with, or FERRYMAN_ADMIN_TOKEN.",
                status,
            )
        try:
            decoded = json.loads(answer) if answer else None
        except ValueError:
            raise self._stranger(status) from None
        if status < 400:
            return decoded
        if isinstance(decoded, dict) and "detail" in decoded:
            more = {name: value for name, value in decoded.items() if name != "status"}
            raise ApiError(str(decoded["detail"]), status, **more)
        raise self._stranger(status)

    def _stranger(self, status: int) -> ApiError:
        return ApiError(
            f"{self.url} answers ({status}), but not as a Ferryman control plane does. Is it the "
            "gateway? The control plane has a port of its own, by default 8081.",
            status,
        )

    def _exchange(
        self, method: str, target: str, body: object, more: dict[str, str]
    ) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        host = parts.hostname or "127.0.0.1"
        link: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            link = http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT, context=context)
        else:
            link = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)
        headers = {"authorization": f"Bearer {self._token}", "accept": "application/json"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        data = body if isinstance(body, bytes) else None
        if data is not None:
            headers["content-type"] = "application/yaml"
        elif body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
            headers["content-type"] = "application/json"
        try:
            link.request(method, parts.path.rstrip("/") + target, data, headers)
            reply = link.getresponse()
            return reply.status, reply.read()
        except TimeoutError:
            raise ApiError(f"The control plane at {self.url} took over {TIMEOUT:g} s.") from None
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(
                f"Can't reach the control plane at {self.url} ({error}). Start it with "
                "`ferryman up`; if it runs elsewhere, say where with --control-url or --admin-port."
            ) from None
        finally:
            link.close()


def _token(data_dir: Path) -> str:
    given = os.environ.get(variable("admin_token"))
    if given:
        return given
    path = data_dir / "secrets" / "admin-token"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise ApiError(
            f"There is no admin token in {path.parent}: Ferryman has not run with this data "
            "directory yet. Start it with `ferryman up`, or set --data-dir (or FERRYMAN_DATA_DIR) "
            "to the one it runs with."
        ) from None
    except OSError as error:
        raise ApiError(f"Can't read the admin token {path}: {error.strerror}.") from None


def _url(options: Options) -> str:
    """What the user says; else where the control plane last said it listens; else the default."""
    said = any(os.environ.get(variable(n)) for n in ("control_url", "admin_host", "admin_port"))
    if not said:
        try:
            return options.paths.admin_url.read_text().strip() or options.feed_url
        except OSError:
            pass
    return options.feed_url.rstrip("/")
