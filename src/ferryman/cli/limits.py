"""``ferryman limits``: how limits and budgets stand, and what is set for tenants."""

import contextlib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, get_args

import typer
from msgspec.structs import replace

from ferryman.cli import flags
from ferryman.cli.ask import entries
from ferryman.cli.output import print_json
from ferryman.client.documents import Limit
from ferryman.client.tenants import BudgetSet, DelegatedLimit, Increase, LimitSet, Period, Rate

limits_app: Final = typer.Typer(
    name="limits",
    invoke_without_command=True,
    rich_markup_mode="markdown",
    help="How limits and budgets stand, and what organisations, teams, users and keys may take.",
)
_Organisation = Annotated[str, typer.Option("--organisation", help="Of this organisation.")]
_Team = Annotated[str, typer.Option("--team", help="Of this team of it.")]
_User = Annotated[str, typer.Option("--user", help="Of this user.")]
_Key = Annotated[str, typer.Option("--key", help="Of this virtual key (id or name) instead.")]
_By = Annotated[
    str, typer.Option("--by", help="One for each value: key, user, model, metadata.NAME…")
]
_RATE: Final = "A rate, such as 600/minute."


@limits_app.callback()
def limits(
    context: typer.Context,
    gateway_url: flags.GatewayUrl = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show how limits and budgets stand: what is left for each key, team, model, and until when.

    Examples: `ferryman limits` · `ferryman limits --json` ·
    `ferryman limits set --organisation acme --budget 100/month`
    """
    given = locals()
    if context.invoked_subcommand is not None:
        flags.asked(given)
        return
    from ferryman.cli.api import ask_gateway

    if gateway_url:
        options = flags.asked(given)
        rows = ask_gateway(options, gateway_url, "GET", "/internal/limits", list[Limit], None)
    else:
        rows = flags.reach(given).limits()
    _show(rows, as_json=as_json)


@limits_app.command("set")
def set_limits(
    organisation: _Organisation = "",
    team: _Team = "",
    user: _User = "",
    key: _Key = "",
    by: _By = "",
    requests: Annotated[str | None, typer.Option("--requests", help=_RATE)] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", help=_RATE)] = None,
    input_tokens: Annotated[str | None, typer.Option("--input-tokens", help=_RATE)] = None,
    output_tokens: Annotated[str | None, typer.Option("--output-tokens", help=_RATE)] = None,
    parallel: Annotated[
        int | None, typer.Option("--parallel", min=1, help="Calls at work at once.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", help="USD in a period, such as 100/month; as often as wanted."),
    ] = None,
    token_budget: Annotated[
        list[str] | None,
        typer.Option("--token-budget", help="Tokens in a period, such as 1000000/day."),
    ] = None,
    carry_over: Annotated[
        bool, typer.Option("--carry-over", help="Add what is left of a period to the next one.")
    ] = False,
    increase: Annotated[
        str,
        typer.Option("--increase", help="More of the budget for a while, such as 10/2026-12-24."),
    ] = "",
    lower: Annotated[
        bool, typer.Option("--lower", help="Bring down what is set for more below it.")
    ] = False,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Set what an organisation, team, user or key may take, in place of what was set for it.

    Never more than what is set above it. Examples:
    `ferryman limits set --organisation acme --budget 100/month --requests 600/minute` ·
    `ferryman limits set --organisation acme --team red --budget 20/month` ·
    `ferryman limits set --team red --by key --budget 1/day`
    """
    from ferryman.cli.show import printable

    budgets = (*_budgets("usd", budget), *_budgets("tokens", token_budget))
    if increase and len(budgets) != 1:
        raise typer.BadParameter("--increase is for one budget.")
    more = {"carry_over": carry_over, "increase": _increase(increase, bool(budget))}
    body = LimitSet(
        by=tuple(entries([by])), requests=requests, tokens=tokens, input_tokens=input_tokens,
        output_tokens=output_tokens, parallel=parallel,
        budget=tuple(replace(each, **more) for each in budgets),
    )  # fmt: skip
    done = flags.reach(locals()).set_limits(
        body, **_whose(locals()), lower="true" if lower else None
    )
    if as_json:
        print_json(done)
        return
    typer.echo(f"{printable(done.name)}: {_told(done.limits)}.")
    for each in done.lowered:
        typer.echo(f"Brought down to that: {printable(each)}.")


@limits_app.command("list")
def list_limits(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List what is set for organisations, teams, users and keys."""
    rows = flags.reach(locals()).delegated_limits()
    if as_json:
        print_json(rows)
    else:
        _list(rows)


@limits_app.command("remove")
def remove_limits(
    organisation: _Organisation = "",
    team: _Team = "",
    user: _User = "",
    key: _Key = "",
    by: _By = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Set nothing there any more. Example: `ferryman limits remove --organisation acme`"""
    rows = flags.reach(locals()).remove_limits(**_whose(locals()), by=by)
    if as_json:
        print_json(rows)
    else:
        typer.echo("Removed. What is set above it still holds.")


def _whose(given: dict[str, Any]) -> dict[str, str]:
    return {name: given[name] for name in ("organisation", "team", "user", "key")}


def _increase(text: str, usd: bool) -> Increase | None:
    if not text:
        return None
    amount, until = _amount_and("a day, such as 10/2026-12-24", text, whole=not usd)
    if usd:
        return Increase(usd=amount, until=until)
    return Increase(tokens=int(amount), until=until)


def _budgets(unit: str, given: list[str] | None) -> Iterator[BudgetSet]:
    for text in given or ():
        amount, per = _amount_and("a period, such as 100/month", text, whole=unit == "tokens")
        if per not in get_args(Period):
            raise typer.BadParameter(f"{text!r}: {per!r} is none of {', '.join(get_args(Period))}.")
        if unit == "usd":
            yield BudgetSet(usd=amount, per=per)  # type: ignore[arg-type]
        else:
            yield BudgetSet(tokens=int(amount), per=per)  # type: ignore[arg-type]


def _amount_and(what: str, text: str, *, whole: bool) -> tuple[Decimal, str]:
    """The two sides of ``AMOUNT/WHAT``. Raises typer.BadParameter."""
    amount, slash, word = text.partition("/")
    if not slash:
        raise typer.BadParameter(f"{text!r}: write an amount and {what}.")
    with contextlib.suppress(InvalidOperation):
        number = Decimal(amount)
        if number.is_finite() and (not whole or number == int(number)):
            return number, word
    raise typer.BadParameter(f"{text!r}: {amount!r} is no {'whole ' if whole else ''}number.")


def _told(limits: LimitSet) -> str:
    said = []
    each_of = f"for each {' and '.join(limits.by)}: " if limits.by else ""
    for name in ("requests", "input_tokens", "output_tokens", "tokens"):
        rate: str | Rate | None = getattr(limits, name)
        if rate is not None:
            text = rate if isinstance(rate, str) else f"{rate.most}/{rate.per}"
            said.append(f"{name.replace('_', ' ')} {text}")
    if limits.parallel:
        said.append(f"{limits.parallel} at once")
    for each in limits.budget:
        more = " (soft)" if each.soft else ""
        more += ", carried over" if each.carry_over else ""
        if each.increase is not None:
            more += f", {_amount(each.increase)} more until {each.increase.until}"
        said.append(f"{_amount(each)} per {each.per}{more}")
    return each_of + ", ".join(said)


def _amount(of: BudgetSet | Increase) -> str:
    return f"{of.tokens} tokens" if of.usd is None else f"{of.usd} USD"


def _list(rows: list[DelegatedLimit]) -> None:
    from ferryman.cli.show import Column, console, local_time, table

    if not rows:
        typer.echo("Nothing is set. Set something: ferryman limits set --organisation NAME …")
        return
    columns = [Column("Limit", style="bold"), Column("At most"), Column("Set", drop=1),
               Column("By", drop=2)]  # fmt: skip
    body = [
        [row.name, _told(row.limits), local_time(row.changed_at), row.changed_by] for row in rows
    ]
    table(columns, body, console())


def _show(rows: list[Limit], *, as_json: bool) -> None:
    from ferryman.cli.show import Column, console, table

    if as_json:
        print_json(rows)
        return
    out = console()
    if not rows:
        out.print("Nothing counts in a limit now. Limits are set in the configuration (limits:).")
        return
    columns = [
        Column("Limit"),
        Column("Of"),
        Column("Left", right=True),
        Column("Most", right=True),
        Column("Per", drop=2),
        Column("Whole again in", right=True, drop=1),
    ]
    table(columns, [_cells(row) for row in rows], out)


def _cells(row: Limit) -> list[str]:
    from ferryman.cli.show import count, duration, money

    left, most = (
        money(str(each)) if row.measure == "usd" else count(int(each))
        for each in (row.left, row.most)
    )
    again = duration(row.resets_in_s * 1000) if row.resets_in_s else ""
    return [row.key, row.measure.replace("_", " "), left, most, row.per or "", again]
