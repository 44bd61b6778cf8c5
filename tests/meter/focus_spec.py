"""FOCUS 1.2 as a table, and a judge of data that claims to follow it.

Written from https://focus.finops.org/focus-specification/v1-2/: the content constraints of each
column (feature level, whether it may be null, data type), its allowed values, and the rules that
tie columns to each other where the charge is a usage that corrects nothing.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

TABLE = """\
AvailabilityZone                   recommended nulls    text
BilledCost                         mandatory   no-nulls decimal
BillingAccountId                   mandatory   no-nulls text
BillingAccountName                 mandatory   nulls    text
BillingAccountType                 conditional no-nulls text
BillingCurrency                    mandatory   no-nulls text
BillingPeriodEnd                   mandatory   no-nulls time
BillingPeriodStart                 mandatory   no-nulls time
CapacityReservationId              conditional nulls    text
CapacityReservationStatus          conditional nulls    text
ChargeCategory                     mandatory   no-nulls text
ChargeClass                        mandatory   nulls    text
ChargeDescription                  mandatory   nulls    text
ChargeFrequency                    recommended no-nulls text
ChargePeriodEnd                    mandatory   no-nulls time
ChargePeriodStart                  mandatory   no-nulls time
CommitmentDiscountCategory         conditional nulls    text
CommitmentDiscountId               conditional nulls    text
CommitmentDiscountName             conditional nulls    text
CommitmentDiscountQuantity         conditional nulls    decimal
CommitmentDiscountStatus           conditional nulls    text
CommitmentDiscountType             conditional nulls    text
CommitmentDiscountUnit             conditional nulls    text
ConsumedQuantity                   conditional nulls    decimal
ConsumedUnit                       conditional nulls    text
ContractedCost                     mandatory   no-nulls decimal
ContractedUnitPrice                conditional nulls    decimal
EffectiveCost                      mandatory   no-nulls decimal
InvoiceId                          recommended nulls    text
InvoiceIssuerName                  mandatory   no-nulls text
ListCost                           mandatory   no-nulls decimal
ListUnitPrice                      conditional nulls    decimal
PricingCategory                    conditional nulls    text
PricingCurrency                    conditional nulls    text
PricingCurrencyContractedUnitPrice conditional nulls    decimal
PricingCurrencyEffectiveCost       conditional nulls    decimal
PricingCurrencyListUnitPrice       conditional nulls    decimal
PricingQuantity                    mandatory   nulls    decimal
PricingUnit                        mandatory   nulls    text
ProviderName                       mandatory   no-nulls text
PublisherName                      mandatory   no-nulls text
RegionId                           conditional nulls    text
RegionName                         conditional nulls    text
ResourceId                         conditional nulls    text
ResourceName                       conditional nulls    text
ResourceType                       conditional nulls    text
ServiceCategory                    mandatory   no-nulls text
ServiceName                        mandatory   no-nulls text
ServiceSubcategory                 recommended no-nulls text
SkuId                              conditional nulls    text
SkuMeter                           conditional nulls    text
SkuPriceDetails                    conditional nulls    json
SkuPriceId                         conditional nulls    text
SubAccountId                       conditional nulls    text
SubAccountName                     conditional nulls    text
SubAccountType                     conditional nulls    text
Tags                               conditional nulls    json
"""
RULES = {name: (level, nulls == "nulls", kind)
         for name, level, nulls, kind in (line.split() for line in TABLE.splitlines())}  # fmt: skip
MANDATORY = [name for name, (level, _, _) in RULES.items() if level == "mandatory"]
ALLOWED = {
    "BillingCurrency": {"USD"},
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {"AI Platforms", "Generative AI", "Machine Learning"},
}
USED = (
    "ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "PricingCategory",
    "PricingQuantity", "PricingUnit", "SkuId", "SkuMeter", "SkuPriceId", "SubAccountId",
    "SubAccountName", "SubAccountType",
)  # fmt: skip
"""What may not be null where a usage is charged."""
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(E-?[0-9]+)?")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_UNIT = re.compile(r"([1-9][0-9]* )?[A-Z][A-Za-z]*s")


def violations(columns: Sequence[str], rows: Iterable[Mapping[str, str | None]]) -> list[str]:
    """What is wrong with data whose cells are texts; None = null."""
    found = [f"{name} is missing" for name in MANDATORY if name not in columns]
    found += [f"{name} is no column of FOCUS, and does not begin with x_" for name in columns
              if name not in RULES and not name.startswith("x_")]  # fmt: skip
    for number, row in enumerate(rows):
        wrong = list(_wrong(row)) or list(_related({k: v or "" for k, v in row.items()}))
        found += [f"row {number}: {each}" for each in wrong]
    return found


def _wrong(row: Mapping[str, str | None]) -> Iterator[str]:
    for name, value in row.items():
        _, nulls, kind = RULES.get(name, ("", True, "text"))
        if value is None:
            if not nulls or (name in USED and row["ChargeCategory"] == "Usage"):
                yield f"{name} is null"
            continue
        if value == "":
            yield f"{name} is an empty string, which no null may be"
        if kind == "decimal" and not _NUMBER.fullmatch(value):
            yield f"{name} is no number: {value}"
        if kind == "time" and not _TIME.fullmatch(value):
            yield f"{name} is no time in UTC: {value}"
        if kind == "json" and not _flat(value):
            yield f"{name} is no object of plain values: {value}"
        if name in ALLOWED and value not in ALLOWED[name]:
            yield f"{name} may not be {value}"
        if name in ("PricingUnit", "ConsumedUnit") and not _UNIT.fullmatch(value):
            yield f"{name} is no unit: {value}"


def _flat(text: str) -> bool:
    value = json.loads(text)
    return isinstance(value, dict) and not any(isinstance(v, dict | list) for v in value.values())


def _related(row: Mapping[str, str]) -> Iterator[str]:
    quantity = Decimal(row["PricingQuantity"])
    for price, cost in (("ContractedUnitPrice", "ContractedCost"), ("ListUnitPrice", "ListCost")):
        if not row[price]:
            if row[cost] != row["BilledCost"]:
                yield f"{cost} without {price} is not BilledCost"
            continue
        if Decimal(row[price]) < 0:
            yield f"{price} is negative"
        if abs(Decimal(row[price]) * quantity - Decimal(row[cost])) > Decimal("1e-12"):
            yield f"{price} times PricingQuantity is not {cost}"
    if not row["SkuPriceId"].startswith(row["SkuId"]):
        yield "SkuPriceId has more than one parent"
    begin, end, month, after = (
        datetime.fromisoformat(row[name]) for name in ("ChargePeriodStart", "ChargePeriodEnd",
                                                       "BillingPeriodStart", "BillingPeriodEnd")
    )  # fmt: skip
    if not month <= begin < end <= after:
        yield "the charge period lies outside its billing period"
    details = json.loads(row["SkuPriceDetails"])
    if any(not name.startswith("x_") for name in details):
        yield "a detail of the price is no FOCUS one, and does not begin with x_"
