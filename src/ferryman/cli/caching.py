"""``ferryman cache``: what is kept of answers and what that saves; and how to be rid of it."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from ferryman.cli import flags
from ferryman.cli.output import print_json

if TYPE_CHECKING:
    from rich.console import Console

    from ferryman.client.documents import CacheState

cache_app: Final = typer.Typer(name="cache", rich_markup_mode="markdown")


@cache_app.callback(invoke_without_command=True)
def cache(
    ctx: typer.Context,
    gateway_url: flags.GatewayUrl = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what is kept of answers, what came of it, and what it saved; or `clear` it.

    Examples: `ferryman cache` · `ferryman cache --json` · `ferryman cache clear --model fast`
    """
    from ferryman.cli.api import ask_gateway, control_plane
    from ferryman.cli.show import console
    from ferryman.client.documents import CacheState

    options = flags.asked(locals())
    if ctx.invoked_subcommand is not None:
        return
    said: CacheState
    if gateway_url:
        said = ask_gateway(options, gateway_url, "GET", "/internal/cache", CacheState, None)
    else:
        said = control_plane(options).cache()
    if as_json:
        print_json(said)
    else:
        _draw(said, console())


@cache_app.command("clear")
def clear(
    key: Annotated[
        str | None, typer.Option("--key", help="Only answers of this key (id or name).")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Only of this model, as callers ask for it.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="Only of this namespace of callers.")
    ] = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Forget answers of the cache, at every gateway, within a second.

    Without an option, all of them; with several, those that all options are about. Answers that are
    kept for an Idempotency-Key stay. Examples: `ferryman cache clear` ·
    `ferryman cache clear --key ci --namespace nightly`
    """
    said = flags.reach(locals()).clear_cache(key=key, model=model, namespace=namespace)
    if as_json:
        print_json(said)
        return
    chosen = [f"{name} {value}" for name, value in said.cleared.items() if value]
    typer.echo(f"Cleared: answers of {', '.join(chosen)}." if chosen else "Cleared: all answers.")


def _draw(said: "CacheState", out: "Console") -> None:
    from ferryman.cli.show import UNKNOWN, Column, count, money, table

    columns = [Column("Kept"), Column("Where"), Column("Answers", right=True)]
    columns += [Column("MB", right=True), Column("Most", right=True, drop=1)]
    rows = []
    for kept, title in ((said.cache, "Cache"), (said.idempotency, "Idempotency-Keys")):
        known = kept.answers is not None
        most = f"{kept.most / 1e6:.0f}" if kept.most else ""
        rows.append([
            title, kept.store, count(kept.answers) if known else UNKNOWN,
            f"{(kept.bytes or 0) / 1e6:.1f}" if known else UNKNOWN, most,
        ])  # fmt: skip
    table(columns, rows, out)
    calls = [f"{count(number)} {how}" for how, number in said.calls.items()]
    out.print(f"\nCalls since the gateway's start: {', '.join(calls) or 'none'}.")
    out.print(f"Saved since then: {money(said.saved_usd)}. `ferryman usage` knows of before.")
