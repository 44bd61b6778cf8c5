"""``ferryman vault``: secrets go in, by standard input, and never come out again."""

import base64
import getpass
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from ferryman.cli import flags
from ferryman.cli.output import print_json
from ferryman.client import ApiError

vault_app: Final = typer.Typer(
    name="vault",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Provider keys and other secrets, encrypted in the database; in the configuration, "
    "`vault:NAME`.",
)
Name = Annotated[
    str, typer.Argument(help="As in vault:NAME; one of an organisation is ORGANISATION/NAME.")
]


@vault_app.command("init")
def init(
    file: Annotated[
        Path | None, typer.Option("--file", help="Where to write it (FERRYMAN_MASTER_KEY_FILE).")
    ] = None,
    data_dir: flags.AskDataDir = None,
) -> None:
    """Make a master key, in a file that only you may read. Needs no running Ferryman.

    Example: `ferryman vault init`
    """
    from ferryman.control.vault.envelope import VaultError
    from ferryman.control.vault.here import key_file
    from ferryman.control.vault.masters import make

    options = flags.options(data_dir=data_dir)
    path = file or key_file(options.paths)
    try:
        made = make(path)
    except VaultError as error:
        raise ApiError(f"{error}") from None
    typer.echo(f"The master key {made.id} is in {path}.")
    typer.echo(
        "Back it up now, apart from backups of the database: without it, no secret of the vault "
        "opens again."
    )
    if path != key_file(options.paths):
        typer.echo(f"Start Ferryman with FERRYMAN_MASTER_KEY_FILE={path}.")


@vault_app.command("set")
def put(
    name: Name,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Store a secret, or another value for it: asked for, or read from standard input.

    It travels sealed to the vault. Examples: `ferryman vault set lab` ·
    `ferryman vault set lab < key.txt`
    """
    from ferryman.config.intake import seal_for

    client = flags.reach(locals())
    text = getpass.getpass(f"Value of {name}: ") if sys.stdin.isatty() else _piped()
    key = base64.b64decode(client.vault_key())
    sealed = base64.b64encode(seal_for(key, name, text)).decode()
    said = client.put_secret(name, sealed)
    typer.echo(f"Stored: {name}. In the configuration: vault:{name}")
    _tell(said.in_force)


def _piped() -> str:
    try:
        return sys.stdin.buffer.read(1_000_000).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ApiError("A secret is a text in UTF-8; encode other bytes, as in base64.") from None


@vault_app.command("list")
def show(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List the secrets: of long ones the last four characters, never more.

    Example: `ferryman vault list`
    """
    from ferryman.cli.show import Column, console, local_time, table

    rows = flags.reach(locals()).secrets()
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("The vault is empty.")
        return
    columns = [Column("Name", style="bold"), Column("Ends in"), Column("Master key", drop=2),
               Column("Changed", drop=1)]  # fmt: skip
    body = [[row.name, row.hint or "-", row.master, local_time(row.changed_at)] for row in rows]
    table(columns, body, console())


@vault_app.command("remove")
def remove(
    name: Name,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Remove a secret, for good. Example: `ferryman vault remove lab`"""
    said = flags.reach(locals()).remove_secret(name)
    typer.echo(f"Removed: {name}.")
    _tell(said.in_force)


@vault_app.command("rotate")
def rotate(
    master: Annotated[
        bool, typer.Option("--master", help="Make a newer master key first, in its file.")
    ] = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Encrypt every secret under a new data key, wrapped by the newest master key. Calls go on.

    Examples: `ferryman vault rotate` · `ferryman vault rotate --master`
    """
    said = flags.reach(locals()).rotate_vault(master=master)
    typer.echo(f"Rotated: {_secrets(said.rotated)}.")
    if master:
        typer.echo("Back the master key up again. Older ones stay in its file, for old backups.")


@vault_app.command("verify")
def verify(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Open every secret, and say which don't. Exit code: 0 all do, 1 some don't.

    Example: `ferryman vault verify`
    """
    said = flags.reach(locals()).verify_vault()
    if as_json:
        print_json(said)
    else:
        typer.echo(f"Good: {_secrets(said.good)}. Not good: {len(said.wrong)}.")
        for name, why in said.wrong.items():
            typer.echo(f"{name}: {why}")
    if said.wrong:
        raise typer.Exit(1)


@vault_app.command("accept")
def accept(
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Take the vault as it stands in a database that was restored on purpose.

    Example: `ferryman vault accept`
    """
    said = flags.reach(locals()).accept_vault()
    typer.echo("Accepted.")
    _tell(said.in_force)


def _tell(in_force: bool) -> None:
    if not in_force:
        typer.echo("The configuration has mistakes: the last good one stays in force. See the log.")


def _secrets(count: int) -> str:
    return f"{count} secret{'' if count == 1 else 's'}"
