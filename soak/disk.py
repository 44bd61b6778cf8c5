"""A full disk: what can't be journaled is not served; what was served is accounted for later."""

import asyncio
import contextlib
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct
from tests.processes import PATIENCE

from soak.client import Answer, call, connect, request
from soak.mix import CHAT, CLEAN
from soak.plant import PRICES, PROVIDER, Ledger, Plant

TOKENS = 40
STREAMS = 12
REFUSALS = 25
CALLERS = 24
TIMES = 8
"""How often the disk gets full under a crowd."""
PROMPT = 99
"""Prompt tokens of the calls made while the disk is full."""


class NotAllowedError(Exception):
    """This user may not mount a file system here."""


class Outcome(Struct, kw_only=True):
    """What a run has shown."""

    cut: int
    """Streams under way that ended with an error event, as their end could not be recorded."""
    failed: int
    """Whole answers that were under way and became errors."""
    refused: int
    """New calls that were refused, none of which reached the provider."""
    squeezed_in: int
    """Calls whose records still found room, in the last block of a file, say."""
    settled: int
    """Calls whose end was recorded when there was room again."""


class Crowd(Struct, kw_only=True):
    """What many callers at once have been told."""

    served: int
    refused: int
    """With an error in place of an answer."""
    ended: int
    """Streams that ended with an error event."""
    settled: int
    """Calls that the provider worked for in vain: recorded when there was room again."""


def _body(stream: bool, words: str, prompt: int) -> bytes:
    return json.dumps(
        {
            "model": f"{PROVIDER}/one",
            "messages": [{"role": "user", "content": "Mind the gap."}],
            "sim": f"tokens={TOKENS}&prompt={prompt}&{words}",
            "stream": stream,
        }
    ).encode()


async def run(plant: Plant, full: Callable[[], None], room: Callable[[], None]) -> Outcome:
    """Fill the disk with ``full`` while calls are under way, then make ``room`` again."""
    address = plant.address
    before = await call(address, CHAT, _body(False, "", 1))
    assert before.status == 200, before
    bodies = [_body(True, "tps=30", 2 + i) for i in range(STREAMS)]
    bodies += [_body(False, "delay=1200", 2 + STREAMS + i) for i in range(STREAMS)]
    under_way = [asyncio.create_task(call(address, CHAT, body)) for body in bodies]
    await plant.busy_with(len(bodies))
    await asyncio.to_thread(full)
    sent = (await asyncio.to_thread(plant.stats))["requests"]
    served, refused = await _refused(plant, full)
    answers = await asyncio.wait_for(asyncio.gather(*under_way), PATIENCE)
    reached = (await asyncio.to_thread(plant.stats))["requests"] - sent
    streams, whole = answers[:STREAMS], answers[STREAMS:]
    cut = [answer for answer in streams if not answer.whole]
    for answer in cut:
        assert answer.ended, f"a stream was left hanging: {answer}"
        is_refused(answer)
        assert answer.body.count(b'"content":"') >= TOKENS, "what came before it was lost"
    failed = [answer for answer in whole if answer.status != 200]
    for answer in failed:
        is_refused(answer)
    assert cut, "the disk was full, and every stream had its end recorded"
    assert failed, "the disk was full, and every answer was recorded"
    await asyncio.to_thread(room)
    await _recovered(plant)
    ledger = await asyncio.to_thread(_settled, plant, answers)
    late = [each for each in refused if ledger.by_id.get(each, {}).get("input") == PROMPT]
    assert reached == len(served) + len(late), "a call was served without being recorded"
    assert all(ledger.by_id[each]["status"] == 200 for each in served)
    return Outcome(
        cut=len(cut),
        failed=len(failed),
        refused=REFUSALS,
        squeezed_in=len(served),
        settled=len(cut) + len(failed) + len(late),
    )


async def _refused(plant: Plant, full: Callable[[], None]) -> tuple[list[str], list[str]]:
    """Call until enough calls were refused; returns the ids of those served, and of the refused."""
    link = await connect(plant.address)
    refused: list[str] = []
    served: list[str] = []
    while len(refused) < REFUSALS:
        body = _body(bool(len(refused) % 2), "", PROMPT)
        answer = await link.ask(request(plant.address, CHAT, body))
        assert answer.id, "a refusal has an id, too"
        if answer.status == 200 and answer.whole:
            served.append(answer.id)
            await asyncio.to_thread(full)
            continue
        refused.append(answer.id)
        is_refused(answer)
        assert len(served) < REFUSALS * 10, "the disk does not get full"
    link.close()
    return served, refused


def is_refused(answer: Answer) -> None:
    """An error says so, in place of an answer or at the end of a stream."""
    if answer.status == 200:  # a stream whose end could not be recorded
        _is_clear(json.loads(answer.body.rstrip().rpartition(b"data: ")[2]))
    else:
        assert answer.status == 503, answer
        _is_clear(json.loads(answer.body))


def _is_clear(body: dict[str, dict[str, str]]) -> None:
    """The error says what is wrong, under a code of its own."""
    assert body["error"]["code"] == "gateway_journal_unavailable", body
    assert "journal" in body["error"]["message"], body


async def _recovered(plant: Plant) -> None:
    for _ in range(100):
        answer = await call(plant.address, CHAT, _body(False, "", 1))
        if answer.status == 200:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not served again: {answer.status} {answer.body!r}")


def _all_closed(plant: Plant) -> Ledger:
    for _ in range(100):
        ledger = plant.ledger()
        if not ledger.open:
            return ledger
    raise AssertionError(f"{len(ledger.open)} calls are open for ever")


def _settled(plant: Plant, answers: list[Answer]) -> Ledger:
    """Every call that was under way is in the ledger, with what it used and how it ended."""
    ledger = _all_closed(plant)
    for number, answer in enumerate(answers):
        row = ledger.by_id[answer.id]
        fine = answer.whole and answer.status == 200
        wanted = ("closed", "" if fine else "gateway_journal_unavailable", answer.status)
        assert (row["state"], row["error"], row["status"]) == wanted, row
        assert (row["input"], row["output"]) == (2 + number, TOKENS)
        cost = PRICES["input"] * (2 + number) + PRICES["output"] * TOKENS
        assert row["cost_pico"] == cost * 1_000_000
    return ledger


async def crowd(plant: Plant, full: Callable[[], None], room: Callable[[], None]) -> Crowd:
    """Fill the disk with ``full`` and make ``room`` again, by turns, while many call at once."""
    await call(plant.address, CHAT, _body(False, "", 1))
    sent = (await asyncio.to_thread(plant.stats))["requests"]
    answers: list[Answer] = []
    over = asyncio.Event()
    callers = [asyncio.create_task(_caller(plant, answers, over)) for _ in range(CALLERS)]
    for _ in range(TIMES):
        await _more(answers, 200)
        await asyncio.to_thread(full)
        await _more(answers, 503)
        await asyncio.to_thread(room)
    await _more(answers, 200)
    over.set()
    await asyncio.wait_for(asyncio.gather(*callers), PATIENCE)
    reached = (await asyncio.to_thread(plant.stats))["requests"] - sent
    ledger = await asyncio.to_thread(_balanced, plant, answers)
    rows = [ledger.by_id[answer.id] for answer in answers if answer.id in ledger.by_id]
    assert len([row for row in rows if row["input"]]) == reached, (
        "calls that were made are not those that were recorded"
    )
    whole = [answer for answer in answers if answer.whole and answer.status == 200]
    return Crowd(
        served=len(whole),
        refused=len([answer for answer in answers if answer.status == 503]),
        ended=len([each for each in answers if each.status == 200 and not each.whole]),
        settled=reached - len(whole),
    )


async def _caller(plant: Plant, answers: list[Answer], over: asyncio.Event) -> None:
    link = await connect(plant.address)
    while not over.is_set():
        number = len(answers)
        answers.append(Answer())
        body = _body(bool(number % 2), "delay=20" if number % 2 else "", 2 + number)
        answers[number] = await link.ask(request(plant.address, CHAT, body))
        assert not answers[number].failure, "a caller was cut, and not told why"
    link.close()


async def _more(answers: list[Answer], status: int) -> None:
    """Wait until each caller may have been answered so a few times more."""

    def count() -> int:
        return len([answer for answer in answers if answer.status == status])

    before = count()
    for _ in range(int(PATIENCE * 100)):
        if count() >= before + 3 * CALLERS:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"nobody was answered with {status} any more")


def _balanced(plant: Plant, answers: list[Answer]) -> Ledger:
    """What was answered is what is in the ledger: once, and with what it used."""
    ledger = _all_closed(plant)
    for number, answer in enumerate(answers):
        row = ledger.by_id.get(answer.id)
        if answer.whole and answer.status == 200:
            assert row is not None, "a call was served, and is not in the ledger"
            found = (row["status"], row["error"], row["input"], row["output"])
            assert found == (200, "", 2 + number, TOKENS), row
            continue
        is_refused(answer)
        if row is not None:
            assert (row["status"], row["error"]) == (answer.status, "gateway_journal_unavailable")
            assert not row["input"] or (row["input"], row["output"]) == (2 + number, TOKENS), row
    return ledger


async def database(plant: Plant, full: Callable[[], None], room: Callable[[], None]) -> int:
    """Fill the disk that only the database is on: calls go on, and are in the ledger later.

    Returns how many.
    """
    await asyncio.to_thread(full)
    ids = []
    for number in range(300):
        answer = await call(plant.address, CHAT, _body(bool(number % 2), "", 1 + number))
        assert answer.whole, answer
        assert answer.status == 200, answer
        ids.append(answer.id)
    for _ in range(200):
        if plant.said("can't take records into the ledger"):
            break
        await asyncio.sleep(0.05)
    assert plant.said("can't take records into the ledger"), "the database's disk was not full"
    await asyncio.to_thread(room)
    for _ in range(100):
        ledger = await asyncio.to_thread(plant.ledger)
        if len(ledger.rows) >= len(ids):
            break
        await asyncio.sleep(0.2)
    rows = [ledger.by_id[each] for each in ids]
    assert [row["input"] for row in rows] == list(range(1, len(ids) + 1))
    assert not [name for name in CLEAN if ledger.meta.get(name)]
    return len(ids)


def by_limit(plant: Plant) -> tuple[Callable[[], None], Callable[[], None]]:
    """A file size limit of 0 on the running data plane: writing fails as if the disk were full."""
    pid = plant.pid("edge")
    old = resource.prlimit(pid, resource.RLIMIT_FSIZE)

    def set_limit(soft: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, old[1]))

    return lambda: set_limit(0), lambda: set_limit(old[0])


@contextlib.contextmanager
def small_disk(place: Path, size: str = "1m") -> Iterator[None]:
    """A file system of ``size`` at ``place``, in memory. Raises :class:`NotAllowedError`."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        raise NotAllowedError(done.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def by_filling(place: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """Fill the file system that ``place`` is on, to the last byte; and empty it again."""
    ballast = place / "ballast"

    def full() -> None:
        fd = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (65536, 1):
                with contextlib.suppress(OSError):
                    while os.write(fd, b"x" * size):
                        pass
        finally:
            os.close(fd)

    return full, ballast.unlink
