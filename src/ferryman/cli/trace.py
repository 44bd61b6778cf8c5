"""``ferryman trace``: a call drawn so that its way can be followed, or all calls of a run."""

from typing import Final

from rich.console import Console
from rich.text import Text

from ferryman.cli.output import print_json
from ferryman.cli.show import (
    Column,
    at_least,
    console,
    count,
    duration,
    local_time,
    money,
    printable,
    table,
)
from ferryman.client import ApiError, Client
from ferryman.client.documents import Call, Cost, Row, TreeCall
from ferryman.telemetry.phases import (
    BEGIN,
    CONNECT,
    FLOW,
    LOOKUP,
    MEANINGS,
    PAUSE,
    QUEUE,
    TLS,
    WAIT,
    all_phases,
)

LABEL: Final = 11
"""Cells before what is told."""
NARROW, WIDE = 20, 60
"""Cells of a timeline."""
MARKS: Final = {
    PAUSE: ("╴", "dim"), QUEUE: ("░", "yellow"),
    LOOKUP: ("╌", "magenta"), CONNECT: ("┄", "magenta"),
    TLS: ("≈", "magenta"), WAIT: ("▒", "cyan"), BEGIN: ("▓", "blue"), FLOW: ("█", "green"),
}  # fmt: skip
"""Phase → how it is drawn: to be told apart without colours, too."""


def trace(client: Client, ident: str, *, as_json: bool) -> None:
    """Print the call with this id, and those that it belongs to. Raises :class:`ApiError`."""
    try:
        row = client.call(ident)
    except ApiError as error:
        if error.status != 409:
            raise
        return run(client, ident, as_json=as_json)
    if as_json:
        print_json(row)
        return
    out = console()
    for title, text in _facts(row):
        _line(out, title, text)
    _considered(row, out)
    _attempts(row, out)
    _cost(row.cost, out)
    if row.run or row.parent:
        _line(out, "\nTogether", f"ferryman trace --run {row.run or row.request_id}")


def run(client: Client, ident: str, *, as_json: bool) -> None:
    """Print the calls of a run, or those that belong to a call, as a tree."""
    found = client.run(ident)
    if as_json:
        print_json(found)
        return
    out = console()
    title = f"Run {found.run}" if found.run else "Calls that belong together"
    out.print(Text(printable(title), style="bold"))
    tokens = f"{count(found.input)} tokens in, {count(found.output)} out"
    failed = f", {found.errors} failed" if found.errors else ""
    _line(out, "Calls", f"{found.calls}{failed}  {local_time(found.time)}")
    _line(out, "Took", duration(found.duration_ms))
    _line(out, "Used", f"{tokens}, {at_least(found.cost_usd, found.unknown_cost)}")
    if found.truncated:
        _line(out, "Note", f"the first {len(found.data)} calls are shown")
    whole = max(found.duration_ms, 0.001)
    columns = [
        Column("Call", style="bold"),
        Column("Model"),
        Column("Status"),
        Column("From", right=True, drop=3),
        Column("Took", right=True, drop=2),
        Column("Tokens", right=True, drop=4),
        Column("Cost", right=True, style="green"),
        Column("With those below", right=True, drop=1),
        Column("", drop=5),
    ]
    table(columns, [_branch(row, whole) for row in found.data], out)


def _branch(row: TreeCall, whole: float) -> list[str]:
    status = str(row.status or row.state)
    below = row.below
    begin, took = row.began_ms, row.duration_ms or 0
    return [
        "  " * (row.depth - 1) + "└ " * (row.depth > 0) + row.request_id,
        row.model,
        f"{status} {row.error}" if row.error else status,
        duration(begin),
        duration(row.duration_ms),
        count(None if row.tokens is None else sum(row.tokens.values())),
        at_least(row.cost_usd, row.unknown_cost),
        f"{below.calls} calls {at_least(below.cost_usd, below.unknown_cost)}" if below else "",
        _bar(begin / whole, (begin + took) / whole, NARROW),
    ]


def _facts(row: Call) -> list[tuple[str, str]]:
    used = ", ".join(f"{n} {name}" for name, n in (row.tokens or {}).items() if n)
    if row.tokens_per_second is not None:
        used += f"  ({row.tokens_per_second:g} tokens a second)"
    status = str(row.status or row.state)
    took = duration(row.duration_ms)
    if row.ttft_ms is not None:
        took += f", first token after {duration(row.ttft_ms)}"
    if row.overhead_ms is not None:
        took += f", {row.overhead_ms:g} ms of it in Ferryman"
    served = f"{row.provider}/{row.target}" if row.provider else ""
    whom = ", ".join(
        f"{name.replace('_', ' ')} {getattr(row, name)}"
        for name in ("organisation", "team", "user", "end_user", "task", "run", "parent")
        if getattr(row, name)
    )
    said = [f"{name}={value}" for name, value in row.metadata.items() if name != "task"]
    verdicts = [f"{each['check']} {each['action']} ({each['stage']})" for each in row.verdicts]
    return [
        ("Call", f"{row.request_id}  {local_time(row.time)}  {row.endpoint}"),
        ("Key", row.key),
        ("Client", row.client or ""),
        ("For", whom),
        ("Tags", ", ".join(row.tags)),
        ("Metadata", ", ".join(said)),
        ("Model", f"{row.model}  →  {served}" if served else row.model),
        ("Policy", row.policy or ""),
        ("Status", f"{status} {row.error}" if row.error else status),
        ("Cache", row.cache or ""),
        ("Checks", ", ".join(verdicts)),
        ("Took", took),
        ("Tokens", used),
        ("Cost", at_least(row.cost_usd, row.unknown_cost)),
    ]


def _considered(row: Call, out: Console) -> None:
    if not row.considered:
        return
    out.print(Text("\nWho came into question, in this order", style="bold"))
    if row.strategy:
        _line(out, "Strategy", row.strategy)
    columns = [Column("#", right=True), Column("Target"), Column("Role", drop=1), Column("How")]
    rows = [
        [str(place), each["target"], each.get("role", ""), standing(each, row.strategy)]
        for place, each in enumerate(row.considered, 1)
    ]
    table(columns, rows, out)


def standing(each: Row, strategy: str | None) -> str:
    """How a candidate stood, and why it stands where it stands."""
    found = [f"left out: {each['left_out']}"] if "left_out" in each else []
    if "rests_seconds" in each:
        rest = duration(each["rests_seconds"] * 1000)
        found.append(f"rested for {rest} more: {each['because']}")
    if each.get("full"):
        found.append("full")
    if "bond" in each:
        found.append(f"calls of the same {each['bond']} went there")
    if "measure" in each:
        found.append(f"{strategy} {each['measure']:.4g}")
    return "; ".join(found) or "well"


def _attempts(row: Call, out: Console) -> None:
    tries: list[Row] = row.tries
    if not tries:
        return
    out.print(Text("\nWhat was tried", style="bold"))
    end = int((row.duration_ms or 0) * 1000)
    whole = max(*(each["end_us"] for each in tries), end, 1)
    cells = min(max(out.width - LABEL - 4, NARROW), WIDE)
    seen: set[str] = set()
    for place, (each, found) in enumerate(zip(tries, all_phases(tries, end), strict=True), 1):
        result = f"{each['status'] or 'no reply'} {each['error'] or 'good'}"
        style = "red" if each["error"] else "green"
        name = printable(f"{place}. {each['provider']}/{each['model']}")
        out.print(Text.assemble((name, "bold"), "  ", (printable(result), style)))
        seen.update(phase.kind for phase in found)
        bar = Text()
        at = 0
        for phase in found:
            first = max(min(int(phase.begin / whole * cells), cells - 1), at)
            last = max(first + 1, min(round(phase.end / whole * cells), cells))
            mark, colour = MARKS[phase.kind]
            bar.append("·" * (first - at), "dim").append(mark * (last - first), colour)
            at = last
        out.print(Text("   ").append(bar).append("·" * (cells - at), "dim"))
        for title, text in _details(each, row):
            _line(out, f"   {title}", text)
    legend = [f"{MARKS[kind][0]} {text}" for kind, text in MEANINGS.items() if kind in seen]
    out.print(Text("   " + "   ".join(legend), style="dim"))


def _details(each: Row, row: Call) -> list[tuple[str, str]]:
    points = [("began", each["start_us"])]
    dial = each["dial"] or {}
    points += [
        ("name known", dial.get("resolved_us")), ("connected", dial.get("connected_us")),
        ("TLS", dial.get("secured_us")), ("sent", each["sent_us"]),
        ("first byte", each["first_byte_us"]), ("first token", each["first_token_us"]),
        ("last token", each["last_token_us"]), ("end", each["end_us"]),
    ]  # fmt: skip
    times = ", ".join(f"{name} {_moment(us)}" for name, us in points if us is not None and us >= 0)
    if each["queued_us"]:
        times = f"waited {_moment(each['queued_us'])} for a place, {times}"
    over = {"new": "a new connection", "kept": "a kept connection"}.get(each["connection"] or "")
    used = None if each["tokens"] is None else sum(each["tokens"].values())
    cost = at_least(each["cost_usd"], each["unknown_cost"])
    told = [f"{count(used)} tokens, {cost}"] if len(row.tries) > 1 else []
    retry = each["retry_after_ms"]
    return [
        (title, text)
        for title, text in (
            ("times", times),
            ("over", ", ".join(filter(None, (over, each["key"] and f"key {each['key']}")))),
            ("their id", each["upstream_id"]),
            ("retry", f"they want to be asked again after {duration(retry)}" if retry else ""),
            ("format", f"translated to {each['format']}" if each["format"] else ""),
            ("left out", ", ".join(each["dropped"])),
            ("altered", ", ".join(each["altered"])),
            ("used", ", ".join(told)),
        )
        if text
    ]


def _cost(cost: Cost, out: Console) -> None:
    if not cost.lines:
        _line(out, "\nCost", cost.why)
        return
    out.print(Text("\nWhat it cost, by the price in force when it began", style="bold"))
    columns = [
        Column("What"), Column("Count", right=True), Column("Price", right=True),
        Column("Cost", right=True, style="green"),
    ]  # fmt: skip
    rows = [
        [each.what.replace("_", " "), count(each.count), each.rate, money(each.usd)]
        for each in cost.lines
    ]
    table(columns, rows, out)


def _line(out: Console, title: str, text: str) -> None:
    if text:
        out.print(Text.assemble((f"{title:<{LABEL}}", "dim"), " ", printable(text)))


def _moment(us: int) -> str:
    return f"{us / 1000:.1f} ms" if us < 10_000_000 else duration(us / 1000)


def _bar(start: float, end: float, cells: int) -> str:
    """When, within the whole (0 to 1)."""
    first = min(int(start * cells), cells - 1)
    last = max(first + 1, min(round(end * cells), cells))
    return "·" * first + "█" * (last - first) + "·" * (cells - last)
