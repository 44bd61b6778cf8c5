"""Where calls go, as a picture: models between the policies that lead to them and their targets.

What is drawn is the configuration as it is written, with each target's health. Pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from ferryman.config.snapshot import WEIGHED

WIDTH: Final = 1240
HIGH: Final = 30
"""Of a box."""
STEP: Final = 40
"""From one box to the next below it."""
GAP: Final = 22
"""Between models."""
LEFT: Final = (0, 330)
MIDDLE: Final = (450, 260)
RIGHT: Final = (850, 390)
"""Beginning and width of the columns: policies, models, targets."""
LETTER: Final = 7.1
"""Width of a letter."""
OFF: Final = "off"
"""State of a target whose provider is not active."""
MOST: Final = 60
"""Models in one picture."""


class Target(Struct, frozen=True, kw_only=True):
    """One unit of a model."""

    name: str
    group: bool
    """True: it is a model with an order of its own."""
    order: str
    """When it is asked: a share, a place, or ``else``."""
    share: float
    """Of the calls, 0 to 1; 0 = that depends."""
    fallback: bool
    weight: float
    state: str
    """As of ``now.Health``, or ``OFF``; empty of groups."""
    link: str


class Policy(Struct, frozen=True, kw_only=True):
    """A policy, in words."""

    name: str
    when: str
    does: str
    use: str


class Lane(Struct, frozen=True, kw_only=True):
    """One name that calls may ask for or be led to."""

    name: str
    strategy: str
    weighed: bool
    """Whether its weights count."""
    own: bool
    """False: no name of the configuration, but a target that policies lead to."""
    targets: tuple[Target, ...]
    policies: tuple[Policy, ...]


class Box(Struct, frozen=True, kw_only=True):
    """A box; ``y`` is its upper edge."""

    x: float
    y: float
    width: float
    text: str
    note: str
    """Small, at the right."""
    title: str
    kind: str
    link: str


class Edge(Struct, frozen=True, kw_only=True):
    """A line, with what stands at its end."""

    path: str
    kind: str
    text: str
    x: float
    y: float


class Picture(Struct, frozen=True, kw_only=True):
    """All of it."""

    height: float
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    summary: str
    width: int = WIDTH
    high: int = HIGH


def policies(written: Mapping[str, Any]) -> list[Policy]:
    """The policies in their order, in words."""
    found = []
    for number, rule in enumerate(written.get("policies") or (), 1):
        does = [f"{name.replace('_', ' ')} {_words(value)}" for name, value in rule.items()
                if name not in ("name", "when")]  # fmt: skip
        found.append(
            Policy(
                name=str(rule.get("name") or f"policy-{number}"), when=_words(rule.get("when")),
                does="; ".join(does), use=str(rule.get("use") or ""),
            )
        )  # fmt: skip
    return found


Standing = Callable[[str], tuple[str, str]]
"""A target → its provider, and how it does."""


def lanes(written: Mapping[str, Any], standing: Standing) -> list[Lane]:
    """A lane for each model and each other name that a policy leads to."""
    models: dict[str, Any] = dict(written.get("models") or {})
    rules = policies(written)
    others = dict.fromkeys(rule.use for rule in rules if rule.use and rule.use not in models)
    return [
        _lane(name, _entry(models.get(name, name)), models, standing, rules)
        for name in (*models, *others)
    ]


def draw(shown: Sequence[Lane]) -> Picture:
    """The picture of some lanes."""
    boxes: list[Box] = []
    edges: list[Edge] = []
    top = 0.0
    for lane in shown:
        rows = max(len(lane.targets), len(lane.policies), 1)
        tall = rows * STEP
        middle = top + (tall - STEP) / 2
        note = lane.strategy.replace("_", " ") if len(lane.targets) > 1 else ""
        link = f"#m-{shown.index(lane)}"
        boxes.append(_box(MIDDLE, middle, lane.name, note, "model", link))
        first = top + (tall - len(lane.policies) * STEP) / 2
        for number, rule in enumerate(lane.policies):
            y = first + number * STEP
            text = f"{rule.name}: {rule.when}"
            boxes.append(_box(LEFT, y, text, "", "policy", "", f"{text}; {rule.does}"))
            edges.append(_edge(_end(LEFT), y, MIDDLE[0], middle, "policy", ""))
        first = top + (tall - len(lane.targets) * STEP) / 2
        for number, each in enumerate(lane.targets):
            y = first + number * STEP
            note = "" if each.state in ("well", "idle") else each.state
            kind = "group" if each.group else f"target h-{each.state}"
            title = f"{each.name}: {each.state}" if each.state else f"{each.name}, a model"
            boxes.append(_box(RIGHT, y, each.name, note, kind, each.link, title))
            style = "fallback" if each.fallback else f"to s{round(each.share * 4)}"
            edges.append(_edge(_end(MIDDLE), middle, RIGHT[0], y, style, each.order))
        top += tall + GAP
    return Picture(
        height=max(top - GAP - (STEP - HIGH), HIGH), boxes=tuple(boxes), edges=tuple(edges),
        summary=f"{len(shown)} models, the policies that lead to them, and who is asked for them",
    )  # fmt: skip


def _entry(given: Any) -> dict[str, Any]:
    return dict(given) if isinstance(given, dict) else {"targets": [given]}


def _lane(
    name: str,
    entry: dict[str, Any],
    models: Mapping[str, Any],
    standing: Standing,
    rules: Sequence[Policy],
) -> Lane:
    given = entry.get("targets") or []
    tiers = [each if isinstance(each, list) else [each] for each in
             (given if isinstance(given, list) else [given])]  # fmt: skip
    if not any(isinstance(each, list) for each in given):
        tiers = [[unit for tier in tiers for unit in tier]]
    strategy = str(entry.get("strategy") or "ordered")
    weights = entry.get("weights") or {}
    rows = []
    for unit, order, share, last in _ordered(tiers, strategy, weights, entry.get("fallbacks")):
        group = unit in models and unit != name
        provider, state = ("", "") if group else standing(unit)
        link = f"/calls?provider={provider}" if state not in ("", OFF) else ""
        rows.append(
            Target(
                name=unit, group=group, order=order, share=share, fallback=last, state=state,
                weight=float(weights.get(unit, 1)), link=link,
            )
        )  # fmt: skip
    return Lane(
        name=name, strategy=strategy, weighed=strategy in WEIGHED, own=name in models,
        targets=tuple(rows), policies=tuple(rule for rule in rules if rule.use == name),
    )  # fmt: skip


def _ordered(
    tiers: Sequence[Sequence[Any]], strategy: str, weights: Mapping[str, Any], fallbacks: Any
) -> Iterator[tuple[str, str, float, bool]]:
    """(unit, when it is asked, share, whether it is a fallback)."""
    place = 0
    for number, tier in enumerate(tiers):
        whole = sum(float(weights.get(str(unit), 1)) for unit in tier) or 1.0
        for unit in map(str, tier):
            place += 1
            share = float(weights.get(unit, 1)) / whole if strategy == "weighted" else 0.0
            order = f"{share:.0%}" if share else str(place) if strategy == "ordered" else ""
            if number and strategy != "ordered":
                order = f"then {order}".strip()
            alone = len(tiers) == 1 and len(tier) == 1 and not fallbacks
            yield unit, "" if alone else order, 1.0 if alone else share, False
    last = fallbacks if isinstance(fallbacks, list) else [fallbacks] if fallbacks else []
    for unit in last:
        yield str(unit), "else", 0.0, True


def _words(value: Any) -> str:
    """A value of the configuration on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_words(each)}" for name, each in value.items())
    if isinstance(value, list):
        return f"[{'; '.join(map(_words, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "always" if value is None else str(value)


def _box(
    column: tuple[int, int], y: float, text: str, note: str, kind: str, link: str, title: str = ""
) -> Box:
    x, width = column
    room = int((width - 24) / LETTER) - (len(note) + 1 if note else 0)
    cut = text if len(text) <= room else text[: max(room - 1, 1)] + "…"
    return Box(
        x=x, y=y, width=width, text=cut, note=note, title=title or text, kind=kind, link=link
    )


def _edge(x1: float, y1: float, x2: float, y2: float, kind: str, text: str) -> Edge:
    a, b, half = y1 + HIGH / 2, y2 + HIGH / 2, (x1 + x2) / 2
    path = f"M{x1:g} {a:g}C{half:g} {a:g} {half:g} {b:g} {x2:g} {b:g}"
    return Edge(path=path, kind=kind, text=text, x=x2 - 8, y=b - 5)


def _end(column: tuple[int, int]) -> int:
    return column[0] + column[1]
