"""Make the model of ``guard/language.py``: ``python scripts/train_language.py``

Of the counts of letters that langdetect has of each language's Wikipedia. What the model is
measured by goes to tests/guard/languages.jsonl: example sentences of spaCy, and messages of
Django, of which it has seen nothing. Needs what nothing else here does, unpacked or installed:
`pip install langdetect==1.0.9 Django==5.2.19 spacy==3.8.18`.
"""

import ast
import base64
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from ferryman.config.guard_row import LANGUAGES
from ferryman.guard.evaluation import share
from ferryman.guard.language import GROUPS, parts, worst

ROOT: Final = Path(__file__).parent.parent
MODEL: Final = ROOT / "src/ferryman/catalog/data/language_model.json"
HELD: Final = ROOT / "tests/guard/languages.jsonl"
RARE: Final = 5e-6
"""What hardly occurs: a share of all runs of letters of its length."""
COMMON: Final = 3e-4
"""The share that a run has to have in one language, to be in the table."""
SCALE: Final = 0.045
"""A step of the logarithm."""
TELLING: Final = 12
"""Steps between the languages where a run is most and least frequent."""
MESSAGES: Final = 12
"""Of a language, of Django's."""
THRESHOLD: Final = 0.6


class Held(NamedTuple):
    """A text that nothing was learnt from."""

    set: str
    language: str
    text: str


def profile(code: str) -> tuple[Counter[str], list[int]]:
    """langdetect's counts of runs of letters, and how many there are by length."""
    folder = _folder("langdetect") / "profiles"
    given = json.loads((folder / code).read_text("utf-8"))
    counts: Counter[str] = Counter()
    for gram, count in given["freq"].items():
        counts[gram.lower()] += count
    return counts, given["n_words"]


def table(codes: Sequence[str]) -> dict[str, str]:
    """The members of a script's table."""
    shares: list[dict[str, float]] = []
    for code in codes:
        counts, sizes = profile(code)
        shares.append({gram: n / sizes[len(gram) - 1] for gram, n in counts.items()
                       if len(gram) in (2, 3)})  # fmt: skip
    rows: dict[str, list[int]] = {}
    for gram in sorted({gram for each in shares for gram in each}):
        found = [each.get(gram, 0.0) for each in shares]
        steps = [min(round(math.log(max(p / RARE, 1.0)) / SCALE), 255) for p in found]
        if max(found) >= COMMON and max(steps) - min(steps) >= TELLING:
            rows[gram] = steps
    weights = bytes(row[place] for place in range(len(codes)) for row in rows.values())
    return {"grams": _packed("\n".join(rows).encode()), "weights": _packed(weights)}


def _packed(data: bytes) -> str:
    return base64.b85encode(zlib.compress(data, 9)).decode()


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def sentences() -> Iterator[Held]:
    """spaCy's examples."""
    for file in sorted((_folder("spacy") / "lang").glob("*/examples.py")):
        code = {"nb": "no"}.get(file.parent.name, file.parent.name)
        if code not in LANGUAGES:
            continue
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.Assign):
                for text in ast.literal_eval(node.value):
                    yield Held("sentences", code, text)


def messages() -> Iterator[Held]:
    """Django's, of 40 characters and more, those whose SHA-256 comes first."""
    names = {"nb": "no", "zh_Hans": "zh"}
    for folder in sorted((_folder("django") / "conf/locale").iterdir()):
        code = names.get(folder.name, folder.name)
        if code not in LANGUAGES:
            continue
        texts: set[str] = set()
        for app in ("conf", "contrib/auth", "contrib/admin"):
            file = _folder("django") / app / f"locale/{folder.name}/LC_MESSAGES/django.po"
            texts |= set(_translated(file.read_text("utf-8"))) if file.exists() else set()
        for text in sorted(texts, key=lambda each: sha256(each.encode()).digest())[:MESSAGES]:
            yield Held("messages", code, text)


def _translated(catalogue: str) -> Iterator[str]:
    # English is what the others are translated from.
    for block in catalogue.split("\n\n")[1:]:
        said = {
            name: "".join(ast.literal_eval(line) for line in re.findall(r'".*"', lines))
            for name, lines in re.findall(r'^(msgid|msgstr) ((?:".*"\n?)+)', block, re.MULTILINE)
        }
        text = said.get("msgid" if _ENGLISH.search(catalogue) else "msgstr", "")
        if "#~" in block or "#, fuzzy" in block:
            continue
        text = " ".join(re.sub(r"%\(\w+\)\w|%\w|\{\w*\}|<[^>]*>", " ", text).split())
        if len(text) >= 40 or (len(text) >= 15 and max(text) > "\u3000"):
            yield text


_ENGLISH: Final = re.compile(r"^\"Language: en\\n\"", re.MULTILINE)


def stored() -> list[Held]:
    """What is held back."""
    return [Held(**json.loads(line)) for line in HELD.read_text("utf-8").splitlines()]


def told(text: str) -> str:
    """The language that most of a text seems to be in; ``unknown`` where it is too short."""
    found = Counter(
        max(part.languages, key=part.languages.__getitem__) for part in parts(text) if part.sure
    )
    return found.most_common(1)[0][0] if found else "unknown"


def together(held: Sequence[Held], size: int) -> list[Held]:
    """As many texts of a language as one."""
    out: list[Held] = []
    for code in dict.fromkeys(each.language for each in held):
        texts = [each.text for each in held if each.language == code]
        out += [Held("", code, " ".join(texts[at : at + size]))
                for at in range(0, len(texts) - size + 1, size)]  # fmt: skip
    return out


def row(held: Sequence[Held]) -> str:
    """The cells of a set: the language is right; it can't be told; and with ``allow`` of each
    language in turn, texts in it that are found, and texts in others."""
    named = [told(each.text) for each in held]
    read = [list(parts(each.text)) for each in held]
    right = sum(code == each.language for code, each in zip(named, held, strict=True))
    wrong = foreign = strangers = 0
    for code in dict.fromkeys(each.language for each in held):
        for each, parted in zip(held, read, strict=True):
            judged = worst(parted, code.__eq__)
            found = judged is not None and judged.score >= THRESHOLD
            wrong += found and each.language == code
            foreign += found and each.language != code
            strangers += each.language != code
    cells = [_of(right, len(held)), f"{named.count('unknown')}"]
    return " | ".join([*cells, _of(foreign, strangers), _of(wrong, len(held))])


def _of(part: int, whole: int) -> str:
    found = share(part, whole)
    return f"{part:,} of {whole:,}: {part / whole:.3f} ({found.low:.3f}–{found.high:.3f})"


def main() -> None:
    """Make the model, and say how good it is."""
    tables = {name: table(codes) for name, codes in GROUPS.items()}
    MODEL.write_text(json.dumps({"scale": SCALE, "tables": tables}, indent=1) + "\n")
    held = [*sentences(), *messages()]
    lines = (json.dumps(each._asdict(), ensure_ascii=False) + "\n" for each in held)
    HELD.write_text("".join(lines), "utf-8")
    print(f"{MODEL.name}: {MODEL.stat().st_size:,} bytes")
    for name in ("sentences", "messages"):
        print(name, row([each for each in held if each.set == name]))


if __name__ == "__main__":
    main()
