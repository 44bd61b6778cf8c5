"""docs/reports.md: its example is run; exports in every form, and bills of every form."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.flow.test_costs_page import FERRYMAN, finding
from tests.flow.test_docs import answers, needs_curl
from tests.gateway import KEY, Stack
from tests.meter.focus_spec import violations
from tests.test_readme import blocks

PAGE = "docs/reports.md"
TODAY = datetime.now(UTC).date().isoformat()


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    [config] = blocks("yaml", PAGE)
    config = config.replace("http://127.0.0.1:8090", "SIM")
    config += """  cheap: openai/gpt-4o-mini
"""
    config = config.replace(
        "  lab:", '  openai: { base_url: "SIM/v1", key: sk, discount: 10% }\n  lab:'
    )
    with Stack(tmp_path_factory.mktemp("reports"), config).served() as running:
        yield running


def ferryman(stack: Stack, folder: Path, *command: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ferryman", *command], env=finding(stack), cwd=folder,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def rows(path: Path) -> list[dict[str, str | None]]:
    with path.open(newline="") as file:
        return [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]


@needs_curl
def test_the_example(reported: Stack, tmp_path: Path) -> None:
    [command] = blocks("sh", PAGE)
    [shown] = blocks("text", PAGE)
    command = command.replace("http://127.0.0.1:8080", reported.url)
    command = re.sub(r"^ferryman ", f"{FERRYMAN} ", command, flags=re.M)
    done = subprocess.run(
        ["sh", "-ec", command], env=finding(reported, FERRYMAN_KEY=KEY), cwd=tmp_path,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert answers(re.sub(r"[\s─]+", " ", shown), re.sub(r"[\s─]+", " ", done.stdout))
    charges = rows(tmp_path / "charges.csv")
    assert violations(list(charges[0]), charges) == []
    assert {row["Tags"] for row in charges} == {
        '{"task":"summarise","end_user":"ada"}', '{"task":"answer","end_user":"ada"}',
    }  # fmt: skip
    assert sum(Decimal(row["BilledCost"] or "") for row in charges) == Decimal("0.000603")
    table = parquet.read_table(tmp_path / "calls.parquet")
    assert table.column("end_user").to_pylist() == ["ada"] * 3
    assert table.column("tokens_output").to_pylist() == [100] * 3
    assert sum(table.column("cost_usd").to_pylist()) == Decimal("0.000603")
    assert table.schema.field("time").type == pa.timestamp("us", "UTC")


def test_every_form_has_the_same_rows(reported: Stack, tmp_path: Path) -> None:
    for number in range(3):
        reported.chat("cheap", user="=cmd()", headers={"x-ferryman-tags": f"t{number}"})
    for name in ("calls.csv", "calls.jsonl", "calls.parquet"):
        ferryman(reported, tmp_path, "export", "calls", name, "--where", "model=cheap")
    listed = rows(tmp_path / "calls.csv")
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    table = parquet.read_table(tmp_path / "calls.parquet").to_pylist()
    assert len(listed) == len(lines) == len(table) == 3
    assert [row["request_id"] for row in lines] == [row["request_id"] for row in table]
    assert [row["request_id"] for row in lines] == [row["request_id"] for row in listed]
    assert {row["end_user"] for row in listed} == {"'=cmd()"}, "no formula for a spreadsheet"
    assert [row["tags"] for row in table] == ['["t0"]', '["t1"]', '["t2"]']
    assert [Decimal(row["cost_usd"]) for row in lines] == [row["cost_usd"] for row in table]
    printed = ferryman(reported, tmp_path, "export", "calls", "-", "--where", "tag=t1")
    assert len(printed.splitlines()) == 2

    ferryman(reported, tmp_path, "export", "focus", "f.parquet", "--period", "hour",
             "--where", "model=cheap")  # fmt: skip
    charges = parquet.read_table(tmp_path / "f.parquet").to_pylist()
    assert len(charges) == 6, "input and output of three tags"
    for row in charges:
        assert row["ListUnitPrice"] > row["ContractedUnitPrice"]
        assert row["ContractedCost"] * 10 == row["ListCost"] * 9
    assert sum(row["BilledCost"] for row in charges) == sum(row["cost_usd"] for row in table)

    ferryman(reported, tmp_path, "usage", "--by", "tag,day", "--parquet", "u.parquet")
    sums = parquet.read_table(tmp_path / "u.parquet").to_pylist()
    assert {row["tag"]: row["calls"] for row in sums if row["tag"]} == {"t0": 1, "t1": 1, "t2": 1}
    ferryman(reported, tmp_path, "export", "calls", "x.txt", code=1)
    assert not (tmp_path / "x.txt").exists()
    wrong = ferryman(reported, tmp_path, "export", "calls", "x.csv", "--where", "a=b", code=1)
    assert "There is no parameter 'a'" in wrong
    assert not list(tmp_path.glob(".*"))


@pytest.fixture(scope="module")
def billed(reported: Stack) -> dict[str, Any]:
    """What the ledger has of a model that others bill."""
    for _ in range(4):
        reported.chat("lab/sim?cached=3&tokens=50")
    query = "by=target&target=sim%3Fcached%3D3%26tokens%3D50"
    [row] = reported.admin("GET", f"/api/v1/usage?{query}").json()["data"]
    found: dict[str, Any] = row
    return found


def bill(path: Path, text: str) -> str:
    path.write_text(text)
    return path.name


def test_bills_of_known_forms_are_compared(
    reported: Stack, billed: dict[str, Any], tmp_path: Path
) -> None:
    tokens, model = billed["tokens"], "sim?cached=3&tokens=50"
    start = int(datetime.fromisoformat(TODAY).replace(tzinfo=UTC).timestamp())
    whole = tokens["input"] + tokens["cache_read"]
    openai = "start_time,end_time,model,num_model_requests,input_tokens,output_tokens,"
    openai += f"input_cached_tokens\n{start},{start + 86400},{model},"
    good = f"4,{whole},{tokens['output']},{tokens['cache_read']}\n"
    anthropic = (
        "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_output_tokens,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_read\n"
        f"{TODAY},Sim?Cached=3 & Tokens=50,{tokens['input']},{tokens['output']},0,"
        f"{tokens['cache_read']}\n"
    )
    for text, form in ((openai + good, "openai usage"), (anthropic, "anthropic usage")):
        found = _compared(reported, tmp_path, bill(tmp_path / "b.csv", text))
        assert found["form"] == form
        mine = [row for row in found["data"] if row["model"] == "sim-cached-3-tokens-50"]
        assert len(mine) == 4
        assert [row for row in mine if row["beyond"]] == []
    more = openai + f"5,{whole},{tokens['output'] * 2},{tokens['cache_read']}\n"
    found = _compared(reported, tmp_path, bill(tmp_path / "b.csv", more), code=1)
    beyond = [row for row in found["data"] if row["beyond"] and row["model"].startswith("sim-ca")]
    assert [row["what"] for row in beyond] == ["calls", "output"]
    assert "did not come through here" in beyond[0]["reasons"][0]


def _compared(stack: Stack, folder: Path, name: str, *more: str, code: int | None = None) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "ferryman", "reconcile", name, "--provider", "lab", "--json", *more],
        env=finding(stack), cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert done.returncode == int(any(row["beyond"] for row in found["data"]))
    assert code is None or done.returncode == code
    return found


def test_likely_reasons_are_told(reported: Stack, tmp_path: Path) -> None:
    reported.chat("lab/sim?tokens=100")
    reported.stream("lab/sim-cut?at=6&tokens=12")
    query = "/api/v1/usage?by=target&target=sim%3Ftokens%3D100"
    [row] = reported.admin("GET", query).json()["data"]
    tokens, cost = row["tokens"], Decimal(row["cost_usd"])
    text = "d,m,c,i,o\n"
    text += f"{TODAY},sim?tokens=100,${cost * 10000 + 1:,},{tokens['input']},{tokens['output']}\n"
    text += f"{TODAY},sim-cut?at=6&tokens=12,1.0,9,9\n{TODAY},unheard-of,2,1,1\n"
    columns = [
        f"--column={each}" for each in ("date=d", "model=m", "cost=c", "input=i", "output=o")
    ]
    found = _compared(reported, tmp_path, bill(tmp_path / "b.csv", text), *columns, code=1)
    why = {(each["model"], each["what"]): " ".join(each["reasons"]) for each in found["data"]}
    assert "the same tokens at another price" in why["sim-tokens-100", "cost"]
    assert "1 calls whose usage nobody told" in why["sim-cut-at-6-tokens-12", "cost"]
    assert "no such calls in the ledger" in why["unheard-of", "cost"]
    shown = ferryman(
        reported, tmp_path, "reconcile", "b.csv", "--provider", "lab", *columns, code=1
    )
    assert "unheard-of" in shown
    assert "differ by more than 1 %" in shown


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("a,b\n1,2\n", (), "Name its columns"),
        ("", (), "Name its columns"),
        ("d,c\nsoon,1\n", ("date=d", "cost=c"), "line 2: 'soon' is no date"),
        ("d,c\n2026-11-01,much\n", ("date=d", "cost=c"), "line 2: 'much' in 'c' is no number"),
        ("d,c\n2026-11-01,NaN\n", ("date=d", "cost=c"), "is no number"),
        ("d,c\n", ("date=d", "cost=c"), "has no rows"),
        ("d,c\n", ("date=d", "cost=x"), "There is no column 'x'"),
        ("d,c\n", ("date=d", "price=c"), "'price' is nothing to compare"),
        ("d,c\n", ("date=d",), "Name the columns"),
        ("d,c\n", ("cost=c",), "Name the columns"),
    ],
)
def test_bills_that_cannot_be_read_are_explained(
    reported: Stack, tmp_path: Path, text: str, more: tuple[str, ...], said: str
) -> None:
    name = bill(tmp_path / "b.csv", text)
    columns = [f"--column={each}" for each in more]
    told = ferryman(reported, tmp_path, "reconcile", name, "--provider", "lab", *columns, code=1)
    assert said in told
    assert "Traceback" not in told
