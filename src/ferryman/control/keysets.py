"""Public keys of issuers: fetched by the control plane, handed to data planes over the feed.

They are fetched on a schedule, and when a data plane has met a token with a key that it doesn't
know. Where that fails, those that were known hold, also after a restart.
"""

import http.client
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ferryman.config.files import is_file
from ferryman.config.identity_row import DISCOVERY, Issuer, KeySets, PublicKey
from ferryman.config.snapshot import Snapshot
from ferryman.control.links import fetched
from ferryman.log import log
from ferryman.wire.addresses import is_private, reach

EVERY: Final = 300.0
"""Seconds between two looks at an issuer's keys;"""
AGAIN: Final = 30.0
"""and after one that failed."""
AT_ONCE: Final = 3
"""Looks out of turn that are made in a row; after them, one in :data:`AGAIN` seconds."""
LARGEST: Final = 262_144
"""Bytes of a key set, and of a description."""
_snapshot: Final = msgspec.msgpack.Decoder(Snapshot)
_keysets: Final = msgspec.msgpack.Decoder(KeySets)
_pack: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class _Source:
    """Where the keys of an issuer are, and what is known of that."""

    def __init__(self, row: Issuer) -> None:
        self.row = row
        self.due = 0.0
        self.failing = ""
        self.saved = float(AT_ONCE)
        self.counted = time.monotonic()
        self.busy = threading.Lock()

    def may(self) -> bool:
        """Whether it may be looked at out of turn; if so, that is counted."""
        now = time.monotonic()
        self.saved = min(self.saved + (now - self.counted) / AGAIN, AT_ONCE)
        self.counted = now
        if self.saved < 1:
            return False
        self.saved -= 1
        return True


class Keyring:
    """Knows the keys of a configuration's issuers. Any thread may call what is not ``start``."""

    def __init__(self, file: Path) -> None:
        """``file`` keeps them over a restart."""
        self._file = file
        self._publish: Callable[[bytes], None] = lambda _: None
        self._lock = threading.Lock()
        self._sources: dict[str, _Source] = {}
        self._ca_files: tuple[str, ...] = ()
        self._keys: KeySets = {}
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="keysets", daemon=True)
        try:
            self._keys = _keysets.decode(file.read_bytes())
        except (OSError, msgspec.MsgspecError):
            self._keys = {}

    def start(self, publish: Callable[[bytes], None]) -> None:
        """Begin to fetch; ``publish`` gets all of them (msgpack) whenever they change."""
        self._publish = publish
        self._tell()
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping = True
        self._wake.set()

    def adopt(self, snapshot: bytes) -> None:
        """Look after the issuers of this snapshot (msgpack)."""
        found = _snapshot.decode(snapshot)
        with self._lock:
            self._ca_files = found.ca_files
            sources = {}
            for row in found.issuers:
                known = self._sources.get(row.keys)
                same = known is not None and _way(known.row) == _way(row)
                sources[row.keys] = known if known is not None and same else _Source(row)
            self._sources = sources
        self._wake.set()

    def keys(self, source: str) -> tuple[PublicKey, ...]:
        """The known ones of ``source`` (``Issuer.keys``)."""
        return self._keys.get(source, ())

    def renew(self, source: str) -> bytes:
        """All of them (msgpack), after a new look at those of ``source``, unless there have been
        too many. Waits for the issuer."""
        found = self._sources.get(source)
        if found is not None:
            with found.busy:
                if found.may():
                    self._look(found)
        return self._packed()

    def _run(self) -> None:
        while not self._stopping:
            with self._lock:
                sources = list(self._sources.values())
            now = time.monotonic()
            for source in sources:
                if source.due > now or self._stopping:
                    continue
                try:
                    with source.busy:
                        self._look(source)
                except Exception as error:
                    source.due = time.monotonic() + AGAIN
                    log("control", f"keys of issuers: {type(error).__name__}: {error}")
            due = min((source.due for source in sources), default=now + EVERY)
            self._wake.wait(max(1.0, due - time.monotonic()))
            self._wake.clear()

    def _look(self, source: _Source) -> None:
        row = source.row
        try:
            found = self._fetch(row)
        except (OSError, http.client.HTTPException, ValueError) as error:
            source.due = time.monotonic() + AGAIN
            why = str(error) or type(error).__name__
            if why != source.failing:
                known = len(self.keys(row.keys))
                log("control", f"the keys of the issuer {row.name} can't be had ({why}); "
                    f"{known} that were known before hold")  # fmt: skip
            source.failing = why
            return
        if source.failing:
            log("control", f"the keys of the issuer {row.name} can be had again")
        source.failing, source.due = "", time.monotonic() + EVERY
        with self._lock:
            wanted = self._sources
            if row.keys not in wanted or self._keys.get(row.keys) == found:
                return
            self._keys = {k: v for k, v in self._keys.items() if k in wanted} | {row.keys: found}
        log("control", f"the issuer {row.name} has {len(found)} keys that tokens are checked with")
        self._save()
        self._tell()

    def _fetch(self, row: Issuer) -> tuple[PublicKey, ...]:
        """Raises ``OSError``, ``HTTPException``, ``ValueError``."""
        from ferryman.meter.jwk import keys_of  # loads what checks signatures

        if row.keys.startswith("file:"):
            path = Path(row.keys.removeprefix("file:"))
            if not is_file(path):
                raise ValueError("there is no such file")
            with path.open("rb") as file:
                return keys_of(file.read(LARGEST + 1))
        url = row.keys
        if url.endswith(DISCOVERY):
            url = described(row, self._ca_files)["jwks_uri"]
        return keys_of(_got(url, row, self._ca_files))

    def _packed(self) -> bytes:
        return _pack({name: self._keys[name] for name in sorted(self._keys)})

    def _tell(self) -> None:
        if self._keys:
            self._publish(self._packed())

    def _save(self) -> None:
        draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            draft.write_bytes(self._packed())
            draft.replace(self._file)
        except OSError as error:
            log("control", f"keys of issuers can't be kept over a restart: {error}")


def _way(row: Issuer) -> tuple[object, ...]:
    return row.issuer, row.keys, row.private


def described(row: Issuer, ca_files: tuple[str, ...]) -> dict[str, str]:
    """The addresses in an issuer's description of itself (OpenID Connect Discovery 1.0, 4.2).

    Raises ``OSError``, ``HTTPException``, ``ValueError``.
    """
    from ferryman.meter.jwk import json_object

    said: dict[str, Any] = json_object(_got(row.keys, row, ca_files))
    if said.get("issuer") != row.issuer:
        raise ValueError("its description is another issuer's")
    found = {
        name: url for name in ("jwks_uri", "authorization_endpoint", "token_endpoint")
        if isinstance(url := said.get(name), str)
    }  # fmt: skip
    for url in found.values():
        if not url.startswith("https://") and not (
            url.startswith("http://") and row.keys.startswith("http://")
        ):
            raise ValueError("its description leads to where nothing is encrypted")
    if "jwks_uri" not in found:
        raise ValueError("its description names no keys")
    return found


def _got(url: str, row: Issuer, ca_files: tuple[str, ...]) -> bytes:
    """What is there. Raises ``OSError``, ``HTTPException``, ``ValueError``."""
    status, data = fetched(
        url, reach_of(url, row), LARGEST, ca_files=ca_files, headers={"accept": "application/json"}
    )
    if status != 200:
        raise ValueError(f"it answered {status}")
    return data


def reach_of(url: str, row: Issuer) -> int:
    """How far an address may lead that the configuration, or the issuer's description, names.

    A description leads to private addresses only where it is at one, or the configuration says so.
    """
    if row.private is None and url != row.keys and not is_private(_host(row.keys)):
        return reach(url, private=False)
    return reach(url, row.private)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
