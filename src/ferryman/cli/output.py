"""What commands print with ``--json``."""

import json
import sys

import msgspec


def print_json(value: object) -> None:
    """``value`` as JSON on standard output."""
    json.dump(msgspec.to_builtins(value), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
