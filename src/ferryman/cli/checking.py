"""``ferryman check``: what is wrong with a file, for people and for scripts."""

import sys
from pathlib import Path

from ferryman.cli.output import print_json
from ferryman.config import check
from ferryman.config.file import load


def run(file: Path, *, strict: bool, as_json: bool) -> int:
    """Print the report on ``file``. Returns the exit code: 0 usable, 1 not."""
    loaded = load(file, strict=strict)
    if as_json:
        print_json(check.report_data(loaded))
    else:
        sys.stdout.write(check.report(loaded))
    return check.exit_code(loaded)
