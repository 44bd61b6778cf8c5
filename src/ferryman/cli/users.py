"""``ferryman users``: who signs in at the dashboard."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from ferryman.cli import flags
from ferryman.cli.output import print_json

if TYPE_CHECKING:
    from ferryman.client.identity import User

users_app: Final = typer.Typer(
    name="users",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Users of the dashboard: who may sign in, and what they may.",
)
_Who = Annotated[str, typer.Argument(metavar="NAME", help="Their name, or id.")]
_Role = Annotated[
    str | None, typer.Option("--role", help="What they may: `ferryman tokens roles` lists them.")
]
_Organisation = Annotated[
    str | None, typer.Option("--organisation", help="They meet only what is this one's.")
]
_Team = Annotated[str | None, typer.Option("--team", help="And of it, only what is this team's.")]
_Called = Annotated[str | None, typer.Option("--called", help="What people call them.")]


@users_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="To sign in with, such as an e-mail address.")],
    role: Annotated[
        str, typer.Option("--role", help="What they may: `ferryman tokens roles` lists them.")
    ],
    organisation: _Organisation = None,
    team: _Team = None,
    called: _Called = None,
    password: Annotated[
        bool | None,
        typer.Option(
            "--password/--no-password",
            help="Give them one; without, they come in by an identity provider, or not yet.",
            show_default="for owners",
        ),
    ] = None,
    service: Annotated[
        bool, typer.Option("--service", help="A program's: it never signs in.")
    ] = False,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Make a user. A password is asked for, or read from the first line of the input.

    Examples: `ferryman users create anna@example.com --role developer` ·
    `pass ferryman/anna | ferryman users create anna --role owner`
    """
    from ferryman.client.identity import NewUser

    client = flags.reach(locals())
    asks = not service and (role == "owner" if password is None else password)
    new = NewUser(
        name=name, role=role, display=called, organisation=organisation, team=team,
        password=_password() if asks else None, kind="service" if service else "person",
    )  # fmt: skip
    _tell(client.create_user(new), "Made", as_json)


@users_app.command("list")
def show(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List the users."""
    from ferryman.cli.show import Column, console, local_time, table

    rows = list(flags.reach(locals()).users())
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("No users yet. Make one: ferryman users create NAME --role ROLE")
        return
    columns = [
        Column("Name", style="bold"), Column("Id", drop=4), Column("State"), Column("Role"),
        Column("Organisation", drop=2), Column("Team", drop=2), Column("Last in", drop=1),
    ]  # fmt: skip
    body = [
        [row.name, row.id, _state(row), row.role, row.organisation or "", row.team or "",
         local_time(row.last_in_at) or "never"]
        for row in rows
    ]  # fmt: skip
    table(columns, body, console())


@users_app.command("set")
def change(
    user: _Who,
    role: _Role = None,
    organisation: _Organisation = None,
    team: _Team = None,
    called: _Called = None,
    name: Annotated[str | None, typer.Option("--name", help="Another name to sign in.")] = None,
    enable: Annotated[bool, typer.Option("--enable", help="Let them in again.")] = False,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Change what is given; `""` = none.

    Who gets another organisation or team, or a role that may less, is signed out, and the tokens
    that they made are revoked. Example: `ferryman users set anna@example.com --role viewer`
    """
    from msgspec import UNSET

    from ferryman.client.identity import UserChange

    body = UserChange(
        name=UNSET if name is None else name, role=UNSET if role is None else role,
        display=UNSET if called is None else called, team=UNSET if team is None else team,
        organisation=UNSET if organisation is None else organisation,
        active=True if enable else UNSET,
    )  # fmt: skip
    _tell(flags.reach(locals()).change_user(user, body), "Changed", as_json)


@users_app.command("password")
def password(
    user: _Who,
    remove: Annotated[bool, typer.Option("--remove", help="No password any more.")] = False,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Give a user another password, asked for or read from the first line of the input.

    Their sessions end. Example: `ferryman users password anna@example.com`
    """
    client = flags.reach(locals())
    found = client.set_password(user, None if remove else _password())
    _tell(found, "Password removed:" if remove else "Password set:", as_json)


@users_app.command("disable")
def disable(
    user: _Who,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Shut a user out at once, with tokens that they made, and virtual keys whose user they are.

    `ferryman users set NAME --enable` lets them in again; what has ended stays so.
    """
    from ferryman.client.identity import UserChange

    found = flags.reach(locals()).change_user(user, UserChange(active=False))
    _tell(found, "Shut out", as_json)


@users_app.command("remove")
def remove(
    user: _Who,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Remove a user, with tokens that they made, and virtual keys whose user they are."""
    _tell(flags.reach(locals()).remove_user(user), "Removed", as_json)


def _password() -> str:
    """From the terminal, twice and unseen; else the first line of the input. Never an argument:
    those are seen by all who list processes."""
    import sys

    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _tell(user: "User", done: str, as_json: bool) -> None:
    from ferryman.cli.show import printable

    if as_json:
        print_json(user)
    else:
        typer.echo(f"{done} {printable(user.name)} ({user.id}), {printable(user.role)}.")


def _state(user: "User") -> str:
    return user.kind if user.active and user.kind != "person" else (
        "active" if user.active else "disabled"
    )  # fmt: skip
