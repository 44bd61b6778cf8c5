"""Train the model of ``guard/names.py``: ``python scripts/train_names.py SET.conll…``

Half of what it learns from are sentences of ``name_templates.txt`` with names of Faker's locales
and of the census of the USA (package ``names``), the rest are sets in CoNLL form (a token a line,
its tag last; a name's weight may stand before its path: ``0.3:old.conll``) and, as text without
names, the standard library's sources. A quarter of the templates and a sixth of the names, by their
SHA-256, are never learnt from: of these are the sentences in tests/guard/names_held.jsonl. Sets of
weight 0 are not learnt from either; the figures of all that was held back are printed.

Needs what nothing else here does: `pip install scikit-learn Faker==40.63.0 names==0.3.0`.
"""

import base64
import itertools
import json
import random
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ferryman.guard.evaluation import share
from ferryman.guard.names import FEATURES, NAME, WORD, features, place

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "src/ferryman/catalog/data/name_model.json"
HELD = ROOT / "tests/guard/names_held.jsonl"
LOCALES = (
    "en_US", "en_GB", "en_IN", "de_DE", "de_AT", "fr_FR", "es_ES", "es_MX", "it_IT", "nl_NL",
    "pt_BR", "pt_PT", "pl_PL", "sv_SE", "da_DK", "no_NO", "fi_FI", "cs_CZ", "tr_TR", "hu_HU",
    "ro_RO", "hr_HR", "id_ID", "vi_VN", "lt_LT", "sl_SI", "sk_SK", "yo_NG", "az_AZ",
)  # fmt: skip
OTHERS = (
    "Wei Ming Li Na Jing Yan Xiaoming Hui Mei Jun Haruto Yui Sakura Kenji Hiroshi Yuki Minjun "
    "Seoyeon Jihoon Soo-jin Mohammed Ahmed Fatima Aisha Omar Khalid Yusuf Layla Hassan Amina "
    "Tariq Nadia Olga Ivan Dmitri Svetlana Sergei Natasha Chinedu Ngozi Kwame Amara Thabo Zanele "
    "Ravi Priya Anjali Arjun Deepak Sunita",
    "Wang Li Zhang Chen Liu Yang Huang Zhao Wu Zhou Tanaka Suzuki Sato Yamamoto Watanabe Kim Park "
    "Choi Jung Al-Sayed Khan Hussein Rahman Haddad Nasser Ivanov Petrov Smirnov Kuznetsova Volkov "
    "Okafor Mensah Adeyemi Dlamini Nkosi Sharma Patel Singh Gupta Iyer Reddy Banerjee Das",
)
PRODUCTS = (
    "Photoshop Excel Windows Slack Zoom Jira Salesforce PostgreSQL Terraform Spotify Netflix "
    "Android ThinkPad PlayStation Nutella Corolla Tylenol Gmail Outlook WordPress Kindle Roomba "
    "Figma Notion Power-BI Raspberry-Pi"
)
TITLES = "Mr. Mrs. Ms. Mr Mrs Ms Dr. Dr Prof. Professor Miss Doctor"
MONTHS = {
    "month": (
        "January February March April May June July August September October November December"
    ),
    "demonth": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "frmonth": (
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
    ),
    "esmonth": (
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
    ),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "deday": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
}


class Sample(NamedTuple):
    """A text, and where the names in it are."""

    text: str
    names: list[tuple[int, int]]
    weight: float = 1.0


class Lists(NamedTuple):
    """What templates are filled with."""

    firsts: list[str]
    lasts: list[str]
    companies: list[str]
    cities: list[str]
    countries: list[str]
    words: list[str]
    """That are no names."""


def held(text: str, of: int) -> bool:
    """Whether it is held back: one in ``of``."""
    return sha256(text.lower().encode()).digest()[0] % of == 0


def lists(seen: set[str], common: Sequence[str]) -> tuple[Lists, Lists]:
    """For training, and held back; ``seen``: names that stand in sets, which can't be held back."""
    firsts, lasts, companies, cities, countries = (set[str]() for _ in range(5))
    fake = import_module("faker").Faker
    for locale in LOCALES:
        person = import_module(f"faker.providers.person.{locale}").Provider
        firsts |= _plain(person, ("first_names", "first_names_male", "first_names_female"))
        lasts |= _plain(person, ("last_names", "last_names_male", "last_names_female"))
        local = fake(locale)
        local.seed_instance(7)
        for into, ask in ((cities, "city"), (companies, "company"), (countries, "country")):
            into.update(getattr(local, ask)() for _ in range(150))
    census = Path(import_module("names").__file__ or "").parent
    for into, file, most in (
        (firsts, "dist.male.first", 800), (firsts, "dist.female.first", 1500),
        (lasts, "dist.all.last", 9000),
    ):  # fmt: skip
        rows = (census / file).read_text().splitlines()[:most]
        into |= {row.split()[0].title() for row in rows}
    firsts |= set(OTHERS[0].split())
    lasts |= set(OTHERS[1].split())
    fits = re.compile(r"[^\W\d_][^\W\d_]+(?:[ '-][^\W\d_]+)*").fullmatch
    firsts, lasts = ({each for each in group if fits(each)} for group in (firsts, lasts))
    # Companies that are nothing but surnames are no lesson.
    companies = {each for each in companies if not (set(re.split(r"\W+", each)) & lasts)}
    taken = {each.lower() for each in itertools.chain(firsts, lasts, seen)}
    words = [each.title() for each in common if each not in taken]
    rest = [sorted(companies), sorted(cities), sorted(countries), words]
    parts = [
        [sorted(each for each in group if (held(each, 6) and each.lower() not in seen) is back)
         for group in (firsts, lasts)]
        for back in (False, True)
    ]  # fmt: skip
    both = {each.lower() for each in itertools.chain(*parts[0])}
    parts[1] = [[each for each in group if each.lower() not in both] for group in parts[1]]
    return Lists(*parts[0], *rest), Lists(*parts[1], *rest)


def _plain(provider: Any, members: Sequence[str]) -> set[str]:
    return {
        each for member in members for each in getattr(provider, member, ())
        if each.isascii() or ord(each[0]) < 0x250
    }  # fmt: skip


def _name(chance: random.Random, of: Lists) -> str:
    first, last = chance.choice(of.firsts), chance.choice(of.lasts)
    form = chance.random()
    if form < 0.55:
        return f"{first} {last}"
    if form < 0.65:
        return f"{first} {chance.choice('ABCDEFGHJKLMNPRSTW')}. {last}"
    if form < 0.72:
        return f"{first[0]}. {last}"
    if form < 0.78:
        return f"{first} {chance.choice(of.firsts)} {last}"
    if form < 0.83:
        return f"{first} {last}-{chance.choice(of.lasts)}".replace(" -", "-")
    if form < 0.87:
        return f"{first} {chance.choice(('van', 'von', 'de', 'van der', 'da', 'del', 'di'))} {last}"
    return first if form < 0.94 else f"{first} {last} {chance.choice(of.lasts)}"


_PLACE = re.compile(
    r"straße|-Allee|s? (?:Street|Road|Avenue|Park|River|University|Institute|Inc|Group|GmbH|& Co)"
    r"|s? (?:Found|Hosp|Orch)"
)
_IN_PLACE = re.compile(r"(?:Lake|Mount|[Rr]ue|Via|Calle|Avenida(?: \w+)?|ul\.) $")


def filled(template: str, chance: random.Random, of: Lists) -> Sample:
    """A sentence of a template; {first}, {last}, {name} and {upper} are names, unless what stands
    around a surname makes it a place or a company."""
    out, names, size, done = list[str](), list[tuple[int, int]](), 0, 0
    for part in re.split(r"(\{[a-z]+\})", template):
        text, name = part, False
        key = part[1:-1] if part.startswith("{") else ""
        done += len(part)
        after = template[done:]
        if key in ("first", "last", "name", "upper"):
            before = "".join(out)
            name = not (
                (key == "last" and _PLACE.match(after)) or _IN_PLACE.search(before)
                or (key == "last" and before.endswith("GmbH and "))
            )  # fmt: skip
            text = {
                "first": lambda: chance.choice(of.firsts), "last": lambda: chance.choice(of.lasts),
                "name": lambda: _name(chance, of), "upper": lambda: _name(chance, of).upper(),
            }[key]()  # fmt: skip
        elif key == "initial":
            text = f"{chance.choice('ABCDEFGHJKLMNPRST')}."
        elif key == "n":
            text = str(chance.randint(2, 31))
        elif key == "title":
            text = chance.choice(TITLES.split())
        elif key == "product":
            text = chance.choice(PRODUCTS.split()).replace("-", " ")
        elif key in MONTHS:
            text = chance.choice(MONTHS[key].split())
        elif key in ("company", "city", "country", "w"):
            lists = {
                "company": of.companies,
                "city": of.cities,
                "country": of.countries,
                "w": of.words,
            }
            text = chance.choice(lists[key])
        if name:
            names.append((size, size + len(text)))
        out.append(text)
        size += len(text)
    return Sample("".join(out), names)


def templates(back: bool) -> list[str]:
    """Those that are learnt from, or held back."""
    lines = Path(__file__).with_name("name_templates.txt").read_text().splitlines()
    return [each for each in lines if held(each, 4) is back]


def conll(path: str) -> Iterator[Sample]:
    """Texts of a set, two sentences each."""
    weight, _, file = path.rpartition(":")
    rows: list[tuple[str, str]] = []
    ends = 0
    for line in [*Path(file).read_text("utf-8", "replace").splitlines(), "", ""]:
        parts = line.split("\t") if line.count("\t") >= 4 else line.split()
        if len(parts) >= 2 and not line.startswith("# "):
            rows.append((parts[1], parts[2]) if len(parts) >= 5 else (parts[0], parts[-1]))
        elif rows and not parts:
            ends += 1
            if ends % 2 == 0 or len(rows) > 60:
                yield _joined(rows, float(weight or 1))
                rows = []
    if rows:
        yield _joined(rows, float(weight or 1))


def _joined(rows: Iterable[tuple[str, str]], weight: float) -> Sample:
    text, names = "", list[tuple[int, int]]()
    inside = False
    for token, tag in rows:
        tight = (
            re.match(r"[.,;:!?)\]}%…]|['\u2019]\w?|n't$", token)
            or not text
            or text[-1] in "([{$#@“„"
        )
        text += "" if tight else " "
        person = re.fullmatch(r"[BI]-(?:PER|person|Person|RR|PEr|PERSON)", tag) is not None
        if person:
            begin = names.pop()[0] if inside and tag[0] == "I" else len(text)
            names.append((begin, len(text) + len(token)))
        inside = person
        text += token
    return Sample(text, names, weight)


def sources() -> Iterator[Sample]:
    """Pieces of the standard library, but for lines that may name somebody."""
    authors = re.compile(
        r"(?i)author|copyright|\bby\b|written|contrib|@|thank|credit|\bhans|guido|names?\b"
    )
    for path in sorted(Path(random.__file__).parent.glob("*.py")):
        if held(path.name, 4):
            continue
        lines = [
            line
            for line in path.read_text("utf-8", "replace").splitlines()
            if not authors.search(line)
        ]
        for start in range(0, min(len(lines), 400), 20):
            yield Sample("\n".join(lines[start : start + 20]), [], 0.3)


def table(of: Lists) -> bytes:
    """The lists of the model's file."""
    found = bytearray(FEATURES)
    for bit, group in enumerate((of.firsts, of.lasts, of.words, [*of.cities, *of.countries])):
        for each in {word for name in group for word in re.findall(r"[^\W\d_]{2,}", name)}:
            found[place(each.lower())] |= 1 << bit
    return bytes(found)


def examples(samples: Iterable[Sample], known: bytes) -> Iterator[tuple[list[int], bool, float]]:
    """The words of texts that may be names: features, whether they are, weight."""
    chance = random.Random(3)
    strange = bytes(each & 0b1100 for each in known)
    for sample in samples:
        # Half of the names that it will meet are in no list.
        new = chance.random() < (0.5 if sample.weight == 1.0 else 0.1)
        for word in WORD.finditer(sample.text):
            start, end = word.span()
            yes = any(start < b and end > a for a, b in sample.names)
            found = features(sample.text, start, end, strange if new else known, known=not new)
            yield found, yes, sample.weight


def fitted(rows: Sequence[tuple[list[int], bool, float]]) -> dict[str, object]:
    """The members of the model's file but its lists."""
    import numpy as np  # type: ignore[import-not-found,unused-ignore]
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped,import-not-found,unused-ignore]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped,import-not-found,unused-ignore]

    places = np.fromiter(itertools.chain.from_iterable(each for each, _, _ in rows), np.int32)
    matrix = csr_matrix(
        (
            np.ones(len(places), np.float32),
            places,
            np.cumsum([0, *(len(each) for each, _, _ in rows)]),
        ),
        shape=(len(rows), FEATURES),
    )
    regression = LogisticRegression(C=0.3, max_iter=200, tol=1e-3)
    regression.fit(
        matrix, [yes for _, yes, _ in rows], sample_weight=[weight for _, _, weight in rows]
    )
    found = regression.coef_[0]
    scale = float(np.percentile(np.abs(found[found != 0]), 99.95)) / 127
    packed = np.clip(np.round(found / scale), -127, 127).astype(np.int8)
    packed[np.abs(packed) < 3] = 0
    return {
        "scale": scale, "bias": float(regression.intercept_[0]),
        "weights": base64.b85encode(zlib.compress(packed.tobytes(), 9)).decode(),
    }  # fmt: skip


def main(paths: Sequence[str]) -> None:
    """Train, and write the model and the sentences that it has not seen."""
    chance = random.Random(20261127)
    sets = [sample for path in paths if not path.startswith("0:") for sample in conll(path)]
    seen = {each.lower() for text, names, _ in sets for a, b in names for each in text[a:b].split()}
    counts = Counter(
        itertools.chain.from_iterable(re.findall(r"\b[^\W\d_]{3,}\b", each.text) for each in sets)
    )
    common = sorted(each for each, count in counts.items() if count > 2 and each.islower())
    known, back = lists(seen, common)
    made = [filled(each, chance, known) for each in templates(False) for _ in range(110)]
    # Texts go on before and behind a sentence.
    made = [_beside(one, chance, made) for one in made]
    words = table(known)
    rows = list(examples([*made, *sets, *sources()], words))
    print(f"{len(known.firsts)}+{len(known.lasts)} names, "
          f"{len(back.firsts)}+{len(back.lasts)} held back; "
          f"{len(made)} sentences, {len(sets)} texts of sets, {len(rows)} words")  # fmt: skip
    model = {**fitted(rows), "lists": base64.b85encode(zlib.compress(words, 9)).decode()}
    MODEL.write_text(json.dumps(model, indent=1) + "\n")
    with HELD.open("w") as file:
        for each in templates(True):
            for _ in range(6):
                sample = filled(each, chance, back)
                file.write(json.dumps([sample.text, sample.names], ensure_ascii=False) + "\n")
    print("held back", row(*measured(stored(HELD))))
    for path in paths:
        if path.startswith("0:"):
            print(path, row(*measured(conll(path))))


def stored(path: Path) -> Iterator[Sample]:
    """Texts of a file with a line ``[text, [[start, end], …]]`` for each."""
    for line in path.read_text("utf-8").splitlines():
        text, names = json.loads(line)
        yield Sample(text, [(start, end) for start, end in names])


def measured(samples: Iterable[Sample]) -> tuple[int, int, int, int, int]:
    """How many names there are, how many of them were found, how many from end to end; how many
    findings there are, and in how many of them is a name."""
    names = found = whole = findings = right = 0
    for text, real, _ in samples:
        said = list[tuple[int, int]]()
        while hit := NAME.find(text, said[-1][1] if said else 0):
            said.append((hit.found, hit.end))
        names, findings = names + len(real), findings + len(said)
        found += sum(any(a < end and b > start for a, b in said) for start, end in real)
        whole += sum(any(a <= start and b >= end for a, b in said) for start, end in real)
        right += sum(any(a < end and b > start for a, b in real) for start, end in said)
    return names, found, whole, findings, right


def row(names: int, found: int, whole: int, findings: int, right: int) -> str:
    """The figures as docs/guardrails.md has them."""

    def of(part: int, all_: int) -> str:
        value = share(part, all_)
        return f"{part:,} of {all_:,}: {value.value:.3f} ({value.low:.3f}–{value.high:.3f})"

    return f"{of(found, names)} | {of(whole, names)} | {of(right, findings)}"


def _beside(one: Sample, chance: random.Random, others: Sequence[Sample]) -> Sample:
    gap, two = chance.choice((" ", " ", "\n")), chance.choice(others)
    if chance.random() < 0.5:
        return one
    begin = len(one.text) + len(gap)
    return Sample(
        one.text + gap + two.text, one.names + [(a + begin, b + begin) for a, b in two.names]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
