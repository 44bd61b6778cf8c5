"""Mixed load, new model names all the time, many keys: nothing grows."""

import uvloop
from soak import steady
from soak.plant import Plant


def test_memory_stays_flat_under_mixed_load(running: Plant) -> None:
    found = uvloop.run(steady.run(running, seconds=16, seed=11, callers=32, pause=0.01))
    assert found.calls > 1000, "too few calls to say anything"
    assert found.whole < found.calls, "leavers and faults belong to the mix"
