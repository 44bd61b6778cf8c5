"""The fault wall's table: what providers do wrong, and what has to come of it.

The rows follow what providers document and users report; ``tests/wire/error_bodies.txt`` has the
sources of error bodies.
"""

from dataclasses import replace
from typing import Any

from tests.flow.fault_replies import ALL as REPLIES
from tests.flow.fault_replies import CHAT_REPLIES
from tests.flow.fault_rows import (
    AWAY,
    BROKE,
    BUSY,
    COHERE,
    CONVERSE,
    DENIED,
    FAILED,
    FILTERED,
    FIRST,
    FREE,
    GENERATE,
    INVALID,
    LATE,
    LIMITED,
    MESSAGES,
    OTHER,
    RESPONSES,
    SHORT,
    SPOKEN,
    TOO_LONG,
    UNKNOWN,
    WRONG,
    Row,
    cells,
    error,
    said,
)

LIMITS = said("Rate limit reached", "rate_limit_exceeded")
JSON_ANSWER = (
    '{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    f'{{"role":"assistant","content":"{FIRST}"}},"finish_reason":"stop"}}],'
    '"usage":{"prompt_tokens":4,"completion_tokens":6,"total_tokens":10}}'
)
REFUSALS = [
    Row("rate limit", "429,retry-after=20", LIMITED, 429, "rate_limit_exceeded", event="429",
        hint=20, **FREE),
    Row("rate limit in ms", error(429, LIMITS, retry_after_ms="20000"), LIMITED, 429,
        "rate_limit_exceeded", hint=20, **FREE),
    Row("rate limit until a date", "429,retry-after=20,retry-date", LIMITED, 429,
        "rate_limit_exceeded", hint=20, **FREE),
    Row("rate limit by its reset", error(429, LIMITS, x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="20s"), LIMITED, 429, "rate_limit_exceeded", hint=20, **FREE),
    Row("rate limit of one limit among two", error(429, LIMITS, x_ratelimit_remaining_tokens="9",
        x_ratelimit_reset_tokens="9m", x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="20s"), LIMITED, 429, "rate_limit_exceeded", hint=20, **FREE),
    Row("rate limit without a word", error(429, ""), LIMITED, 429, **FREE),
    Row("ramp too fast", error(429, said("Slow down", "slow_down")), LIMITED, 429, "slow_down",
        **FREE),
    Row("quota", "quota", BROKE, 429, "insufficient_quota", event="quota", **FREE),
    Row("credit", "402", BROKE, 402, "402", event="402", **FREE),
    Row("spend limit", error(429, said("Limit", "project_spend_limit_exceeded")), BROKE, 429,
        "project_spend_limit_exceeded", **FREE),
    Row("usage limit", error(429, said("Limit", "organization_usage_limit_exceeded")), BROKE, 429,
        "organization_usage_limit_exceeded", **FREE),
    Row("credit balance", error(429, said("Balance", "credit_balance_exhausted")), BROKE, 429,
        "credit_balance_exhausted", **FREE),
    Row("overloaded", "503,retry-after=20", BUSY, 503, hint=20, **FREE),
    Row("overloaded by its code", error(503, said("Busy", "server_is_overloaded")), BUSY, 503,
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
    Row("invalid, with details", error(422, {"detail": [{"loc": ["body"], "msg": "no"}]}), INVALID,
        422, **FREE),
    Row("invalid, flat", error(400, {"object": "error", "message": "no", "type": "invalid",
        "param": None, "code": None}), INVALID, 400, **FREE),
    Row("context", "context", TOO_LONG, 400, "context_length_exceeded", event="context", **FREE),
    Row("context, in a sentence", error(400, {"message": "prompt is too long: 9 > 8"}), TOO_LONG,
        400, **FREE),
    Row("prompt filtered", "filter", FILTERED, 400, "content_filter", event="filter", **FREE),
    Row("page", "html", FAILED, 502, **FREE),
    Row("page of a busy server", error(503, "<html>", retry_after="20", content_type="text/html"),
        BUSY, 503, hint=20, **FREE),
    Row("redirect", "redirect", FAILED, 502, seen=307, **FREE),
]  # fmt: skip

ANSWERS_THAT_ARE_NONE = [
    Row("page with 200", "html-200", WRONG, seen=200),
    Row("empty", "empty", WRONG, seen=200),
    Row("bad json", "bad-json", WRONG, seen=200),
    Row("error with 200", {"body": said("Boom")}, FAILED, seen=200),
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
    Row("page with 200", "html-200", WRONG, seen=200),
    Row("empty", "empty", WRONG, seen=200),
    Row("key revoked", "401", DENIED, 502, seen=401, **FREE),
    Row("500", "500", FAILED, 500, event="500", **FREE),
]  # fmt: skip

MESSAGES_ONLY = [
    Row("529", "529", BUSY, 529, event="529", **FREE),
    Row("spend limit", error(429, {"type": "error", "error": {"type": "rate_limit_error",
        "message": "Limit", "details": {"error_code": "enforced_spend_limit_reached"}}}), BROKE,
        429, **FREE),
    Row("credit", "quota", BROKE, 400, **FREE),
    Row("rate limit by its reset", error(429, {"type": "error", "error": {
        "type": "rate_limit_error", "message": "Limit"}},
        anthropic_ratelimit_requests_remaining="0",
        anthropic_ratelimit_requests_reset="2100-01-01T00:00:00Z"), LIMITED, 429, hint=3600,
        **FREE),
]  # fmt: skip
GENERATE_ONLY = [
    Row("quota of a day", "quota", LIMITED, 429, hint=3600, **FREE),
    Row("quota of a minute", "429", LIMITED, 429, hint=2, **FREE),
    Row("prompt blocked", "filter", finish="content_filter", answer=""),
]
COHERE_ONLY = [
    Row("error event", kind=FAILED, stream="error-event,at=0", late=f"error-event,at={SPOKEN}",
        seen=200),
]  # fmt: skip
CONVERSE_ONLY = [
    Row("not ready", error(429, {"message": "wait"}, x_amzn_errortype="ModelNotReadyException"),
        BUSY, 429, **FREE),
    Row("error of the model's stream", error(424, {"message": "oh"},
        x_amzn_errortype="ModelStreamErrorException"), FAILED, 424, **FREE),
    Row("timeout of the model", "408", LATE, 408, event="408", **FREE),
]  # fmt: skip


def _in(format_: str, rows: list[Row], **but: dict[str, Any]) -> list[Row]:
    """The rows in another format; ``but`` says by name (with ``_``) what differs there."""
    return [replace(row, format=format_, **but.get(row.name.replace(" ", "_"), {})) for row in rows]


CHECKED: dict[str, Any] = {"but": {}}
"""Where each message has a checksum, garbage is known as such."""
ROWS = [
    *REFUSALS,
    *ANSWERS_THAT_ARE_NONE,
    *WIRE,
    *GOOD,
    *CHAT_REPLIES,
    *_in(MESSAGES, [*TRANSLATED, *MESSAGES_ONLY], overloaded={"event": ""}),
    *_in(GENERATE, [*TRANSLATED, *GENERATE_ONLY]),
    *_in(CONVERSE, [*TRANSLATED, *CONVERSE_ONLY], garbage=CHECKED),
    *_in(COHERE, [*TRANSLATED, *COHERE_ONLY], rate_limit={"event": ""}, overloaded={"event": ""}),
    *_in(RESPONSES, TRANSLATED, overloaded={"event": ""}),
    *(replace(row, format=name) for name, rows in REPLIES.items() for row in rows),
]
WALL = {cell.name: cell for row in ROWS for cell in cells(row)}
