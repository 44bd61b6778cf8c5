"""``ferryman config``, ``models``, ``providers``: the commands that change what is running."""

from pathlib import Path
from typing import Annotated, Final

import typer

from ferryman.cli import flags


def _group(name: str, text: str) -> typer.Typer:
    return typer.Typer(name=name, no_args_is_help=True, rich_markup_mode="markdown", help=text)


config_app: Final = _group("config", "The configuration in force: look, change, go back.")
models_app: Final = _group("models", "Change one model name of your own, at once.")
providers_app: Final = _group("providers", "Change one provider, at once.")

Check = Annotated[bool, typer.Option("--check", help="Say what would change; change nothing.")]
Expect = Annotated[
    int | None,
    typer.Option("--expect", metavar="N", help="Only if version N is in force (see history)."),
]
Note = Annotated[str, typer.Option("--note", help="Why; kept with the version.")]
Name = Annotated[str, typer.Argument(help="Its name.")]


@config_app.command("show")
def show(
    version: Annotated[
        int | None, typer.Argument(metavar="[N]", help="A version. Default: the one in force.")
    ] = None,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Print the configuration as YAML, and which of it does not stand in the file.

    Keys that were written out are shown sealed: `apply` takes them back. Examples:
    `ferryman config show` · `ferryman config show 7 > old.yaml`
    """
    from ferryman.cli import changes

    changes.show(flags.reach(locals()), version, as_json=as_json)


@config_app.command("diff")
def diff(
    old: Annotated[
        str, typer.Argument(metavar="FILE|N", help="A file, or the number of a version.")
    ],
    new: Annotated[
        int | None, typer.Argument(metavar="[M]", help="A later version. Default: in force.")
    ] = None,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Show what applying FILE would change, or what has changed since version N.

    Exit code: 0 nothing, 1 something. Examples: `ferryman config diff new.yaml` ·
    `ferryman config diff 7` · `ferryman config diff 7 9`
    """
    from ferryman.cli import changes

    raise typer.Exit(changes.diff(flags.reach(locals()), old, new))


@config_app.command("apply")
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A whole configuration; - = stdin.")],
    check: Check = False,
    expect: Expect = None,
    note: Note = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Let FILE hold from now on, in place of all that is in force. No call is dropped.

    Exit code: 0 applied, 1 refused. Examples: `ferryman config apply new.yaml --check` ·
    `ferryman config apply new.yaml --note "second provider"`
    """
    from ferryman.cli import changes

    changes.apply(flags.reach(locals()), file, changes.terms(locals()))


@config_app.command("history")
def history(
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="How many.")] = 20,
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """List the versions, newest first: when, by whom, what, why.

    Example: `ferryman config history`
    """
    from ferryman.cli import changes

    changes.history(flags.reach(locals()), limit, as_json=as_json)


@config_app.command("rollback")
def rollback(
    version: Annotated[int, typer.Argument(metavar="N", help="The version to go back to.")],
    check: Check = False,
    expect: Expect = None,
    note: Note = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Let version N hold again. That makes a new version; nothing is forgotten.

    Example: `ferryman config rollback 7`
    """
    from ferryman.cli import changes

    changes.rollback(flags.reach(locals()), version, changes.terms(locals()))


@config_app.command("reset")
def reset(
    check: Check = False,
    expect: Expect = None,
    note: Note = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Forget what was changed here: the file alone holds again.

    Example: `ferryman config reset --check`
    """
    from ferryman.cli import changes

    changes.change(
        flags.reach(locals()),
        "DELETE",
        "",
        None,
        changes.terms(locals()),
    )


@models_app.command("set")
def set_model(
    name: Name,
    targets: Annotated[
        str | None, typer.Option("--targets", help="provider/model, with commas between.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="target=number, with commas between; without number: 1."),
    ] = None,
    strategy: Annotated[str | None, typer.Option("--strategy", help="See docs/routing.md.")] = None,
    fallbacks: Annotated[
        str | None, typer.Option("--fallbacks", help="Other models, with commas between.")
    ] = None,
    check: Check = False,
    expect: Expect = None,
    note: Note = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Make a model, or change what is given of one: the rest of it stays.

    Examples: `ferryman models set fast --targets lab/a,lab/b --strategy weighted` ·
    `ferryman models set fast --weights lab/a=9,lab/b=1`
    """
    from ferryman.cli import changes

    changes.set_entry(
        flags.reach(locals()),
        f"models/{name}",
        changes.model(targets, weights, strategy, fallbacks),
        changes.terms(locals()),
    )


@providers_app.command("set")
def set_provider(
    name: Name,
    base_url: Annotated[str | None, typer.Option("--base-url", metavar="URL")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="env:NAME or file:/path; several for several keys."),
    ] = None,
    api_format: Annotated[str | None, typer.Option("--format", help="Its API format.")] = None,
    auth: Annotated[str | None, typer.Option("--auth", help="How the key is sent.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="A label of your own.")] = None,
    check: Check = False,
    expect: Expect = None,
    note: Note = "",
    as_json: flags.AsJson = False,
    data_dir: flags.AskDataDir = None,
    control_url: flags.AskUrl = None,
    admin_host: flags.AskHost = None,
    admin_port: flags.AskPort = None,
) -> None:
    """Make a provider, or change what is given of one: the rest of it stays.

    Variables are those of the gateway's environment. Examples:
    `ferryman providers set lab --base-url http://10.0.0.7:8000/v1 --auth none` ·
    `ferryman providers set openai --key file:/run/secrets/a --key file:/run/secrets/b`
    """
    from ferryman.cli import changes

    changes.set_entry(
        flags.reach(locals()),
        f"providers/{name}",
        changes.provider(key or [], base_url=base_url, format=api_format, auth=auth, region=region),
        changes.terms(locals()),
    )


def _remove(section: str, group: typer.Typer) -> None:
    @group.command("remove")
    def remove(
        name: Name,
        check: Check = False,
        expect: Expect = None,
        note: Note = "",
        as_json: flags.AsJson = False,
        data_dir: flags.AskDataDir = None,
        control_url: flags.AskUrl = None,
        admin_host: flags.AskHost = None,
        admin_port: flags.AskPort = None,
    ) -> None:
        """Take it away. Calls that are under way end as they began."""
        from ferryman.cli import changes

        changes.change(
            flags.reach(locals()),
            "DELETE",
            f"{section}/{name}",
            None,
            changes.terms(locals()),
        )


_remove("models", models_app)
_remove("providers", providers_app)
