"""The fault wall's table: what providers do wrong, and what has to come of it.

The rows follow what providers document and users report; ``tests/wire/error_bodies.txt`` has the
sources of error bodies. Scripts are those of docs/simulator.md.
"""

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


def _error(status: int, body: Any, **headers: str) -> Script:
    return {
        "status": status,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "body": body,
    }


def _said(message: str, code: str | None = None, kind: str = "t") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code}}


LIMITS = _said("Rate limit reached", "rate_limit_exceeded")
JSON_ANSWER = (
    '{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    f'{{"role":"assistant","content":"{FIRST}"}},"finish_reason":"stop"}}],'
    '"usage":{"prompt_tokens":4,"completion_tokens":6,"total_tokens":10}}'
)
FREE: dict[str, Any] = {"cost": "0"}
"""Refused: it has cost nothing."""

REFUSALS = [
    Row("rate limit", "429,retry-after=20", LIMITED, 429, "rate_limit_exceeded", event="429",
        hint=20, **FREE),
    Row("rate limit in ms", _error(429, LIMITS, retry_after_ms="20000"), LIMITED, 429,
        "rate_limit_exceeded", hint=20, **FREE),
    Row("rate limit until a date", "429,retry-after=20,retry-date", LIMITED, 429,
        "rate_limit_exceeded", hint=20, **FREE),
    Row("rate limit by its reset", _error(429, LIMITS, x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="20s"), LIMITED, 429, "rate_limit_exceeded", hint=20, **FREE),
    Row("rate limit of one limit among two", _error(429, LIMITS, x_ratelimit_remaining_tokens="9",
        x_ratelimit_reset_tokens="9m", x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="20s"), LIMITED, 429, "rate_limit_exceeded", hint=20, **FREE),
    Row("rate limit without a word", _error(429, ""), LIMITED, 429, **FREE),
    Row("ramp too fast", _error(429, _said("Slow down", "slow_down")), LIMITED, 429, "slow_down",
        **FREE),
    Row("quota", "quota", BROKE, 429, "insufficient_quota", event="quota", **FREE),
    Row("credit", "402", BROKE, 402, "402", event="402", **FREE),
    Row("spend limit", _error(429, _said("Limit", "project_spend_limit_exceeded")), BROKE, 429,
        "project_spend_limit_exceeded", **FREE),
    Row("usage limit", _error(429, _said("Limit", "organization_usage_limit_exceeded")), BROKE, 429,
        "organization_usage_limit_exceeded", **FREE),
    Row("credit balance", _error(429, _said("Balance", "credit_balance_exhausted")), BROKE, 429,
        "credit_balance_exhausted", **FREE),
    Row("overloaded", "503,retry-after=20", BUSY, 503, hint=20, **FREE),
    Row("overloaded by its code", _error(503, _said("Busy", "server_is_overloaded")), BUSY, 503,
        "server_is_overloaded", **FREE),
    Row("529", "529", BUSY, 529, event="529", **FREE),
    Row("500", "500", FAILED, 500, event="500", **FREE),
    Row("500 with a hint", "500,retry-after=20", FAILED, 500, hint=20, **FREE),
    Row("502", "502", FAILED, 502, **FREE),
    Row("504", "504", LATE, 504, **FREE),
    Row("408", "408", LATE, 408, "request_timeout", **FREE),
    Row("418", "status=418", INVALID, 418, **FREE),
    Row("key revoked", "401", DENIED, 502, seen=401, **FREE),
    Row("region", "403", DENIED, 502, seen=403, **FREE),
    Row("no such model", "404", UNKNOWN, 404, "model_not_found", event="404", **FREE),
    Row("invalid", "400", INVALID, 400, "invalid_value", **FREE),
    Row("invalid, with details", _error(422, {"detail": [{"loc": ["body"], "msg": "no"}]}), INVALID,
        422, **FREE),
    Row("invalid, flat", _error(400, {"object": "error", "message": "no", "type": "invalid",
        "param": None, "code": None}), INVALID, 400, **FREE),
    Row("context", "context", TOO_LONG, 400, "context_length_exceeded", event="context", **FREE),
    Row("context, in a sentence", _error(400, {"message": "prompt is too long: 9 > 8"}), TOO_LONG,
        400, **FREE),
    Row("prompt filtered", "filter", FILTERED, 400, "content_filter", event="filter", **FREE),
    Row("page", "html", FAILED, 502, **FREE),
    Row("page of a busy server", _error(503, "<html>", retry_after="20", content_type="text/html"),
        BUSY, 503, hint=20, **FREE),
    Row("redirect", "redirect", FAILED, 502, seen=307, **FREE),
]  # fmt: skip

ANSWERS_THAT_ARE_NONE = [
    Row("page with 200", "html-200", WRONG, seen=200),
    Row("empty", "empty", WRONG, seen=200),
    Row("bad json", "bad-json", WRONG, seen=200),
    Row("error with 200", {"body": _said("Boom")}, FAILED, seen=200),
    Row("limit with 200", {"body": {"error": {"message": "Slow", "code": 429}}}, LIMITED, seen=200),
    Row("garbage", kind=WRONG, whole="garbage,at-byte=0", half="garbage", stream="garbage,at=0",
        late=f"garbage,at={SPOKEN}", seen=200, but={"stream": {"kind": SHORT},
        "late": {"kind": SHORT}}),
    Row("wrong type", kind=WRONG, stream={"headers": {"content-type": "text/plain"}}, seen=200),
    Row("two broken events", kind=WRONG, stream="bad-event=2,at=0",
        late=f"bad-event=2,at={SPOKEN}", seen=200),
    Row("zip bomb", "bomb=100", WRONG, seen=200),
    Row("zip that is none", {"headers": {"content-encoding": "gzip"}, "body": "x" * 99}, WRONG,
        seen=200),
]  # fmt: skip

WIRE = [
    Row("refused", "", AWAY, seen=0, rests=("target", 0.5), place="DEAD", **FREE),
    Row("deaf", "", AWAY, seen=0, rests=("target", 0.5), place="DEAF", **FREE),
    Row("closed", "close", AWAY, seen=0),
    Row("reset", "reset", AWAY, seen=0),
    Row("bad status line", "bad-status", WRONG, seen=0),
    Row("many headers", "many-headers=300", WRONG, seen=0),
    Row("huge headers", "huge-headers=300", WRONG, seen=0),
    Row("cut", kind=SHORT, whole="cut,at-byte=0", half="cut", stream="cut,at=0",
        late=f"cut,at={SPOKEN}", seen=200),
    Row("cut in an event", kind=SHORT, stream="cut,at-byte=30", seen=200),
    Row("cut but well framed", kind=WRONG, whole="cut-clean,at-byte=0", half="cut-clean",
        stream="cut-clean,at=0", late=f"cut-clean,at={SPOKEN}", seen=200,
        but={"stream": {"kind": SHORT}, "late": {"kind": SHORT}}),
    Row("no end mark", kind=SHORT, late="no-done", said=FIRST, seen=200),
    Row("reset within", kind=SHORT, whole="reset-mid,at-byte=0", half="reset-mid",
        stream="reset-mid,at=0", late=f"reset-mid,at={SPOKEN}", seen=200),
    Row("bad chunk", kind=WRONG, whole="bad-chunk,at-byte=0", half="bad-chunk",
        stream="bad-chunk,at=0", late=f"bad-chunk,at={SPOKEN}", seen=200,
        but={"late": {"kind": SHORT}}),
    Row("length too long", kind=SHORT, half="long-length", seen=200),
    Row("length too short", kind=WRONG, half="short-length", late="short-length", said=FIRST,
        seen=200, but={"late": {"kind": SHORT}}),
    Row("zip cut", kind=SHORT, half="gzip,cut", stream="gzip,cut,at=0",
        late=f"gzip,cut,at={SPOKEN}", seen=200),
    Row("silence", "hang", LATE, seen=0, quick=True),
    Row("stall", kind=LATE, whole="stall,at-byte=0", half="stall", stream="stall,at=0",
        late=f"stall,at={SPOKEN}", seen=200, quick=True),
    Row("comments for ever", kind=LATE, stream="keep-alive=100,ttft=60000", seen=200, quick=True),
]  # fmt: skip

GOOD = [
    Row("well", ""),
    Row("comments, then an answer", "keep-alive=20,ttft=100"),
    Row("slow", "delay=100"),
    Row("blank lines before it", whole={"body": "\n\n  \n" + JSON_ANSWER}),
    *(Row(words, words) for words in (
        "chunked", "gzip", "http10", "no-length", "connection-close", "1xx", "trailers", "extra",
        "hangup=0", "drip=20000")),
    *(Row(words, stream=words) for words in (
        "comments", "blank", "crlf", "cr", "multiline", "fields", "no-space", "bom", "bytes",
        "usage-each", "usage-last")),
    Row("split letters", "split,unicode", answer=OTHER),
    Row("a broken event", stream=f"bad-event,at={SPOKEN}", answer=FIRST.replace(" the", "")),
    Row("an empty answer", "tokens=0", answer=""),
    Row("filtered", "filtered", finish="content_filter"),
    Row("length promised too long", stream="long-length"),
]  # fmt: skip

TRANSLATED = [
    Row("rate limit", "429,retry-after=20", LIMITED, 429, event="429", hint=20, **FREE),
    Row("cut", kind=SHORT, half="cut", stream="cut,at=0", late=f"cut,at={SPOKEN}", seen=200),
    Row("cut but well framed", kind=WRONG, half="cut-clean", stream="cut-clean,at=0",
        late=f"cut-clean,at={SPOKEN}", seen=200,
        but={"stream": {"kind": SHORT}, "late": {"kind": SHORT}}),
    Row("no end mark", kind=SHORT, late="no-done", said=FIRST, seen=200),
    Row("stall", kind=LATE, half="stall", stream="stall,at=0", late=f"stall,at={SPOKEN}", seen=200,
        quick=True),
    Row("two broken events", kind=WRONG, late=f"bad-event=2,at={SPOKEN}", seen=200),
    Row("garbage", kind=WRONG, half="garbage", stream="garbage,at=0", late=f"garbage,at={SPOKEN}",
        seen=200, but={"stream": {"kind": SHORT}, "late": {"kind": SHORT}}),
    Row("bad json", whole="bad-json", kind=WRONG, seen=200),
    Row("well", ""),
    Row("split letters", "split,unicode", answer=OTHER),
    Row("context", "context", TOO_LONG, 400, **FREE),
    Row("invalid", "400", INVALID, 400, **FREE),
    Row("overloaded", "503,retry-after=20", BUSY, 503, event="503", hint=20, **FREE),
    Row("page", "html", FAILED, 502, **FREE),
]  # fmt: skip

MESSAGES_ONLY = [
    Row("529", "529", BUSY, 529, event="529", **FREE),
    Row("spend limit", _error(429, {"type": "error", "error": {"type": "rate_limit_error",
        "message": "Limit", "details": {"error_code": "enforced_spend_limit_reached"}}}), BROKE,
        429, **FREE),
    Row("credit", "quota", BROKE, 400, **FREE),
    Row("rate limit by its reset", _error(429, {"type": "error", "error": {
        "type": "rate_limit_error", "message": "Limit"}},
        anthropic_ratelimit_requests_remaining="0",
        anthropic_ratelimit_requests_reset="2100-01-01T00:00:00Z"), LIMITED, 429, hint=3600,
        **FREE),
]  # fmt: skip
GENERATE_ONLY = [
    Row("quota of a day", "quota", LIMITED, 429, hint=3600, **FREE),
    Row("quota of a minute", "429", LIMITED, 429, hint=2, **FREE),
    Row(
        "no answer",
        {
            "body": {
                "candidates": [{"index": 0, "finishReason": "MALFORMED_FUNCTION_CALL"}],
                "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
            }
        },
        FAILED,
        seen=200,
    ),
    Row("prompt blocked", "filter", finish="content_filter", answer=""),
]
COHERE_ONLY = [
    Row("error event", kind=FAILED, stream="error-event,at=0", late=f"error-event,at={SPOKEN}",
        seen=200),
]  # fmt: skip
CONVERSE_ONLY = [
    Row("not ready", _error(429, {"message": "wait"}, x_amzn_errortype="ModelNotReadyException"),
        BUSY, 429, **FREE),
    Row("error of the model's stream", _error(424, {"message": "oh"},
        x_amzn_errortype="ModelStreamErrorException"), FAILED, 424, **FREE),
    Row("timeout of the model", "408", LATE, 408, event="408", **FREE),
]  # fmt: skip


def _in(format_: str, rows: list[Row], **but: dict[str, Any]) -> list[Row]:
    """The rows in another format; ``but`` says by name (with ``_``) what differs there."""
    return [replace(row, format=format_, **but.get(row.name.replace(" ", "_"), {})) for row in rows]


CHECKED = {"but": {}}
"""Where each message has a checksum, garbage is known as such."""
SAME = {"code": "rate_limit_exceeded"}, {"code": "invalid_value"}
"""Where errors have the shape that callers know, they go through as they are."""
ROWS = [
    *REFUSALS,
    *ANSWERS_THAT_ARE_NONE,
    *WIRE,
    *GOOD,
    *_in(MESSAGES, [*TRANSLATED, *MESSAGES_ONLY], overloaded={"event": ""}),
    *_in(GENERATE, [*TRANSLATED, *GENERATE_ONLY]),
    *_in(CONVERSE, [*TRANSLATED, *CONVERSE_ONLY], garbage=CHECKED),
    *_in(COHERE, [*TRANSLATED, *COHERE_ONLY], rate_limit={"event": ""}, overloaded={"event": ""}),
    *_in(RESPONSES, TRANSLATED, rate_limit=SAME[0], invalid=SAME[1], overloaded={"event": ""}),
]
WALL = {cell.name: cell for row in ROWS for cell in cells(row)}
