"""The live parts of pages, without pages."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.requests import Request

from ferryman.control.admin import Admin
from ferryman.control.api.access import OWNER, Gate
from ferryman.control.dashboard.app import Dashboard
from ferryman.control.dashboard.desk import Asked, Desk, File
from ferryman.control.dashboard.live import Live, Look
from ferryman.control.dashboard.ways import BY_PLACE
from ferryman.control.doors import Doors
from ferryman.store import db


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


def test_downloads_that_take_long_keep_no_page_and_no_live_part_waiting(tmp_path: Path) -> None:
    engine = db.open_engine(f"sqlite:///{tmp_path / 'ferryman.db'}")
    db.migrate(engine)
    doors = Doors(engine, "admin", Gate(engine, "admin", "pepper"))
    inside = doors.enter("admin", "::1")
    assert inside is not None
    unused: dict[str, Any] = dict.fromkeys(
        (*Admin.__struct_fields__, "fence", "sign_on", "options", "configuration", "relay", "planes")
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
