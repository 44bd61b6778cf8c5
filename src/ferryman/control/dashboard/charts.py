"""Charts as SVG: numbers in, shapes out, drawn by the templates. Pure.

A chart is ``width`` by ``height`` units, stretched by the page. Colours are classes of the style
sheet, so that they follow the theme; nothing here is a style, which the page's policy would refuse.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

WIDTH: Final = 1000
HEIGHT: Final = 160
GAP: Final = 2


class Bar(Struct, frozen=True):
    """A rectangle; ``kind`` is its class."""

    x: float
    y: float
    width: float
    height: float
    kind: str


class Column(Struct, frozen=True):
    """A place on the axis: its bars from the bottom up, what to say of it, and where it leads."""

    x: float
    width: float
    bars: tuple[Bar, ...]
    title: str
    link: str


class Chart(Struct, frozen=True):
    """Stacked columns."""

    columns: tuple[Column, ...]
    top: float
    """The value at the upper edge."""
    summary: str
    """What the chart shows, for those who don't see it."""
    width: int = WIDTH
    height: int = HEIGHT


def columns(
    values: Sequence[Sequence[float]],
    kinds: Sequence[str],
    titles: Sequence[str],
    summary: str,
    links: Sequence[str] = (),
) -> Chart:
    """Stacked columns: of each place its values in the order of ``kinds``."""
    top = nice(max((sum(stack) for stack in values), default=0))
    step = WIDTH / max(len(values), 1)
    gap = min(GAP, step / 4)
    made = []
    for number, stack in enumerate(values):
        bars, floor, x = [], float(HEIGHT), number * step
        for value, kind in zip(stack, kinds, strict=True):
            if value <= 0:
                continue
            tall = max(HEIGHT * value / top, 1.5)
            floor -= tall
            bars.append(
                Bar(_cut(x + gap / 2), _cut(max(floor, 0)), _cut(step - gap), _cut(tall), kind)
            )
        link = links[number] if links else ""
        made.append(Column(_cut(x), _cut(step), tuple(bars), titles[number], link))
    return Chart(tuple(made), top, summary)


def nice(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= value * 0.999999)


def _cut(number: float) -> float:
    return round(number, 2)
