"""``ferryman audit``: who did what, and whether that was touched since."""

from pathlib import Path
from typing import Annotated, Final

import typer

from ferryman.cli import flags

audit_app: Final = typer.Typer(
    name="audit",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The audit log: who did what, and whether it was touched since (reads the database).",
)


@audit_app.command("list")
def listed(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 50,
    action: Annotated[str, typer.Option("--action", help="Such as key, or key.revoke.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Who did it.")] = "",
    outcome: Annotated[str, typer.Option("--outcome", help="done or refused.")] = "",
    as_json: flags.AsJson = False,
    data_dir: flags.DataDir = None,
    database_url: flags.DatabaseUrl = None,
) -> None:
    """Show the newest entries.

    Examples: `ferryman audit list` · `ferryman audit list --action access --outcome refused`
    """
    from ferryman.cli import auditing

    options = flags.options(data_dir=data_dir, database_url=database_url)
    auditing.listed(
        options, limit=limit, as_json=as_json, action=action, actor=actor, outcome=outcome
    )


@audit_app.command("verify")
def verify(
    kept: Annotated[
        list[Path] | None,
        typer.Option("--head", metavar="FILE", help="A head kept elsewhere; as often as wanted."),
    ] = None,
    as_json: flags.AsJson = False,
    data_dir: flags.DataDir = None,
    database_url: flags.DatabaseUrl = None,
) -> None:
    """Check the whole chain: exit code 0 if nothing was touched, 1 if something was.

    It is compared with the head that the control plane keeps in the data directory, and with those
    given here: only so it can be found that the newest entries were cut off.

    Examples: `ferryman audit verify` · `ferryman audit verify --head /mnt/safe/head.json`
    """
    from ferryman.cli import auditing

    options = flags.options(data_dir=data_dir, database_url=database_url)
    raise typer.Exit(auditing.verify(options, kept or (), as_json=as_json))


@audit_app.command("head")
def head(data_dir: flags.DataDir = None, database_url: flags.DatabaseUrl = None) -> None:
    """Print where the log ends, to be kept where nobody who has the database can reach it.

    Example: `ferryman audit head > /mnt/safe/head.json`
    """
    from ferryman.cli import auditing

    auditing.head(flags.options(data_dir=data_dir, database_url=database_url))


@audit_app.command("export")
def export(
    since: Annotated[
        int, typer.Option("--after", min=0, metavar="N", help="Only entries behind this number.")
    ] = 0,
    data_dir: flags.DataDir = None,
    database_url: flags.DatabaseUrl = None,
) -> None:
    """Write all entries as lines of JSON, oldest first.

    Examples: `ferryman audit export > audit.jsonl` · `ferryman audit export --after 1200`
    """
    from ferryman.cli import auditing

    auditing.export(flags.options(data_dir=data_dir, database_url=database_url), since)
