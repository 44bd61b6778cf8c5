"""``ferryman guard``: how right guards are, measured on data of your own."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from ferryman.cli.output import print_json
from ferryman.client import ApiError

if TYPE_CHECKING:
    from ferryman.config.guard_row import Guard
    from ferryman.guard.evaluation import Figures, Sample, Share

guard_app: Final = typer.Typer(name="guard", rich_markup_mode="markdown", no_args_is_help=True)


@guard_app.callback()
def guard() -> None:
    """Measure how right guards are, on texts of which it is known what they are."""


@guard_app.command("eval")
def evaluate(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA.jsonl", help='Lines such as {"text": "…", "label": true}.'),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="The file whose guards are measured. Default: the kinds "
            "pii, secrets and injection as they are.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--guard", help="Only this guard.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Measure precision, recall, false-positive rate and time of guards on labelled texts.

    `label` says whether something should be found; `at` (request, reply or tools) where the text
    stands. Rates come with 95 % intervals by Wilson's method. Nothing is sent anywhere.

    Example: `ferryman guard eval prompts.jsonl --config ferryman.yaml --guard takeover`
    """
    from ferryman.guard.evaluation import evaluated

    guards = _guards(config, name)
    found = evaluated(guards, _samples(data))
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        _draw(found)


def _guards(config: Path | None, name: str) -> "list[Guard]":
    from ferryman.config.file import load
    from ferryman.config.guard_row import Guard
    from ferryman.guard.engine import REMOTE

    if config is None:
        guards = [Guard(name=kind, kind=kind) for kind in ("pii", "secrets", "injection")]
    else:
        loaded = load(config)
        if loaded.errors:
            raise ApiError(f"{config} has mistakes. See: ferryman check {config}")
        guards = list(loaded.config.guards)
    # Those of calls say nothing of texts, and nothing is sent anywhere.
    texts = [each for each in guards if each.kind not in ("metadata", "models", *REMOTE)]
    chosen = [each for each in texts if name in ("", each.name)]
    if not chosen:
        known = ", ".join(each.name for each in texts) or "none"
        raise ApiError(f"There is no guard of texts called {name!r}. Guards are: {known}.")
    return chosen


def _samples(data: Path) -> "Iterator[Sample]":
    from ferryman.guard.evaluation import Sample

    decoder = msgspec.json.Decoder(Sample)
    try:
        with data.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _checked(decoder, line, f"{data}:{number}")
    except OSError as error:
        raise ApiError(f"Can't read {data}: {error.strerror}.") from None


def _checked(decoder: "msgspec.json.Decoder[Sample]", line: bytes, place: str) -> "Sample":
    try:
        sample = decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ApiError(f'{place}: {error}. Example: {{"text": "Hello", "label": false}}') from None
    if sample.at not in ("", "request", "reply", "tools"):
        raise ApiError(f"{place}: `at` is request, reply or tools.")
    return sample


def _draw(figures: "list[Figures]") -> None:
    from ferryman.cli.show import Column, console, table

    columns = [
        Column("Guard"), Column("Kind", drop=2), Column("Precision"), Column("Recall"),
        Column("False positives"), Column("ms (median, 99 %)", drop=1),
    ]  # fmt: skip
    rows = [
        (
            each.guard,
            each.kind,
            _share(each.precision),
            _share(each.recall),
            _share(each.false_positive_rate),
            f"{each.ms:.2f}, {each.ms_99:.2f}",
        )
        for each in figures
    ]
    table(columns, rows, console())


def _share(share: "Share") -> str:
    if share.value is None:
        return "–"
    return f"{share.value:.3f} ({share.low:.3f}–{share.high:.3f}) of {share.of}"
