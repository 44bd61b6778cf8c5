"""Texts are in the language that they are in, and guards stop those that may not be."""

from pathlib import Path

import pytest

from ferryman.config.file import load
from ferryman.config.guard_row import LANGUAGES, Guard
from ferryman.guard.engine import REPLY, REQUEST, BlockedError, Engine, Session, TextCheck
from ferryman.guard.language import _BITS, _SCRIPTS, GROUPS, LEAST, WINDOW, _tables, language
from ferryman.guard.talk import guarded_request
from ferryman.ir.request import Message, Request, Role, Text, Tool

ENGLISH = "The ferry leaves at noon, and the crossing takes half an hour in good weather. "
GERMAN = "Die Fähre legt mittags ab, und die Überfahrt dauert bei gutem Wetter eine halbe Stunde. "
RUSSIAN = "Паром отправляется в полдень, и переправа занимает полчаса при хорошей погоде. "
SAID = {
    "en": ENGLISH, "de": GERMAN, "ru": RUSSIAN,
    "fr": "Le bac part à midi, et la traversée dure une demi-heure par beau temps.",
    "es": "El transbordador sale al mediodía y la travesía dura media hora con buen tiempo.",
    "tr": "Feribot öğlen kalkıyor ve güzel havada geçiş yarım saat sürüyor.",  # noqa: RUF001
    "uk": "Пором відходить опівдні, і переправа триває пів години за гарної погоди.",  # noqa: RUF001
    "fa": "کشتی ظهر حرکت می‌کند و سفر در هوای خوب نیم ساعت طول می‌کشد.",
    "ja": "フェリーは正午に出発し、天気が良ければ三十分で着きます。",
    "zh": "渡轮中午出发,天气好的时候半小时就到。",
    "ko": "배는 정오에 출발하고 날씨가 좋으면 삼십 분이 걸립니다.",
    "el": "Το πλοίο φεύγει το μεσημέρι.", "th": "เรือออกตอนเที่ยง", "he": "המעבורת יוצאת בצהריים.",  # noqa: RUF001
}  # fmt: skip


@pytest.mark.parametrize("code", SAID)
def test_a_text_is_in_its_language_alone(code: str) -> None:
    assert language((code,), (), unknown=True)(SAID[code]).score < 0.6
    assert language((), (code,), unknown=True)(SAID[code]).score >= 0.6
    others = tuple(each for each in SAID if each != code)
    judged = language(others, (), unknown=False)(SAID[code])
    assert judged.score >= 0.6
    assert judged.reasons == (code,)


@pytest.mark.parametrize(("foreign", "code"), [(GERMAN, "de"), (RUSSIAN, "ru")])
def test_a_passage_is_found_in_a_long_text(foreign: str, code: str) -> None:
    only = language(("en",), (), unknown=False)
    assert only(ENGLISH * 400).score < 0.6
    passage = foreign * (2 * WINDOW // len(foreign) + 1)
    judged = only(ENGLISH * 200 + passage + ENGLISH * 200)
    assert judged.score >= 0.6
    assert judged.reasons == (code,)


@pytest.mark.parametrize(
    ("text", "reasons", "loose", "strict"),
    [
        ("ok", ("unknown",), 0, 1), ("Danke!", ("unknown",), 0, 1), ("12345 :-)", (), 0, 0),
        ("", (), 0, 0), ("https://beispiel.example/die-ueberfahrt-dauert-lange", (), 0, 0),
        ("[EMAIL_1] [NAME] </b>", (), 0, 0), ("Привет", ("cyrillic",), 1, 1),
        ("x is the sign of it here, α is the angle, and Иван the finder", ("en",), 0, 0),  # noqa: RUF001
    ],
)  # fmt: skip
def test_what_is_too_short_to_tell(
    text: str, reasons: tuple[str, ...], loose: int, strict: int
) -> None:
    judged = language(("en",), (), unknown=False)(text)
    assert (round(judged.score), judged.reasons) == (loose, reasons)
    assert round(language(("en",), (), unknown=True)(text).score) == strict


def session(**members: object) -> Session:
    guard = Guard(name="tongue", kind="language", **members)  # type: ignore[arg-type]
    return Session(Engine([guard], ()), ["tongue"])


def test_a_guard_stops_what_is_said_and_leaves_how_tools_are_described() -> None:
    tool = Tool(name="ferry", description=ENGLISH)
    asked = Request(
        model="m",
        messages=(
            Message(role=Role.SYSTEM, blocks=(Text(text=ENGLISH),)),
            Message(role=Role.USER, blocks=(Text(text=GERMAN),)),
        ),
        tools=(tool,),
    )
    german = session(allow=("de",), action="block", at=(REQUEST, REPLY))
    assert guarded_request(asked, german) == asked
    english = session(allow=("en",), action="block", at=(REQUEST, REPLY))
    with pytest.raises(BlockedError, match=r"its request is in a language that may not be \(de\)"):
        guarded_request(asked, english)
    check = TextCheck(english, REPLY, answer=True, main=True)
    assert check.feed(GERMAN[:40]) == "", "nothing goes out before it is judged"
    check.feed(GERMAN[40:])
    with pytest.raises(BlockedError, match="its answer is in a language"):
        check.close()


def test_where_it_looks_and_what_it_does_is_modest_unless_said(tmp_path: Path) -> None:
    path = tmp_path / "ferryman.yaml"
    path.write_text("guards: { tongue: { kind: language, deny: [ru] } }\n")
    [guard] = load(path, env={}).config.guards
    assert (guard.at, guard.action, guard.unknown) == ((REQUEST, REPLY), "log", "allow")
    assert guard.deny == ("ru",)


def test_short_texts_are_stopped_if_that_is_wished() -> None:
    loose = session(allow=("en",), action="block")
    assert TextCheck(loose, REQUEST, answer=False, main=True).whole("Danke!") == "Danke!"
    strict = session(allow=("en",), action="block", unknown="block")
    with pytest.raises(BlockedError, match=r"\(unknown\)"):
        TextCheck(strict, REQUEST, answer=False, main=True).whole("Danke!")


def test_the_model_has_weights_for_every_language() -> None:
    codes = {code for group in GROUPS.values() for code in group} | (set(_SCRIPTS) - set(GROUPS))
    assert tuple(sorted(codes)) == LANGUAGES
    for name, group in GROUPS.items():
        table, scale = _tables()[name]
        assert 0 < scale < 1
        assert len(table) > 300
        for place in range(len(group)):
            assert max(row >> (_BITS * place) & 255 for row in table.values()) > 100
    assert LEAST < WINDOW
