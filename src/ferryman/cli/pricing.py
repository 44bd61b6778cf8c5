"""``ferryman prices``: what models cost, and what costs are made of."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ferryman.cli import flags
from ferryman.cli.output import print_json

if TYPE_CHECKING:
    from rich.console import Console

    from ferryman.client.documents import Cost, ModelPrices

prices_app: Final = typer.Typer(
    name="prices",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The price book: what models cost, and what a call's cost is made of.",
)
Since = Annotated[
    str, typer.Option("--since", metavar="WHEN", help="7d, 12h, 2026-11-01, or RFC 3339.")
]


@prices_app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(metavar="MODEL|REQUEST_ID", help="A model, or a call's id.")
    ],
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Of a call, what other targets would have cost.")
    ] = False,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what a model costs, or to the line what a call's cost is made of.

    Examples: `ferryman prices show openai/gpt-4.1` · `ferryman prices show req_…` ·
    `ferryman prices show req_… --elsewhere`
    """
    api = flags.reach(locals())
    if elsewhere:
        offers = api.offers(name)
        rows = [[each.target, each.cost_usd, "this one" if each.here else ""] for each in offers]
        columns = ("Target", "Cost $", "")
        _print(offers, as_json, lambda out: _table(columns, rows, out, "Nothing to compare."))
    elif name.startswith("req_"):
        cost = api.cost(name)
        _print(cost, as_json, lambda out: _cost(cost, out))
    else:
        found = api.prices(name)
        _print(found, as_json, lambda out: _models(found, out))


@prices_app.command("diff")
def diff(
    since: Since = "30d",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show which models that were called since then cost something else now.

    Example: `ferryman prices diff --since 90d`
    """
    found = flags.reach(locals()).price_changes(since=since)
    rows = [
        [f"{row.provider}/{row.model}", what, old or "-", new or "-", str(row.calls)]
        for row in found
        for what, (old, new) in row.changes.items()
    ]
    columns = ("Model", "What", "Billed at", "Now", "Calls")
    _print(found, as_json, lambda out: _table(columns, rows, out, "Nothing costs anything else."))


@prices_app.command("recost")
def recost(
    since: Since = "30d",
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Up to when. Default: now.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model.")] = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what calls would cost by the price book of now. Records keep what they were billed.

    A price that is in force from a date counts from that date. Example:
    `ferryman prices recost --since 2026-11-01 --model fast`
    """
    found = flags.reach(locals()).recost(since=since, until=until, model=model)
    rows = [
        [f"{row.provider}/{row.model}", str(row.calls), row.billed_usd,
         row.recost_usd, row.difference_usd]
        for row in found.data
    ]  # fmt: skip
    columns = ("Model", "Calls", "Billed $", "By now's prices $", "Difference $")
    _print(found, as_json, lambda out: _table(columns, rows, out, "No calls to work out again."))


@prices_app.command("unpriced")
def unpriced(
    since: Since = "30d",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List models without a price: those that the configuration names, and that were called.

    Give them one under providers, prices. Example: `ferryman prices unpriced --since 7d`
    """
    found = flags.reach(locals()).unpriced(since=since)
    rows = [
        [f"{row.provider}/{row.model}", str(row.calls), "yes" if row.configured else ""]
        for row in found
    ]
    columns = ("Model", "Calls of unknown cost", "In the configuration")
    _print(found, as_json, lambda out: _table(columns, rows, out, "Every model has a price."))


def _print(found: object, as_json: bool, draw: Any) -> None:
    from ferryman.cli.show import console

    if as_json:
        print_json(found)
    else:
        draw(console())


def _table(names: tuple[str, ...], rows: list[list[str]], out: "Console", none: str) -> None:
    from ferryman.cli.show import Column, table

    if not rows:
        out.print(none)
        return
    table([Column(name, right=i > 0) for i, name in enumerate(names)], rows, out)


def _models(rows: "list[ModelPrices]", out: "Console") -> None:
    for row in rows:
        _model(row, out)


def _model(row: "ModelPrices", out: "Console") -> None:
    from rich.text import Text

    from ferryman.cli.show import printable

    out.print(Text(printable(f"{row.provider}/{row.model}"), style="bold"))
    if not row.prices:
        out.print("  no price: its calls have no known cost")
    for period in row.prices:
        when = " ".join(f"{n} {period[n]}" for n in ("since", "until") if period[n])
        for each in ({"tiers": period["tiers"]}, *period.get("specials", ())):
            label = ", ".join(
                filter(None, (when, each.get("service", ""), each.get("hours_utc", "")))
            )
            for tier in each["tiers"]:
                size = f" above {tier['above_tokens']:,} tokens" if tier["above_tokens"] else ""
                rates = ", ".join(f"{n} {v}" for n, v in tier.items() if n != "above_tokens")
                out.print(Text(f"  {label or 'always'}{size}: {rates or 'free'}"))
        for region, share in period.get("regions", {}).items():
            out.print(Text(f"  {when or 'always'}, region {region}: {share} of the tokens' costs"))


def _cost(found: "Cost", out: "Console") -> None:
    from rich.text import Text

    from ferryman.cli.show import printable

    out.print(Text(printable(f"{found.request_id}  {found.time}  {found.model}")))
    rows = [[line.what, str(line.count), line.rate, line.usd] for line in found.lines]
    if rows:
        rows.append(["total", "", f"price {found.price}", found.cost_usd or "?"])
    _table(("What", "Count", "Rate $", "Cost $"), rows, out, printable(found.why))
