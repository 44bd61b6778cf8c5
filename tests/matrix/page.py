"""docs/matrix.md, made from what the cells said."""

from collections.abc import Mapping

from tests import tree
from tests.matrix.callers import CALLERS
from tests.matrix.cells import COLUMNS, FEATURES, OTHER, RECEIPT, REFUSED, SAME

PAGE = tree.ROOT / "docs" / "matrix.md"
Results = Mapping[tuple[str, str, str, bool], tuple[str, str]]
"""(caller's format, provider, feature, streamed) → (verdict, what differs or the receipt)."""

INTRO = """\
# Who can ask whom for what

Written by `python -m tests.matrix`, which asks every provider format in every caller's format,
through the vendors' own SDKs and a whole gateway, whole and streamed; the tests run it all again
and hold this page to it. Callers are in the rows, formats of providers in the columns.

- **=** the same message arrives as from a provider of the caller's own format
- **~** the same message arrives; its receipt (`x-ferryman-dropped`) names what of the request had
  no place: a wish about caching or about thinking, a file's name, a keyword of a schema
- **·** the provider's format has no such thing; what it says instead arrives
- **×** refused, with an error that says which part can't be carried

Two signs: whole answers, then streams, where they differ. The last columns are models of the
catalogue, which knows what each of them can and refuses; the others it doesn't know.
"""
SIGNS = {SAME: "=", RECEIPT: "~", REFUSED: "×", OTHER: "·", "": "**?**"}


def page(results: Results) -> str:
    """The page in Markdown."""
    parts = [INTRO]
    head = ["", *COLUMNS.values()]
    for feature in FEATURES:
        rows = [head, ["---"] * len(head)]
        for caller in CALLERS:
            row = [f"`{caller.name}`"]
            for provider in COLUMNS:
                signs = [
                    SIGNS[results.get((caller.name, provider, feature.name, stream), ("", ""))[0]]
                    for stream in (False, True)
                ]
                row.append(signs[0] if len(set(signs)) == 1 else " ".join(signs))
            rows.append(row)
        lines = [f"| {' | '.join(row)} |" for row in rows]
        parts.append("\n".join([f"## {feature.name.capitalize()}\n", *lines]) + "\n")
    return "\n".join(parts)
