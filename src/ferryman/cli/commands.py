"""Every command of ``ferryman``, with typer. Commands that serve replace this process."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ferryman import __version__
from ferryman.cli import flags, reports
from ferryman.cli.alerts import alerts_app
from ferryman.cli.audit import audit_app
from ferryman.cli.caching import cache_app
from ferryman.cli.configure import config_app, models_app, providers_app
from ferryman.cli.guards import guard_app
from ferryman.cli.limits import limits_app
from ferryman.cli.main import become
from ferryman.cli.pricing import prices_app
from ferryman.cli.tenants import organisations_app, teams_app
from ferryman.cli.tokens import tokens_app
from ferryman.cli.users import users_app
from ferryman.cli.vaulting import vault_app
from ferryman.config.options import OptionsError

app = typer.Typer(
    name="ferryman",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "An LLM gateway: one endpoint, every model, every token and cent accounted for.\n\n"
        "`ferryman up` starts everything on this machine. Every flag has a `FERRYMAN_*` variable."
    ),
)
keys_app = typer.Typer(
    name="keys",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Virtual keys: what callers use instead of a provider's key.",
)

_SERVE = "Serve"
_LOOK = "Manage and look (asks the running control plane)"
_TRY = "Try and check"


@app.command(rich_help_panel=_SERVE)
def up(
    host: flags.Host = None,
    port: flags.Port = None,
    uds: flags.Uds = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    admin_host: flags.AdminHost = None,
    admin_port: flags.AdminPort = None,
    admin_names: flags.AdminNames = None,
    config: flags.Config = None,
    data_dir: flags.DataDir = None,
    database_url: flags.DatabaseUrl = None,
    region: flags.Region = None,
    data_policy: flags.DataPolicy = None,
    plane: flags.Plane = None,
    workers: flags.Workers = None,
    drain: flags.Drain = None,
    strict: flags.Strict = False,
    local_model: flags.LocalModel = False,
) -> None:
    """Run the gateway and its control plane, and keep them running.

    Examples: `ferryman up` · `ferryman up --config ferryman.yaml --port 9000` ·
    `ferryman up --local-model` (no provider key needed)

    Ctrl-C or SIGTERM lets open calls finish first; a second Ctrl-C cuts them. SIGHUP reloads.
    FERRYMAN_KEY sets the first virtual key.
    """
    flags.options(**locals())
    become("ferryman.cli.supervisor")


@app.command(rich_help_panel=_SERVE)
def gateway(
    host: flags.Host = None,
    port: flags.Port = None,
    uds: flags.Uds = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    data_dir: flags.DataDir = None,
    control_url: flags.ControlUrl = None,
    admin_host: flags.AdminHost = None,
    admin_port: flags.AdminPort = None,
    region: flags.Region = None,
    data_policy: flags.DataPolicy = None,
    plane: flags.Plane = None,
    drain: flags.Drain = None,
) -> None:
    """Run the data plane alone: it serves calls, from what the control plane tells it.

    Example: `ferryman gateway --control-url https://control.example:8081`
    """
    flags.options(**locals())
    become("ferryman.edge")


@app.command(rich_help_panel=_SERVE)
def control(
    admin_host: flags.AdminHost = None,
    admin_port: flags.AdminPort = None,
    admin_names: flags.AdminNames = None,
    config: flags.Config = None,
    data_dir: flags.DataDir = None,
    database_url: flags.DatabaseUrl = None,
    strict: flags.Strict = False,
) -> None:
    """Run the control plane alone: configuration, keys, ledger, admin API.

    Example: `ferryman control --config ferryman.yaml`
    """
    flags.options(**locals())
    become("ferryman.control")


@app.command(rich_help_panel=_LOOK)
def dashboard(
    sign_out: Annotated[
        bool, typer.Option("--sign-out", help="Instead, sign out everybody who is in it.")
    ] = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Print a link that opens the dashboard. It works once, within an hour.

    Examples: `ferryman dashboard` · `ferryman dashboard --sign-out`
    """
    from ferryman.cli import ask

    client = flags.reach(locals())
    if sign_out:
        ask.sign_out(client)
    else:
        ask.link(client)


@app.command(rich_help_panel=_LOOK)
def status(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what goes on, which data planes follow, and how the ledger is.

    Examples: `ferryman status` · `watch ferryman status` · `ferryman status --json`
    """
    from ferryman.cli import status as standing

    standing.run(flags.reach(locals()), as_json=as_json)


@app.command(
    rich_help_panel=_TRY,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def simulator(ctx: typer.Context) -> None:
    """Run a provider simulator, for trying things without a provider (see its own --help)."""
    become("ferryman.simulator", *ctx.args)


@app.command(rich_help_panel=_TRY)
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ferryman.yaml to check.")],
    strict: flags.Strict = False,
    as_json: flags.AsJson = False,
) -> None:
    """Check a configuration file: every mistake, with its line and the right form.

    Exit code: 0 good, 1 wrong. Example: `ferryman check ferryman.yaml --strict`
    """
    from ferryman.cli import checking

    raise typer.Exit(checking.run(file, strict=strict, as_json=as_json))


@app.command(rich_help_panel=_TRY)
def schema() -> None:
    """Print the JSON Schema of ferryman.yaml, for editors.

    Example: `ferryman schema > ferryman.schema.json`
    """
    from ferryman.config.schema import text

    typer.echo(text().rstrip())


@app.command(rich_help_panel=_TRY)
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command(rich_help_panel=_SERVE)
def migrate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            envvar="FERRYMAN_MIGRATE_TO",
            help="An empty database: postgresql://user:password@host/name.",
        ),
    ],
    data_dir: flags.DataDir = None,
    database_url: flags.DatabaseUrl = None,
) -> None:
    """Move everything from SQLite to PostgreSQL, while the gateway serves on.

    All or nothing, compared at the end. Until then keys can't be changed and the journal waits;
    the control plane then goes on with the new database by itself.

    Examples: `ferryman migrate postgresql://ferryman@db.internal/ferryman` ·
    `FERRYMAN_MIGRATE_TO=postgresql://… ferryman migrate` (keeps the password out of `ps`)
    """
    from ferryman.cli import migrate as migrating

    options = flags.options(data_dir=data_dir, database_url=database_url)
    raise typer.Exit(migrating.run(options, target))


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What it is for: a person, an application.")],
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="WHEN", help="30d, 12h, 2026-12-31. Default: never."),
    ] = None,
    organisation: flags.Organisation = None,
    team: flags.Team = None,
    user: flags.User = None,
    tag: flags.Tag = None,
    models: flags.Models = None,
    providers: flags.Providers = None,
    endpoints: flags.Endpoints = None,
    regions: flags.Regions = None,
    require: flags.Require = None,
    tags: flags.Tags = None,
    networks: flags.Networks = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Make a key and show it, once. It works within a second.

    Examples: `ferryman keys create web-shop` · `ferryman keys create anna --expires 30d` ·
    `ferryman keys create bot --team research --tag batch` ·
    `ferryman keys create ci --models 'lab/*' --endpoints chat,embeddings --from 10.0.0.0/8`
    """
    from ferryman.cli import ask

    facts = ask.facts(organisation, team, user, tag) | ask.bounds(
        models, providers, endpoints, regions, require, tags, networks
    )
    ask.create_key(flags.reach(locals()), name, expires, facts, as_json=as_json)


@keys_app.command("set")
def keys_set(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id or name.")],
    organisation: flags.Organisation = None,
    team: flags.Team = None,
    user: flags.User = None,
    tag: flags.Tag = None,
    models: flags.Models = None,
    providers: flags.Providers = None,
    endpoints: flags.Endpoints = None,
    regions: flags.Regions = None,
    require: flags.Require = None,
    tags: flags.Tags = None,
    networks: flags.Networks = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Say anew whose a key is, and what its calls are held to; it holds within a second.

    What is not given stays; an empty text takes it away. Tags, and entries of a bound, are given
    all at once, with commas between or one by one.

    Examples: `ferryman keys set anna --team research --user anna@example.org` ·
    `ferryman keys set anna --team ''` · `ferryman keys set anna --regions eu --require hipaa`
    """
    from ferryman.cli import ask

    facts = ask.facts(organisation, team, user, tag) | ask.bounds(
        models, providers, endpoints, regions, require, tags, networks
    )
    ask.set_key(flags.reach(locals()), key, facts, as_json=as_json)


@keys_app.command("rotate")
def keys_rotate(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id or name.")],
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="TIME", help="How long the old one works on: 1d.")
    ] = "1h",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Replace a key by a new one of the same name and owner, and show it, once.

    What limits by key have counted for the old one is not counted for the new one.

    Examples: `ferryman keys rotate web-shop` · `ferryman keys rotate web-shop --overlap 7d`
    """
    from ferryman.cli import ask

    ask.rotate_key(flags.reach(locals()), key, overlap, as_json=as_json)


@keys_app.command("list")
def keys_list(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List the keys (never the secrets: only keyed hashes are kept)."""
    from ferryman.cli import ask

    ask.list_keys(flags.reach(locals()), as_json=as_json)


@keys_app.command("revoke")
def keys_revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id or name.")],
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Revoke a key for good. It stops working within a second; what it used stays in the ledger.

    Example: `ferryman keys revoke web-shop`
    """
    from ferryman.cli import ask

    ask.revoke_key(flags.reach(locals()), key, as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def calls(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
    key: Annotated[str | None, typer.Option("--key", help="Only this key (id or name).")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only this HTTP status, such as 429, or `lost`.")
    ] = None,
    request_id: Annotated[
        str | None, typer.Option("--request-id", help="Only the call with this id.")
    ] = None,
    since: flags.Since = None,
    until: flags.Until = None,
    failed: flags.Failed = False,
    text: flags.Text = None,
    min_seconds: flags.MinSeconds = None,
    min_usd: flags.MinUsd = None,
    guard: flags.Guard = None,
    min_score: flags.MinScore = None,
    max_score: flags.MaxScore = None,
    where: flags.Where = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List single calls, newest first; `ferryman trace` shows one.

    Examples: `ferryman calls` · `ferryman calls --status 429 --limit 50` ·
    `ferryman calls --where task=summarise --where end_user=ada` ·
    `ferryman calls --since 1d --failed --min-seconds 10 --where cache=miss` ·
    `ferryman calls --json | jq '.[] | .cost_usd'`
    """
    from ferryman.cli import ask

    given = dict(locals())
    names = ("limit", "key", "model", "status", "request_id", *flags.NARROWING)
    query = {name: given[name] for name in names} | flags.chosen(where)
    query["failed"] = "true" if failed else None
    ask.show_calls(flags.reach(given), query, as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def trace(
    ident: Annotated[
        str, typer.Argument(metavar="[ID]", help="The call's id, or the one its provider gave it.")
    ] = "",
    run: Annotated[
        str, typer.Option("--run", metavar="RUN", help="All calls of this run, as a tree.")
    ] = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show one call: who came into question, what was tried, when, and what came of it.

    ID is the reply's header x-ferryman-request-id, or the provider's own x-request-id.
    --run takes a run's name, or the id of one of the calls that belong together.

    Examples: `ferryman trace req_…` · `ferryman trace --run nightly-7` ·
    `ferryman trace req_… --json | jq '.tries[] | .first_byte_us'`
    """
    from ferryman.cli import trace as tracing

    if bool(ident) == bool(run):
        raise typer.BadParameter("give an ID, or --run RUN.")
    api = flags.reach(locals())
    if run:
        tracing.run(api, run, as_json=as_json)
    else:
        tracing.trace(api, ident, as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def content(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The call's id.")],
    team: Annotated[str, typer.Option("--team", help="Only if the call was this team's.")] = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what a call's caller sent and got, where the configuration has it kept.

    Example: `ferryman content req_…`
    """
    from ferryman.cli import content as contents

    contents.show(flags.reach(locals()), request_id, team, as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def explain(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="A request's JSON; - reads standard input.")
    ] = "",
    model: Annotated[str, typer.Option("--model", help="The model, instead of the file's.")] = "",
    path: Annotated[
        str, typer.Option("--path", help="Where it would be sent. Default: as the JSON looks.")
    ] = "",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="'name: value', as often as wanted.")
    ] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="ID", help="As if sent with this virtual key.")
    ] = "",
    gateway_url: flags.GatewayUrl = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what would become of a request, without calling anyone: policies, targets, who rests.

    Examples: `ferryman explain request.json` · `ferryman explain --model fast` ·
    `ferryman explain - -H 'x-ferryman-tags: batch' < request.json`
    """
    from ferryman.cli import explain as explaining

    explaining.run(
        flags.asked(locals()), gateway_url or "", file=file, model=model, path=path,
        headers=header or (), key=key, as_json=as_json,
    )  # fmt: skip


@app.command(rich_help_panel=_LOOK)
def journal(
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what waits to be taken into the ledger, what of it is damaged, and what was met so far.

    Examples: `ferryman journal` · `ferryman journal --json`
    """
    from ferryman.cli import journal as journals

    journals.run(flags.reach(locals()), as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def api(
    method: Annotated[str, typer.Argument(help="GET, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(help="Below /api/v1, such as /latencies.")],
    query: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Parameters.")
    ] = None,
    body: Annotated[
        str, typer.Option("--body", metavar="FILE", help="JSON; - reads standard input.")
    ] = "",
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Ask the admin API anything that has no command of its own, and print what it answers.

    Examples: `ferryman api GET /latencies by=model since=7d` · `ferryman api GET /models text=mini`
    · `ferryman api PUT /views/dear --body view.json`
    """
    from ferryman.cli import asking

    asking.run(flags.reach(locals()), method, path, flags.chosen(query), body)


for report in (reports.usage, reports.export, reports.reconcile):
    app.command(rich_help_panel=_LOOK)(report)
for group in (
    keys_app, tokens_app, users_app, organisations_app, teams_app, limits_app, audit_app,
    vault_app, alerts_app, prices_app, cache_app, guard_app, config_app, models_app, providers_app,
):  # fmt: skip
    app.add_typer(group, rich_help_panel=_LOOK)


def run() -> int:
    """Run the command in ``sys.argv``. Returns the exit code."""
    from ferryman.client import ApiError

    try:
        app(prog_name="ferryman")
    except (OptionsError, ApiError) as error:
        sys.stderr.write(f"ferryman: {error}\n")
        return 2 if isinstance(error, OptionsError) else 1
    return 0
