"""What a row of the fault wall is, and the cells that it has. Scripts are those of
docs/simulator.md."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ferryman.ir.errors import ErrorKind
from ferryman.simulator import text

Script = str | dict[str, Any]

WORDS = 6
FIRST = "".join(text.tokens(WORDS, text.PLAIN))
"""What the first target says when it is well."""
OTHER = "".join(text.tokens(WORDS, text.UNICODE))
"""What the other target says when it is well."""
SPOKEN = 3
"""Words that a stream has said when it fails after its first ones."""
BEGUN = "".join(text.tokens(WORDS, text.PLAIN)[:SPOKEN])

LIMITED = ErrorKind.UPSTREAM_RATE_LIMIT
BROKE = ErrorKind.UPSTREAM_NO_CREDIT
DENIED = ErrorKind.UPSTREAM_AUTH
BUSY = ErrorKind.UPSTREAM_OVERLOADED
FAILED = ErrorKind.UPSTREAM_ERROR
LATE = ErrorKind.UPSTREAM_TIMEOUT
AWAY = ErrorKind.UPSTREAM_CONNECT
WRONG = ErrorKind.UPSTREAM_PROTOCOL
SHORT = ErrorKind.UPSTREAM_TRUNCATED
UNKNOWN = ErrorKind.MODEL_NOT_FOUND
INVALID = ErrorKind.INVALID_REQUEST
TOO_LONG = ErrorKind.CONTEXT_TOO_LONG
FILTERED = ErrorKind.CONTENT_FILTERED
SURFACED = (INVALID, TOO_LONG, FILTERED)

RESTS = {
    LIMITED: ("limit", 1), BROKE: ("key", 30), DENIED: ("key", 30), BUSY: ("target", 0.5),
    FAILED: ("several", 0.5), LATE: ("several", 2), AWAY: ("several", 0.5),
    WRONG: ("several", 0.5), SHORT: ("several", 0.5), UNKNOWN: ("several", 2),
}  # fmt: skip
"""Who rests after a failure, and how long at most. ``several``: the target, after five in a row."""
STATUSES = {LIMITED: 429, BROKE: 402, BUSY: 503, LATE: 504, UNKNOWN: 404} | dict.fromkeys(
    SURFACED, 400
)
"""What callers get for an error without a status; otherwise 502."""
CHAT, MESSAGES, GENERATE = "openai_chat", "anthropic_messages", "gemini_generate"
CONVERSE, COHERE, RESPONSES = "bedrock_converse", "cohere_chat", "openai_responses"


FREE: dict[str, Any] = {"cost": "0"}
"""Refused: it has cost nothing."""


@dataclass(frozen=True)
class Row:
    """One fault. A script that is not there: such a thing does not exist on the wire."""

    name: str
    plain: Script | None = None
    """Instead of an answer, whole and streamed."""
    kind: str = ""
    """What it is to the gateway; empty = a good answer."""
    status: int = 0
    """What callers get for it when all targets fail; 0 = what the kind stands for."""
    code: str = ""
    """The same; empty = the kind."""
    event: str = ""
    """The simulator's word for this error as an event of a stream, if it can be one."""
    whole: Script | None = None
    half: Script | None = None
    """Within the body of a whole reply."""
    stream: Script | None = None
    """Before a stream's first word."""
    late: Script | None = None
    """After its first words."""
    hint: float = 0
    """Seconds that the provider asks to be left alone."""
    rests: tuple[str, float] | None = None
    cost: str | None = None
    """``0`` where the provider has surely not worked."""
    seen: int | None = None
    """The status that the attempt's record has; None = that of the call when all fail."""
    said: str = BEGUN
    """What a stream that fails late has said."""
    finish: str = "stop"
    """Of a good answer."""
    answer: str = FIRST
    refusal: str = ""
    """The words of a good answer that is one."""
    called: str = ""
    """The arguments of its only tool call."""
    shows: str = ""
    """What else stands in it."""
    place: str = "SIM"
    """Where its provider is."""
    format: str = CHAT
    quick: bool = False
    """Whether the call gets short timeouts."""
    but: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By column, what differs there."""


@dataclass(frozen=True)
class Cell:
    """One row in one column, beside a twin that is ``well`` or ``down``."""

    row: Row
    column: str
    """``whole``, ``half``, ``stream``, ``early`` (an event before the first word), ``late``, or
    ``keys``: a whole one of a provider with two keys."""
    twin: str
    script: Script

    @property
    def name(self) -> str:
        return f"{self.row.format}-{self.row.name}-{self.column}-{self.twin}".replace(" ", "-")

    @property
    def streamed(self) -> bool:
        return self.column in ("stream", "early", "late")

    @property
    def rests(self) -> tuple[str, float]:
        """Who rests afterwards and for how long at most."""
        row = self.row
        if row.rests is not None:
            return row.rests
        scope, most = RESTS.get(ErrorKind(row.kind), ("nothing", 0)) if row.kind else ("nothing", 0)
        if row.hint and self.column not in ("early", "late"):
            return ("target" if scope == "several" else scope), row.hint
        return scope, most

    @property
    def tries(self) -> int:
        """How many attempts the call takes."""
        row = self.row
        if not row.kind or row.kind in SURFACED or self.column == "late":
            return 1
        if self.column == "keys":
            return 2 if self.rests[0] in ("limit", "key") else 1
        return 2


def cells(row: Row) -> Iterator[Cell]:
    """The cells of a row."""
    scripts: dict[str, Script | None] = {
        "whole": row.whole or row.plain,
        "half": row.half,
        "stream": row.stream or row.plain,
        "early": f"error-event,{row.event},at=0" if row.event else None,
        "late": row.late or (f"error-event,{row.event},at={SPOKEN}" if row.event else None),
    }
    if row.kind:
        scripts["keys"] = scripts["whole"]
    for column, script in scripts.items():
        if script is None:
            continue
        here = row
        if column in ("early", "late"):  # what an event says has no status, and may have cost
            here = replace(here, status=0, code="", cost=None, seen=200)
        here = replace(here, **row.but.get(column, {}))
        here = replace(
            here,
            status=here.status or STATUSES.get(ErrorKind(here.kind), 502) if here.kind else 200,
            code=here.code or here.kind,
        )
        here = replace(here, seen=here.status if here.seen is None else here.seen)
        for twin in ("well", "down") if column != "keys" else ("down",):
            yield Cell(here, column, twin, _sized(script))


def _sized(script: Script) -> Script:
    """The script of an answer of so many words."""
    if isinstance(script, dict):
        return {"tokens": WORDS, **script}
    return script if "tokens=" in script else f"{script},tokens={WORDS}"


def error(status: int, body: Any, **headers: str) -> Script:
    """A reply of this status; names of headers with ``_`` for ``-``."""
    return {
        "status": status,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "body": body,
    }


def said(message: str, code: str | None = None, kind: str = "t") -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "code": code}}
