"""Everything at once: hundreds of calls, good and bad, some of whose callers leave."""

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.gateway import KEY, RETRYABLE, Stack, asked
from tests.processes import until
from tests.simulator import wire
from tests.telemetry.test_metrics import read

CALLS, CALLERS, SEED = 480, 16, 20261122
STREAM_WORDS = [
    "cut", "cut-clean", "no-done", "reset-mid", "error-event", "error-done", "bad-chunk",
    "bad-event", "crlf", "bytes", "comments", "multiline", "usage-last", "usage-each", "no-usage",
    "tokens=400", "tps=200", "ttft=30", "cut?at=0", "gzip", "http10", "connection-close",
]  # fmt: skip
WHOLE_WORDS = [
    "400", "429", "500", "html", "html-200", "empty", "bad-json", "close", "reset", "cut",
    "long-length", "bad-status", "redirect", "gzip", "chunked", "http10", "hangup", "extra",
    "tools", "delay=30", "unicode", "no-usage",
]  # fmt: skip


def _plan(rng: random.Random) -> tuple[str, bool, bool]:
    """Model, streamed, and whether the caller leaves in the middle."""
    streamed = rng.random() < 0.5
    if rng.random() < 0.3:
        return f"first-{rng.choice(RETRYABLE)}", streamed, False
    if rng.random() < 0.15:
        return "lab/sim?tps=20&tokens=1000" if streamed else "lab/sim-hang", streamed, True
    words = STREAM_WORDS if streamed else WHOLE_WORDS
    return f"{rng.choice(('lab', 'spare'))}/sim?{rng.choice(words)}", streamed, False


def _leave(stack: Stack, fields: dict[str, Any], seconds: float) -> None:
    """Hang up after a while: with a reset, where something is left unread."""
    request = wire.request("/v1/chat/completions", fields, {"Authorization": f"Bearer {KEY}"})
    with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as link:
        link.sendall(request)
        time.sleep(seconds)
        link.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            link.recv(4096)


def test_a_storm_of_calls_leaves_no_trace_but_its_rows(stack: Stack) -> None:
    rng = random.Random(SEED)
    plans = [(*_plan(rng), rng.random() / 5) for _ in range(CALLS)]
    replies: list[tuple[str, bool, wire.Reply]] = []
    lock = threading.Lock()

    def call(plan: tuple[str, bool, bool, float]) -> None:
        model, streamed, leaves, seconds = plan
        fields = asked(model, stream=streamed, user="storm")
        if leaves:
            _leave(stack, fields, seconds)
            return
        reply = stack.post(fields)
        with lock:
            replies.append((model, streamed, reply))

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, plans))

    assert len(replies) == sum(not leaves for _, _, leaves, _ in plans)
    for model, _streamed, reply in replies:
        assert reply.complete, model
        assert not reply.trouble, (model, reply.trouble)
        if model.startswith("first-"):
            assert reply.status == 200, model
        if reply.status != 200:
            assert reply.json()["error"]["code"], model
            assert reply.header("x-ferryman-error"), model
        elif (reply.header("content-type") or "").startswith("text/event-stream"):
            ended = [d == "[DONE]" for d in reply.data].count(True)
            failed = [isinstance(d, dict) and "error" in d for d in reply.data].count(True)
            assert (ended, failed) in ((1, 0), (0, 1)), model

    def quiet() -> bool:
        page = read(stack.get("/metrics").body)
        idle = page["ferryman_in_flight_calls"][()] == page["ferryman_open_streams"][()] == 0
        return idle and stack.stats()["active"] == 0

    until(quiet, "the end of all work")
    rows = _rows(stack, {r.header("x-ferryman-request-id") or "" for _, _, r in replies})
    for model, streamed, reply in replies:
        row = rows[reply.header("x-ferryman-request-id") or ""]
        assert (row["model"], row["stream"], row["status"]) == (model, streamed, reply.status)
        assert row["state"] == "closed"
        events = reply.data if reply.status == 200 and streamed else []
        broken = any(isinstance(event, dict) and "error" in event for event in events)
        assert bool(row["error"]) == (broken or reply.status != 200), model


def _rows(stack: Stack, idents: set[str]) -> dict[str, dict[str, Any]]:
    """The ledger's rows of these calls; fails unless each is there exactly once."""

    def fetch() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = []
        before = ""
        while True:
            page = stack.admin("GET", f"/api/v1/calls?limit=1000&cursor={before}").json()
            found += [row for row in page["data"] if row["request_id"] in idents]
            before = page["next"]
            if before is None:
                return found if len(found) >= len(idents) else None

    rows: list[dict[str, Any]] = until(fetch, "all rows")
    counts = Counter(row["request_id"] for row in rows)
    assert set(counts.values()) == {1}
    return {row["request_id"]: row for row in rows}
