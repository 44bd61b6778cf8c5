"""One call whole, and the calls that belong together as a tree, in the admin API."""

from typing import Final

from msgspec.structs import asdict

from ferryman.client.documents import RunTree, TreeCall, TreeSums, WholeCall
from ferryman.control.admin import Admin
from ferryman.control.api.route import Route
from ferryman.control.pricing import explained
from ferryman.control.problem import ProblemError
from ferryman.control.reports import call_of
from ferryman.control.rows import call_row, dollars
from ferryman.control.tree import Node, tree
from ferryman.control.when import rfc3339
from ferryman.store import keys, ledger, lookup


def call(admin: Admin, ident: str) -> WholeCall:
    """One call whole: what was tried, when, and what it cost.

    By its request id, what a provider called an attempt, or its caller's trace.
    """
    found = call_of(admin, ident)
    row = call_row(found, keys.names(admin.engine, [found.key]))
    return WholeCall(**asdict(row), cost=explained(admin, found))


def run(admin: Admin, ident: str) -> RunTree:
    """Calls that belong together, as a tree.

    By the name of their run, their trace, or the id of one of them.
    """
    admin.catch_up()
    within = admin.caller.within
    calls = lookup.of_run(admin.engine, ident, within=within)
    calls = calls or lookup.calls_of(admin.engine, ident, within=within)
    if len(calls) == 1:
        calls = together(admin, calls[0])
    if not calls:
        raise ProblemError(404, "run_not_found", f"No run, trace or call has the id {ident!r}.")
    return shown(admin, calls)


def together(admin: Admin, call: ledger.CallRow) -> list[ledger.CallRow]:
    """The calls of its run; without one, those that caused it, and all that come from these."""
    within = admin.caller.within
    if call.run:
        return lookup.of_run(admin.engine, call.run, within=within)
    return lookup.family(admin.engine, call, within=within)


def shown(admin: Admin, calls: list[ledger.CallRow]) -> RunTree:
    """Calls that belong together as the API shows them: their sums, then each with its place in
    the tree and what it and those below it add up to."""
    nodes = tree(calls)
    names = keys.names(admin.engine, {each.key for each in calls})
    roots = [node for node in nodes if node.depth == 0]
    total = {name: sum(getattr(root, name) for root in roots) for name in _SUMS}
    run = calls[0].run if all(each.run == calls[0].run for each in calls) else None
    truncated = len(calls) >= lookup.MOST
    if truncated and run:
        [sums] = ledger.usage(admin.engine, where={"run": run, **admin.caller.within})
        total |= {name: getattr(sums, name) for name in ("calls", "errors", "cost", "unknown_cost")}
        total |= {"input": sums.tokens.total_input, "output": sums.tokens.total_output}
    begin = min(each.at_us for each in calls)
    return RunTree(
        **asdict(_said(total)),
        run=run,
        time=rfc3339(begin / 1e6),
        duration_ms=(max(root.end_us for root in roots) - begin) / 1000,
        truncated=truncated,
        data=[
            TreeCall(
                **asdict(call_row(node.call, names)),
                depth=node.depth,
                began_ms=(node.call.at_us - begin) / 1000,
                below=_below(node),
            )
            for node in nodes
        ],
    )


_SUMS: Final = ("calls", "errors", "input", "output", "cost", "unknown_cost")


def _below(node: Node) -> TreeSums | None:
    """What a call and those below it add up to; None where there are none."""
    return _said({name: getattr(node, name) for name in _SUMS}) if node.calls > 1 else None


def _said(sums: dict[str, int]) -> TreeSums:
    rest = {name: count for name, count in sums.items() if name != "cost"}
    return TreeSums(**rest, cost_usd=dollars(sums["cost"]))


ROUTES: Final = (
    Route("GET", "/calls/{ident}", "calls.read", call, errors=(404, 409), tenants=True),
    Route("GET", "/runs/{ident}", "calls.read", run, errors=(404,), tenants=True),
)
