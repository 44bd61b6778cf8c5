"""The flags that several commands share. Each has its ``FERRYMAN_*`` variable; flags win."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ferryman.config.options import DEFAULT_ADMIN_PORT, DEFAULT_PORT, Options, variable

if TYPE_CHECKING:
    from ferryman.client import Client

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
AdminNames = Annotated[
    str | None,
    _flag(
        "admin-names",
        "Public names by which the admin API is reached, with commas.",
        metavar="NAMES",
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
        "Where this gateway runs, such as eu-west-3, for policies and residency that ask for it.",
    ),
]
DataPolicy = Annotated[
    str | None,
    _flag(
        "data-policy",
        "What this gateway promises of data: no_training, zero_retention, hipaa, with commas.",
        metavar="WORDS",
    ),
]
Plane = Annotated[
    str | None,
    _flag("plane", "Name of this gateway, no other's with the same ledger (default gateway)."),
]
Workers = Annotated[
    int | None,
    _flag(
        "workers",
        "Gateways on this machine, all on one port (default: the configuration's, 1).",
        min=1,
        max=256,
        metavar="N",
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
        "Ask this gateway itself (default: the one that the control plane knows).",
        _WHICH,
        metavar="URL",
    ),
]
Organisation = Annotated[
    str | None, typer.Option("--organisation", help="Whose it is: the organisation.")
]
Team = Annotated[str | None, typer.Option("--team", help="Whose it is: the team.")]
User = Annotated[str | None, typer.Option("--user", help="Whose it is: the person or application.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", help="A further word; as often as wanted.")]
Models = Annotated[
    list[str] | None, typer.Option("--models", help="Bound to these models: fast, 'lab/*'.")
]
Providers = Annotated[list[str] | None, typer.Option("--providers", help="Bound to these.")]
Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoints", help="Bound to chat, embeddings, rerank, images, audio, moderations."
    ),
]
Regions = Annotated[list[str] | None, typer.Option("--regions", help="Bound to these regions: eu.")]
Require = Annotated[
    list[str] | None,
    typer.Option("--require", help="What must be promised: no_training, zero_retention, hipaa."),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--callers-tags", help="Tags that callers may send: batch, 'job-*'."),
]
Networks = Annotated[
    list[str] | None, typer.Option("--from", help="Where callers may be: 10.0.0.0/8, 2001:db8::7.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: every field, exact amounts.")]

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only calls like that, as often as wanted: team=red, end_user=ada, metadata.task=ask, "
        "tag=batch, status=429. `-` = none.",
    ),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="From when: 7d, 12h, 2026-11-01.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Up to when.")]
Failed = Annotated[bool, typer.Option("--failed", help="Only those whose caller got an error.")]
Text = Annotated[str | None, typer.Option("--text", help="Only those that say this anywhere.")]
MinSeconds = Annotated[
    str | None, typer.Option("--min-seconds", metavar="S", help="As long at least.")
]
MinUsd = Annotated[str | None, typer.Option("--min-usd", metavar="USD", help="As dear at least.")]
Guard = Annotated[
    str | None,
    typer.Option(
        "--guard", metavar="NAME", help="Of which it said something; also GUARD/STAGE/ACTION."
    ),
]
MinScore = Annotated[
    str | None, typer.Option("--min-score", help="Feedback, of -1 to 1, gave this at least,")
]
MaxScore = Annotated[str | None, typer.Option("--max-score", help="or at most.")]
NARROWING: Final = (
    "since", "until", "text", "min_seconds", "min_usd", "guard", "min_score", "max_score",
)  # fmt: skip
"""What calls are chosen by beside :data:`Where`."""


def chosen(where: list[str] | None) -> dict[str, str]:
    """``["team=red"]`` → ``{"team": "red"}``. Raises ``typer.BadParameter``."""
    found: dict[str, str] = {}
    for text in where or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value:
            raise typer.BadParameter(f"{text!r}: write NAME=VALUE, such as team=red.")
        if name.strip() in found:
            raise typer.BadParameter(f"{name.strip()} is given twice.")
        found[name.strip()] = value
    return found


def options(**flags: object) -> Options:
    """The options after ``flags`` (None or False = not given), which also go into the environment.

    So a program that replaces this one (``os.execv``) sees the same. Raises
    :class:`~ferryman.config.options.OptionsError`.
    """
    for name, value in flags.items():
        if value is not None and value is not False and value != "":
            os.environ[variable(name)] = "1" if value is True else str(value)
    return Options.from_env()


def asked(given: dict[str, object]) -> Options:
    """The installation that a command's flags, among ``given``, name."""
    names = ("data_dir", "control_url", "admin_host", "admin_port")
    return options(**{name: given[name] for name in names})


def reach(given: dict[str, object]) -> "Client":
    """Its control plane."""
    from ferryman.cli.api import control_plane

    return control_plane(asked(given))
