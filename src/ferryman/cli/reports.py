"""``ferryman usage``, ``export`` and ``reconcile``: what was used, by whom, for what, and why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ferryman.cli import flags

Row = dict[str, Any]
Since = Annotated[
    str, typer.Option("--since", metavar="WHEN", help="7d, 12h, 2026-11-01, or RFC 3339.")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help="Up to when. Default: now.")
]
Key = Annotated[str | None, typer.Option("--key", help="Only this key (id or name).")]
Model = Annotated[str | None, typer.Option("--model", help="Only this model.")]
Zone = Annotated[
    str, typer.Option("--zone", metavar="NAME", help="Time zone of days and months: Europe/Berlin.")
]


def usage(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="Group by any of: hour, day, week, month, key, team, organisation, user, "
            "end_user, model, provider, target, endpoint, policy, tag, task, metadata.NAME, run, "
            "status, error, service. Default: day,model; of --forecast: model.",
        ),
    ] = "",
    since: Since = "30d",
    until: Until = None,
    zone: Zone = "UTC",
    top: Annotated[
        int | None, typer.Option("--top", min=1, max=10_000, help="As many groups, by cost.")
    ] = None,
    units: Annotated[
        bool, typer.Option("--units", help="What a call, a run and 1,000 tokens cost.")
    ] = False,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="What this month will cost.")
    ] = False,
    key: Key = None,
    model: Model = None,
    where: flags.Where = None,
    as_json: flags.AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header row.")] = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write a Parquet file.")
    ] = None,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what was used and what it cost.

    Examples: `ferryman usage` · `ferryman usage --by team,model --since 7d --top 10` ·
    `ferryman usage --by task --units` · `ferryman usage --forecast --by team` ·
    `ferryman usage --by month --zone Europe/Berlin --csv > usage.csv`
    """
    from ferryman.cli import usage as showing

    api = flags.reach(locals())
    query = {"by": by, "zone": zone, "top": top, "key": key, "model": model, **flags.chosen(where)}
    how = showing.How(as_json, as_csv, parquet)
    if forecast:
        showing.forecast(api, query | {"by": by or "model"}, how)
        return
    query |= {"by": by or "day,model", "since": since, "until": until}
    showing.usage(api, query | ({"units": "true"} if units else {}), how)


WHAT: Final = ("calls", "focus", "content")


def export(
    what: Annotated[
        str,
        typer.Argument(metavar="calls|focus|content",
                       help="Every call; charges by FOCUS 1.2; or stored prompts and answers."),
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="….csv, ….jsonl or ….parquet; - prints CSV.")
    ],
    since: Since = "30d",
    until: Until = None,
    period: Annotated[
        str, typer.Option("--period", help="Of charges: hour or day.")
    ] = "day",
    tags: Annotated[
        str | None,
        typer.Option("--tags", help="Of charges: dimensions that become tags. Default: "
                     "organisation,team,user,end_user,task,tag."),
    ] = None,
    shape: Annotated[
        str, typer.Option("--shape", help="Of contents: chat (examples for fine-tuning) or raw.")
    ] = "chat",
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", min=-1, max=1, help="Of contents: the least mean score."),
    ] = None,
    where: flags.Where = None,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:  # fmt: skip
    """Export every call, the charges in the FinOps format FOCUS 1.2, or stored contents.

    Examples: `ferryman export calls calls.parquet --since 90d` ·
    `ferryman export focus charges.csv --since 2026-11-01 --until 2026-12-01` ·
    `ferryman export content good.jsonl --where team=red --min-score 0.5`
    """
    from ferryman.cli import sheet
    from ferryman.client import ApiError

    if what not in WHAT:
        raise typer.BadParameter(f"{what!r}: choose {', '.join(WHAT)}.")
    if what == "content" and not file.endswith(".jsonl"):
        raise typer.BadParameter(f"{file!r}: contents go into a file whose name ends in .jsonl.")
    query: Row = {"since": since, "until": until, **flags.chosen(where)}
    if what == "focus":
        query |= {"period": period, "tags": tags}
    if what == "content":
        query |= {"shape": shape, "min_score": min_score}
    answer = flags.reach(locals()).export(what, **query)
    columns = next(answer)["columns"]
    said: list[int] = []

    def rows() -> Iterator[list[Any]]:
        for line in answer:
            if isinstance(line, dict):
                said.append(line["rows"])
                return
            yield line
        raise ApiError("The export broke off before its end. The control plane's log says more.")

    count = sheet.write(file, columns, rows())
    if file != "-":
        typer.echo(f"{count} rows in {file}", err=True)


def reconcile(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The provider's CSV.")],
    provider: Annotated[
        str, typer.Option("--provider", help="Whose it is, by its name in the configuration.")
    ],
    form: Annotated[
        str, typer.Option("--form", help="openai, anthropic or columns. Default: as it looks.")
    ] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="FIELD=NAME", help="Which column has what: date, model, "
                     "cost, cost_cents, calls, input, cache_read, output, … as often as wanted."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--same", metavar="THEIRS=OURS", help="Another name of a model."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, max=100, help="Percent that are no difference.")
    ] = 1.0,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:  # fmt: skip
    """Compare a provider's invoice or usage with the ledger, by day and model.

    Exit code 1 where they differ by more than the tolerance. Examples:
    `ferryman reconcile costs.csv --provider anthropic` · `ferryman reconcile bill.csv
    --provider lab --column date=Day --column model=SKU --column cost=Amount`
    """
    from ferryman.cli import reconcile as comparing

    asked = comparing.Asked(
        file, provider, form, flags.chosen(columns), flags.chosen(models), tolerance
    )
    if not comparing.run(flags.reach(locals()), asked, as_json=as_json):
        raise typer.Exit(1)
