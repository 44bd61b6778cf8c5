"""The section ``residency``: where the data of certain callers may go."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from ferryman.config.conditions import WHEN
from ferryman.config.filter_grammar import DATA_POLICY, REGION
from ferryman.config.filtering import filter_of
from ferryman.config.kinds import Word
from ferryman.config.problem import Path, shown
from ferryman.config.shapes import Key, ListOf, Table
from ferryman.config.snapshot import Condition, Residence

Found = dict[str, Any]
WHOSE: Final = ("key", "organisation", "team", "user")
"""What conditions here may be about: nothing that callers say themselves."""

RESIDENCE: Final = Table(
    says="a mapping",
    example="{ name: clinic, when: { team: clinic }, regions: [eu], data_policy: hipaa }",
    keys=(
        Key(
            name="name",
            kind=Word(
                says="a name (letters, digits, . _ -)",
                example="clinic",
                pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
            ),
            doc="What refusals call it.",
            required=True,
        ),
        Key(
            name="when",
            kind=WHEN,
            doc="Whose calls it is for, by key, organisation, team and user.",
            default="everybody's",
        ),
        Key(
            name="regions",
            kind=ListOf(says="a list of regions", example="[eu]", item=REGION, least=1),
            doc="Where it may be computed, by targets and by the gateway itself: eu stands for "
            "eu-west-3, too.",
            default="anywhere",
        ),
        Key(
            name="data_policy",
            kind=DATA_POLICY,
            doc="What must be promised of it, by targets and by the gateway.",
            default="nothing",
        ),
    ),
)
RESIDENCY: Final = ListOf(
    says="a list of rules", example="[{ name: clinic, regions: [eu] }]", item=RESIDENCE
)


def residency_of(found: list[tuple[int, Found]], add: Callable[..., None]) -> dict[int, Residence]:
    """The rules by their places in the file; what is wrong with one goes to ``add``."""
    names: set[str] = set()
    out = {}
    for i, rule in found:
        path: Path = ("residency", i)
        name = rule.get("name", "")
        if name and name in names:
            message = f"another rule is called {shown(name)} already"
            add((*path, "name"), message, "Give each a name of its own.")
        names.add(name)
        wanted: Found = {key: rule[key] for key in ("regions", "data_policy") if key in rule}
        kept = filter_of(wanted, f"residency {name}")
        if kept is None:
            add(path, "this rule requires nothing", "Say where data may go: regions: [eu]")
            continue
        when = rule.get("when", Condition(op="all"))
        for fact in dict.fromkeys(_facts(when)):
            if fact not in WHOSE:
                message = f"{shown(fact)} is no fact that residency may depend on"
                add((*path, "when"), message, f"It goes by whose a call is: {', '.join(WHOSE)}.")
        out[i] = Residence(when=when, filter=kept)
    return out


def _facts(condition: Condition) -> Iterator[str]:
    if condition.fact:
        yield condition.fact
    for part in condition.parts:
        yield from _facts(part)
