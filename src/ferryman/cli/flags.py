"""The flags that several commands share. Each has its ``FERRYMAN_*`` variable; flags win."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ferryman.config.options import DEFAULT_ADMIN_PORT, DEFAULT_PORT, Options, variable

if TYPE_CHECKING:
    from ferryman.cli.api import Api

_LISTEN = "Where it listens"
_FILES = "Files"


def _flag(name: str, text: str, panel: str | None = None, **more: Any) -> Any:
    """``--name``, or its variable; ``more`` as typer has it."""
    return typer.Option(
        f"--{name}", envvar=variable(name.replace("-", "_")), help=text, rich_help_panel=panel,
        **more,
    )  # fmt: skip


Host = Annotated[
    str | None,
    _flag(
        "host",
        "Address for calls: 127.0.0.1 (default), 0.0.0.0 for all IPv4, :: for IPv6 too.",
        _LISTEN,
    ),
]
Port = Annotated[
    int | None,
    _flag(
        "port",
        f"Port for calls (default {DEFAULT_PORT}; 0 takes a free one).",
        _LISTEN,
        min=0,
        max=65535,
    ),
]
Uds = Annotated[
    str | None,
    _flag("uds", "Unix socket to take calls on as well.", _LISTEN, metavar="PATH"),
]
AdminHost = Annotated[
    str | None,
    _flag("admin-host", "Address of the admin API (default 127.0.0.1).", _LISTEN),
]
AdminPort = Annotated[
    int | None,
    _flag(
        "admin-port",
        f"Port of the admin API (default {DEFAULT_ADMIN_PORT}; 0 takes a free one).",
        _LISTEN,
        min=0,
        max=65535,
    ),
]
TlsCert = Annotated[
    str | None,
    _flag(
        "tls-cert",
        "Certificate chain: takes calls over TLS. Needs --tls-key.",
        _LISTEN,
        metavar="PEM",
    ),
]
TlsKey = Annotated[
    str | None,
    _flag("tls-key", "Private key of --tls-cert.", _LISTEN, metavar="PEM"),
]
DataDir = Annotated[
    Path | None,
    _flag("data-dir", "Database, journal and secrets (default ~/.local/share/ferryman).", _FILES),
]
Config = Annotated[
    Path | None,
    _flag(
        "config",
        "ferryman.yaml. Without one, providers whose keys are in the environment are active.",
        _FILES,
        metavar="FILE",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    _flag(
        "database-url",
        "SQLAlchemy URL (default: SQLite in the data directory).",
        _FILES,
        metavar="URL",
    ),
]
ControlUrl = Annotated[
    str | None,
    _flag(
        "control-url",
        "Where the control plane is (default: this machine's admin port).",
        metavar="URL",
    ),
]
Region = Annotated[
    str | None,
    _flag(
        "region",
        "Where this gateway runs, such as eu-west-3, for policies that ask for it.",
    ),
]
Drain = Annotated[
    float | None,
    _flag(
        "drain",
        "How long open calls may go on after SIGTERM (default: the configuration's, 30).",
        min=0,
        max=86_400,
        metavar="SECONDS",
    ),
]
Strict = Annotated[
    bool,
    _flag(
        "strict", "Refuse a configuration with warnings (secrets written into the file, for one)."
    ),
]
LocalModel = Annotated[
    bool,
    _flag("local-model", "Run the packaged small model too, as provider `local`."),
]
_WHICH = "Which installation"
AskDataDir = Annotated[
    Path | None,
    _flag(
        "data-dir",
        "Its data directory, which holds the admin token (default ~/.local/share/ferryman).",
        _WHICH,
    ),
]
AskUrl = Annotated[
    str | None,
    _flag(
        "control-url",
        "Where its control plane is (default: as the data directory says).",
        _WHICH,
        metavar="URL",
    ),
]
AskHost = Annotated[
    str | None,
    _flag("admin-host", "The same, by address.", _WHICH),
]
AskPort = Annotated[
    int | None,
    _flag("admin-port", "The same, by port.", _WHICH, min=1, max=65535),
]
GatewayUrl = Annotated[
    str | None,
    _flag(
        "gateway-url",
        "Where its data plane is (default: as the data directory says).",
        _WHICH,
        metavar="URL",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: every field, exact amounts.")]


def options(**flags: object) -> Options:
    """The options after ``flags`` (None or False = not given), which also go into the environment.

    So a program that replaces this one (``os.execv``) sees the same. Raises
    :class:`~ferryman.config.options.OptionsError`.
    """
    for name, value in flags.items():
        if value is not None and value is not False and value != "":
            os.environ[variable(name)] = "1" if value is True else str(value)
    return Options.from_env()


def reach(given: dict[str, object]) -> "Api":
    """The control plane that a command's flags, among ``given``, name."""
    from ferryman.cli.api import Api

    names = ("data_dir", "control_url", "admin_host", "admin_port")
    return Api(options(**{name: given[name] for name in names}))
