"""The live parts of pages, without pages."""

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.requests import Request

from ferryman.control.admin import Admin
from ferryman.control.api.access import OWNER, Gate
from ferryman.control.dashboard import frame
from ferryman.control.dashboard.app import Dashboard
from ferryman.control.dashboard.desk import Asked, Desk, File
from ferryman.control.dashboard.live import Live, Look
from ferryman.control.dashboard.ways import BY_PLACE
from ferryman.control.doors import Doors
from ferryman.control.figures import figures
from ferryman.control.health import health
from ferryman.store import db
from ferryman.store.glance import Glance, Step


def test_who_comes_while_one_look_rests_gets_what_the_others_find() -> None:
    """Each look ends by itself once nobody watches, and begins again for the next viewer."""

    async def watched() -> None:
        counts = iter(range(10**6))
        with ThreadPoolExecutor(1) as pool:
            quick = Look(lambda: {"quick": str(next(counts))}, 0.01)
            live = Live(pool, (quick, Look(lambda: {"slow": "x"}, 60.0)))
            for _ in range(3):
                viewer = live.events()
                seen: set[bytes] = set()
                async with asyncio.timeout(60):
                    while len(seen) < 5:
                        seen.add(await anext(viewer))
                await viewer.aclose()
                await asyncio.wait([live._tasks[quick]], timeout=60)
                assert live._tasks[quick].done()
            live.close()
            for task in live._tasks.values():
                task.cancel()

    asyncio.run(watched())


def test_the_figures_of_now_are_those_of_the_calls() -> None:
    """A hundred good answers of the last 300 s, one after the other slower, and three failures."""
    tried = [{"provider": "lab", "model": "m", "error": "", "start_us": 0, "end_us": 9}]
    usual: dict[str, Any] = {"at_us": 1, "status": 200, "error": "", "provider": "lab", "cost": 1,
                             "output": 30, "attempts": tried, "plan": []}  # fmt: skip
    good = [Glance(duration_us=n * 10_000, first_token_us=n * 1000, **usual) for n in range(1, 101)]
    lost = [{"provider": "lab", "model": "m", "error": "upstream_overloaded"}]
    failure = usual | {"status": 503, "error": "upstream_overloaded", "attempts": lost}
    bad = [Glance(duration_us=10**9, first_token_us=10**9, **failure) for _ in range(3)]
    steps = [Step(number=1, calls=60, errors=2, output=2000, cost=10**12, running=1),
             Step(number=2, calls=42, output=1000, cost=5 * 10**11)]  # fmt: skip
    found = figures(steps, [*good, *bad])
    assert (found.calls, found.errors, found.output) == (102, 2, 3000)
    assert found.duration == (500_000, 950_000, 990_000), "failures took another time"
    assert found.first_token == (50_000, 95_000, 99_000)
    [lab, idle] = health([*good, *bad], ["lab", "spare"])
    assert (lab.name, lab.tries, lab.failed, lab.state) == ("lab", 103, 3, "shaky")
    assert (idle.name, idle.state) == ("spare", "idle")
    shown = {"figures": found, "window": 5, "seconds": 300, "cut": ""}
    text = frame.render("part_figures.html", **shown)
    tiles = dict(re.findall(r"<h3>([^<]+)</h3>(.*?)</div>", text))
    said = {name: re.sub("<[^>]+>", "", tile) for name, tile in tiles.items()}
    assert said == {
        "Calls": "0.3/s102 calls in 5 min",
        "Errors": "2.0%2 calls failed",
        "Whole answer": "500 ms p50p95 950 ms · p99 990 ms",
        "First token": "50 ms p50p95 95 ms · p99 99 ms",
        "Output": "10 tokens/s3,000 tokens",
        "Spend": "$18.00/h$1.50",
    }
    line = re.sub("<[^>]+>", " ", frame.render("part_health.html", health=[lab, idle], cut=""))
    assert "shaky" in line and "overloaded" in line and "idle" in line


def test_downloads_that_take_long_keep_no_page_and_no_live_part_waiting(tmp_path: Path) -> None:
    engine = db.open_engine(f"sqlite:///{tmp_path / 'ferryman.db'}")
    db.migrate(engine)
    doors = Doors(engine, "admin", Gate(engine, "admin", "pepper"), lambda _role: True)
    inside = doors.enter("admin", "::1")
    assert inside is not None
    unused: dict[str, Any] = dict.fromkeys(
        (
            *Admin.__struct_fields__,
            "fence",
            "sign_on",
            "options",
            "configuration",
            "relay",
            "planes",
        )
    )
    given = {"caller": OWNER, "engine": engine}
    admin = Admin(**{n: unused[n] for n in Admin.__struct_fields__} | given)
    apart = {n: unused[n] for n in Desk.__struct_fields__ if n in unused and n != "admin"}
    desk = Desk(admin=admin, doors=doors, **apart)
    app, end = Dashboard(desk), threading.Event()
    cookie = f"ferryman-80={inside.session}"

    def page(path: str, wait: bool) -> Any:
        def view(desk: Desk, asked: Asked) -> File:
            assert not wait or end.wait(60)
            return File("x", "text/plain", b"x")

        headers = [(b"cookie", cookie.encode()), (b"host", b"127.0.0.1:80")]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "client": None,
                 "headers": headers, "scheme": "http", "server": ("here", 80)}  # fmt: skip
        return app._page(BY_PLACE["GET", path], view)(Request(scope))

    async def asked() -> None:
        slow = [
            asyncio.ensure_future(page(path, wait=True))
            for path in ("/costs/table.csv", "/costs/focus.csv")
            for _ in range(8)
        ]
        try:
            await asyncio.sleep(0)
            reply = await asyncio.wait_for(page("/calls", wait=False), 30)
            assert (reply.status_code, reply.body) == (200, b"x")
            assert app.live._pool is desk.lookers
            assert not any(each.done() for each in slow)
        finally:
            end.set()
        assert {each.status_code for each in await asyncio.gather(*slow)} == {200}

    asyncio.run(asked())
    engine.dispose()
