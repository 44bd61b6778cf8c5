"""``ferryman alerts``: what is wrong, what was, silences, and whether channels work."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ferryman.cli import flags
from ferryman.cli.output import print_json

if TYPE_CHECKING:
    from ferryman.client.alerts import Alert

alerts_app: Final = typer.Typer(name="alerts", rich_markup_mode="markdown")
Id = Annotated[str, typer.Argument(metavar="ID", help="The alert's id (alert_…).")]
Until = Annotated[
    str, typer.Option("--until", metavar="WHEN", help="4h, 2d, 2026-12-31, or a time.")
]


@alerts_app.callback(invoke_without_command=True)
def alerts(
    ctx: typer.Context,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what is wrong now, silences and channels; or what a command below says.

    Examples: `ferryman alerts` · `ferryman alerts silence alert_… --until 4h` ·
    `ferryman alerts test ops`
    """
    from ferryman.cli.show import Column, console, local_time, table

    given = locals()
    if ctx.invoked_subcommand is not None:  # which sees in the environment what was given here
        flags.options(data_dir=data_dir, control_url=control_url, admin_host=admin_host,
                      admin_port=admin_port)  # fmt: skip
        return
    found = flags.reach(given).alerts()
    if as_json:
        print_json(found)
        return
    out = console()
    _table(found.data, out, "Nothing is wrong.")
    if found.silences:
        columns = [Column("Silence"), Column("Rule"), Column("Subject", drop=1), Column("Until")]
        rows = [
            [each.id, each.rule or "any", each.subject or "any", local_time(each.until)]
            for each in found.silences
        ]
        table(columns, rows, out)
    told = ", ".join(f"{each.name} ({each.where})" for each in found.channels)
    out.print(f"\nTold: {told or 'the log and the dashboard'}.", markup=False)


@alerts_app.command("history")
def history(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 50,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List what was wrong, newest first.

    Example: `ferryman alerts history --limit 10`
    """
    from ferryman.cli.show import console

    given = locals()
    rows = flags.reach(given).alert_history(limit=limit).data
    if as_json:
        print_json(rows)
    else:
        _table(rows, console(), "Nothing was wrong yet.")


@alerts_app.command("acknowledge")
def acknowledge(
    alert: Id,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Say that somebody is at it: it is not told again until it is over.

    Example: `ferryman alerts acknowledge alert_0f5d59f40af0bda1`
    """
    given = locals()
    said = flags.reach(given).acknowledge(alert)
    if as_json:
        print_json(said)
    else:
        typer.echo(f"Acknowledged: {said.title}.")


@alerts_app.command("silence")
def silence(
    until: Until,
    alert: Annotated[
        str, typer.Argument(metavar="[ID]", help="An alert, or --rule and --subject.")
    ] = "",
    rule: Annotated[str, typer.Option("--rule", help="All alerts of this rule.")] = "",
    subject: Annotated[
        str, typer.Option("--subject", help="All about this, such as a model or a key's id.")
    ] = "",
    note: Annotated[str, typer.Option("--note", help="Why, for others.")] = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Tell nobody of an alert, a rule or a subject for a while. What is wrong is still shown.

    Examples: `ferryman alerts silence alert_… --until 4h` ·
    `ferryman alerts silence --rule latency --until 2026-12-27 --note 'moving house'`
    """
    from ferryman.cli.show import local_time
    from ferryman.client.alerts import NewSilence

    client = flags.reach(locals())
    said = client.silence(
        NewSilence(until=until, alert=alert, rule=rule, subject=subject, note=note)
    )
    if as_json:
        print_json(said)
        return
    what = " of ".join(filter(None, (said.subject, said.rule)))
    typer.echo(f"{said.id}: nobody is told of {what} until {local_time(said.until)}.")


@alerts_app.command("unsilence")
def unsilence(
    name: Annotated[str, typer.Argument(metavar="ID", help="The silence's id (silence_…).")],
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """End a silence. Example: `ferryman alerts unsilence silence_0f5d59f40af0`"""
    given = locals()
    flags.reach(given).end_silence(name)
    typer.echo(f"Ended: {name}.")


@alerts_app.command("test")
def test(
    channel: Annotated[str, typer.Argument(help="The channel, as the configuration calls it.")],
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Tell a channel a test, now, and say whether it took it. Exit code: 0 it did, 1 it did not.

    Example: `ferryman alerts test ops`
    """
    given = locals()
    said = flags.reach(given).test_channel(channel)
    typer.echo(f"The channel {channel} took it in {said.seconds:.2f} s.")


def _table(rows: "list[Alert]", out: Any, none: str) -> None:
    from ferryman.cli.show import Column, local_time, table

    if not rows:
        out.print(none)
        return
    columns = [
        Column("Alert", drop=3), Column("Severity", drop=2), Column("State", drop=1),
        Column("Since"), Column("What", style="bold"),
    ]  # fmt: skip
    body = [
        [row.id, row.severity, _state(row), local_time(row.opened_at), row.title] for row in rows
    ]
    table(columns, body, out)


def _state(alert: "Alert") -> str:
    if alert.state == "resolved":
        return "resolved"
    if alert.silenced_until:
        return "silenced"
    return "acknowledged" if alert.acknowledged_at else "open"
