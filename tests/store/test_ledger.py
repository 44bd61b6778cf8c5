"""Sums and pages of the ledger, against the same done in Python."""

import datetime
import itertools
import zoneinfo
from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
import sqlalchemy as sa

from ferryman.control.ingest import Ingester
from ferryman.control.pricing import in_force, recosted
from ferryman.ir.price import Price, Rate, Special, Tiers, rate_of_amounts
from ferryman.ir.usage import CLASSES, EXTRA_COUNTS, Extras, Usage
from ferryman.store import condensed, db, ledger
from ferryman.store.dimensions import DIMENSIONS, NONE, PERIODS
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import PRICED, Attempt, Candidate, Closed, Labels, Priced
from tests.store import samples


class Ingest(Protocol):
    def __call__(self, calls: list[Closed], prices: Iterable[Priced] = ()) -> None: ...


@pytest.fixture
def ingest(engine: sa.Engine, tmp_path: Path) -> Iterator[Ingest]:
    """Puts calls into the ledger the way they get there."""
    writer = JournalWriter(tmp_path / "journal" / "plane")
    ingester = Ingester(engine, tmp_path / "journal")

    def take(calls: list[Closed], prices: Iterable[Priced] = ()) -> None:
        for price in prices:
            writer.append(PRICED, msgspec.msgpack.encode(price))
        samples.put(writer, calls)
        assert ingester.drain() == len(calls)

    yield take
    ingester.close()
    writer.close()


ZONE = "Europe/Berlin"


def group(call: Closed, name: str, zone: str = "UTC") -> list[str | None]:
    """The values of a dimension that a call counts with, worked out in plain Python."""
    moment = datetime.datetime.fromtimestamp(call.at_us // 1_000_000, zoneinfo.ZoneInfo(zone))
    labels = call.labels or Labels()
    if name == "hour":
        return [moment.replace(minute=0, second=0).isoformat(timespec="minutes")]
    if name == "day":
        return [moment.date().isoformat()]
    if name == "week":
        return [(moment.date() - datetime.timedelta(moment.weekday())).isoformat()]
    if name == "month":
        return [f"{moment:%Y-%m}"]
    if name == "tag":
        return list(labels.tags) or [None]
    if name.startswith("metadata."):
        return [labels.metadata.get(name.removeprefix("metadata."))]
    if name in ("service", "region"):
        extras = call.usage.extras if call.usage else None
        return [getattr(extras, name) or None if extras else None]
    if name == "plane":
        return ["plane"]
    if name in Labels.__struct_fields__:
        return [getattr(labels, name) or None]
    return [str(getattr(call, name)) or None]


def summed(
    calls: list[Closed], by: tuple[str, ...], zone: str = "UTC"
) -> dict[tuple[str | None, ...], ledger.UsageRow]:
    groups = defaultdict(list)
    for call in calls:
        for names in itertools.product(*(group(call, name, zone) for name in by)):
            groups[names].append(call)
    if not by and not groups:
        groups[()] = []
    return {names: added_up(members, names) for names, members in groups.items()}


def added_up(
    members: list[Closed], names: tuple[str | None, ...] = (), other: bool = False
) -> ledger.UsageRow:
    known = [call.usage for call in members if call.usage is not None]
    tokens = {field: sum(getattr(usage, field) for usage in known) for field in CLASSES}
    extras = {
        name: sum(getattr(usage.extras, name) for usage in known if usage.extras is not None)
        for name in EXTRA_COUNTS
    }
    costs = [call.cost for call in members if call.cost is not None]
    about = [call.estimate for call in members if call.estimate is not None]
    return ledger.UsageRow(
        groups=names,
        other=other,
        calls=len(members),
        errors=sum(call.status >= 400 or bool(call.error) for call in members),
        lost=0,
        unknown_usage=len(members) - len(known),
        unknown_cost=len(members) - len(costs),
        tokens=Usage(**tokens, extras=Extras(**extras) if any(extras.values()) else None),
        cost=sum(costs),
        repeated=sum(call.cache in ("hit", "coalesced", "replayed") for call in members),
        saved=sum(call.saved for call in members if call.saved is not None),
        estimated=ledger.Estimated(
            calls=len(about),
            input=sum(each.input for each in about),
            output=sum(each.output for each in about),
            cost=sum(each.cost or 0 for each in about),
        ),
    )


ONE_BY_ONE = [
    *(name for name in DIMENSIONS if name != "metadata.NAME"), "metadata.task", "metadata.x-y.z",
]  # fmt: skip


@pytest.mark.parametrize(
    "by",
    [
        (),
        *((name,) for name in ONE_BY_ONE),
        ("day", "model"),
        ("key", "model", "provider", "day", "endpoint"),
        ("tag", "week", "metadata.task", "team"),
    ],
    ids=",".join,
)
def test_sums_are_those_of_the_calls(
    engine: sa.Engine, ingest: Ingest, by: tuple[str, ...]
) -> None:
    calls = samples.calls(300)
    ingest(calls)
    for zone in ("UTC", ZONE):
        rows = ledger.usage(engine, by=by, zone=zone)
        assert {row.groups: row for row in rows} == summed(calls, by, zone)
        assert len(rows) == len({row.groups for row in rows})


def test_sums_over_a_selection(engine: sa.Engine, ingest: Ingest) -> None:
    calls = samples.calls(300)
    ingest(calls)
    since, until = samples.START + samples.DAY // 3, samples.START + 2 * samples.DAY
    within = [call for call in calls if since <= call.at_us < until]
    assert 0 < len(within) < len(calls)
    assert ledger.usage(engine, since_us=since, until_us=until) == [added_up(within)]
    for name in ONE_BY_ONE:
        if name in PERIODS:
            continue
        [value, *_] = group(calls[0], name)
        chosen = [call for call in calls if value in group(call, name)]
        assert len(chosen) > 0
        where = {name: NONE if value is None else value}
        assert ledger.usage(engine, where=where) == [added_up(chosen)], name
    edge = calls[0].at_us
    at_edge = [call for call in calls if call.at_us == edge]
    assert ledger.usage(engine, since_us=edge, until_us=edge + 1) == [added_up(at_edge)]


def test_clocks_that_change_make_a_day_of_23_or_25_hours(engine: sa.Engine, ingest: Ingest) -> None:
    begin = int(datetime.datetime(2026, 10, 24, tzinfo=datetime.UTC).timestamp())
    spring = int(datetime.datetime(2027, 3, 27, 12, tzinfo=datetime.UTC).timestamp())
    hours = [begin + 3600 * n for n in range(72)] + [spring + 3600 * n for n in range(48)]
    calls = [samples.call(f"req_{at}", at_us=at * 1_000_000 + 1) for at in hours]
    ingest(calls)
    until = (hours[-1] + 3600) * 1_000_000
    for zone in (ZONE, "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"):
        for name in ("hour", "day", "month"):
            rows = ledger.usage(engine, by=(name,), zone=zone, until_us=until)
            assert {row.groups: row.calls for row in rows} == {
                names: row.calls for names, row in summed(calls, (name,), zone).items()
            }, (zone, name)
    rows = ledger.usage(engine, by=("day",), zone=ZONE, until_us=until)
    days = {row.groups[0]: row.calls for row in rows}
    assert (days["2026-10-25"], days["2027-03-28"]) == (25, 23)
    assert len(ledger.usage(engine, by=("hour",), zone=ZONE, until_us=until)) == len(hours)


def test_the_dearest_groups_come_with_all_others_together(
    engine: sa.Engine, ingest: Ingest
) -> None:
    calls = samples.calls(300)
    ingest(calls)
    everyone = summed(calls, ("key", "model"))
    best = sorted(everyone.values(), key=lambda row: -row.cost)[:2]
    rows = ledger.usage(engine, by=("day", "key", "model"), top=2)
    named = [row for row in rows if not row.other]
    assert {row.groups[1:] for row in named} == {row.groups for row in best}
    others = {row.groups[0]: row for row in rows if row.other}
    for day, row in others.items():
        rest = [call for call in calls if [day] == group(call, "day")
                and (call.key, call.model) not in {each.groups for each in best}]  # fmt: skip
        assert row == added_up(rest, (day, None, None), other=True)
    assert sum(row.calls for row in rows) == 300
    assert ledger.usage(engine, by=("key", "model"), top=99) == ledger.usage(
        engine, by=("key", "model")
    )


def test_what_a_call_a_run_and_a_token_cost(engine: sa.Engine, ingest: Ingest) -> None:
    calls = samples.calls(300)
    ingest(calls)
    for row in ledger.usage(engine, by=("task",), units=True):
        members = [call for call in calls if group(call, "task") == list(row.groups)]
        whole = [(call.usage, call.cost) for call in members if call.cost is not None]
        run = [(call.labels.run, call.cost or 0) for call in members
               if call.labels and call.labels.run]  # fmt: skip
        assert row.units == ledger.Units(
            calls=len(whole),
            cost=sum(cost for _, cost in whole),
            tokens=sum(usage.total_input + usage.total_output for usage, _ in whole if usage),
            runs=len({name for name, _ in run}),
            run_cost=sum(cost for _, cost in run),
        )


def test_an_empty_ledger_sums_to_nothing(engine: sa.Engine) -> None:
    [row] = ledger.usage(engine)
    assert (row.calls, row.cost, row.tokens) == (0, 0, Usage())
    assert ledger.usage(engine, by=("model",)) == []
    assert ledger.calls(engine) == []


def test_an_unknown_dimension_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(ValueError, match=r"'colour'.*key, team"):
        ledger.usage(engine, by=("colour",))
    for name in ("metadata.", "metadata.a'b", 'metadata.a"b', "metadata." + 65 * "x", "at_us"):
        with pytest.raises(ValueError, match="Cannot group by"):
            ledger.usage(engine, by=(name,))
    with pytest.raises(ValueError, match="no time zone"):
        ledger.usage(engine, by=("day",), zone="Mars/Base")
    with pytest.raises(ValueError, match="since and until"):
        ledger.calls(engine, where={"day": "2026-11-01"})


def test_sums_go_beyond_64_bits(engine: sa.Engine, ingest: Ingest) -> None:
    most = 2**63 - 1  # 9.2 million dollars
    ingest([samples.call(f"req_{number}", cost=most, saved=most) for number in range(5)])
    [row] = ledger.usage(engine)
    assert (row.cost, row.saved) == (5 * most, 5 * most)


def test_a_call_is_shown_as_it_was_closed(engine: sa.Engine, ingest: Ingest) -> None:
    plan = (Candidate("a/m\0", rests_us=1_500_000, because="x"), Candidate("b/m", left_out="y"))
    call = msgspec.structs.replace(samples.calls(1)[0], plan=plan)
    labels = call.labels or Labels()
    assert labels.metadata
    ingest([call])
    [row] = ledger.calls(engine)
    assert row == ledger.CallRow(
        request_id=call.id,
        at_us=call.at_us,
        duration_us=call.duration_us,
        plane="plane",
        key=call.key,
        endpoint=call.endpoint,
        model=call.model,
        provider=call.provider,
        target=call.target,
        stream=call.stream,
        status=call.status,
        error=call.error,
        usage=call.usage,
        cost=call.cost,
        attempts=[
            {
                name: list(value) if isinstance(value := getattr(attempt, name), tuple) else value
                for name in attempt.__struct_fields__[:10]
            }
            for attempt in call.attempts
        ],
        unknown_cost=int(call.cost is None),
        first_token_us=None if call.first_token_us < 0 else call.first_token_us,
        overhead_us=call.overhead_us,
        state="closed",
        policy=call.policy or None,
        plan=[
            {"target": "a/m\0", "role": "target", "rests_seconds": 1.5, "because": "x"},
            {"target": "b/m", "left_out": "y"},
        ],
        cache=call.cache or None,
        saved=call.saved,
        price=None,
        organisation=labels.organisation or None,
        team=labels.team or None,
        user=labels.user or None,
        end_user=labels.end_user or None,
        run=labels.run or None,
        task=labels.task or None,
        tags=list(labels.tags),
        metadata=labels.metadata,
        estimate=None,
        parent=labels.parent or None,
        client=None,
        strategy=None,
        verdicts=[],
        upstream_id=None,
        trace=None,
        content=None,
    )


def test_a_call_keeps_the_price_that_it_was_billed_by(engine: sa.Engine, ingest: Ingest) -> None:
    was, now = ((Price(tiers=((-1, Rate(input=rate)),)),) for rate in (7, 9))
    pieces = {"characters": 9, "code_units": 4, "image_cache_read": 5}
    usage = Usage(
        input=3, extras=Extras(service="flex", region="us", searches=2, context="low", **pieces)
    )
    calls = [
        samples.call("req_1", usage=usage, cost=21, price="p1"),
        samples.call("req_2", cost=27, price="p2"),
        samples.call("req_3", cost=36, price="p2", at_us=samples.START + 5),
    ]
    ingest(calls, [Priced("p1", "lab", "m", was), Priced("p2", "lab", "m\0", now)])
    ingest([], [Priced("p1", "lab", "m", was)])  # by another data plane, or after a restart
    [row] = ledger.calls(engine, request_id="req_1")
    assert (row.usage, row.price) == (usage, "p1")
    assert ledger.price_of(engine, "p1") == was
    assert ledger.price_of(engine, "p3") == ()
    used = ledger.prices_used(engine, samples.START)
    assert [(each.id, each.prices, each.calls) for each in used] == [("p1", was, 1), ("p2", now, 2)]
    assert used[1].last_at_us == samples.START + 5
    assert ledger.prices_used(engine, samples.START + 5)[0].id == "p2"
    condensed.condense(engine, samples.START // samples.DAY)
    assert ledger.prices_used(engine, samples.START - samples.DAY) == used
    with db.writing(engine) as connection:
        more = "UPDATE calls_by_dimension SET calls = calls + 1 WHERE dimension = 'price'"
        connection.execute(sa.text(more))
    read = ledger.prices_used(engine, samples.START - samples.DAY)
    assert [each.calls for each in read] == [2, 3], "of condensed days"
    assert ledger.prices_used(engine, samples.START) == used, "a part of a day, of single calls"


def test_calls_of_several_attempts_are_counted_again_by_the_book_of_now(
    engine: sa.Engine, ingest: Ingest
) -> None:
    one, other = Usage(100, extras=Extras(searches=1)), Usage(10)
    attempts = (
        Attempt("a", "m", 200, "upstream_truncated", usage=one, cost=700, price="p1"),
        Attempt("c", "m", 500, "upstream_error"),
        Attempt("b", "m", 200, usage=other, cost=50, price="p2", key="env:B"),
    )
    ingest([
        samples.call("req_1", attempts=attempts, usage=Usage(110), cost=750),
        samples.call("req_2", attempts=attempts[1:], usage=other, cost=50),
        samples.call("req_3", cost=5),
    ], [])  # fmt: skip
    book = {
        ("a", "m"): (Price(tiers=((-1, Rate(input=1, search=3)),)),),
        ("b", "m"): (Price(tiers=((-1, Rate(input=9)),)),),
    }
    rows = {call.request_id: call for call in ledger.calls(engine)}
    assert recosted(rows["req_1"], book, {}) == 103 + 90
    assert recosted(rows["req_2"], book, {}) == 90
    third = {("b", "env:B"): (1, 3)}
    assert recosted(rows["req_2"], book, third) == 30, "its key pays a third"
    assert recosted(rows["req_1"], book, third) == 103 + 30
    assert recosted(rows["req_1"], {("b", "m"): book["b", "m"]}, {}) is None, "one has no price now"
    assert recosted(rows["req_3"], book, {}) is None, "older than the price book"


def test_every_rate_of_a_price_is_compared() -> None:
    def tiers(*inputs: str) -> Tiers:
        rates = [rate_of_amounts({"input": Decimal(i), "output": Decimal(1)}) for i in inputs]
        return tuple(zip((-1, 200_000), rates, strict=False))

    peak = Special(begins=3600, ends=7200, days=0b11, tiers=tiers("4"))
    specials = (peak, Special(service="batch", tiers=tiers("1")))
    price = Price(
        tiers=tiers("2", "3"), specials=specials, regions=(("us", 1100),), audio_least_ms=9500
    )
    found = in_force((price,), 0)
    assert {name: said for name, said in found.items() if "output" not in name} == {
        "input": "2", "input above 200000": "3", "standard mon tue 01:00-02:00: input": "4",
        "batch: input": "1", "region us": "110%", "audio_least_seconds": "9.5",
    }  # fmt: skip
    assert in_force((), 0) == {}


def test_models_whose_calls_have_no_known_cost_are_counted(
    engine: sa.Engine, ingest: Ingest
) -> None:
    ingest([
        samples.call("req_1", cost=None), samples.call("req_2"),
        samples.call("req_3", cost=None, target="other"),
        samples.call("req_4", cost=None, usage=None),
    ])  # fmt: skip
    found = {("openai", "gpt-4o-mini"): 1, ("openai", "other"): 1}
    assert ledger.unknown_costs(engine, samples.START) == found
    condensed.condense(engine, samples.START // samples.DAY)
    since = samples.START - samples.DAY
    assert ledger.unknown_costs(engine, since) == ledger.unknown_costs(engine, since + 1) == found
    with db.writing(engine) as connection:
        more = "UPDATE calls_by_dimension SET calls = calls + 1 WHERE dimension = 'unpriced'"
        connection.execute(sa.text(more))
    assert ledger.unknown_costs(engine, since) == dict.fromkeys(found, 2), "of condensed days"
    assert ledger.unknown_costs(engine, samples.START) == found, "a part of a day, of single calls"


def test_what_several_attempts_cost_is_told_apart(engine: sa.Engine, ingest: Ingest) -> None:
    one = samples.calls(1)[0].attempts[0]
    replace = msgspec.structs.replace
    attempts = (
        replace(one, usage=Usage(input=3), cost=7, whole=False),
        replace(one, whole=False),
        replace(one, usage=Usage(output=2), cost=2**63),
    )
    call = replace(samples.call("several"), cost=9, unknown_cost=2, attempts=attempts)
    ingest([call, replace(samples.call("one"), cost=5)])
    row = ledger.calls(engine, request_id="several")[0]
    known = [
        {name: each[name] for name in ("tokens", "cost_pico", "unknown_cost") if name in each}
        for each in row.attempts
    ]
    assert known == [
        {"tokens": {"input": 3}, "cost_pico": 7, "unknown_cost": True},
        {"unknown_cost": True},
        {"tokens": {"output": 2}, "cost_pico": 2**63 - 1},
    ]
    assert row.unknown_cost == 2
    [total] = ledger.usage(engine)
    assert (total.calls, total.cost, total.unknown_cost) == (2, 14, 1)


def test_pages_show_every_call_once_newest_first(engine: sa.Engine, ingest: Ingest) -> None:
    calls = [
        msgspec.structs.replace(call, at_us=samples.START + number // 7)
        for number, call in enumerate(samples.calls(60))
    ]
    ingest(calls)
    seen: list[str] = []
    before = None
    while page := ledger.calls(engine, limit=4, before=before):
        seen += [row.request_id for row in page]
        before = (page[-1].at_us, page[-1].request_id)
    expected = sorted(calls, key=lambda call: (call.at_us, call.id), reverse=True)
    assert seen == [call.id for call in expected]


def test_calls_are_found_by_what_they_are(engine: sa.Engine, ingest: Ingest) -> None:
    calls = samples.calls(100)
    ingest(calls)
    for name in ("key", "model", "status", "end_user", "run", "task", "tag", "metadata.task"):
        for value in {value for call in calls for value in group(call, name)}:
            where = {name: NONE if value is None else value}
            found = {row.request_id for row in ledger.calls(engine, limit=1000, where=where)}
            assert found == {call.id for call in calls if value in group(call, name)}
    assert [row.request_id for row in ledger.calls(engine, request_id=calls[7].id)] == [calls[7].id]
    assert ledger.calls(engine, where={"status": "lost"}) == []
    late = ledger.calls(engine, limit=1000, since_us=samples.START + samples.DAY)
    assert len(late) == sum(call.at_us >= samples.START + samples.DAY for call in calls)
