"""The page Teams: organisations, their teams, users and keys, and what they have spent this month.

A key counts where it belongs now, with all that it has spent.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from ferryman.config.delegation import Scope
from ferryman.config.snapshot import PERIODS
from ferryman.control.dashboard import tenants
from ferryman.control.dashboard.desk import Asked, Desk, Go, Page
from ferryman.control.dashboard.limits import Standing, month_began, standings
from ferryman.control.dashboard.routes import written
from ferryman.control.problem import ProblemError
from ferryman.store import keys, ledger
from ferryman.store.keys import FACTS, KeyInfo

MOST: Final = 100
"""Of the same kind below one node; those that cost most come first."""
NOBODY: Final = Scope()
OPEN: Final = 12
"""Keys up to which the whole tree is open."""


class Node(Struct, kw_only=True):
    """An organisation, team, user or key with everything below it."""

    kind: str
    name: str
    """Empty = nobody has said."""
    key: KeyInfo | None = None
    calls: int = 0
    cost: int = 0
    """Picodollars, as far as known,"""
    unknown: int = 0
    """and calls of which it is not."""
    count: int = 0
    """Keys."""
    below: list["Node"] = []
    budgets: list[Standing] = []
    hidden: int = 0
    """Nodes below that are left out."""


def page(desk: Desk, asked: Asked) -> Page:
    """The tree."""
    wanted = asked.query.get("q", "").strip().lower()
    ended = asked.query.get("ended") == "1"
    now = time.time()
    since = month_began(now)
    desk.admin.catch_up()
    every = keys.list_keys(desk.admin.engine)
    shown = [key for key in every if (ended or _works(key, now)) and wanted in _text(key)]
    rows = ledger.usage(desk.admin.engine, by=("key",), since_us=since)
    root = tree(shown, {row.groups[0] or "": row for row in rows})
    states, problem = standings(desk)
    set_for: dict[str, list[Standing]] = {}
    for state in states:
        if state.budget:
            set_for.setdefault(state.limit, []).append(state)
    _adorn(root, _by_fact(states, written(desk)), set_for)
    values = {
        "root": root, "said": asked.query.get("q", ""), "ended": ended, "all": len(every),
        "records": tenants.records(desk.admin), "periods": PERIODS,
        "open": root.count <= OPEN or bool(wanted), "problem": problem, "since_us": since,
    }  # fmt: skip
    return Page(template="teams.html", title="Teams", values=values)


def assign(desk: Desk, asked: Asked) -> Go:
    """Say anew whose a key is."""
    if not asked.form.get("key"):
        raise ProblemError(400, "invalid_key_field", "Which key?")
    facts: dict[str, Any] = {name: asked.form.get(name, "").strip() for name in FACTS}
    desk.admin.desk.describe(asked.form["key"], **facts)
    return Go("/teams")


def tree(shown: Iterable[KeyInfo], spent: Mapping[str, ledger.UsageRow]) -> Node:
    """Keys under their users, teams and organisations, dearest first. Pure."""
    root = Node(kind="all", name="")
    known: dict[tuple[str, ...], Node] = {}
    for key in shown:
        path: tuple[str, ...] = ()
        nodes = [root]
        for kind in FACTS:
            path = (*path, getattr(key, kind) or "")
            if path not in known:
                known[path] = Node(kind=kind, name=path[-1])
                nodes[-1].below.append(known[path])
            nodes.append(known[path])
        leaf = Node(kind="key", name=key.name, key=key)
        nodes[-1].below.append(leaf)
        row = spent.get(key.id)
        for node in (*nodes, leaf):
            node.count += 1
            if row is not None:
                node.calls, node.cost = node.calls + row.calls, node.cost + row.cost
                node.unknown += row.unknown_cost
    for node in (root, *known.values()):
        order = sorted(node.below, key=lambda each: (-each.cost, -each.calls, each.name))
        node.below, node.hidden = order[:MOST], max(len(order) - MOST, 0)
    return root


def _by_fact(
    states: Sequence[Standing], found: Mapping[str, Any]
) -> dict[tuple[str, str], list[Standing]]:
    """Budgets that are counted by one fact of keys alone: (fact, its value) → how they stand."""
    by: dict[str, str] = {}
    for number, each in enumerate(found.get("limits") or (), 1):
        if isinstance(each.get("by"), str):
            by[str(each.get("name") or f"limit-{number}")] = each["by"]
    rows: dict[tuple[str, str], list[Standing]] = {}
    for state in states:
        if state.budget and state.limit in by:
            rows.setdefault((by[state.limit], state.value), []).append(state)
    return rows


def _adorn(
    node: Node,
    rows: Mapping[tuple[str, str], list[Standing]],
    set_for: Mapping[str, list[Standing]],
    at: Scope = NOBODY,
) -> None:
    """Budgets to whom they are counted for: by the configuration, and what is set for them
    (``set_for``: by the limit's name)."""
    for each in node.below:
        name = each.key.id if each.key is not None else each.name
        place = replace(at, **{each.kind: name})
        if name:
            each.budgets = [*rows.get((each.kind, name), ()), *set_for.get(place.name, ())]
        _adorn(each, rows, set_for, place)


def _works(key: KeyInfo, now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def _text(key: KeyInfo) -> str:
    said = (key.name, key.id, key.organisation, key.team, key.user, *key.tags)
    return " ".join(each for each in said if each).lower()
