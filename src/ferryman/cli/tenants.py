"""``ferryman organisations`` and ``ferryman teams``: the names that keys and tokens may say."""

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from ferryman.cli import flags
from ferryman.cli.output import print_json
from ferryman.client.tenants import NewTenant, Organisation, TenantChange

organisations_app: Final = typer.Typer(
    name="organisations",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Organisations that keys and tokens may name.",
)
teams_app: Final = typer.Typer(
    name="teams",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Teams of organisations that keys and tokens may name.",
)
_Name = Annotated[str, typer.Argument(help="Its name.")]
_Of = Annotated[str, typer.Option("--organisation", help="Whose team it is.")]
_Title = Annotated[str, typer.Option("--title", help="What people call it.")]
_NewTitle = Annotated[str | None, typer.Option("--title", help="What people call it.")]
_Archive = Annotated[
    bool, typer.Option("--restore", help="Bring it back: keys and tokens may name it again.")
]


@organisations_app.command("create")
def create_organisation(
    name: _Name,
    title: _Title = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Make an organisation. From the first one on, keys and tokens name none but those there are.

    Example: `ferryman organisations create acme --title "Acme Corporation"`
    """
    made = flags.reach(locals()).create_organisation(NewTenant(name=name, title=title))
    _tell(made, "Made", as_json=as_json)


@organisations_app.command("list")
def list_organisations(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List the organisations, archived ones too."""
    _list(flags.reach(locals()).organisations(), "ferryman organisations create NAME", as_json)


@organisations_app.command("set")
def set_organisation(
    name: _Name,
    title: _NewTitle = None,
    restore: _Archive = False,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Call an organisation otherwise, or bring it back.

    Example: `ferryman organisations set acme --title Acme`
    """
    change = _change(title, restore)
    found = flags.reach(locals()).change_organisation(name, change)
    _tell(found, "Changed", as_json=as_json)


@organisations_app.command("archive")
def archive_organisation(
    name: _Name,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Archive an organisation of which no key or token works.

    Example: `ferryman organisations archive acme`
    """
    client = flags.reach(locals())
    found = client.change_organisation(name, TenantChange(archived=True))
    _tell(found, "Archived", as_json=as_json)


@teams_app.command("create")
def create_team(
    name: _Name,
    organisation: _Of,
    title: _Title = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Make a team. From its first one on, keys and tokens name none but an organisation's teams.

    Example: `ferryman teams create red --organisation acme`
    """
    made = flags.reach(locals()).create_team(organisation, NewTenant(name=name, title=title))
    _tell(made, "Made", as_json=as_json)


@teams_app.command("list")
def list_teams(
    organisation: _Of,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List the teams of an organisation. Example: `ferryman teams list --organisation acme`"""
    hint = "ferryman teams create NAME --organisation ORGANISATION"
    _list(flags.reach(locals()).teams(organisation), hint, as_json)


@teams_app.command("set")
def set_team(
    name: _Name,
    organisation: _Of,
    title: _NewTitle = None,
    restore: _Archive = False,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Call a team otherwise, or bring it back.

    Example: `ferryman teams set red --organisation acme --restore`
    """
    change = _change(title, restore)
    found = flags.reach(locals()).change_team(organisation, name, change)
    _tell(found, "Changed", as_json=as_json)


@teams_app.command("archive")
def archive_team(
    name: _Name,
    organisation: _Of,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Archive a team of which no key or token works.

    Example: `ferryman teams archive red --organisation acme`
    """
    client = flags.reach(locals())
    found = client.change_team(organisation, name, TenantChange(archived=True))
    _tell(found, "Archived", as_json=as_json)


def _change(title: str | None, restore: bool) -> TenantChange:
    change = TenantChange() if title is None else TenantChange(title=title)
    if restore:
        change.archived = False
    return change


def _list(rows: Iterable[Organisation], hint: str, as_json: bool) -> None:
    from ferryman.cli.show import Column, console, local_time, table

    found = list(rows)
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo(f"None yet. Make one: {hint}")
        return
    columns = [Column("Name", style="bold"), Column("Title"), Column("State"), Column("Made")]
    body = [[row.name, row.title, row.state, local_time(row.created_at)] for row in found]
    table(columns, body, console())


def _tell(found: Organisation, did: str, *, as_json: bool) -> None:
    from ferryman.cli.show import printable

    if as_json:
        print_json(found)
    else:
        typer.echo(f"{did} {printable(found.name)} ({found.state}).")
