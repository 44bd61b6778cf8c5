"""``python -m soak``: runs the proofs whole, and writes what they found into docs/durability.md."""

import argparse
import contextlib
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import uvloop
from tests.store import postgres
from tests.valkey import Server

from soak import (
    backlog,
    books,
    counting,
    crowd,
    denied,
    disk,
    hosts,
    keyring,
    kills,
    outages,
    overload,
    page,
    pages,
    steady,
    viewers,
    writes,
    year,
)
from soak.fuzz import run as fuzzing
from soak.plant import plant, postgresql

Facts = dict[str, str]
FILES = 20_000
"""Files that 10,000 connections and 5,000 streams need, in the data plane and here."""


def _kills(args: argparse.Namespace) -> Facts:
    with plant(books.LIMITS) as place:
        return _of_kills(uvloop.run(kills.run(place.up(), kills=args.kills, seed=args.seed)))


def _kills_postgres(args: argparse.Namespace) -> Facts:
    with postgresql() as url, plant(books.LIMITS, url) as place:
        return _of_kills(uvloop.run(kills.run(place.up(), kills=args.kills, seed=args.seed)))


def _of_kills(found: kills.Outcome) -> Facts:
    tally = found.tally
    return {
        "kills": ", ".join(f"{n} × {who}" for who, n in sorted(found.kills.items())),
        "calls sent": f"{tally.sent:,}",
        "answers received whole, each once in the ledger": f"{tally.whole:,}",
        "of these, streams": f"{tally.streams:,}",
        "calls of killed data planes, settled as lost": f"{tally.lost:,}",
        "calls refused while what was spent could not be learned": f"{tally.unready:,}",
        "other rows (callers that left, answers cut by a kill)": f"{tally.unseen:,}",
        "longest wait of a caller who connected to a dead data plane": f"{found.waited:.1f} s",
        "keys made or revoked just before a kill": str(found.keys),
        "money in the ledger, equal to the sum over calls": f"{tally.cost / 1e12:.6f} USD",
        "counters of budgets, each equal to the sum over its calls": str(found.counters),
    }


def _counting(args: argparse.Namespace) -> Facts:
    return _counted(args, counting.SHARED)


def _counting_postgres(args: argparse.Namespace) -> Facts:
    with postgresql() as url:
        return _counted(args, counting.SHARED, url)


def _budgets(args: argparse.Namespace) -> Facts:
    with postgresql() as url:
        return _counted(args, counting.CLOSED, url)


def _budgets_local(args: argparse.Namespace) -> Facts:
    return _counted(args, counting.LOCAL)


def _counted(args: argparse.Namespace, mode: counting.Mode, database: str = "") -> Facts:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), kept=True)
        try:
            with plant(counting.settings(server.url, mode), database) as place:
                found = uvloop.run(
                    counting.run(place.up(), server, mode, kills=args.counter_kills, seed=args.seed)
                )
        finally:
            server.end()
    tally = found.tally
    facts = {
        "kills": ", ".join(f"{n} × {who}" for who, n in sorted(found.kills.items())),
        "calls sent": f"{tally.sent:,}",
        "answers received whole, each once in the ledger": f"{tally.whole:,}",
        "calls of killed data planes, settled as lost": f"{tally.lost:,}",
        "decided without the server": f"{found.alone:,}",
        "counters of budgets, equal to the sums of the ledger": str(found.budgets),
        "after the end of the load": f"{found.settled_after:.1f} s",
    }
    if mode.binds:
        facts |= {
            "budgets used up, none beyond what it had": str(found.reached),
            "calls refused by budgets and limits": f"{tally.over:,}",
            "refused while it was not known what was spent": f"{tally.unready:,}",
            f"calls at the provider beyond the {counting.AT_ONCE} that may be": "0",
        }
    return facts


def _hosts(args: argparse.Namespace) -> Facts:
    with postgresql() as url, tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), kept=True)
        try:
            with plant(counting.settings(server.url, hosts.MODE), url) as place:
                run = hosts.run(
                    hosts.Hosts(place), server, kills=args.counter_kills, seed=args.seed
                )
                found = uvloop.run(run)
        finally:
            server.end()
    late = max(found.revoked)
    assert late <= hosts.SOON, f"a revoked key was let in for {late:.2f} s"
    return {
        "kills": ", ".join(f"{n} × {who}" for who, n in sorted(found.kills.items())),
        "calls sent": f"{found.tally.sent:,}",
        "calls in the ledger, by host": ", ".join(f"{n:,} {h}" for h, n in found.by_host.items()),
        "answers received whole, each once in the ledger": f"{found.tally.whole:,}",
        "calls of killed hosts, settled as lost": f"{found.tally.lost:,}",
        "counters of budgets, equal to the sums of the ledger": str(found.budgets),
        "budgets used up, none beyond what it had": str(found.reached),
        "keys revoked": str(len(found.revoked)),
        "refused by both hosts after, at most": f"{late * 1000:.0f} ms",
    }


def _writes(args: argparse.Namespace) -> Facts:
    facts = {}
    with postgresql() as server, tempfile.TemporaryDirectory() as work:
        for name, url in (("SQLite", f"sqlite:///{work}/ledger.db"), ("PostgreSQL", server)):
            for unheard in (False, True):
                place = Path(work) / f"{name}-{unheard}"
                failed = writes.run(url, place, unheard=unheard)
                what = "commits whose answer got lost" if unheard else "statements that failed"
                facts[f"{name}: {what}, one in each run"] = f"{failed}, every call there once"
            failed = writes.tidying(url, Path(work) / f"{name}-tidy")
            facts[f"{name}: statements that failed where old calls go"] = (
                f"{failed}, all is as without"
            )
    return facts


def _denied(args: argparse.Namespace) -> Facts:
    facts = {}
    for name in ("SQLite", "PostgreSQL"):
        with nullcontext("") if name == "SQLite" else postgresql() as url, plant("", url) as place:
            found = uvloop.run(denied.run(place.up(), seed=args.seed))
        facts |= {
            f"{name}: tables whose writes were refused for a while": str(len(denied.TABLES)),
            f"{name}: where that was met": ", ".join(found.met),
            f"{name}: calls meanwhile, all answered": f"{found.meanwhile:,}",
            f"{name}: all calls, each once in the ledger": f"{found.calls:,}",
            f"{name}: keys neither made nor revoked, as was said": str(found.keys),
        }
    return facts


def _backlog(args: argparse.Namespace) -> Facts:
    facts = {}
    with postgresql() as server:
        for name, url in (("SQLite", ""), ("PostgreSQL", server)):
            with plant(database=url) as place:
                calls = args.backlog // 2
                found = uvloop.run(backlog.run(place, calls=calls, rate=100))
            facts[f"{name}: records (two a call) taken in while serving"] = (
                f"{found.records:,} in {found.seconds:.0f} s, {found.rate:,.0f} a second"
            )
            facts[f"{name}: calls served meanwhile, 100 a second"] = (
                f"{found.served:,}; p50 {found.p50 * 1e3:.1f} ms, p99 {found.p99 * 1e3:.1f} ms"
            )
            facts[f"{name}: the same once it was in"] = (
                f"p50 {found.p50_after * 1e3:.1f} ms, p99 {found.p99_after * 1e3:.1f} ms"
            )
    return facts


def _disk(args: argparse.Namespace) -> Facts:
    with plant() as place:
        full, room = disk.by_limit(place.up())
        limit = uvloop.run(disk.run(place, full, room))
        many = uvloop.run(disk.crowd(place, full, room))
    facts = {
        "with a file size limit of 0": _of_disk(limit),
        "the same with many callers": _of_crowd(many),
    }
    with plant() as place:
        journal = place.data / "journal"
        try:
            with disk.small_disk(journal):
                full, room = disk.by_filling(journal)
                place.up()
                facts["with a full file system"] = _of_disk(uvloop.run(disk.run(place, full, room)))
                many = uvloop.run(disk.crowd(place, full, room))
                facts["with a full file system and many callers"] = _of_crowd(many)
                place.close()
            facts["with a full file system under the database"] = _database()
        except disk.NotAllowedError as error:
            facts["with a full file system"] = f"not tried: {error}"
    return facts


def _database() -> str:
    with plant() as place, disk.small_disk(place.work / "ledger", "2m"):
        place.move_database(place.work / "ledger")
        full, room = disk.by_filling(place.work / "ledger")
        served = uvloop.run(disk.database(place.up(), full, room))
        place.close()
    return f"{served} calls served meanwhile, and in the ledger afterwards"


def _of_disk(found: disk.Outcome) -> str:
    return (
        f"{found.cut} streams and {found.failed} answers under way failed clearly, {found.refused} "
        f"new calls refused, {found.squeezed_in} squeezed in; {found.settled} settled afterwards"
    )


def _of_crowd(found: disk.Crowd) -> str:
    return (
        f"full {disk.TIMES} times while {disk.CALLERS} call without a pause: "
        f"{found.served} served, {found.refused} refused, {found.ended} streams ended with an "
        f"error, nobody cut; {found.settled} settled afterwards"
    )


def _keys(args: argparse.Namespace) -> Facts:
    with plant() as place:
        found = uvloop.run(keyring.changes(place.up(), 50))
    late = max(found.created + found.revoked)
    assert late <= keyring.SOON, f"a change took {late:.2f} s"
    ratios = keyring.compare(args.keys, calls=3000)
    return {
        "new key accepted after, at most": f"{max(found.created) * 1000:.0f} ms",
        "revoked key refused after, at most": f"{max(found.revoked) * 1000:.0f} ms",
        f"start to ready, {args.keys:,} keys to 1": f"{ratios.start:.2f}×",
        "the same without the data plane's cache": f"{ratios.fresh:.2f}×",
        f"time of a call, {args.keys:,} keys to 1": f"{ratios.call:.2f}×",
        f"memory for {args.keys:,} keys": f"{ratios.mb:.0f} MB",
    }


def _streams(args: argparse.Namespace) -> Facts:
    with plant() as place:
        with crowd.low_limit():
            place.up()
        found = uvloop.run(crowd.streams(place, args.streams, words=120, tps=2))
    assert found.most_open == args.streams, f"only {found.most_open} were open at once"
    assert found.peak_mb <= 400, f"{found.peak_mb:.0f} MB"
    assert found.longest_gap <= crowd.STALLED, f"{found.longest_gap:.1f} s of silence"
    return {
        "streams at once": f"{found.most_open:,}",
        "cut, stalled, or wrong in a byte": "0",
        "tokens relayed": f"{found.chunks:,} in {found.seconds:.0f} s",
        "longest silence": f"{found.longest_gap:.2f} s, with {found.period:.2f} s between tokens",
        "memory of the data plane": f"{found.peak_mb:.0f} MB, {found.idle_mb:.0f} MB before",
        "memory for a stream": f"{found.kb_each:.1f} kB",
    }


def _idle(args: argparse.Namespace) -> Facts:
    with plant() as place:
        with crowd.low_limit():
            place.up()
        found = uvloop.run(crowd.idle(place, args.idle, calls=1000))
    return {
        "silent connections": f"{found.connections:,}, all kept",
        "calls answered beside them": f"{found.answered:,}",
        "memory they took": f"{found.mb:.0f} MB",
    }


def _files(args: argparse.Namespace) -> Facts:
    with plant() as place:
        found = uvloop.run(crowd.too_few(place.up(), limit=200, callers=600))
    return {
        "callers at once": f"{found.callers}, with {found.limit} files",
        "answered": str(found.served),
        "told that there is no room": str(found.refused),
        "hung up on": str(found.hung_up),
        "afterwards": "served all again, same process",
    }


def _outages(args: argparse.Namespace) -> Facts:
    with plant() as place:
        found = uvloop.run(outages.upstream(place.up()))
    with plant() as place:
        uvloop.run(outages.wrong_token(place))
    with plant() as place:
        learnt = uvloop.run(outages.alone(place))
    with plant() as place:
        answers = uvloop.run(outages.mad_control(place, args.seed))
    return {
        "provider killed": f"{found.cut} streams ended with an error event, {found.refused} calls "
        "with a clear 502; all served again once it was back",
        "wrong feed token": "said so, served on from disk, followed again with the right one",
        "control plane away": "keys as they were through 2 kills of the data plane; "
        f"{learnt} calls in the ledger afterwards",
        "control plane talking rubbish": f"{answers} answers outlived, then followed the real one",
    }


def _failover(args: argparse.Namespace) -> Facts:
    with overload.harbour() as place:
        found = uvloop.run(overload.failover(place, seconds=args.overload))
    return {
        "one of three killed at 200 calls/s": f"{found.dead.failed} of {found.dead.calls:,} calls "
        "failed",
        "noticed once it was back, after": f"{found.noticed:.1f} s",
        "one ten times slower, its share after 5 s": f"{found.slow_share:.1%}",
        "all killed: attempts per call": f"{found.down.attempts / found.down.calls:.2f}",
        "longest wait for the error": f"{found.down.longest:.2f} s",
        "all back, served again after": f"{found.recovered:.1f} s",
    }


def _overload(args: argparse.Namespace) -> Facts:
    with overload.limited_plant() as place:
        found = uvloop.run(overload.overload(place.up(), seconds=args.overload))
    return {
        "calls a second that the provider can take": f"{found.peak:.0f}",
        "sent": f"{found.sent:.0f} a second",
        "answered": f"{found.goodput:.0f} a second",
        "99th percentile of the answered": f"{found.p99:.2f} s",
        "99th percentile of the refused": f"{found.refused_p99:.2f} s",
        "all answered again after": f"{found.recovered:.1f} s",
    }


def _steady(args: argparse.Namespace) -> Facts:
    with plant() as place:
        found = uvloop.run(
            steady.run(
                place.up(), seconds=args.minutes * 60, seed=args.seed, callers=32, pause=args.pause
            )
        )
    return {
        "minutes": f"{found.minutes:g}",
        "calls, each to a model name of its own": f"{found.calls:,}",
        "keys": str(found.keys),
        "data plane": _of_fit(found.edge),
        "control plane": _of_fit(found.control),
        "label sets in the metrics": f"{found.series:,}",
        "journal files": f"{found.segments} at most at a time, {found.written} written",
    }


def _of_fit(line: steady.Fit) -> str:
    return (
        f"{line.peak_mb:.0f} MB at most; over the second half {line.growth_mb:+.1f} MB, "
        f"{line.bytes_per_call:+.1f} bytes a call"
    )


def _year(args: argparse.Namespace) -> Facts:
    facts = {"calls": f"{args.year:,} over 365 days"}
    with tempfile.TemporaryDirectory(prefix="ferryman-soak-") as name:
        place = Path(name)
        urls = {"SQLite": nullcontext(f"sqlite:///{place / 'year.db'}"),
                "PostgreSQL": postgres.server(place)}  # fmt: skip
        for which, opened in urls.items():
            with opened as url:
                found = year.run(url, calls=args.year, days=365, seed=args.seed)
            facts[f"{which}: sums over a day"] = f"{found.rows:,}"
            facts[f"{which}: all days and weeks condensed in"] = f"{found.condensing:.1f} s"
            for page_name, seconds in found.pages.items():
                bound = page_name != year.UNBOUND
                late = f"{which}: {page_name} took {seconds:.2f} s"
                assert seconds <= year.BAR or not bound, late
                told = f"; may take {year.BAR:g}" if bound else "; no bar"
                facts[f"{which}: {page_name}"] = f"{seconds:.2f} s{told}"
    return facts


def _pages(args: argparse.Namespace) -> Facts:
    facts = {"calls": f"{args.calls:,} over {args.days} days"}
    for name in args.databases.split(","):
        with _database_of(name) as (url, pids), pages.bar() as told:
            found = pages.prove(url, pids, args.calls, args.days, args.seed, told)
        facts |= {f"{name}: {what}": value for what, value in pages.facts(found).items()}
    return facts


@contextlib.contextmanager
def _database_of(name: str) -> Iterator[tuple[str, list[int]]]:
    """URL of a database of its own, and the first of its processes."""
    place = Path(tempfile.mkdtemp(prefix="ferryman-soak-"))
    try:
        if name == "SQLite":
            yield f"sqlite:///{place / 'ledger.db'}", []
            return
        with postgres.server(place) as url:
            yield url, [int((place / "data" / "postmaster.pid").read_text().split()[0])]
    finally:
        shutil.rmtree(place)


def _viewers(args: argparse.Namespace) -> Facts:
    with plant() as place, pages.bar() as told:
        place.up()
        found = viewers.cost(
            place, place.address, place.work, viewers=args.viewers, connections=64,
            rounds=args.rounds, seconds=args.round_seconds, told=told,
        )  # fmt: skip
    without, watched = found.without, found.watched
    return {
        "callers that ask as soon as they are answered": str(found.connections),
        "calls a second, without and with viewers": "{:,.0f} and {:,.0f}".format(*found.rates),
        "p99 without viewers, by round": ", ".join(f"{each:.1f} ms" for each in without),
        f"p99 with {found.viewers} viewers, by round": ", ".join(f"{e:.1f} ms" for e in watched),
        "events that they were sent": f"{found.events:,}",
        "p99 with viewers to without, median of rounds": f"{found.ratio:.2f}×",
    }


def _fuzz(args: argparse.Namespace) -> Facts:
    found = uvloop.run(fuzzing.run(args.fuzz_minutes, args.seed))
    facts = {"minutes": f"{args.fuzz_minutes:g}", "cases": f"{found.cases.total():,}"}
    facts |= {f"of these, {fuzzing.WORDS[name]}": f"{n:,}" for name, n in found.cases.items()}
    facts |= {f"growth of {name}": f"{grown:+.1f} MB" for name, grown in found.growth.items()}
    return facts | {"failed": "0"}


PROOFS: dict[str, Callable[[argparse.Namespace], Facts]] = {
    "kills": _kills,
    "kills-postgres": _kills_postgres,
    "counting": _counting,
    "counting-postgres": _counting_postgres,
    "budgets": _budgets,
    "budgets-local": _budgets_local,
    "hosts": _hosts,
    "writes": _writes,
    "denied": _denied,
    "backlog": _backlog,
    "disk": _disk,
    "keys": _keys,
    "streams": _streams,
    "idle": _idle,
    "files": _files,
    "outages": _outages,
    "failover": _failover,
    "overload": _overload,
    "steady": _steady,
    "year": _year,
    "pages": _pages,
    "viewers": _viewers,
    "fuzz": _fuzz,
}


def main() -> int:
    """Run the proofs that were asked for. Returns the exit code: 0 all hold, 1 one does not."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("proofs", nargs="*", metavar="PROOF", help=f"of: {', '.join(PROOFS)}")
    parser.add_argument("--minutes", type=float, default=60, help="of mixed load (default 60)")
    parser.add_argument("--pause", type=float, default=0.04, help="seconds callers rest then")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--backlog", type=int, default=1_000_000, help="records")
    parser.add_argument("--counter-kills", type=int, default=200, help="with shared counters")
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--overload", type=float, default=60, help="seconds of each such load")
    parser.add_argument("--year", type=int, default=50_000_000, help="calls of a year of sums")
    parser.add_argument("--calls", type=int, default=10_000_000, help="in the ledger of the pages")
    parser.add_argument("--days", type=int, default=365, help="that they are spread over")
    parser.add_argument("--databases", default="SQLite,PostgreSQL", help="of the pages")
    parser.add_argument("--viewers", type=int, default=20, help="of the page Now")
    parser.add_argument("--rounds", type=int, default=9, help="of the load beside viewers")
    parser.add_argument("--round-seconds", type=float, default=20)
    parser.add_argument("--fuzz-minutes", type=float, default=60)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    unknown = set(args.proofs) - PROOFS.keys()
    if unknown:
        parser.error(f"no proof is called {min(unknown)}; there are: {', '.join(PROOFS)}")
    crowd.raise_limit()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < FILES:
        print(f"warning: fewer than {FILES:,} open files are allowed here; crowds may not fit")
    failed = False
    for name in args.proofs or PROOFS:
        print(f"==> {name} (seed {args.seed})", flush=True)
        began = time.monotonic()
        try:
            facts = PROOFS[name](args)
        except Exception:
            failed = True
            traceback.print_exc()
            print(f"    {name} does not hold", flush=True)
            continue
        for what, value in facts.items():
            print(f"    {what}: {value}")
        page.record(name, facts, seed=args.seed, seconds=time.monotonic() - began)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
