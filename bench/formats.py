"""Section "formats": what translating between formats costs, in process, per pair of formats.

Every format that has both sides makes the bytes itself: an answer is encoded as its client side
does, which is what its providers send, then decoded and encoded again for another format's caller.
"""

import gc
import time
from collections.abc import Callable
from statistics import median

from bench.procs import say
from ferryman.ir.events import Begin, Choice, Delta, Event, Finish, FinishReason, Reply
from ferryman.ir.fold import unfold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Message, Request, Role, Text, Thinking, ToolCall
from ferryman.ir.usage import Usage
from ferryman.wire.format import Aim, ClientSide, Format, ProviderSide, ReplyContext
from ferryman.wire.formats import FORMATS
from ferryman.wire.translate import TranslatingTap, translate_whole

EVENTS = 200
REPLY_BYTES = 4096
PROMPT_BYTES = 1 << 20
Sides = tuple[str, ClientSide, ProviderSide]


def measure(*, quick: bool) -> dict[str, dict[str, float]]:
    """``"from → to"`` → µs per stream event, µs per whole reply of 4 KB, ms per request of 1 MB.

    A pair is named by the caller's format and the provider's.
    """
    found = {}
    for caller in _both_sides():
        for provider in _both_sides():
            if caller[0] == provider[0]:
                continue
            row = {
                "event_us": _events(caller, provider, quick),
                "whole_us": _whole(caller, provider, quick),
                "prompt_ms": _prompt(caller, provider, quick),
            }
            name = f"{caller[0]} → {provider[0]}"
            found[name] = row
            say(
                f"formats {name:42} {row['event_us']:5.1f} µs an event  "
                f"{row['whole_us']:6.0f} µs a 4 KB reply  {row['prompt_ms']:5.1f} ms a 1 MB request"
            )
    return found


def _both_sides() -> list[Sides]:
    rows: list[Format] = list(FORMATS.values())
    return [(row.name, row.client, row.provider) for row in rows if row.client and row.provider]


def _asked(text: str = "Hello", *, stream: bool = False) -> Request:
    messages = (Message(role=Role.USER, blocks=(Text(text=text),)),)
    return Request(model="m", messages=messages, stream=stream, max_output=1000, include_usage=True)


def _context(request: Request) -> ReplyContext:
    return ReplyContext(request=request, receipt=Receipt(), request_id="req_bench", now=1)


def _answer(words: int) -> Reply:
    blocks = (
        Thinking(text="Let me think. " * 8),
        Text(text="word " * words),
        ToolCall(id="call_1", name="look_up", arguments='{"where": "the river"}'),
    )
    choice = Choice(blocks=blocks, finish=Finish(reason=FinishReason.TOOL_CALLS))
    return Reply(begin=Begin(id="r1", model="m", created=1), choices=(choice,), usage=Usage(9, 9))


def _pieces() -> list[Event]:
    """An answer whose text comes in ``EVENTS`` pieces."""
    events: list[Event] = []
    for event in unfold(_answer(1)):
        if isinstance(event, Delta) and event.text == "word ":
            events += [event] * EVENTS
        else:
            events.append(event)
    return events


def _best(run: Callable[[], object], times: int) -> float:
    """Seconds of one run: the median of the better half, since the machine only ever adds."""
    took = []
    gc.disable()
    try:
        for _ in range(times):
            began = time.perf_counter()
            run()
            took.append(time.perf_counter() - began)
    finally:
        gc.enable()
    return median(sorted(took)[: max(len(took) // 2, 1)])


def _events(caller: Sides, provider: Sides, quick: bool) -> float:
    request = _asked(stream=True)
    encoder = provider[1].stream_encoder(_context(request))
    chunks = [data for event in _pieces() if (data := encoder.encode(event))]

    def run() -> None:
        tap = TranslatingTap(provider[2], caller[1], _context(request), ())
        for chunk in chunks:
            tap.feed(chunk)
        tap.close()  # some formats end with their body
        assert tap.done, f"{provider[0]} was not read to its end"

    return _best(run, 10 if quick else 60) / len(chunks) * 1e6


def _whole(caller: Sides, provider: Sides, quick: bool) -> float:
    request = _asked()
    reply = _answer((REPLY_BYTES - 600) // 5)
    body = provider[1].encode_reply(reply, _context(request))

    def run() -> None:
        translate_whole(body, provider[2], caller[1], _context(request))

    return _best(run, 50 if quick else 500) * 1e6


def _prompt(caller: Sides, provider: Sides, quick: bool) -> float:
    request = _asked("Tell me of the river. " * (PROMPT_BYTES // 22))
    body = caller[2].encode_request(request, Aim(model="m", max_output=4096), Receipt())

    def run() -> None:
        decoded = caller[1].decode_request(body, "m", False)
        provider[2].encode_request(decoded, Aim(model="m", max_output=4096), Receipt())

    return _best(run, 5 if quick else 20) * 1e3
