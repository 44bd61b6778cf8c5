"""Texts in pieces come out as the same texts whole, wherever they are cut."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ferryman.config.guard_row import Guard
from ferryman.guard.engine import REPLY, REQUEST, BlockedError, Engine, Session, TextCheck
from ferryman.guard.pii import PII
from ferryman.guard.scan import Scanner, scan
from ferryman.guard.secrets import SECRETS, Known
from ferryman.guard.words import CODE, words

OWN = "own-secret-of-the-gateway_0123456789"
ALL = (
    Known([OWN, "own-secret-of-another"]).detector(),
    *(each for name in PII for each in PII[name]),
    *(each for name in SECRETS for each in SECRETS[name]),
    *CODE,
)
NAMED = words(("blue heron", "青鷺", "c++"))
PIECES = (
    "ann.lee@mail.example.org", "+49 30 901820", "(212) 555-0123", "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "123-45-6789", "12345678Z",
    "RSSMRA85T10A562S", "44051401359", "529.982.247-25", "943 476 5919", "10.1.2.3", "2001:db8::1",
    "221B Baker Street", "Hauptstraße 12", "sk-proj-abcdefghijklmnop1234", "AKIAIOSFODNN7EXAMPLE",
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def", 'password = "hunter2isbad99"', OWN,
    "9Ab3Kd82LmQz71Xc0Pf5Vn6Bt4Hs8Yw2", "\n```py\nx = 1\n```", "\nimport os\n",
    "Tel: 416 60 039", "9472 7916 office",
)  # fmt: skip
BARE = ("hunter2isbad99", "import os", "416 60 039", "9472 7916")
"""Found within some of them."""
FILLING = (
    " ",
    "\n",
    ", ",
    "a",
    "1",
    "-",
    "@",
    ".",
    "sk-",
    "4111 ",
    "DE",
    "The quick fox ",
    "é",
    "[",
)
TEXTS = st.lists(st.sampled_from(PIECES + FILLING), max_size=9).map("".join)


def told(kind: str, value: str) -> str:
    return f"<{kind}:{len(value)}>"


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 400), max_size=6))
@example(text=" ".join(PIECES), cuts=list(range(900)))
def test_any_cut_gives_the_same(text: str, cuts: list[int]) -> None:
    whole = scan(text, ALL, told)
    scanner = Scanner(ALL, told)
    places = [0, *sorted({cut for cut in cuts if cut < len(text)}), len(text)]
    pieces = [scanner.feed(text[a:b]) for a, b in itertools.pairwise(places)]
    assert "".join(pieces) + scanner.close() == whole


@pytest.mark.parametrize("piece", PIECES)
def test_each_is_found_at_every_split(piece: str) -> None:
    text = f"Look: {piece} is it."
    whole = scan(text, ALL, told)
    secret = next((each for each in BARE if each in piece), piece)
    assert secret not in whole
    assert whole.startswith("Look: ")
    assert whole.endswith(" is it.")
    for cut in range(len(text)):
        scanner = Scanner(ALL, told)
        out = [scanner.feed(text[:cut]), scanner.feed(text[cut:]), scanner.close()]
        assert "".join(out) == whole


@pytest.mark.parametrize(
    "text", ["A Blue  HERON, C++.", "これは青鷺です", "blueheron", "a blue\nheron"]
)
def test_words_are_found_at_every_split(text: str) -> None:
    whole = scan(text, (NAMED,), told)
    assert ("<word" in whole) == (text != "blueheron")
    for cut in range(len(text)):
        scanner = Scanner((NAMED,), told)
        assert scanner.feed(text[:cut]) + scanner.feed(text[cut:]) + scanner.close() == whole


def test_plain_words_are_not_held_back_for_long() -> None:
    scanner = Scanner(ALL, told)
    sent, got = "", ""
    for word in ["It ", "rained ", "in ", "Lyon ", "all ", "day, ", "and ", "we ", "read. "] * 40:
        sent += word
        got += scanner.feed(word)
        assert len(sent) - len(got) <= 60


def session(guard: Guard) -> Session:
    return Session(Engine([guard], [OWN]), [guard.name])


@settings(max_examples=100, deadline=None)
@given(cuts=st.lists(st.integers(0, 120), max_size=8))
def test_what_was_replaced_is_put_back(cuts: list[int]) -> None:
    guarded = session(Guard(name="pii", kind="pii", how="tokenise"))
    text = "Mail ann@example.org and bob@example.org, then ann@example.org again. [EMAIL_2]"
    guarded.avoid = text
    sent = TextCheck(guarded, REQUEST, answer=False).whole(text)
    assert sent == "Mail [EMAIL_1] and [EMAIL_3], then [EMAIL_1] again. [EMAIL_2]"
    check = TextCheck(guarded, REPLY, answer=True, restore=True)
    places = [0, *sorted({cut for cut in cuts if cut < len(sent)}), len(sent)]
    out = "".join(check.feed(sent[a:b]) for a, b in itertools.pairwise(places))
    assert out + check.close() == text


def test_a_block_stops_before_a_word_of_it_is_out() -> None:
    guarded = session(Guard(name="keys", kind="secrets", action="block"))
    check, out = TextCheck(guarded, REPLY, answer=True), ""
    with pytest.raises(BlockedError, match=r"'keys' stops this call: its answer holds a secret of"):
        for letter in f"It is {OWN}, and more.":
            out += check.feed(letter)
    assert "It is ".startswith(out)
    assert guarded.verdicts()[0][:3] == ("keys", "reply", "blocked")


def test_own_secrets_are_not_kept_in_memory() -> None:
    known = Known([OWN])
    assert OWN not in repr(vars(known))
    assert known.find(f"xx{OWN}yy", 0) is not None
    assert known.find(OWN[:-1] + "X", 0) is None
