"""Where master keys come from: a key service, the environment, a file. There is none by default."""

import base64
import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from ferryman.config.seal import derive_for
from ferryman.control.vault.envelope import (
    KEY,
    Master,
    NoMasterKeyError,
    VaultError,
    decrypted,
    encrypted,
)
from ferryman.control.vault.orders import KEY_FILE, KEYS, KMS

GROUP: Final = "ferryman.kms"
HOW: Final = (
    "`ferryman vault init` makes one. It is kept in a file that only its owner may read; give "
    f"another place as {KEY_FILE}, the key itself as {KEYS}, or a key service as {KMS}."
)
_LINE = re.compile(r"([1-9][0-9]{0,8}):([A-Za-z0-9+/]{43}=)")


class Given:
    """A master key that is at hand: wraps by AES-256-GCM, under a key derived for that alone."""

    def __init__(self, line: str) -> None:
        """``line``: ``VERSION:BASE64`` of 32 bytes. Raises :class:`VaultError`."""
        found = _LINE.fullmatch(line)
        try:
            key = base64.b64decode(found[2], validate=True) if found else b""
        except ValueError:
            key = b""
        if found is None or len(set(key)) < 8:  # such as all zeros
            raise VaultError(
                "a master key is a line VERSION:BASE64 with 32 bytes of chance, as `ferryman vault "
                "init` writes it"
            )
        self.version = int(found[1])
        self.id = f"key-{self.version}-{derive_for(found[2], 'master key id').hex()[:8]}"
        self._key = derive_for(found[2], "vault master key")

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        return encrypted(self._key, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        try:
            return decrypted(self._key, wrapped, context)
        except VaultError as error:
            raise VaultError(
                f"a data key was changed in the database ({error}), or {self.id} is another key"
            ) from None


class Masters:
    """The master keys that are at hand: the first one wraps, all of them unwrap."""

    def __init__(self, found: Sequence[Master]) -> None:
        self._found = found

    @property
    def newest(self) -> Master:
        """The one that wraps. Raises :class:`VaultError` where there is none."""
        if not self._found:
            raise NoMasterKeyError(f"There is no master key, so nothing is stored. {HOW}")
        return self._found[0]

    def of(self, name: str) -> Master:
        """The one with this id. Raises :class:`VaultError`."""
        for master in self._found:
            if master.id == name:
                return master
        there = ", ".join(master.id for master in self._found) or "none"
        raise VaultError(
            f"the master key {name}, which secrets in the vault need, is not here (here: {there}); "
            f"give it as {KEYS}, {KEY_FILE} or {KMS}"
        )


def gather(default: Path, env: Mapping[str, str] = os.environ) -> Masters:
    """All that the environment names, else what the file ``default`` has. Raises ``VaultError``.

    Those of a key service come first, then those of the variable, then the file's: each from the
    newest version to the oldest.
    """
    found: list[Master] = [service(spec) for spec in env.get(KMS, "").split()]
    found += given(env.get(KEYS, ""), KEYS)
    path = Path(env.get(KEY_FILE) or default).expanduser()
    if env.get(KEY_FILE) or path.exists():
        found += given(_read(path), str(path))
    return Masters(found)


def given(text: str, where: str) -> list[Given]:
    """The keys of a file or variable, newest first. Raises :class:`VaultError`."""
    lines = [line for line in re.split(r"[\s,]+", text) if line]
    try:
        keys = sorted(map(Given, lines), key=lambda key: key.version, reverse=True)
    except VaultError as error:
        raise VaultError(f"{where}: {error}") from None
    if len({key.version for key in keys}) < len(keys):
        raise VaultError(f"{where}: two master keys have the same version; number them anew")
    return keys


def service(spec: str) -> Master:
    """The key of a key service, from ``NAME:REST``. Raises :class:`VaultError`."""
    from ferryman.control.vault.kms import BUILT_IN

    name, _, rest = spec.partition(":")
    make = BUILT_IN.get(name)
    if make is None:
        plugins = list(entry_points(group=GROUP, name=name))
        if not plugins:
            raise VaultError(
                f"{KMS}: no key service is called {name!r} here. Use {', '.join(BUILT_IN)}, or "
                f"install a package that has it (entry point {GROUP})."
            )
        make = plugins[0].load()
    master: Master = make(rest)
    return master


def _read(path: Path) -> str:
    """The file, if nobody else may read it. Raises :class:`VaultError`."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise VaultError(
                    f"others than its owner may read the master key {path} (mode {mode:04o}): "
                    f"`chmod 600 {path}`"
                )
            return file.read(65_536).decode()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not a text"
        raise VaultError(f"the master key {path} can't be read: {why}") from None


def make(path: Path) -> Given:
    """Write a first master key into a new file ``path``, for its owner alone.

    Raises :class:`VaultError` if there is one.
    """
    if path.exists():
        raise VaultError(
            f"{path} is there already. `ferryman vault rotate --master` adds a newer key to it."
        )
    return _written(path, "", 1)


def add(path: Path, env: Mapping[str, str] = os.environ) -> Given:
    """Add a newer master key to those in ``path``. Raises :class:`VaultError`: also where the
    newest one is elsewhere, since that would go on to wrap."""
    if first := next((name for name in (KMS, KEYS) if env.get(name)), ""):
        raise VaultError(
            f"the master key is the one of {first}, and no file's: make a newer one there, then "
            "rotate without --master"
        )
    text = _read(path)
    keys = given(text, str(path))
    return _written(
        path, text.rstrip("\n") + "\n" if keys else "", keys[0].version + 1 if keys else 1
    )


def _written(path: Path, before: str, version: int) -> Given:
    line = f"{version}:{base64.b64encode(secrets.token_bytes(KEY)).decode()}"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(f"{before}{line}\n")
            file.flush()
            os.fsync(fd)
        draft.replace(path)
    except OSError as error:
        raise VaultError(f"the master key {path} can't be written: {error.strerror}") from None
    return Given(line)
