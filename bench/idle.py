"""Section "idle": how long Ferryman takes to start, what it weighs, and what many keys change."""

import secrets
import time
from pathlib import Path
from statistics import median

from bench import nginx, whole_load
from bench.gateways import Ferryman, ferryman_yaml, request_body
from bench.procs import LOAD_CORE, rss_mb, say
from bench.whole import check

KEYS = 100_000

Samples = dict[str, list[float]]


def measure(work: Path, *, quick: bool) -> dict[str, object]:
    """Start to ready (s), resident memory (MB), latency (µs), with one key and with 100,000.

    Both kinds of data directory are used in turns, and not counted when they are new.
    """
    found: dict[str, Samples] = {"few": {}, "many": {}}
    upstream, port = nginx.start_upstream(work, LOAD_CORE)
    place = work / "idle"
    place.mkdir()
    config = place / "ferryman.yaml"
    config.write_text(ferryman_yaml(port))
    try:
        for kind in found:
            _turn(place, config, kind, {}, quick=True)
        fill(place / "many")
        _turn(place, config, "many", {}, quick=True)
        for number in range(2 if quick else 5):
            for kind, samples in found.items():
                _turn(place, config, kind, samples, quick=quick)
                last = {key: values[-1] for key, values in samples.items()}
                say(
                    f"idle    start {number + 1}  {kind:4} keys  "
                    f"ready after {last['ready_s']:.2f} s  data plane {last['data_mb']:.0f} MB, "
                    f"others {last['control_mb']:.0f} MB  "
                    f"p50/p99 {last['p50_us']:.0f}/{last['p99_us']:.0f} µs at 1"
                )
    finally:
        upstream.stop()
    few, many = found["few"], found["many"]
    return {
        "few": few,
        "many": many,
        "keys_start": median(many["ready_s"]) / median(few["ready_s"]) - 1,
        "keys_latency": median(many["p50_us"]) / median(few["p50_us"]) - 1,
    }


def _turn(place: Path, config: Path, kind: str, samples: Samples, *, quick: bool) -> None:
    """Start on the data directory ``kind``, let it rest, look, then call it one by one."""
    with Ferryman().up(place, config, place / kind) as running:
        time.sleep(1 if quick else 3)
        data, control = running.pids()
        weighed = rss_mb(data), rss_mb(control)
        check(running)
        body, headers = request_body(running.model), running.headers
        load = whole_load.run(
            running.url, body, headers, connections=1, seconds=1 if quick else 3, work=place
        )
    new = {"ready_s": running.ready_s, "data_mb": weighed[0], "control_mb": weighed[1]}
    new |= {"p50_us": load.p50_us, "p99_us": load.p99_us}
    for key, value in new.items():
        samples.setdefault(key, []).append(value)


def fill(data: Path) -> None:
    """Put virtual keys into the database of a stopped Ferryman, as its own store does."""
    from ferryman.config.options import Paths
    from ferryman.store import db, keys

    engine = db.open_engine(f"sqlite:///{Paths(data).database}")
    made = (
        keys.NewKey(name=f"bench {i}", digest=secrets.token_bytes(32), hint="fm-abc…wxyz")
        for i in range(KEYS)
    )
    keys.create_many(engine, made)
    engine.dispose()
