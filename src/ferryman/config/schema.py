"""The JSON Schema of ``ferryman.yaml``, generated from the tables that the validator uses.

``python -m ferryman.config.schema > docs/ferryman.schema.json`` writes the published copy.
"""

import json
import sys
from typing import Any

from ferryman.config import conditions
from ferryman.config.grammar import FILE

TITLE = "Ferryman configuration"


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12.

    The validator's alone are checks across keys (targets, circles), ports, the bounds of texts
    with a unit, and of conditions their depth, regular expressions and time zones.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        "description": "Checked in full by `ferryman check ferryman.yaml`.",
        **FILE.schema(),
        "$defs": conditions.definitions(),
    }


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
