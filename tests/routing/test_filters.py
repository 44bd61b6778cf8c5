"""Filters on plain facts: each key alone, all together, and against a reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.config.filters import DATA_POLICIES, QUANTIZATIONS, Written, barred, policies, within
from ferryman.config.snapshot import Filter
from ferryman.ir.price import Rate
from ferryman.routing.filters import ABILITIES, Candidate, Reason, sift

NEAR = Written("near", "m/1", "eu-west-3", "zero_retention", "bf16")
FAR = Written("far", "m/1", "us", "no_training", "fp8")
DARK = Written("dark", "m/1")


@pytest.mark.parametrize(
    ("wanted", "key", "passing"),
    [
        ({}, "", "near far dark"),
        ({"only": ("near", "dark/m/1")}, "only", "near dark"),
        ({"only": ("near/m/2",)}, "only", ""),
        ({"ignore": ("far", "near/m")}, "ignore", "near dark"),
        ({"regions": ("eu",)}, "regions", "near"),
        ({"regions": ("US", "EU-West-3")}, "regions", "near far"),
        ({"regions": ("e", "eu-west-33")}, "regions", ""),
        ({"data_policy": "no_training"}, "data_policy", "near far"),
        ({"data_policy": "zero_retention"}, "data_policy", "near"),
        ({"data_policy": "no_training zero_retention"}, "data_policy", "near"),
        ({"data_policy": "zero_retention hipaa"}, "data_policy", ""),
        ({"quantizations": ("bf16", "fp16")}, "quantizations", "near"),
        ({"quantizations": ("fp8", "unknown")}, "quantizations", "far dark"),
    ],
)
def test_each_key(wanted: dict[str, tuple[str, ...]], key: str, passing: str) -> None:
    reasons = {t.provider: barred(t, Filter(**wanted)) for t in (NEAR, FAR, DARK)}  # type: ignore[arg-type]
    assert [name for name, reason in reasons.items() if not reason] == passing.split()
    assert set(reasons.values()) <= {"", key}


def test_a_region_is_a_part_of_another_by_whole_words_only() -> None:
    assert within("eu", "eu")
    assert within("eu-west-3", "EU")
    assert within("eu.south", "eu")
    assert not within("europe-west4", "eu")
    assert not within("eu", "eu-west-3")
    assert not within("", "eu")


PRICE = Rate(input=300, output=900, request=5)


@pytest.mark.parametrize(
    ("limits", "rate", "dear"),
    [
        ((300, 900, 5), PRICE, False),
        ((299, -1, -1), PRICE, True),
        ((-1, 899, -1), PRICE, True),
        ((-1, -1, 4), PRICE, True),
        ((0, -1, -1), Rate(), False),
        ((-1, -1, -1), None, False),
        ((10**9, -1, -1), None, True),
    ],
)
def test_prices(limits: tuple[int, int, int], rate: Rate | None, dear: bool) -> None:
    named = dict(zip(("input_price", "output_price", "request_price"), limits, strict=True))
    wanted = Filter(source="x", **named)  # type: ignore[arg-type]
    expected = Reason("max_price", "x") if dear else None
    assert sift([Candidate(DARK, (), rate, (wanted,))], frozenset()) == [expected]


def able(*abilities: str, wanted: Filter | None = None) -> Candidate:
    return Candidate(DARK, abilities, None, () if wanted is None else (wanted,))


def test_who_is_known_to_lack_something_goes_when_another_is_known_to_have_it_all() -> None:
    needs = frozenset({"vision", "document"})
    lacks = Reason(ABILITIES, "", ("document", "vision"))
    both, one, none, unknown = able("pdf", "vision"), able("vision"), able("tools"), able()
    assert sift([none, both, unknown, one], needs) == [
        lacks, None, None, Reason(ABILITIES, "", ("document",)),
    ]  # fmt: skip
    assert sift([none, one, unknown], needs) == [None] * 3, "nobody is known to have both"
    assert sift([none, both], frozenset()) == [None, None]
    gone = both._replace(filters=(Filter(source="x", ignore=("dark",)),))
    assert sift([none, gone], needs) == [None, Reason("ignore", "x")]


def test_abilities_can_be_required_or_passed_over() -> None:
    needs = frozenset({"tools"})
    must, never = Filter(source="x", require_abilities=True), Filter(require_abilities=False)
    lacks = Reason("require_abilities", "x", ("tools",))
    cannot, can, unknown = (), ("tools",), ()
    assert sift([able(*unknown, wanted=must), able(*can, wanted=must)], needs) == [lacks, None]
    assert sift([able(*cannot, wanted=must)], needs) == [lacks]
    assert sift([able("vision", wanted=never), able(*can, wanted=never)], needs) == [None, None]
    assert sift([able(wanted=must)], frozenset()) == [None]


names = st.sampled_from(["a", "b", "c"])
promised = st.sets(st.sampled_from(DATA_POLICIES)).map(policies)
written = st.builds(
    Written, names, names, st.sampled_from(["", "eu", "eu-1", "us"]),
    promised, st.sampled_from(["", "fp8", "bf16"]),
)  # fmt: skip
texts = st.lists(names, max_size=2).map(tuple)
filters = st.builds(
    Filter, only=texts, ignore=texts,
    regions=st.lists(st.sampled_from(["eu", "us", "eu-1"]), max_size=2).map(tuple),
    quantizations=st.lists(st.sampled_from(QUANTIZATIONS), max_size=3).map(tuple),
    data_policy=promised,
)  # fmt: skip


@given(st.lists(written, max_size=6), st.lists(filters, max_size=3))
def test_more_filters_never_let_more_through_and_who_passes_passes_each(
    targets: list[Written], wanted: list[Filter]
) -> None:
    def kept(some: tuple[Filter, ...]) -> set[Written]:
        reasons = sift([Candidate(t, filters=some) for t in targets], frozenset())
        return {t for t, reason in zip(targets, reasons, strict=True) if reason is None}

    assert kept(tuple(wanted)) == {
        t for t in targets if all(not barred(t, each) for each in wanted)
    }
    for each in wanted:
        assert all(t.provider in each.only for t in kept((each,)) if each.only)
        assert not any(t.provider in each.ignore for t in kept((each,)))
        assert all(t.region for t in kept((each,)) if each.regions), "fails closed"
        assert all(t.data_policy for t in kept((each,)) if each.data_policy), "fails closed"
