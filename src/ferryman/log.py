"""Log lines of the slow paths: one event, one line, on standard error. Standard library only."""

import contextlib
import sys
import time


def log(source: str, text: str) -> None:
    """Write ``<UTC time> <source> <text>``; line breaks in ``text`` become `` | ``.

    ``source`` is the part that speaks (``up``, ``control``, ``gateway``). Never hand it a secret.
    A broken or closed standard error is ignored: logging must not stop a plane.
    """
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    line = " | ".join(part.rstrip() for part in text.splitlines() if part.strip())
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{stamp}.{int(now % 1 * 1000):03d}Z {source:<8} {line}\n")
        sys.stderr.flush()
