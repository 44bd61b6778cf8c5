"""``ferryman tokens``: scoped tokens of the admin API."""

from typing import Annotated, Final

import typer

from ferryman.cli import flags
from ferryman.cli.output import print_json

tokens_app: Final = typer.Typer(
    name="tokens",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Tokens of the admin API: who may see and change what.",
)


@tokens_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose, or what for.")],
    role: Annotated[
        str, typer.Option("--role", help="What it may: `ferryman tokens roles` lists them.")
    ],
    organisation: Annotated[
        str | None, typer.Option("--organisation", help="It meets only what is this one's.")
    ] = None,
    team: Annotated[
        str | None, typer.Option("--team", help="And of it, only what is this team's.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", help="Whose it is, such as a service account's: it ends with them."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", help="30d, or a date (default: after 90 days).", metavar="WHEN"),
    ] = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Make a token and print it: the only time it is shown.

    Examples: `ferryman tokens create reports --role viewer` ·
    `ferryman tokens create nightly --role viewer --user build-bot --expires 30d`
    """
    from ferryman.cli.show import console, printable
    from ferryman.client.identity import NewToken

    client = flags.reach(locals())
    # 30d counts from now; anything else is a point in time.
    counted = bool(expires) and (expires or "").strip()[-1:].isalpha()
    made = client.create_token(
        NewToken(
            name=name, role=role, organisation=organisation, team=team, user=user,
            expires_in=expires if counted else None, expires_at=None if counted else expires,
        )
    )  # fmt: skip
    if as_json:
        print_json(made)
        return
    if console().is_terminal:
        typer.echo(f"Token {made.id} ({printable(made.role)}), until {made.expires_at}. Keep it:")
    typer.echo(made.token)


@tokens_app.command("list")
def show(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List the tokens (never themselves: only keyed hashes are kept)."""
    from ferryman.cli.show import Column, console, local_time, table

    rows = list(flags.reach(locals()).tokens())
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("No tokens yet. Make one: ferryman tokens create NAME --role ROLE")
        return
    columns = [
        Column("Name", style="bold"), Column("Id"), Column("State"), Column("Role"),
        Column("Organisation", drop=2), Column("Team", drop=2), Column("Expires", drop=1),
        Column("Used", drop=3),
    ]  # fmt: skip
    body = [
        [row.name, row.id, row.state, row.role, row.organisation or "", row.team or "",
         local_time(row.expires_at), local_time(row.last_used_at) or "never"]
        for row in rows
    ]  # fmt: skip
    table(columns, body, console())


@tokens_app.command("revoke")
def revoke(
    token: Annotated[str, typer.Argument(help="Its id, as `ferryman tokens list` shows it.")],
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Revoke a token for good. Example: `ferryman tokens revoke tok_0123456789abcdef`"""
    from ferryman.cli.show import printable

    gone = flags.reach(locals()).revoke_token(token)
    if as_json:
        print_json(gone)
    else:
        typer.echo(f"Revoked {printable(gone.name)} ({gone.id}).")


@tokens_app.command("roles")
def roles(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List the roles, and what they may."""
    from ferryman.cli.show import Column, console, table

    rows = flags.reach(locals()).roles()
    if as_json:
        print_json(rows)
        return
    columns = [Column("Role", style="bold"), Column("May")]
    table(columns, [[row.name, " ".join(row.permissions)] for row in rows], console())
