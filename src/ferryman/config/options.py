"""Process options: every flag has a ``FERRYMAN_*`` variable; that is how processes pass them on."""

import contextlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from ferryman.config.filters import DATA_POLICIES, policies
from ferryman.config.seal import derive_for

DEFAULT_PORT = 8080
DEFAULT_ADMIN_PORT = 8081
MIN_FIXED_KEY = 24


class OptionsError(Exception):
    """An option has an unusable value; the message names the flag and the right form."""


class Options(Struct, frozen=True, kw_only=True):
    """Where a Ferryman process listens and keeps its files."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    uds: str = ""
    """Path of a Unix socket to listen on as well; empty = none."""
    admin_host: str = "127.0.0.1"
    admin_port: int = DEFAULT_ADMIN_PORT
    admin_names: str = ""
    """Names by which the control plane is reached, with commas between, beside those that nobody
    else can point at it."""
    data_dir: Path = Path("~/.local/share/ferryman").expanduser()
    config: Path | None = None
    control_url: str = ""
    """Where a data plane finds its control plane; empty = this machine's admin port."""
    database_url: str = ""
    """SQLAlchemy URL; empty = SQLite in the data directory."""
    key: str = ""
    """Fixes the first virtual key (24 characters or more)."""
    tls_cert: str = ""
    tls_key: str = ""
    region: str = ""
    """Where this data plane runs, for policies and residency; empty = nobody has said."""
    data_policy: str = ""
    """What it promises of the data of calls, words with spaces between; empty = nothing."""
    plane: str = "gateway"
    """Name of a data plane, of its journal's directory too: no two that share a ledger have one."""
    workers: int | None = None
    """Data planes that ``ferryman up`` runs; None = the configuration's number."""
    drain: float | None = None
    """Seconds open calls may go on after SIGTERM; None = the configuration's."""
    strict: bool = False
    local_model: bool = False
    """True: ``ferryman up`` also runs the packaged local model as provider ``local``."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Options":
        """Read ``FERRYMAN_*``. Raises :class:`OptionsError` naming the variable that is wrong."""
        found: dict[str, object] = {}
        for name in cls.__struct_fields__:
            text = env.get(variable(name), "")
            if text:
                found[name] = _parse(name, text)
        options = cls(**found)  # type: ignore[arg-type]
        if options.key and len(options.key) < MIN_FIXED_KEY:
            raise OptionsError(
                f"FERRYMAN_KEY is {len(options.key)} characters long; it needs at least "
                f"{MIN_FIXED_KEY}. Leave it unset to have a key made for you."
            )
        return options

    def to_env(self) -> dict[str, str]:
        """The ``FERRYMAN_*`` variables that make a child process see the same options."""
        out = {}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None or value == "" or value is False:
                continue
            out[variable(name)] = "1" if value is True else str(value)
        return out

    @property
    def paths(self) -> "Paths":
        return Paths(self.data_dir)

    @property
    def feed_url(self) -> str:
        """Base URL of the control plane, as a data plane on this machine reaches it."""
        if self.control_url:
            return self.control_url
        host = self.admin_host
        if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
            host = "127.0.0.1"
        return (
            f"http://[{host}]:{self.admin_port}"
            if ":" in host
            else f"http://{host}:{self.admin_port}"
        )


def variable(name: str) -> str:
    """``admin_port`` → ``FERRYMAN_ADMIN_PORT``."""
    return "FERRYMAN_" + name.upper()


def _parse(name: str, text: str) -> object:
    try:
        if name in ("port", "admin_port"):
            port = int(text)
            if not 0 <= port <= 65535:
                raise ValueError
            return port
        if name == "workers":
            workers = int(text)
            if not 1 <= workers <= 256:
                raise ValueError
            return workers
        if name == "drain":
            seconds = float(text)
            if not 0 <= seconds <= 86_400:
                raise ValueError
            return seconds
    except ValueError:
        forms = {"drain": "seconds, 0 or more", "workers": "a number from 1 to 256"}
        form = forms.get(name, "a port from 0 to 65535")
        raise OptionsError(f"{variable(name)}={text!r} is not {form}.") from None
    if name in ("strict", "local_model"):
        return text.lower() in ("1", "true", "yes", "on")
    if name == "plane" and not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text):
        raise OptionsError(f"{variable(name)}={text!r} is not a name such as gateway-2.")
    if name == "data_policy":
        words = re.split(r"[\s,]+", text.strip())
        if not set(words) <= set(DATA_POLICIES):
            form = f"one or more of {', '.join(DATA_POLICIES)}"
            raise OptionsError(f"{variable(name)}={text!r} is not {form}.")
        return policies(words)
    if name in ("data_dir", "config"):
        return Path(text).expanduser()
    return text


class Paths:
    """Files below the data directory. Secrets are 0600, directories 0700."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "ferryman.db"
        self.journal = root / "journal"
        self.content = root / "content"
        """What is kept of prompts and answers, on its way to the database."""
        self.snapshot = root / "cache" / "snapshot.msgpack"
        self.keys = root / "cache" / "keys.bin"
        self.first_key = root / "first-key"
        """The key made on the very first start, until it is revoked or the file deleted."""
        self.admin_url = root / "admin-url"
        """Where the control plane listens; written at each of its starts."""
        self.moved_to = root / "secrets" / "database-url"
        """Where ``ferryman migrate`` has moved the database; not there if it has not."""
        self.gateway_url = root / "gateway-url"
        """The same of the data plane."""
        self.audit_head = root / "audit-head"
        """Where the audit log ended when it was last looked at."""
        self.master_key = root / "secrets" / "master-key"
        """The vault's master keys, unless the environment says where they are."""
        self.vault_seen = root / "secrets" / "vault-seen"
        """The highest number of the vault's changes that was seen here."""
        self.keysets = root / "keysets"
        """The public keys of issuers that were found last."""

    def cache_of(self, plane: str) -> tuple[Path, Path]:
        """A data plane's last snapshot and key table: workers write them at different times."""
        if plane == "gateway":
            return self.snapshot, self.keys
        folder = self.snapshot.parent / plane
        return folder / self.snapshot.name, folder / self.keys.name

    def secret(self, name: str) -> str:
        """The secret ``name`` (``pepper``, ``feed-token``, ``admin-token``), made on first use.

        ``FERRYMAN_PEPPER`` etc. in the environment win over the file, for planes on several hosts.
        Raises :class:`OptionsError` for a file that was emptied: everybody would know that secret.
        """
        path = self.root / "secrets" / name
        given = os.environ.get("FERRYMAN_" + name.upper().replace("-", "_"))
        found = given or kept(path, lambda: secrets.token_hex(32))
        if not found:
            raise OptionsError(
                f"{path} is empty. Put back what was in it, or remove it: another one is made."
            )
        return found

    def seal_key(self) -> bytes:
        """What secrets in snapshots are sealed under (32 bytes): the control plane's alone."""
        return derive_for(self.secret("seal-key"), "sealed secrets")

    def plane_key(self, plane: str) -> Path:
        """Where a data plane has its own key pair, to which that key comes wrapped."""
        return self.root / "secrets" / f"plane-{plane}"

    def metrics_token(self) -> str:
        """What a Prometheus server shows at ``/metrics`` of any plane, and nothing else takes.

        It follows from the feed token, so that planes on several hosts have the same; a file has it
        for whoever sets the server up. ``FERRYMAN_METRICS_TOKEN`` wins.
        """
        given = os.environ.get("FERRYMAN_METRICS_TOKEN")
        if given:
            return given
        token = derive_for(self.secret("feed-token"), "metrics").hex()
        path = self.root / "secrets" / "metrics-token"
        known = path.read_text().strip() if path.exists() else ""
        if not hmac.compare_digest(known.encode(), token.encode()):
            drafted(path, token).replace(path)
        return token


def kept(path: Path, make: Callable[[], str]) -> str:
    """The text of the secret file ``path``; what ``make`` makes if it isn't there."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    draft = drafted(path, make())
    try:
        os.link(draft, path)  # atomic, and the first of two racing processes wins
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()


def drafted(path: Path, text: str) -> Path:
    """A file that is yet to be called ``path``, on the disk, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a process that died, with the same number
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, text.encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    return draft
