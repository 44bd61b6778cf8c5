"""``docs/configuration.md`` leaves nothing out, and its examples work."""

import re
from pathlib import Path

import pytest

from ferryman.config import (
    alert_grammar,
    cache_grammar,
    content_grammar,
    filter_grammar,
    grammar,
    group_grammar,
    guard_grammar,
    identity,
    ledger_grammar,
    limit_grammar,
    residency,
    route_grammar,
    telemetry_grammar,
)
from ferryman.config.check import report
from ferryman.config.file import load
from ferryman.config.limit import QUEUE
from ferryman.config.pooling import POOLED
from ferryman.config.pricing_grammar import LONG, PRICES
from ferryman.config.probing import PROBE
from ferryman.config.shapes import Key, Table

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

SECTIONS = {
    "The file": grammar.FILE,
    "Providers": grammar.PROVIDER,
    "Model facts": filter_grammar.FACTS,
    "Prices": PRICES,
    "Long inputs": LONG,
    "Pooled key": POOLED,
    "Queue": QUEUE,
    "Probe": PROBE,
    "Models": grammar.MODEL,
    "Affinity": route_grammar.AFFINITY,
    "Policies": grammar.POLICY,
    "Filter": filter_grammar.FILTER,
    "Residency": residency.RESIDENCE,
    "Max price": filter_grammar.MAX_PRICE,
    "Storing": content_grammar.STORING,
    "Set": grammar.SET,
    "Policy timeouts": grammar.POLICY_TIMEOUTS,
    "Limits": limit_grammar.LIMIT,
    "Rate": limit_grammar.RATE,
    "Budget": limit_grammar.BUDGET,
    "Increase": limit_grammar.INCREASE,
    "Alerts": alert_grammar.ALERTS,
    "Alert channels": alert_grammar.CHANNEL,
    "E-mail": alert_grammar.EMAIL,
    "Alert rules": alert_grammar.RULE,
    "Server": grammar.SERVER,
    "Timeouts": grammar.TIMEOUTS,
    "Responses": cache_grammar.RESPONSES,
    "Cache": cache_grammar.CACHE,
    "Idempotency": cache_grammar.IDEMPOTENCY,
    "Content": content_grammar.CONTENT,
    "Guards": guard_grammar.TABLE,
    "Identity": identity.TABLE,
    "Issuers": identity.ISSUER,
    "Claims": identity.CLAIMS,
    "Sign-in": identity.SIGN_IN,
    "Directory": identity.DIRECTORY,
    "Group": group_grammar.GROUP,
    "Logs": content_grammar.LOGS,
    "Sink": content_grammar.SINK,
    "Ledger": ledger_grammar.LEDGER,
    "Telemetry": telemetry_grammar.TELEMETRY,
    "OTLP": telemetry_grammar.OTLP,
    "Always": telemetry_grammar.ALWAYS,
    "TLS": grammar.TLS,
}


def _section(title: str) -> str:
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"there is no section {title}"
    return found.group(1)


def _row(key: Key) -> str:
    default = "*required*" if key.required else key.default or "—"
    example = f"`{key.name}: {key.kind.example}`"
    return f"| `{key.name}` | {key.kind.says} | {default} | {example} | {key.doc} |"


@pytest.mark.parametrize(("title", "table"), SECTIONS.items(), ids=SECTIONS)
def test_every_key_has_its_row(title: str, table: Table) -> None:
    rows = re.findall(r"^\| `.*\|$", _section(title), re.MULTILINE)
    assert rows == [_row(key) for key in table.keys]


def test_every_table_has_its_section() -> None:
    def tables(table: Table) -> list[Table]:
        kinds = [key.kind for key in table.keys]
        kinds += [kind.item for kind in kinds if hasattr(kind, "item")]
        kinds += [kind.one for kind in kinds if hasattr(kind, "one")]
        kinds += [kind.table for kind in kinds if hasattr(kind, "table")]
        kinds += [kind.one for kind in kinds if hasattr(kind, "one")]
        inner = [kind for kind in kinds if isinstance(kind, Table)]
        return [table, *(found for one in inner for found in tables(one))]

    assert {id(t) for t in tables(grammar.FILE)} == {id(t) for t in SECTIONS.values()}


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ferryman.yaml"
    path.write_text(text)
    assert [str(problem) for problem in load(path, strict=True, env={}).errors] == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7


def test_the_mistakes_of_the_page_are_what_is_said(tmp_path: Path) -> None:
    shown = re.search(r"Of this file\n\n```\n(.*?)```\n\nit says\n\n```\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    path = tmp_path / "ferryman.yaml"
    path.write_text(shown.group(1))
    assert report(load(path, env={}), env={}).replace(f"{tmp_path}/", "") == shown.group(2)


def test_the_variables_outside_the_options_are_documented() -> None:
    names = ("FERRYMAN_PEPPER", "FERRYMAN_FEED_TOKEN", "FERRYMAN_ADMIN_TOKEN", "FERRYMAN_SEAL_KEY")
    for name in (*names, "FERRYMAN_<NAME>_BASE_URL"):
        assert f"`{name}`" in _section("Flags and variables")
