"""How the commands reach the control plane and the gateway: where they are, and the secrets."""

import os
from pathlib import Path
from typing import Any

import msgspec

from ferryman.client import ApiError, Client
from ferryman.client.link import exchange
from ferryman.config.options import Options, variable
from ferryman.config.version import CLI


def control_plane(options: Options) -> Client:
    """The control plane, with the data directory's admin token. Raises :class:`ApiError`."""
    return Client(_url(options), secret(options.data_dir, "admin-token"), name=CLI)


def ask_gateway(options: Options, url: str, method: str, path: str, kind: Any, body: object) -> Any:
    """What the gateway at ``url`` itself answers, as ``kind``. Raises :class:`ApiError`."""
    headers = {"authorization": f"Bearer {secret(options.data_dir, 'feed-token')}"}
    try:
        status, said = exchange(url.rstrip("/"), method, path, body, headers)
    except OSError as error:
        text = f"No gateway answers at {url} ({error}). Start one with `ferryman up`."
        raise ApiError(text) from None
    try:
        if status == 200:
            return msgspec.json.decode(said, type=kind)
        raise ApiError(str(msgspec.json.decode(said, type=dict)["error"]["message"]), status)
    except (msgspec.MsgspecError, LookupError, TypeError):
        text = f"{url} answers ({status}), but not as a Ferryman gateway does."
        raise ApiError(text, status) from None


def secret(data_dir: Path, name: str) -> str:
    """The secret ``name`` of an installation. Raises :class:`ApiError` where there is none."""
    given = os.environ.get(variable(name.replace("-", "_")))
    if given:
        return given
    path = data_dir / "secrets" / name
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise ApiError(
            f"There is no {name} in {path.parent}: Ferryman has not run with this data "
            "directory yet. Start it with `ferryman up`, or set --data-dir (or FERRYMAN_DATA_DIR) "
            "to the one it runs with."
        ) from None
    except OSError as error:
        raise ApiError(f"Can't read the {name} {path}: {error.strerror}.") from None


def _url(options: Options) -> str:
    """What the user says; else where the control plane last said it listens; else the default."""
    said = any(os.environ.get(variable(n)) for n in ("control_url", "admin_host", "admin_port"))
    if not said:
        try:
            return options.paths.admin_url.read_text().strip() or options.feed_url
        except OSError:
            pass
    return options.feed_url.rstrip("/")
