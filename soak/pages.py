"""How long the dashboard's pages and the admin API's reads take on a ledger of millions of calls.

Asked of a running control plane over HTTP, as a signed-in viewer and as a program do; each page of
the dashboard and each read of the API has to be among the questions.
"""

import asyncio
import http.client
import itertools
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from bench.procs import cpu_seconds, tree
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console

from ferryman.control.api.route import PREFIX
from ferryman.control.api.serve import ROUTES
from ferryman.control.dashboard.ways import WAYS
from ferryman.control.when import rfc3339
from ferryman.store import db
from ferryman.store.sizes import size
from soak.client import Address
from soak.filling import Filled, fill, rush
from soak.plant import PRICED, PROVIDER, Plant, plant
from soak.town import DAY, Town
from soak.viewers import LAG, Viewer, lags

ROUNDS = 5
RUSH = 5000
"""Calls that came in the last minutes: as many as the page Now looks at."""
LIVE = 60
"""Calls that the live list is watched for."""
PAGE, CALL = 500.0, 50.0
"""Milliseconds that a page may take, and a call by its id."""
LIMITS = """\
limits:
  - { name: all, budget: { usd: 1000000, per: month } }
  - { name: teams, by: team, budget: { usd: 1000000, per: month } }
"""
"""Budgets that the calls of ``soak/town.py`` are borne by."""
APART = {
    "/export/calls", "/export/focus", "/export/content", "/costs/focus.csv",
    "/calls/export.csv",
    "/calls/{request_id}/content", "/prices/recost", "/users/{user}",
    "/organisations/{organisation}", "/organisations/{organisation}/teams",
    "/organisations/{organisation}/teams/{team}",
}  # fmt: skip
"""Downloads of all calls, as long as these are, and what needs stored contents, users or tenants,
which there are not: not timed."""
Told = Callable[[str], None]


def _silent(_: str) -> None:
    """Tells nobody."""


class Question(Struct, frozen=True):
    """Something that is asked for."""

    name: str
    path: str
    bar: float | None
    """Milliseconds that it may take; None = as long as it takes. Of a download, until its first
    line comes: it is sent while it is read."""


class Timed(Struct, frozen=True):
    """How long it took, milliseconds."""

    question: Question
    median: float
    worst: float
    cpu: float
    """Of processors, of control plane and database, each time."""
    size: int
    """Bytes of the answer."""


class Found(Struct, frozen=True):
    """What a run has shown."""

    timed: list[Timed]
    lags: list[float]
    """Milliseconds that the live list was behind."""
    compared: int
    """Sums that were compared with what was written."""
    filled: float = 0
    """Seconds that it took to write the calls,"""
    ready: float = 0
    """and to start on them."""
    size: int = 0
    """Bytes of the database."""


def prove(
    url: str, pids: Sequence[int], calls: int, days: int, seed: int, told: Told = _silent
) -> Found:
    """Fill the empty database at ``url``, and start an installation on it that is asked for all.

    ``pids``: the first process of the database.
    Raises AssertionError for a sum that is not what was written, or a page that fails.
    """
    with installed(url, calls, days, seed, told) as (place, found):
        began = time.monotonic()
        place.up()
        ready = time.monotonic() - began
        shown = ask(place, found, address(place), pids, told)
    engine = db.open_engine(url)
    held = size(engine).size
    engine.dispose()
    return replace(shown, filled=found.seconds, ready=ready, size=held)


@contextmanager
def installed(
    url: str, calls: int, days: int, seed: int, told: Told = _silent
) -> Iterator[tuple[Plant, Filled]]:
    """An installation, not started, on months of calls; the last of them came just now."""
    end = int(time.time())
    last = min(RUSH, calls // 10)
    town = Town(seed, calls - last, end // DAY - days + 1, end)
    found = fill(url, town, calls - last, lambda done: told(f"{done:,} calls written"))
    rush(url, town, found, last)
    with plant(LIMITS, url) as place:
        yield place, found


def address(place: Plant) -> Address:
    """Of its data plane, with a new key."""
    key = place.admin("POST", f"{PREFIX}/keys", {"name": "soak"}).json()["key"]
    return Address("127.0.0.1", place.port, key)


def ask(
    place: Plant, found: Filled, caller: Address, pids: Sequence[int], told: Told = _silent, *,
    rounds: int = ROUNDS,
) -> Found:  # fmt: skip
    """All questions, then all sums, then calls for the live list."""
    timed = run(place, found, pids, told, rounds=rounds)
    told("sums")
    compared = sums(place, found, int(time.time()))
    told("live list")
    late = asyncio.run(lags(Viewer(place), caller, calls=LIVE, rate=20))
    return Found(timed, late, compared)


def facts(found: Found) -> dict[str, str]:
    """The table of a run: median and worst of each question, and what it may take."""
    rows = {
        "written in": f"{found.filled:,.0f} s; {found.size / 1e9:.1f} GB",
        "ready after": f"{found.ready:.1f} s",
        "sums equal to what was written": str(found.compared),
        "live list behind": f"{statistics.median(found.lags):.0f} ms, worst of {len(found.lags)} "
        f"calls {max(found.lags):.0f} ms; may be {LAG:.0f}",
    }
    for each in found.timed:
        bar = each.question.bar
        may = "" if bar is None else f"; may take {bar:.0f}"
        over = bar is not None and each.median > bar
        rows[each.question.name] = (
            f"{each.median:.0f} ms, worst {each.worst:.0f}, CPU {each.cpu:.0f}{may}"
            f"{' – **too slow**' if over else ''}"
        )
    return rows


@contextmanager
def bar() -> Iterator[Told]:
    """A line on the terminal that says what is going on."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _silent
        return
    with console.status("") as status:
        yield status.update


def dashboard(found: Filled) -> list[Question]:
    """Every page, with the filters that people use."""
    call, run = found.ids["request"], found.ids["run"]
    spans = ("1h", "24h", "30d", "365d")
    asked = {f"calls, {span}": f"/calls?since={span}" for span in (*spans, "all")}
    filters = {
        "team": {"team": "legal"}, "team and model": {"team": "legal", "model": "model-3"},
        "status 429": {"status": "429"}, "failed": {"status": "failed"}, "tag": {"tag": "nightly"},
        "user": {"user": "person-66"}, "end user": {"end_user": "user-19999"},
        "text": {"q": "user-1999"}, "text that is nowhere": {"q": "xyzzy"}, "run": {"run": run},
        "key": {"key": "key_000000000199"}, "key, failed": {"key": "key_000000000199",
                                                            "status": "failed"},
        "id": {"q": call},
    }  # fmt: skip
    for name, said in filters.items():
        for span in ("24h", "all"):
            asked[f"calls, {span}, by {name}"] = "/calls?" + urlencode({"since": span} | said)
    for span, by in itertools.product(("1d", "30d", "90d", "365d"), ("model", "key", "team")):
        asked[f"costs, {span}, by {by}"] = f"/costs?since={span}&by={by}"
    asked |= {
        "users": "/users",
        "models, compared": f"/models/compare?model={PROVIDER}/{PRICED[0]}",
        "costs, this month, by team": "/costs?since=month&by=team",
        "costs, 30d, by model, in Berlin": "/costs?since=30d&by=model&zone=Europe/Berlin",
        "costs, 365d, of one key by model": "/costs?since=365d&by=model&key=key_000000000003",
        "costs, 365d, of one team by model": "/costs?since=365d&by=model&team=legal",
        "costs, 30d, by tag": "/costs?since=30d&by=tag",
        "costs, 365d, by metadata": "/costs?since=365d&metadata=feature",
        "costs as CSV, 30d, by model, first line": "/costs/table.csv?since=30d&by=model",
        "costs as CSV, 365d, by key, first line": "/costs/table.csv?since=365d&by=key",
    }
    for path in ("models", "keys", "reference", "playground", "vault", "alerts", "routes",
                 "routes/edit", "routes/versions", "routes/versions/1", "settings", "teams",
                 "limits", "audit", "welcome", "guardrails"):  # fmt: skip
        asked[path] = f"/{path}"
    asked["routes/explain"] = f"/routes/explain?model={PROVIDER}/{PRICED[0]}"
    asked["playground/outcome"] = f"/playground/outcome/{call}"
    one = {"call": Question("call, its page", f"/calls/{call}", PAGE)}
    pages = [Question("now", "/", PAGE)]
    return pages + [Question(n, path, PAGE) for n, path in asked.items()] + list(one.values())


def api(found: Filled) -> list[Question]:
    """Every read of the admin API; a call by all of its ids."""
    call = found.ids["request"]
    by_id = [
        Question(f"API: call by {name}", f"/calls/{quote(ident)}", CALL)
        for name, ident in found.ids.items()
        if name not in ("run", "parent")
    ]
    quick = {
        "run": f"/runs/{found.ids['run']}", "run by a call": f"/runs/{call}",
        "what a call costs elsewhere": f"/calls/{call}/offers", "now": "/now", "status": "/status",
        "what guards said": "/guards/said", "views": "/views",
        "cost of a call": f"/calls/{call}/cost", "feedback": f"/calls/{call}/feedback",
        "calls": "/calls?limit=100", "calls of a key": "/calls?limit=100&key=key_000000000003",
        "calls of a model": "/calls?limit=100&model=model-3",
        "usage, 30d, by model": "/usage?by=model", "usage, 30d, by day": "/usage?by=day",
        "usage, 365d, by model": "/usage?by=model&since=365d",
        "usage, 365d, by month": "/usage?by=month&since=365d",
        "usage, 24h, by hour and key": "/usage?by=hour,key&since=24h",
        "usage, 24h, by team": "/usage?by=team&since=24h",
        "forecast": "/usage/forecast", "latencies, 24h": "/latencies",
        "latencies, 365d, by model": "/latencies?since=365d&by=model",
        "limits": "/limits", "cache": "/cache", "journal": "/journal", "alerts": "/alerts",
        "alerts before": "/alerts/history", "models": "/models", "providers": "/providers",
        "keys": "/keys", "key": "/keys/key_000000000003", "sinks": "/logs/sinks",
        "prices": f"/prices?model={PROVIDER}/{PRICED[0]}", "config": "/config",
        "difference": "/config/diff?old=1", "versions": "/config/versions",
        "version": "/config/versions/1", "vault": "/vault", "audit": "/audit",
        "end of audit": "/audit/head", "tokens": "/tokens", "users": "/users",
        "organisations": "/organisations", "limits that were set": "/limits/delegated",
        "roles": "/roles", "me": "/me", "changed prices": "/prices/changes",
        "description": "/openapi.json",
    }  # fmt: skip
    long = {
        "usage, 30d, by team": "/usage?by=team",
        "usage, 365d, by team": "/usage?by=team&since=365d",
        "calls of a team": "/calls?limit=100&team=legal",
        "calls with a text": "/calls?limit=100&text=user-1999&since=24h",
        "runs, 7d": "/runs", "models without prices": "/prices/unpriced",
    }  # fmt: skip
    return [
        *by_id,
        *(Question(f"API: {name}", path, PAGE) for name, path in quick.items()),
        *(Question(f"API: {name}", path, None) for name, path in long.items()),
    ]


def left_out(questions: Sequence[Question], prefix: str = "") -> list[str]:
    """Pages, or below a ``prefix`` reads of the admin API, that none of ``questions`` asks for."""
    known = [way.path for way in WAYS if way.method == "GET" and way.view is not None]
    if prefix:
        known = [route.path for route in ROUTES if route.method == "GET"]
    paths = [question.path.partition("?")[0] for question in questions]
    return [
        path
        for path in known
        if path not in APART
        and not any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), each) for each in paths)
    ]


def run(
    place: Plant, found: Filled, pids: Sequence[int], told: Told = _silent, *,
    rounds: int = ROUNDS,
) -> list[Timed]:  # fmt: skip
    """Ask all of it of the running ``place``, each ``rounds`` times after each other.

    ``pids``: the first process of the database. Raises AssertionError for what is not answered.
    """
    pages, reads = dashboard(found), api(found)
    missing = left_out(pages) + left_out(reads, PREFIX)
    assert not missing, f"not asked for: {', '.join(missing)}"
    viewer = Viewer(place)
    token = (place.data / "secrets" / "admin-token").read_text().strip()
    working = [*pids, place.pid("control")]
    timed = []
    for questions, prefix, sent in (
        (pages, "", {"cookie": viewer.cookie}),
        (reads, PREFIX, {"authorization": f"Bearer {token}"}),
    ):
        link = viewer.link()
        for question in questions:
            told(question.name)
            timed.append(_one(link, question, prefix, sent, working, rounds))
    return timed


def _one(
    link: http.client.HTTPConnection, question: Question, prefix: str, sent: dict[str, str],
    pids: Sequence[int], rounds: int,
) -> Timed:  # fmt: skip
    took, length = [], 0
    before = _cpu(pids)
    for _ in range(rounds):
        began = time.perf_counter()
        link.request("GET", prefix + question.path, headers=sent)
        reply = link.getresponse()
        first = reply.readline() if ".csv" in question.path else b""
        came = time.perf_counter()
        body = first + reply.read()
        took.append(((came if first else time.perf_counter()) - began) * 1000)
        length = len(body)
        assert reply.status == 200, f"{question.path}: {reply.status} {body[:500]!r}"
    cpu = (_cpu(pids) - before) * 1000 / rounds
    return Timed(question, statistics.median(took), max(took), cpu, length)


def _cpu(pids: Sequence[int]) -> float:
    """Seconds of processors that processes and what they started have used."""
    return cpu_seconds([each for pid in pids for each in tree(pid)])


def sums(place: Plant, found: Filled, end: int) -> int:
    """Compare sums of the admin API with what was written; returns how many were compared."""
    compared = 0
    for by in ("", "model", "team", "day"):
        path = f"/usage?by={by}&since=1970-01-01&until={rfc3339(end)}"
        said = place.admin("GET", PREFIX + path).json()
        rows = said["data"] if by else [said["total"]]
        wanted = {n: dict(each) for n, each in found.sums.items() if n.partition("/")[0] == by}
        told = {f"{by}/{row[by]}" if by else "": _told(row) for row in rows}
        assert told == wanted, f"by {by!r}: the API says {told}, written were {wanted}"
        compared += len(rows)
    return compared


def _told(row: dict[str, Any]) -> dict[str, int]:
    return {
        "calls": row["calls"], "errors": row["errors"],
        "cost": int(Decimal(row["cost_usd"]).scaleb(12)),
        "tokens": sum(row["tokens"].values()),
    }  # fmt: skip
