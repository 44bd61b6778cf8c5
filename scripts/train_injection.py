"""Train the model of ``guard/injection_model.py``: ``python scripts/train_injection.py DATA.jsonl``

A line of the data is ``{"text": …, "attack": true, "weight": 1}``. Half of it, by the
text's SHA-256, is for training; the other half, and sets of weight 0, go to DATA.held.jsonl, for
`ferryman guard eval`.
Needs scikit-learn, which nothing else here does: `pip install scikit-learn`.
"""

import base64
import json
import math
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from ferryman.guard.injection import folded, rules_of, strength
from ferryman.guard.injection_model import FEATURES, windows

MODEL = Path(__file__).parent.parent / "src/ferryman/catalog/data/injection_model.json"


def main(data: Path) -> None:
    """Train, and write the model and the half that it has not seen."""
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    held = [row for row in rows if _held(row)]
    with data.with_suffix(".held.jsonl").open("w") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in held)
    examples: list[tuple[set[int], float, bool, float]] = []
    for row in rows:
        if _held(row):
            continue
        looks = list(windows(folded(row["text"])))
        looks = looks[:2] if row["attack"] else looks  # where in a long text the attack is, is open
        weight = row.get("weight", 1) / math.sqrt(len(looks))
        rules = strength(rules_of(row["text"]))
        examples += [(look, rules, row["attack"], weight) for look in looks]
    MODEL.write_text(json.dumps(fitted(examples), indent=1) + "\n")
    print(f"{MODEL.name}: of {len(examples)} windows; {len(held)} texts held back")


def _held(row: dict[str, Any]) -> bool:
    return not row.get("weight", 1) or bool(sha256(row["text"].encode()).digest()[0] % 2)


def fitted(examples: Sequence[tuple[set[int], float, bool, float]]) -> dict[str, object]:
    """The members of the model's file."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped,import-not-found,unused-ignore]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped,import-not-found,unused-ignore]

    starts, places, values = [0], [], []
    for look, rules, _, _ in examples:
        places += [*sorted(look), FEATURES]
        values += [1 / math.sqrt(max(len(look), 1))] * len(look) + [rules]
        starts.append(len(places))
    table = csr_matrix((values, places, starts), shape=(len(examples), FEATURES + 1))
    regression = LogisticRegression(C=30, max_iter=5000)
    attacks, weights = [each[2] for each in examples], [each[3] for each in examples]
    regression.fit(table, attacks, sample_weight=weights)
    *found, rules = (float(each) for each in regression.coef_[0])
    scale = max(map(abs, found)) / 127
    packed = bytes(round(each / scale) & 0xFF for each in found)
    return {
        "scale": scale, "bias": float(regression.intercept_[0]), "rules": rules,
        "weights": base64.b85encode(packed).decode(),
    }  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
