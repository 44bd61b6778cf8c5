"""The flags that several commands share. Each has its ``FERRYMAN_*`` variable; flags win."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ferryman.config.options import DEFAULT_ADMIN_PORT, DEFAULT_PORT, Options, variable

_LISTEN = "Where it listens"
_FILES = "Files"

Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        envvar="FERRYMAN_HOST",
        help="Address for calls: 127.0.0.1 (default), 0.0.0.0 for all IPv4, :: for IPv6 too.",
        rich_help_panel=_LISTEN,
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        envvar="FERRYMAN_PORT",
        min=0,
        max=65535,
        help=f"Port for calls (default {DEFAULT_PORT}; 0 takes a free one).",
        rich_help_panel=_LISTEN,
    ),
]
Uds = Annotated[
    str | None,
    typer.Option(
        "--uds",
        envvar="FERRYMAN_UDS",
        metavar="PATH",
        help="Unix socket to take calls on as well.",
        rich_help_panel=_LISTEN,
    ),
]
AdminHost = Annotated[
    str | None,
    typer.Option(
        "--admin-host",
        envvar="FERRYMAN_ADMIN_HOST",
        help="Address of the admin API (default 127.0.0.1).",
        rich_help_panel=_LISTEN,
    ),
]
AdminPort = Annotated[
    int | None,
    typer.Option(
        "--admin-port",
        envvar="FERRYMAN_ADMIN_PORT",
        min=0,
        max=65535,
        help=f"Port of the admin API (default {DEFAULT_ADMIN_PORT}; 0 takes a free one).",
        rich_help_panel=_LISTEN,
    ),
]
TlsCert = Annotated[
    str | None,
    typer.Option(
        "--tls-cert",
        envvar="FERRYMAN_TLS_CERT",
        metavar="PEM",
        help="Certificate chain: takes calls over TLS. Needs --tls-key.",
        rich_help_panel=_LISTEN,
    ),
]
TlsKey = Annotated[
    str | None,
    typer.Option(
        "--tls-key",
        envvar="FERRYMAN_TLS_KEY",
        metavar="PEM",
        help="Private key of --tls-cert.",
        rich_help_panel=_LISTEN,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="FERRYMAN_DATA_DIR",
        help="Database, journal and secrets (default ~/.local/share/ferryman).",
        rich_help_panel=_FILES,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="FERRYMAN_CONFIG",
        metavar="FILE",
        help="ferryman.yaml. Without one, providers whose keys are in the environment are active.",
        rich_help_panel=_FILES,
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        envvar="FERRYMAN_DATABASE_URL",
        metavar="URL",
        help="SQLAlchemy URL (default: SQLite in the data directory).",
        rich_help_panel=_FILES,
    ),
]
ControlUrl = Annotated[
    str | None,
    typer.Option(
        "--control-url",
        envvar="FERRYMAN_CONTROL_URL",
        metavar="URL",
        help="Where the control plane is (default: this machine's admin port).",
    ),
]
Drain = Annotated[
    float | None,
    typer.Option(
        "--drain",
        envvar="FERRYMAN_DRAIN",
        min=0,
        max=86_400,
        metavar="SECONDS",
        help="How long open calls may go on after SIGTERM (default: the configuration's, 30).",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        envvar="FERRYMAN_STRICT",
        help="Refuse a configuration with warnings (secrets written into the file, for one).",
    ),
]
LocalModel = Annotated[
    bool,
    typer.Option(
        "--local-model",
        envvar="FERRYMAN_LOCAL_MODEL",
        help="Run the packaged small model too, as provider `local`.",
    ),
]
_WHICH = "Which installation"
AskDataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="FERRYMAN_DATA_DIR",
        help="Its data directory, which holds the admin token (default ~/.local/share/ferryman).",
        rich_help_panel=_WHICH,
    ),
]
AskUrl = Annotated[
    str | None,
    typer.Option(
        "--control-url",
        envvar="FERRYMAN_CONTROL_URL",
        metavar="URL",
        help="Where its control plane is (default: as the data directory says).",
        rich_help_panel=_WHICH,
    ),
]
AskHost = Annotated[
    str | None,
    typer.Option(
        "--admin-host",
        envvar="FERRYMAN_ADMIN_HOST",
        help="The same, by address.",
        rich_help_panel=_WHICH,
    ),
]
AskPort = Annotated[
    int | None,
    typer.Option(
        "--admin-port",
        envvar="FERRYMAN_ADMIN_PORT",
        min=1,
        max=65535,
        help="The same, by port.",
        rich_help_panel=_WHICH,
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
