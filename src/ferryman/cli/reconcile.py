"""``ferryman reconcile``: a provider's bill beside the ledger, by day and model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.text import Text

from ferryman.cli import invoice
from ferryman.cli.ask import OUTPUT
from ferryman.cli.output import print_json
from ferryman.cli.show import Column, console, money, table
from ferryman.client import Client

Row = dict[str, Any]
LEAST: Final = Decimal("0.005")
"""Dollars that are no difference: bills are rounded."""
_ZERO: Final = Decimal(0)


class Asked(NamedTuple):
    """What is to be compared."""

    file: Path
    provider: str
    form: str
    columns: Mapping[str, str]
    same: Mapping[str, str]
    """Their name of a model → ours."""
    tolerance: float
    """Percent."""


@dataclass
class Ours:
    """What the ledger has of a day and model."""

    sums: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(invoice.MEASURES, _ZERO))
    unknown_usage: int = 0
    unknown_cost: int = 0
    lost: int = 0
    estimated: Decimal = Decimal(0)

    def add(self, row: Row) -> None:
        tokens = row["tokens"]
        found = {name: Decimal(tokens.get(name, 0)) for name in invoice.MEASURES}
        found["output"] = Decimal(sum(tokens.get(name, 0) for name in OUTPUT))
        found["input"] += tokens.get("audio_input", 0) + tokens.get("image_input", 0)
        found["calls"], found["cost"] = Decimal(row["calls"]), Decimal(row["cost_usd"])
        for name, amount in found.items():
            self.sums[name] += amount
        self.unknown_usage += row["unknown_usage"]
        self.unknown_cost += row["unknown_cost"]
        self.lost += row["lost"]
        self.estimated += Decimal(row["estimated_usd"])


def run(client: Client, asked: Asked, *, as_json: bool) -> bool:
    """Print the differences. True = there are none beyond the tolerance. Raises ``ApiError``."""
    bill = invoice.read(asked.file, asked.form, asked.columns, asked.same)
    ledger = _ledger(client, asked.provider, bill)
    rows = compared(bill, ledger, Decimal(str(asked.tolerance)))
    beyond = [row for row in rows if row["beyond"]]
    if as_json:
        print_json({"form": bill.form, "data": rows})
        return not beyond
    out = console()
    if beyond:
        columns = [Column("Day"), Column("Model", style="bold"), Column("What")]
        columns += [Column(name, right=True) for name in ("Theirs", "Ours", "Difference")]
        columns.append(Column("Likely because", drop=1))
        table(columns, [_shown(row) for row in beyond], out)
    first, last = invoice.days(bill)
    text = f"{len(rows)} amounts of {first} to {last} compared ({bill.form}): "
    text += f"{len(beyond)} differ by more than {asked.tolerance:g} %."
    out.print(Text(text), style="yellow" if beyond else "green")
    return not beyond


def _ledger(client: Client, provider: str, bill: invoice.Bill) -> dict[tuple[date, str], Ours]:
    """What the ledger has of the bill's days."""
    first, last = invoice.days(bill)
    query: Row = {"by": "day,target", "provider": provider, "since": first.isoformat(),
             "until": (last + timedelta(days=1)).isoformat()}  # fmt: skip
    named = any(model for _, model in bill.sums)
    found: dict[tuple[date, str], Ours] = {}
    for row in client.usage(**query).data:
        model = invoice.plain(row["target"] or "") if named else ""
        found.setdefault((date.fromisoformat(row["day"]), model), Ours()).add(row)
    return found


def compared(
    bill: invoice.Bill, ledger: Mapping[tuple[date, str], Ours], tolerance: Decimal
) -> list[Row]:
    """Every amount that the bill or the ledger has, by day and model."""
    rows = []
    for day, model in sorted({*bill.sums, *ledger}):
        theirs, ours = bill.sums.get((day, model)), ledger.get((day, model))
        if theirs is None and ours is not None and not _matters(ours, bill.measures):
            continue  # such as calls that failed
        found = []
        for what in bill.measures:
            one = (theirs or {}).get(what, _ZERO)
            other = ours.sums[what] if ours is not None else _ZERO
            found.append((what, one, other, _differ(what, one, other, tolerance)))
        alike = [what for what, _, _, beyond in found if not beyond]
        for what, one, other, beyond in found:
            why = reasons(what, one, other, theirs, ours, alike) if beyond else []
            rows.append({
                "day": day.isoformat(), "model": model or None, "what": what, "theirs": str(one),
                "ours": str(other), "difference": str(one - other), "beyond": beyond,
                "reasons": why,
            })  # fmt: skip
    return rows


def _matters(ours: Ours, measures: tuple[str, ...]) -> bool:
    return any(ours.sums[what] for what in measures if what != "calls")


def _differ(what: str, one: Decimal, other: Decimal, tolerance: Decimal) -> bool:
    difference = abs(one - other)
    if what == "cost" and difference <= LEAST:
        return False
    return difference > tolerance / 100 * max(abs(one), abs(other))


def reasons(
    what: str, one: Decimal, other: Decimal, theirs: object, ours: Ours | None, alike: list[str]
) -> list[str]:
    """What the difference may come from, the likeliest first. ``alike``: what agrees."""
    if ours is None:
        return ["no such calls in the ledger: made with the provider's key elsewhere, or another "
                "name of the model (--same THEIRS=OURS)"]  # fmt: skip
    if theirs is None:
        return ["not in the file: another account or key of the provider, another name of the "
                "model (--same THEIRS=OURS), or the file is older than the calls"]  # fmt: skip
    found = []
    less = other < one
    if less and ours.unknown_usage and what != "calls":
        about = f", with estimates of {money(str(ours.estimated))}" if ours.estimated else ""
        found.append(f"{ours.unknown_usage} calls whose usage nobody told{about}")
    if what == "cost" and ours.lost:
        found.append(f"{ours.lost} calls lost with their gateway, at what was held for them")
    if what == "cost" and {"input", "output"} <= set(alike) and other:
        found.append(f"the same tokens at another price: theirs is {one / other:.3f} of ours "
                     "(ferryman prices show MODEL)")  # fmt: skip
    elif what == "cost" and less and ours.unknown_cost > ours.unknown_usage:
        number = ours.unknown_cost - ours.unknown_usage
        found.append(f"{number} calls without a known cost (ferryman prices unpriced)")
    if not found and less:
        found.append("calls that did not come through here, or attempts that failed and are billed")
    if not found:
        found.append("calls that the provider does not bill, or has not counted yet")
    return found


def _shown(row: Row) -> list[str]:
    amounts = [Decimal(row[name]) for name in ("theirs", "ours", "difference")]
    if row["what"] == "cost":
        texts = [f"-{money(str(-each))}" if each < 0 else money(str(each)) for each in amounts]
    else:
        texts = [f"{each:,f}" for each in amounts]
    return [row["day"], row["model"] or "-", row["what"], *texts, "; ".join(row["reasons"])]
