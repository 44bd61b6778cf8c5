"""``ferryman api``: any question to the admin API, and what it answers."""

import sys
from pathlib import Path
from typing import Final

import msgspec

from ferryman.cli.output import print_json
from ferryman.client import ApiError, Client
from ferryman.ir.unreadable import UNREADABLE

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def run(client: Client, method: str, path: str, query: dict[str, str], body: str) -> None:
    """Print the answer; ``body`` is a file, ``-`` for standard input. Raises :class:`ApiError`."""
    if method.upper() not in METHODS:
        raise ApiError(f"{method}: choose from {', '.join(METHODS)}.")
    sent = _body(body) if body else None
    said = client.raw(method.upper(), "/" + path.removeprefix("/"), query, sent)
    try:
        print_json(msgspec.json.decode(said))
    except UNREADABLE:  # lines of an export
        sys.stdout.write(said.decode("utf-8", "replace"))


def _body(file: str) -> object:
    """JSON as it is said, anything else as the YAML of a configuration."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ApiError(f"Can't read {file}: {error.strerror}.") from None
    try:
        return msgspec.json.decode(data)
    except UNREADABLE:
        return data
