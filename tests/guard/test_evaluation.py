"""Figures of guards on labelled texts, and the command that gives them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ferryman.cli.commands import app
from ferryman.client import ApiError
from ferryman.config.guard_row import Guard
from ferryman.guard.evaluation import Sample, evaluated, share

SAMPLES = [
    Sample("Write to ann@example.org", True),
    Sample("My number, spelled out: two one two", True),
    Sample("Nothing at all", False),
    Sample("It is 10.1.2.3, the version", False),
]


def test_figures_are_counted() -> None:
    [found] = evaluated([Guard(name="pii", kind="pii", action="block")], SAMPLES)
    assert (found.found, found.missed, found.wrong, found.passed) == (1, 1, 1, 1)
    assert (found.recall.value, found.precision.value) == (0.5, 0.5)
    assert found.ms_99 >= 0


def test_the_interval_is_wilsons() -> None:
    found = share(81, 263)  # the example of Newcombe 1998, table I: 0.2553 to 0.3662
    assert (round(found.low or 0, 4), round(found.high or 0, 4)) == (0.2553, 0.3662)
    assert share(0, 0).value is None
    assert share(0, 20).low == 0.0


def test_the_command(tmp_path: Path) -> None:
    data, config = tmp_path / "data.jsonl", tmp_path / "ferryman.yaml"
    lines = [{"text": s.text, "label": s.label} for s in SAMPLES]
    data.write_text("\n".join(map(json.dumps, lines)) + "\n")
    config.write_text("guards:\n  mails: { kind: pii, entities: [email], action: block }\n")
    run = CliRunner().invoke
    said = run(app, ["guard", "eval", str(data), "--config", str(config), "--json"])
    [found] = json.loads(said.stdout)
    assert (found["guard"], found["found"], found["wrong"], found["passed"]) == ("mails", 1, 0, 2)
    table = run(app, ["guard", "eval", str(data)]).stdout
    assert "0.500 (0.095–0.905) of 2" in table
    data.write_text('{"text": "x"}')
    for arguments, why in (
        ([str(data)], "data.jsonl:1: Object missing required field `label`"),
        ([str(data), "--guard", "none"], "There is no guard of texts called 'none'"),
        ([str(tmp_path / "no.jsonl")], "Can't read"),
    ):
        failed = run(app, ["guard", "eval", *arguments])
        assert isinstance(failed.exception, ApiError)
        assert why in str(failed.exception)


@pytest.mark.parametrize("at", ["request", "reply"])
def test_a_sample_says_where_it_stands(at: str) -> None:
    guard = Guard(name="short", kind="length", most=10, at=("reply",))
    [found] = evaluated([guard], [Sample("more than ten", True, at)])
    assert found.found == 1


def test_guards_of_languages_are_measured_like_others() -> None:
    samples = [
        Sample("Wann legt die Fähre heute Abend ab?", True),
        Sample("When does the ferry leave tonight?", False),
        Sample("Paris, Lyon, Nice", False),
    ]
    [found] = evaluated([Guard(name="tongue", kind="language", allow=("en",))], samples)
    assert (found.found, found.missed, found.wrong, found.passed) == (1, 0, 0, 2)
