"""Numbers that people and accounts have, told from other digits by their own check digits."""

from datetime import date
from typing import Final

IBAN_LENGTHS: Final = {
    "AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "CH": 21, "CY": 28,
    "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GI": 23,
    "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "KW": 30, "KZ": 20,
    "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15,
    "PK": 24, "PL": 28, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19,
    "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29,
}  # fmt: skip
"""https://www.swift.com/standards/data-standards/iban-international-bank-account-number"""


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


_MAESTRO: Final = ("50", "56", "57", "58", "60", "63", "67")


def card(text: str) -> int:
    """How much of groups of digits is the number of a payment card."""
    for end in range(len(text), 11, -1):
        whole = end == len(text) or not text[end].isdecimal()
        if not whole or not text[end - 1].isdecimal():
            continue
        digits = "".join(filter(str.isdecimal, text[:end]))
        likely = 13 <= len(digits) <= 19 and digits[0] in "23456" and len(set(digits)) > 1
        likely |= len(digits) == 12 and digits[:2] in _MAESTRO
        likely |= len(digits) == 15 and digits.startswith("1800")  # JCB
        if likely and luhn(digits):
            return end
    return 0


def iban(text: str) -> int:
    """How much of the text is an IBAN (ISO 13616), with or without spaces."""
    want, got = IBAN_LENGTHS.get(text[:2].upper(), 99), 0
    for end, letter in enumerate(text, 1):
        got += letter != " "
        if got == want:
            if text[end : end + 1].isalnum():
                return 0
            plain = text[:end].replace(" ", "").upper()
            number = "".join(str(int(each, 36)) for each in plain[4:] + plain[:4])
            return end if int(number) % 97 == 1 else 0
    return 0


def ssn(text: str) -> int:
    """A social security number of the USA: the ranges that are given out."""
    area, group, serial = text[:3], text[4:6], text[7:]
    never = area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000"
    return 0 if never else len(text)


def dni(text: str) -> int:
    """A DNI or NIE of Spain: the letter by the number's rest modulo 23."""
    plain = text.upper().replace("-", "").replace(" ", "")
    number = plain[:-1].translate({ord("X"): "0", ord("Y"): "1", ord("Z"): "2"})
    return len(text) if "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == plain[-1] else 0


_ODD: Final = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22,
               25, 24, 23)  # fmt: skip


def fiscal_code(text: str) -> int:
    """A codice fiscale of Italy: its last letter (D.M. 23/12/1976)."""
    plain, total = text.upper(), 0
    for place, letter in enumerate(plain[:15]):
        value = int(letter) if letter.isdecimal() else ord(letter) - 65
        total += value if place % 2 else _ODD[value]
    return len(text) if ord(plain[15]) - 65 == total % 26 else 0


def nir(text: str) -> int:
    """A NIR of France: 13 digits and 97 less their rest (Corsica: 2A = 19, 2B = 18)."""
    plain = text.upper().replace(" ", "").replace("2A", "19").replace("2B", "18")
    if len(plain) != 15 or not plain.isdecimal():
        return 0
    return len(text) if 97 - int(plain[:13]) % 97 == int(plain[13:]) else 0


def tax_id(text: str) -> int:
    """A Steuer-ID of Germany: ISO 7064 MOD 11,10, and of the first ten one is repeated."""
    digits = text.replace(" ", "")
    product = 10
    for each in digits[:10]:
        product = ((int(each) + product) % 10 or 10) * 2 % 11
    repeats = [digits[:10].count(each) for each in set(digits[:10])]
    fits = digits[0] != "0" and max(repeats) <= 3 and sum(each > 1 for each in repeats) == 1
    return len(text) if fits and (11 - product) % 10 == int(digits[10]) else 0


def pesel(text: str) -> int:
    """A PESEL of Poland: a date (the month says the century) and weights 1 3 7 9."""
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    total = sum(int(digit) * weight for digit, weight in zip(text, weights, strict=False))
    month = int(text[2:4])
    century = (1900, 2000, 2100, 2200, 1800)[month // 20]
    try:
        date(century + int(text[:2]), month % 20, int(text[4:6]))
    except ValueError:
        return 0
    return len(text) if (10 - total % 10) % 10 == int(text[10]) else 0


def cpf(text: str) -> int:
    """A CPF of Brazil: two digits modulo 11."""
    digits = [int(each) for each in text if each.isdecimal()]
    if len(set(digits)) == 1:
        return 0
    for size in (9, 10):
        total = sum(digit * (size + 1 - i) for i, digit in enumerate(digits[:size]))
        if total * 10 % 11 % 10 != digits[size]:
            return 0
    return len(text)


def nhs(text: str) -> int:
    """An NHS number of the United Kingdom: modulo 11."""
    digits = [int(each) for each in text if each.isdecimal()]
    total = sum(digit * (10 - i) for i, digit in enumerate(digits[:9]))
    return len(text) if (11 - total % 11) % 11 == digits[9] else 0


_TIMES: Final = ("0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
                 "5987604321", "6598710432", "7659821043", "8765932104", "9876543210")  # fmt: skip
_TURNS: Final = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870",
                 "4286573901", "2793806415", "7046913258")  # fmt: skip


def aadhaar(text: str) -> int:
    """An Aadhaar number of India: Verhoeff's scheme."""
    digits, check = [each for each in text if each.isdecimal()], 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_TIMES[check][int(_TURNS[place % 8][int(digit)])])
    return len(text) if check == 0 else 0
