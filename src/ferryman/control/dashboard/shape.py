"""Numbers, money and times as people read them. Pure."""

import math
from datetime import UTC, datetime
from typing import Final

from ferryman.control.rows import dollars
from ferryman.ir.price import PICO

NONE: Final = "–"
"""For what is unknown or never happened."""


def usd(pico: int | None) -> str:
    """Picodollars → ``$1,234``, ``$1.23``, ``$0.00042``: below a dollar three digits that count."""
    if pico is None:
        return NONE
    amount = abs(pico) / PICO
    sign = "-" if pico < 0 else ""
    if amount >= 1000:
        return f"{sign}${amount:,.0f}"
    if amount >= 1:
        return f"{sign}${amount:.2f}"
    if not amount:
        return "$0"
    places = 2 - math.floor(math.log10(amount))
    whole, _, digits = f"{amount:.{places}f}".partition(".")
    return f"{sign}${whole}.{digits.rstrip('0').ljust(2, '0')}"


def exact(pico: int | None) -> str:
    """Picodollars → every digit: ``$0.000123``."""
    return "unknown" if pico is None else f"${dollars(pico)}"


def span(us: float | None) -> str:
    """Microseconds → ``850 µs``, ``12 ms``, ``1.24 s``, ``2 m 03 s``, ``3 h 20 m``, ``4 d 6 h``."""
    if us is None or us < 0:
        return NONE
    if us < 1000:
        return f"{us:.0f} µs"
    if us < 999_500:
        return f"{us / 1000:.3g} ms" if us < 99_950 else f"{us / 1000:.0f} ms"
    seconds = us / 1e6
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    if minutes < 2880:
        return f"{minutes // 60} h {minutes % 60:02d} m"
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def count(number: float | None) -> str:
    """``1,234``; from a hundred thousand on ``123k``, ``1.23M``."""
    if number is None:
        return NONE
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size and number >= 100_000:
            return f"{number / size:.3g}{unit}"
    return f"{number:,.0f}"


def size(number: float) -> str:
    """Bytes → ``512 B``, ``1.2 MB``."""
    for step, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= step:
            return (
                f"{number / step:.3g} {unit}"
                if number < 1000 * step
                else f"{count(number / step)} {unit}"
            )
    return f"{number:.0f} B"


def rate(number: float) -> str:
    """Something a second, with as many digits as say something."""
    if not number:
        return "0"
    if number < 0.095:
        return f"{number:.2g}"
    return f"{number:.1f}".removesuffix(".0") if number < 99.95 else count(number)


def share(part: float, whole: float) -> str:
    """``12%``, ``0.4%``."""
    if not whole:
        return NONE
    percent = 100 * part / whole
    return "0%" if not percent else f"{percent:.1f}%" if percent < 9.95 else f"{percent:.0f}%"


def change(now: int, before: int) -> str:
    """How much more or less it is: ``+12%``, ``–3%``, ``×14``, ``new``; ``–`` of nothing."""
    if not before:
        return "new" if now else NONE
    part = (now - before) / before
    if part >= 9.5:
        return f"×{count(now / before)}"
    text = share(abs(part), 1)
    return "0%" if text == "0.0%" else f"+{text}" if part > 0 else f"–{text}" if part else text


def utc(us: int) -> datetime:
    """Unix microseconds as a time."""
    return datetime.fromtimestamp(us / 1e6, UTC)


def iso(us: int) -> str:
    """Unix microseconds → RFC 3339, for ``<time datetime>``."""
    return utc(us).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(us: int) -> str:
    """Unix microseconds → ``14:03:22`` (UTC; the page turns it into the viewer's time)."""
    return utc(us).strftime("%H:%M:%S")


def stamp(us: int) -> str:
    """Unix microseconds → ``2026-11-26 14:03:22`` (UTC)."""
    return utc(us).strftime("%Y-%m-%d %H:%M:%S")


def plural(number: int, word: str, many: str = "") -> str:
    """``1 call``, ``2 calls``; ``many`` where it isn't the word with an s."""
    return f"{count(number)} {word if number == 1 else many or word + 's'}"


FILTERS: Final = {
    each.__name__: each
    for each in (usd, exact, span, count, size, rate, share, change, iso, clock, stamp, plural)
}
