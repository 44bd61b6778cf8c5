"""What the numbers were measured on."""

import datetime
import os
import platform
import subprocess
from pathlib import Path

from bench import nginx
from bench.procs import cpus, one_core
from bench.whole_load import generator


def describe() -> dict[str, str]:
    """Machine, versions and date, as shown in the report."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": f"{len(cpus())}" + (" (gateway and load share it)" if one_core() else ""),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release().split("-")[0],
        "system": _system(),
        "python": platform.python_version(),
        "nginx": nginx.version(),
        "load generator": _generator(),
        "commit": _commit(),
    }


def steal_seconds() -> float:
    """Seconds that the hypervisor took from this machine's cores since boot (0 where unknown)."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        return int(fields[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return platform.system()


def _generator() -> str:
    if generator() != "wrk":
        return generator()
    out = subprocess.run(["wrk", "-v"], capture_output=True, text=True)
    words = (out.stdout + out.stderr).split()
    return f"wrk {words[1]}" if len(words) > 1 else "wrk"


def _commit() -> str:
    here = Path(__file__).parent
    command = ["git", "rev-parse", "--short", "HEAD"]
    out = subprocess.run(command, cwd=here, capture_output=True, text=True)
    return out.stdout.strip()
