"""``ferryman check``: what is wrong with a file, for people and for scripts."""

import json
import sys
from pathlib import Path

from ferryman.config import check
from ferryman.config.file import load


def run(file: Path, *, strict: bool, as_json: bool) -> int:
    """Print the report on ``file``. Returns the exit code: 0 usable, 1 not."""
    loaded = load(file, strict=strict)
    if as_json:
        json.dump(check.report_data(loaded), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(check.report(loaded))
    return check.exit_code(loaded)
