"""The live parts of pages, without pages."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ferryman.control.dashboard.live import Live, Look


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
