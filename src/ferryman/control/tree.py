"""Calls that caused each other, as a tree with sums. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from ferryman.ir.usage import Usage
from ferryman.store.ledger import CallRow

NO_USAGE: Final = Usage()


class Node(Struct, kw_only=True):
    """A call and what it, and all that come from it, add up to."""

    call: CallRow
    depth: int
    calls: int = 1
    errors: int = 0
    input: int = 0
    """Tokens, as far as they are known;"""
    output: int = 0
    cost: int = 0
    """picodollars, too,"""
    unknown_cost: int = 0
    """and calls that may have cost more."""
    end_us: int = 0
    """Unix time."""


def tree(calls: Sequence[CallRow]) -> list[Node]:
    """The calls in the order of a tree: each before those that it caused, these by time.

    Those whose parent is not among them come first at depth 0; a ring of parents is cut where its
    earliest call is.
    """
    known = {call.request_id: call for call in calls}
    below: dict[str, list[CallRow]] = {}
    roots: list[CallRow] = []
    for call in calls:
        inside = call.parent and call.parent in known and call.parent != call.request_id
        (below.setdefault(call.parent or "", []) if inside else roots).append(call)
    nodes: list[Node] = []
    seen: set[str] = set()
    for root in (*_by_time(roots), *_by_time(calls)):  # rings have no root
        nodes += _walk(root, below, seen)
    path: list[Node] = []
    for node in reversed(nodes):
        while path and path[-1].depth == node.depth + 1:
            _add(node, path.pop())
        path.append(node)
    return nodes


def _by_time(calls: Iterable[CallRow]) -> list[CallRow]:
    return sorted(calls, key=lambda call: (call.at_us, call.request_id))


def _walk(root: CallRow, below: dict[str, list[CallRow]], seen: set[str]) -> Iterator[Node]:
    stack = [(root, 0)]
    while stack:
        call, depth = stack.pop()
        if call.request_id in seen:
            continue
        seen.add(call.request_id)
        yield _node(call, depth)
        children = _by_time(below.get(call.request_id, ()))
        stack += [(child, depth + 1) for child in reversed(children)]


def _node(call: CallRow, depth: int) -> Node:
    usage = call.usage or NO_USAGE
    return Node(
        call=call,
        depth=depth,
        errors=int(call.status >= 400 or bool(call.error)),
        input=usage.total_input,
        output=usage.total_output,
        cost=call.cost or 0,
        unknown_cost=int(call.unknown_cost > 0),
        end_us=call.at_us + (call.duration_us or 0),
    )


def _add(node: Node, below: Node) -> None:
    for name in ("calls", "errors", "input", "output", "cost", "unknown_cost"):
        setattr(node, name, getattr(node, name) + getattr(below, name))
    node.end_us = max(node.end_us, below.end_us)
