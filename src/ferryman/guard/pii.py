"""Detectors of personal data: what has a form of its own, and a check where there is one."""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

from ferryman.guard import checksums
from ferryman.guard.names import NAME
from ferryman.guard.scan import Detector, finding


def _detector(
    kind: str,
    pattern: str,
    letters: str,
    longest: int,
    judge: Callable[[str], int] | None = None,
    start: str = "",
) -> Detector:
    begins = re.compile(start) if start else None
    word = re.compile(f"[{letters}]+")
    return Detector(kind, finding(pattern), word, longest, judge, start=begins)


def phone(text: str) -> int:
    """How much of digits and what stands between them is a telephone number.

    With a country's code (E.164: 8 to 15 digits); in the form of North America; with the 0 of a
    national number and a gap; with an area in brackets; or in the pairs of France.
    """
    return _longest(text, _is_phone)


def labelled(text: str) -> int:
    """The same of a number beside a word that says what it is: any 7 to 15 digits."""
    return _longest(text, _is_labelled)


def _longest(text: str, fits: Callable[[str], bool]) -> int:
    for end in range(len(text), 6, -1):
        whole = end == len(text) or not text[end].isdecimal()
        if whole and text[end - 1].isdecimal() and fits(text[:end]):
            return end
    return 0


_AMERICAN: Final = re.compile(
    r"(?:1[ .-])?(?:\([2-9]\d{2}\)[ .-]{0,2}|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}"
)
_BRACKETS: Final = re.compile(r"\(\d{2,4}\) ?\d{3,5}[ -]\d{3,4}")
_PAIRS: Final = re.compile(r"0[1-9](?:\.\d{2}){4}")
_DATE: Final = re.compile(
    r"(?:\d{1,2}[ ./-]){2}(?:19|20)\d{2}|(?:19|20)\d{2}(?:[ ./-]\d{1,4}){1,2}"
)
_EXTENSION: Final = re.compile(r"x\d{1,5}\Z")
_INTERNATIONAL: Final = re.compile(r"(?:\+|00)[1-9][\d ().\-/]*")
_NATIONAL: Final = re.compile(r"\(?0[1-9]\d{0,4}\)?[ /-](?:\d{2,8}[ -]?){1,4}")
_GAPS: Final = re.compile(r"[ ().\-/]{3}")


def _is_phone(text: str) -> bool:
    text = _EXTENSION.sub("", text)
    digits = sum(map(str.isdecimal, text))
    if _GAPS.search(text) or text.count("(") != text.count(")"):
        return False
    if _INTERNATIONAL.fullmatch(text):
        return 8 <= digits - 2 * text.startswith("00") <= 15
    if any(form.fullmatch(text) for form in (_AMERICAN, _BRACKETS, _PAIRS)):
        return True
    return 9 <= digits <= 12 and _NATIONAL.fullmatch(text) is not None


def _is_labelled(text: str) -> bool:
    text = _EXTENSION.sub("", text)
    if _GAPS.search(text) or text.count("(") != text.count(")") or _DATE.fullmatch(text):
        return False
    return 7 <= sum(map(str.isdecimal, text)) <= 15


def address(text: str) -> int:
    """An IP address, with or without the length of its prefix."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return 0
    return len(text) if text.strip(":") else 0


_D = r"(?<![\w.,-])"
"""A number begins here;"""
_E = r"(?![\w-])"
"""and ends."""
_STREETS: Final = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Way|Terrace|"
    "Place|Pl|Parkway|Pkwy|Highway|Hwy"
)

_NUMBER: Final = r"(?:\+|\()?\d[\d ().\-/]{4,22}\d(?:x\d{1,5})?"
_LABEL_STARTS: Final = "phone|mobile|cell|tel|fax|desk|call|text|reach|dial|answer|message"
_LABELS: Final = (
    r"phone|mobile|cell|tel|telephone|fax|desk|(?:phone|mobile) number(?: is)?|dial|"
    r"(?:call|text|reach)(?: me| us| him| her| them)? (?:at|on)|answering at|messages to"
)

PII: Final[dict[str, tuple[Detector, ...]]] = {
    "email": (
        _detector(
            "email",
            r"(?<![\w.%+'-])[\w%+-][\w.%+'-]{0,63}@(?:[^\W_](?:[\w-]{0,62})\.){1,5}[^\W\d_]{2,24}(?![\w-])",
            r"\w.%+'@-",
            420,
        ),
    ),
    "card": (
        _detector("card", rf"{_D}\d(?:[ -]?\d){{11,18}}(?!\d)", r"\d -", 40, checksums.card),
        _detector("card", rf"{_D}\d{{4}}(?:[ -]\d{{4}}){{3}}(?!\d)", r"\d -", 40, checksums.card),
    ),
    "iban": (
        _detector(
            "iban",
            r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,31}",
            r"A-Za-z0-9 ",
            70,
            checksums.iban,
            r"(?<![A-Za-z0-9])[A-Za-z]{2}\d|(?<![A-Za-z0-9])[A-Za-z]{1,2}\Z",
        ),
    ),
    "national_id": (
        _detector(
            "national_id",
            rf"{_D}\d{{3}}(?:-\d{{2}}-| \d{{2}} )\d{{4}}{_E}",
            r"\d -",
            12,
            checksums.ssn,
        ),
        _detector(
            "national_id",
            rf"{_D}(?:[XYZxyz][ -]?\d{{7}}|\d{{8}})[ -]?[A-Za-z]{_E}",
            r"\w -",
            12,
            checksums.dni,
        ),
        _detector(
            "national_id",
            rf"{_D}[A-Za-z]{{6}}\d{{2}}[A-Za-z]\d{{2}}[A-Za-z]\d{{3}}[A-Za-z]{_E}",
            r"\w",
            17,
            checksums.fiscal_code,
        ),
        _detector(
            "national_id",
            rf"{_D}[12] ?\d{{2}} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{{2}}|2[ABab])"
            rf" ?\d{{3}} ?\d{{3}} ?\d{{2}}{_E}",
            r"\w ",
            22,
            checksums.nir,
            r"[12] ?(?:\d|\Z)",
        ),
        _detector(
            "national_id",
            rf"{_D}(?:\d{{11}}|\d{{2}} \d{{3}} \d{{3}} \d{{3}}){_E}",
            r"\d ",
            15,
            checksums.tax_id,
        ),
        _detector("national_id", rf"{_D}\d{{11}}{_E}", r"\d", 12, checksums.pesel),
        _detector(
            "national_id", rf"{_D}\d{{3}}\.?\d{{3}}\.?\d{{3}}-?\d{{2}}{_E}", r"\d.-", 15,
            checksums.cpf,
        ),
        _detector("national_id", rf"{_D}\d{{3}} \d{{3}} \d{{4}}{_E}", r"\d ", 13, checksums.nhs),
        _detector(
            "national_id", rf"{_D}[2-9]\d{{3}} ?\d{{4}} ?\d{{4}}{_E}", r"\d ", 15,
            checksums.aadhaar,
        ),
        _detector(
            "national_id",
            rf"{_D}(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
            rf" ?\d{{2}} ?\d{{2}} ?\d{{2}} ?[A-D]{_E}",
            r"\w ",
            14,
            start=r"[A-Z]{2} ?\d|[A-Z]{1,2} ?\Z",
        ),
    ),
    "phone": (
        _detector(
            "phone",
            r"(?<![\w.:/+-])(?<!\d,)(?:(?<!\d )|(?!0))" + _NUMBER + r"(?!\w)",
            r"\d ().\-/+x",
            34,
            phone,
        ),
        _detector(
            "phone",
            rf"(?i)(?<!\w)(?:{_LABELS})[:.]?\s{{1,3}}({_NUMBER})(?!\w)",
            r"\w ().\-/+:'\n",
            72,
            labelled,
            rf"(?i)(?<!\w)(?:{_LABEL_STARTS})|(?<!\w)[a-z]{{1,9}}\Z",
        ),
        _detector(
            "phone",
            rf"(?i)(?<![\w.:/+-])({_NUMBER})[ -](?:office|fax|mobile|cell)(?!\w)",
            r"\w ().\-/+",
            44,
            labelled,
            r"[\d(+]",
        ),
    ),
    "ip": (
        _detector("ip", r"(?<![\w.:])(?:\d{1,3}\.){3}\d{1,3}(?![\w:-]|\.\d)", r"\d.", 17, address),
        _detector(
            "ip",
            r"(?<![\w.:])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{1,4})?(?![\w:])",
            r"0-9A-Fa-f.:",
            54,
            address,
        ),
    ),
    "address": (
        _detector(
            "address",
            rf"{_D}\d{{1,5}}[A-Za-z]? (?:[A-Z][\w'.]{{0,20}} ){{1,3}}(?:{_STREETS})\b",
            r"\w'. ",
            100,
            start=r"\d",
        ),
        _detector(
            "address",
            r"(?<!\w)[A-ZÄÖÜ][\wäöüß-]{1,24}(?:straße|strasse|str\.|weg|platz|allee|gasse)"
            r" \d{1,4}[a-z]?(?!\w)",
            r"\w. -",
            46,
            start=r"[A-ZÄÖÜ]",
        ),
    ),
    "name": (NAME,),
}  # fmt: skip
"""By the names of ``entities``."""
ALWAYS: Final = ("email", "card", "iban", "national_id", "phone", "ip")
"""Those that are looked for where none are named: addresses and names are guesses."""
