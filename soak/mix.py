"""Mixed load: whole answers, streams, errors, faults, leavers; and what the ledger must say of it.

Each call asks the simulator to report a number of its own as prompt tokens, so a row of the ledger
names the call it belongs to even if the caller never got an answer.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct

from soak.client import Address, Answer, Link, connect, request
from soak.plant import PRICED, PROBE, PROVIDER, RATES, Ledger

FIRST_SERIAL = 1000
"""Above every other number of tokens, so that serials are not taken for those."""
CLEAN = ("calls_rejected", "calls_duplicate", "journal_damaged", "journal_undecodable",
         "journal_unknown", "tokens_clamped")  # fmt: skip
"""What ingestion must not have met."""

CHAT = "/v1/chat/completions"
SIMPLE = json.dumps(
    {
        "model": f"{PROVIDER}/{PROBE}",
        "messages": [{"role": "user", "content": "Still there?"}],
        "max_tokens": 10,
    }
).encode()
"""The body of a call beside the load."""
KINDS: dict[str, tuple[float, str, bool]] = {
    # share, the simulator's words, stream
    "whole": (30, "", False),
    "late": (8, "delay={pause}", False),
    "details": (6, "cached=300&reasoning=11", False),
    "stream": (16, "", True),
    "paced": (14, "tps=150", True),
    "left": (6, "tps=60", True),
    "error": (5, "503", False),
    "limited": (4, "429", False),
    "wrong": (3, "400", False),
    "cut": (4, "cut", True),
    "reset": (2, "reset", False),
    "unknown": (2, "no-usage", False),
}
"""``left``: the caller leaves after a few events."""
STATUS = {"error": 503, "limited": 429, "wrong": 400, "reset": 502}
UNKNOWN = frozenset({"reset", "unknown"})
"""Kinds whose usage the provider did not say."""
RESENT = frozenset({"reset"})
"""Kinds that the gateway may send twice: a kept connection broke before one byte came back."""
TURNED_AWAY = ((402, b"budget_exceeded"), (429, b"calls at once"))
"""What the gateway's own limits say: status, and words of the answer."""


class Ask(Struct, frozen=True):
    """One call of the mix."""

    serial: int
    kind: str
    model: str
    """Without the provider."""
    tokens: int
    stream: bool
    body: bytes
    user: str
    """Whom the caller serves; nobody, usually."""


class Mix:
    """Makes calls, the same ones for the same seed. ``name`` makes a model's name of a serial.

    ``kinds``: as :data:`KINDS`; ``user`` says whom a call is for, of its serial.
    """

    def __init__(
        self,
        seed: int,
        name: Callable[[int], str] | None = None,
        kinds: dict[str, tuple[float, str, bool]] = KINDS,
        user: Callable[[int], str] = lambda _: "",
        max_tokens: int = 100,
    ) -> None:
        self._random = random.Random(seed)
        self._serial = FIRST_SERIAL
        self._name = name or (lambda serial: (*PRICED, "free")[serial % (len(PRICED) + 1)])
        self._table, self._kinds, self._user = kinds, list(kinds), user
        self._max_tokens = max_tokens
        self._shares = [share for share, _, _ in kinds.values()]

    def next(self) -> Ask:
        """Another call."""
        draw = self._random
        self._serial += 1
        [kind] = draw.choices(self._kinds, self._shares)
        _, words, stream = self._table[kind]
        tokens = draw.randint(30, 60) if kind in ("left", "cut") else draw.randint(1, 24)
        words = words.format(pause=draw.randint(20, 300))
        model = self._name(self._serial)
        body: dict[str, object] = {
            "model": f"{PROVIDER}/{model}",
            "messages": [{"role": "user", "content": "Carry me over."}],
            "max_tokens": self._max_tokens,
            "sim": f"prompt={self._serial}&tokens={tokens}&{words}",
        }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": bool(self._serial % 2)}}
        user = self._user(self._serial)
        if user:
            body["user"] = user
        return Ask(self._serial, kind, model, tokens, stream, json.dumps(body).encode(), user)


class Load:
    """Callers that call one after the other, and remember every answer until they are checked."""

    def __init__(self, address: Callable[[], Address], mix: Mix, *, pause: float = 0.0) -> None:
        """``pause``: seconds each caller rests between calls, on the average."""
        self.address = address
        self.mix = mix
        self.pause = pause
        self.answers: list[tuple[Ask, Answer]] = []
        self.refused = 0
        """Connections that nobody accepted."""
        self.may_be_refused = False
        self.sent: Counter[str] = Counter()
        """Calls that may have reached the gateway, by model."""
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, callers: int) -> None:
        """Begin with so many callers at once."""
        self._tasks += [asyncio.create_task(self._caller(number)) for number in range(callers)]

    async def stop(self) -> None:
        """Let every caller finish its call."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    def note(self, ask: Ask, answer: Answer) -> None:
        """Take in an answer."""
        self.answers.append((ask, answer))

    async def _caller(self, number: int) -> None:
        rest = random.Random(number)
        link: Link | None = None
        while not self._stopping:
            if link is None or not link.open:
                link = await self._connect()
                continue
            ask = self.mix.next()
            self.sent[ask.model] += 1
            leave = 1500 if ask.kind == "left" else None
            answer = await link.ask(request(self.address(), CHAT, ask.body), leave)
            self.note(ask, answer)
            if self.pause:
                await asyncio.sleep(rest.uniform(0, 2 * self.pause))
        if link is not None:
            link.close()

    async def _connect(self) -> Link | None:
        with contextlib.suppress(OSError):
            try:
                return await connect(self.address())
            except ConnectionRefusedError:
                if not self.may_be_refused:
                    self.refused += 1
        await asyncio.sleep(0.05)
        return None


class Tally(Struct):
    """What :func:`check` has looked at."""

    sent: int = 0
    whole: int = 0
    """Answers received whole."""
    streams: int = 0
    """Of these, streams with their end."""
    rows: int = 0
    lost: int = 0
    unseen: int = 0
    """Closed rows of calls whose answer did not arrive whole (leavers, killed gateways)."""
    unready: int = 0
    """Calls refused by a gateway that did not know what was spent of its budgets."""
    over: int = 0
    """Calls refused by a limit."""
    cost: int = 0
    """Picodollars of all rows."""


def check(load: Load, ledger: Ledger, upstream: dict[str, int], *, limited: bool = False) -> Tally:
    """Compare every answer with the ledger, and the ledger with what the simulator counted.

    ``upstream`` is requests by model; ``limited``: limits may refuse calls. Raises AssertionError
    with examples of what is wrong.
    """
    wrong: list[str] = []
    tally = Tally(sent=sum(load.sent.values()), rows=len(ledger.rows), lost=len(ledger.lost))
    seen: Counter[str] = Counter()
    for ask, answer in load.answers:
        if answer.id:
            seen[answer.id] += 1
        problem = _problem_of(ask, answer, ledger)
        if problem:
            wrong.append(f"{ask.kind} {ask.serial} {answer.id}: {problem}")
        if answer.whole:
            tally.whole += 1
            tally.streams += answer.stream
            tally.unready += unready(answer)
            tally.over += turned_away(answer)
    wrong += [f"request id {each} was given to {n} calls" for each, n in seen.items() if n > 1]
    whole = {answer.id for _, answer in load.answers if answer.whole}
    tally.unseen = sum(
        1 for row in ledger.rows if row["state"] == "closed" and row["request_id"] not in whole
    )
    for row in ledger.lost:
        priced = row["target"] in RATES
        if (row["status"], row["input"]) != (0, None) or priced is not bool(row["cost_pico"]):
            wrong.append(f"a lost call is not settled at its hold: {row}")
    tally.cost = sum(row["cost_pico"] or 0 for row in ledger.rows)
    wrong += _rows_without_a_call(load, ledger)
    wrong += _against_upstream(load, ledger, upstream)
    wrong += [f"{tally.over} calls were refused"] if tally.over and not limited else []
    wrong += [f"{len(ledger.open)} calls are still open"] if ledger.open else []
    wrong += [f"{name} = {ledger.meta[name]}" for name in CLEAN if ledger.meta.get(name)]
    assert not wrong, f"{len(wrong)} faults, such as:\n" + "\n".join(wrong[:20])
    return tally


def _problem_of(ask: Ask, answer: Answer, ledger: Ledger) -> str:
    """What is wrong with one answer and its row; empty if nothing."""
    row = ledger.by_id.get(answer.id)
    if not answer.whole:
        # One that left with the last piece in hand has not seen all of it.
        left = answer.failure == "left"
        if answer.stream and answer.ended and not left and b'"error"' not in answer.body:
            return f"a stream ended without [DONE] or an error: {answer.body[-200:]!r}"
        return ""
    if not answer.id:
        return f"status {answer.status} without a request id: {answer.body[:200]!r}"
    if row is None:
        return "received whole, but not in the ledger"
    if row["state"] != "closed":
        return f"received whole, but {row['state']} in the ledger"
    if unready(answer) or turned_away(answer):
        refused = (row["status"], row["attempts"], row["cost_pico"]) == (answer.status, 0, 0)
        return "" if refused else f"refused, but {row} in the ledger"
    if ask.kind == "cut":
        return "a stream that was cut upstream came whole"
    status = STATUS.get(ask.kind, 200)
    if answer.status != status or row["status"] != status:
        return f"status {answer.status}, in the ledger {row['status']}, expected {status}"
    return _problem_of_usage(ask, answer, row)


def unready(answer: Answer) -> bool:
    """Whether a gateway has refused it that does not know what was spent, or was counted."""
    return answer.status == 503 and b"gateway_not_ready" in answer.body


def turned_away(answer: Answer) -> bool:
    """Whether a limit of the gateway has refused it."""
    return any(answer.status == status and said in answer.body for status, said in TURNED_AWAY)


def _problem_of_usage(ask: Ask, answer: Answer, row: dict[str, object]) -> str:
    expected = expected_usage(ask)
    found = {name: row[name] for name in ("input", "cache_read", "output", "reasoning")}
    if expected is None:
        return f"usage {found} from nowhere" if any(v is not None for v in found.values()) else ""
    if found != expected:
        return f"usage {found}, expected {expected}"
    rates = RATES.get(ask.model, {})
    cost = sum(int(rates.get(name, 0) * 1_000_000) * count for name, count in expected.items())
    wanted = cost if rates or not any(expected.values()) else None
    if row["cost_pico"] != wanted:
        return f"cost {row['cost_pico']}, expected {wanted}"
    if not ask.stream and wanted and Decimal(answer.cost).scaleb(12) != wanted:
        return f"the caller was told {answer.cost}, the ledger has {wanted}"
    return ""


def expected_usage(ask: Ask) -> dict[str, int] | None:
    """Tokens by class of an answer that came whole; None = nobody knows."""
    if ask.kind in UNKNOWN:
        return None
    if ask.kind in STATUS:  # refused by the provider: certainly nothing
        return {"input": 0, "cache_read": 0, "output": 0, "reasoning": 0}
    cached, reasoning = (300, 11) if ask.kind == "details" else (0, 0)
    return {
        "input": ask.serial - cached,
        "cache_read": cached,
        "output": ask.tokens,
        "reasoning": reasoning,
    }


def _rows_without_a_call(load: Load, ledger: Ledger) -> list[str]:
    """Rows beyond the calls: by serial where a row has usage, by model in sum."""
    serials = Counter(row["input"] + row["cache_read"] for row in ledger.rows if row["input"])
    wrong = [f"{count} rows for the call {n}" for n, count in serials.items() if count > 1]
    sent = {ask.serial for ask, _ in load.answers}
    wrong += [f"a row for the call {n} that nobody made" for n in serials.keys() - sent]
    rows = Counter(row["model"].removeprefix(f"{PROVIDER}/") for row in ledger.rows)
    wrong += [
        f"{count} rows for {load.sent[model]} calls of {model}"
        for model, count in rows.items()
        if count > load.sent[model]
    ]
    return wrong


def _against_upstream(load: Load, ledger: Ledger, upstream: dict[str, int]) -> list[str]:
    """Attempts in the ledger ≤ requests upstream ≤ attempts, lost calls, and repeats together."""
    wrong = []
    attempts, lost = Counter[str](), Counter[str]()
    for row in ledger.rows:
        attempts[row["target"]] += row["attempts"]
        lost[row["target"]] += row["state"] == "lost"
    resent = Counter(ask.model for ask, _ in load.answers if ask.kind in RESENT)
    for model, count in upstream.items():
        least = attempts[model]
        most = least + lost[model] + resent[model]
        if not least <= count <= most:
            wrong.append(f"{model}: {count} requests upstream, the ledger says {least} to {most}")
    return wrong
