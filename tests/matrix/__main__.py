"""``python -m tests.matrix``: ask everybody for everything, and write docs/matrix.md."""

import sys
import tempfile
from pathlib import Path

from tests.gateway import KEY, Stack
from tests.matrix.callers import CALLERS
from tests.matrix.cells import COLUMNS, CONFIG, ENV, FEATURES, verdict
from tests.matrix.page import PAGE, page


def main() -> int:
    """Returns the exit code: 1 when a cell is neither good nor refused."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), CONFIG, **ENV)
        try:
            stack.ready()
            for caller in [kind(stack.url, KEY, stack.sim_url) for kind in CALLERS]:
                for provider in COLUMNS:
                    for feature in FEATURES:
                        for stream in (False, True):
                            found = verdict(caller, provider, feature, stream=stream)
                            results[caller.name, provider, feature.name, stream] = found
                            if not found[0]:
                                print(caller.name, provider, feature.name, stream, *found)
        finally:
            stack.end()
    PAGE.write_text(page(results))
    print(f"{len(results)} cells → {PAGE}")
    return 1 if any(not kind for kind, _ in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
