"""The vault of this installation."""

import ctypes
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ferryman.config.options import Options, Paths
from ferryman.config.seal import derive_for
from ferryman.control.vault.desk import Vault
from ferryman.control.vault.masters import gather
from ferryman.control.vault.orders import KEY_FILE
from ferryman.store import audit
from ferryman.store.db import open_engine
from ferryman.store.vault import there

_PR_SET_DUMPABLE: Final = 4


def leave_no_core() -> None:
    """This process is going to hold secrets: if it dies, they are not written to a disk, and
    others of the same user don't get to look into it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # where a program takes cores, that limit does not hold
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)


def key_file(paths: Paths) -> Path:
    """Where the master key's file is, or would be."""
    return Path(os.environ.get(KEY_FILE) or paths.master_key).expanduser()


@contextmanager
def opened(options: Options) -> Iterator[Vault]:
    """The vault, and all master keys that are at hand. Raises :class:`VaultError`."""
    chain = derive_for(options.paths.secret("pepper"), audit.PURPOSE)
    engine = audit.keyed(open_engine(_database(options)), chain)
    try:
        masters = gather(options.paths.master_key)
        yield Vault(engine, masters, options.paths.vault_seen)
    finally:
        engine.dispose()


def texts(options: Options, names: Iterable[str]) -> dict[str, str]:
    """Those of the secrets ``names`` that are in the vault, which need not be there yet.

    Raises :class:`VaultError` and what the database raises.
    """
    if not there(_database(options)):
        return {}
    with opened(options) as vault:
        return vault.texts(names)


def _database(options: Options) -> str:
    place = options.paths.moved_to
    if not options.database_url and place.exists():
        return place.read_text().strip()
    return options.database_url or f"sqlite:///{options.paths.database}"
