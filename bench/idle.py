"""Section "idle": how long Ferryman takes to start, what it weighs, and what many keys change."""

import time
from pathlib import Path

from bench import nginx
from bench.gateways import Ferryman, ferryman_yaml
from bench.procs import LOAD_CORE, rss_mb, say


def measure(work: Path, *, quick: bool) -> dict[str, object]:
    """Start to ready in seconds, and resident memory in MB of both planes, once per start."""
    starts, data_rss, control_rss = [], [], []
    upstream, port = nginx.start_upstream(work, LOAD_CORE)
    place = work / "idle"
    place.mkdir()
    config = place / "ferryman.yaml"
    config.write_text(ferryman_yaml(port))
    try:
        for number in range(2 if quick else 5):
            with Ferryman().up(place, config, place / "data") as running:
                time.sleep(1 if quick else 3)
                data, control = running.pids()
                starts.append(running.ready_s)
                data_rss.append(rss_mb(data))
                control_rss.append(rss_mb(control))
            first = " (empty data directory)" if not number else ""
            say(
                f"idle    start {number + 1}  ready after {starts[-1]:.2f} s{first}, "
                f"data plane {data_rss[-1]:.0f} MB, other processes {control_rss[-1]:.0f} MB"
            )
    finally:
        upstream.stop()
    return {"ready_s": starts, "data_mb": data_rss, "control_mb": control_rss}
