"""Costs to the line through the admin API, of what real journals hold."""

from pathlib import Path
from typing import Any

import msgspec

from ferryman.ir.price import Price, Rate
from ferryman.ir.usage import Extras, Usage
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import PRICED, Attempt, Priced
from tests.control.conftest import Control
from tests.store.samples import call, put


def cost(control: Control, name: str) -> Any:
    return control.admin("GET", f"/api/v1/calls/{name}/cost").json()


def test_each_paid_attempt_is_explained_by_its_own_price(control: Control) -> None:
    dear = (Price(tiers=((-1, Rate(input=7, output=1)),), regions=(("us", 1100),)),)
    cheap = (Price(tiers=((-1, Rate(input=5, search=10**10)),)),)
    journal = JournalWriter(Path(control.data) / "journal" / "gateway")
    for priced in (Priced("p1", "a", "m", dear), Priced("p2", "b", "m", cheap)):
        journal.append(PRICED, msgspec.msgpack.encode(priced))
    first = Usage(100, extras=Extras(region="us"))
    second = Usage(10, extras=Extras(searches=1))
    attempts = (
        Attempt("a", "m", 200, "upstream_truncated", usage=first, cost=770, price="p1"),
        Attempt("b", "m", 200, usage=second, cost=50 + 10**10, price="p2"),
    )
    put(journal, [
        call("req_1", attempts=attempts, usage=Usage(110), cost=820 + 10**10),
        call("req_2", cost=None),
        call("req_3", usage=None, cost=None),
        call("req_4", cost=5),
    ])  # fmt: skip
    journal.close()
    found = cost(control, "req_1")
    assert found["price"] == "p1, p2"
    assert [(part["what"], part["count"], part["usd"]) for part in found["lines"]] == [
        ("input", 100, "0.0000000007"),
        ("region us", 100, "0.00000000007"),
        ("input", 10, "0.00000000005"),
        ("search", 1, "0.01"),
    ]
    whys = [cost(control, f"req_{number}")["why"] for number in (2, 3, 4)]
    assert whys == [
        "The model had no price.",
        "The provider did not say what it used.",
        "It is older than the price book.",
    ]
    missing = control.admin("GET", "/api/v1/calls/req_9/cost")
    assert (missing.status, missing.json()["code"]) == (404, "call_not_found")
