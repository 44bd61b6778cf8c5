"""Names of persons: what is found, also in pieces, and as well as docs/guardrails.md says."""

import itertools
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripts.train_names import measured, row, stored

from ferryman.config.guard_row import Guard
from ferryman.guard.engine import REPLY, REQUEST, BlockedError, Engine, Session, TextCheck
from ferryman.guard.names import LONGEST, NAME
from ferryman.guard.scan import KEPT, Scanner, scan
from tests import tree

HERE = Path(__file__).parent
SETS = {
    "sentences of our own": HERE / "names_held.jsonl",
    "presidio-research": HERE / "names_presidio.jsonl",
}
FOUND = (
    ("My name is Anna Schneider.", "Anna Schneider"),
    ("Dear Mr. O'Neil, thank you", "O'Neil"),
    ("Dear John F. Kennedy, thank you.", "John F. Kennedy"),
    ("Liebe Anna, wie geht es dir?", "Anna"),
    ("Bonjour Jean-Luc, merci", "Jean-Luc"),
    ("Me llamo Carlos de la Cruz.", "Carlos de la Cruz"),
    ("I met Vincent van Gogh in Paris.", "Vincent van Gogh"),
)
NONE = (
    "The meeting is on Monday, March 3, in London.", "class HttpServer(BaseServer): pass",
    "Wie lautet die Hauptstadt von Österreich?", "We use Docker and PostgreSQL on Linux.",
    "what is the capital of peru", "Quelle est la capitale de l'Italie ?", "",
)  # fmt: skip


def told(kind: str, value: str) -> str:
    return f"<{kind}:{value}>"


@pytest.mark.parametrize(("text", "name"), FOUND)
def test_a_name_is_found_whole_at_every_split(text: str, name: str) -> None:
    whole = scan(text, (NAME,), told)
    assert whole == text.replace(name, f"<name:{name}>")
    for cut in range(len(text)):
        scanner = Scanner((NAME,), told)
        assert scanner.feed(text[:cut]) + scanner.feed(text[cut:]) + scanner.close() == whole


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_name_stays(text: str) -> None:
    assert scan(text, (NAME,), told) == text


PIECES = (
    "Anna", "Schneider", "O'Brien", "Jean-Luc", "van der", "von", "al-", "J.", "R. R.", "Mr.", "Dr",
    "DR. JOHN", "MARY", "McDonald", "d'", "D'", "l'Été", "Ā", "ⅷ", "İ", "Dear", "my name is",
    "said", "in Paris", "1,", "_x", "A" * 24, "A" * 25, "-B", "-" + "b" * 30, "x" * 50, "\n", "-",
    "'", ".", ", ", "  ", "(", "😀",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from([*PIECES, " ", " ", " "]), max_size=40).map("".join)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 400), max_size=8))
@example(text=" ".join(PIECES) * 2, cuts=list(range(900)))
@example(text="Anna Schneider " * 40, cuts=list(range(600)))
@example(text=("Dear Anna Schneider, it rained. " * 90), cuts=list(range(0, 2900, 7)))
def test_any_cut_gives_the_same(text: str, cuts: list[int]) -> None:
    whole = scan(text, (NAME,), told)
    scanner = Scanner((NAME,), told)
    places = [0, *sorted({cut for cut in cuts if cut < len(text)}), len(text)]
    pieces = [scanner.feed(text[a:b]) for a, b in itertools.pairwise(places)]
    assert "".join(pieces) + scanner.close() == whole


def test_what_is_no_name_is_not_held_back_for_long() -> None:
    scanner = Scanner((NAME,), told)
    sent = got = 0
    for word in ["Yesterday ", "it ", "rained ", "in ", "Lyon ", "all ", "day. "] * (KEPT // 15):
        sent += len(word)
        got += len(scanner.feed(word))
        assert sent - got <= LONGEST
    assert sent > 2 * KEPT


def session(how: str = "mask", action: str = "redact") -> Session:
    guard = Guard(name="pii", kind="pii", how=how, action=action, entities=("name", "email"))
    return Session(Engine([guard], []), ["pii"])


def test_it_is_looked_for_if_it_is_named_alone() -> None:
    text = "My name is Anna Schneider, mail ann@example.org."
    plain = Session(Engine([Guard(name="pii", kind="pii")], []), ["pii"])
    assert "Anna Schneider" in TextCheck(plain, REQUEST, answer=False).whole(text)
    masked = TextCheck(session(), REQUEST, answer=False).whole(text)
    assert masked == "My name is [NAME], mail [EMAIL]."
    hashed = TextCheck(session("hash"), REQUEST, answer=False).whole(text)
    assert hashed.startswith("My name is [NAME:")
    with pytest.raises(BlockedError, match="its request holds a person's name"):
        TextCheck(session(action="block"), REQUEST, answer=False).whole(text)


def test_a_name_that_was_replaced_is_put_back() -> None:
    guarded = session("tokenise")
    text = "My name is Anna Schneider. Please call Anna Schneider back about the invoice."
    sent = TextCheck(guarded, REQUEST, answer=False).whole(text)
    assert sent == "My name is [NAME_1]. Please call [NAME_1] back about the invoice."
    check = TextCheck(guarded, REPLY, answer=True, restore=True)
    assert "".join(map(check.feed, sent)) + check.close() == text


@pytest.mark.parametrize("title", SETS)
def test_the_page_says_how_well_names_are_found(title: str) -> None:
    figures = row(*measured(stored(SETS[title])))
    page = (tree.ROOT / "docs/guardrails.md").read_text("utf-8")
    line = next(line for line in page.splitlines() if line.startswith(f"| {title}"))
    assert line.endswith(f"| {figures} |"), figures
