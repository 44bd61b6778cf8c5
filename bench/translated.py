"""Section "stream", its second part: streams whose caller speaks another format than the provider.

Fewer tokens a second than in the first part, so that no row is at its limit: what is compared is
the cost of a call and how soon its first token comes, beside the same gateway as a relay.
"""

import json
from dataclasses import replace
from pathlib import Path

from bench.gateways import KEY, Direct, Ferryman, Running, request_body
from bench.procs import say
from bench.streams import Plan, Sample, start_upstream, turn

QUICK = Plan(rounds=1, streams=500, rate=10, tokens=50, ramp=3, warm=1, seconds=6)
FULL = Plan(rounds=3, streams=1000, rate=10, tokens=100, ramp=6, warm=3, seconds=20)
CHAT, MESSAGES, GENERATE = "openai_chat", "anthropic_messages", "gemini_generate"
PAIRS = ((CHAT, CHAT), (MESSAGES, CHAT), (GENERATE, CHAT), (CHAT, MESSAGES))
"""Caller and provider; the first pair is the relay."""
WORDS = "Please tell me in one short sentence what a ferryman does all day long on the river."
PATHS = {
    CHAT: "/v1/chat/completions",
    MESSAGES: "/v1/messages",
    GENERATE: "/v1beta/models/lab/bench-1:streamGenerateContent?alt=sse",
}


def asking(caller: str, model: str) -> bytes:
    """A caller's request for a stream, of some 250 bytes."""
    if caller == CHAT:
        return request_body(model, stream=True)
    said = {"role": "user", "content": WORDS}
    asked = {
        MESSAGES: {"model": model, "max_tokens": 500, "messages": [said], "stream": True},
        GENERATE: {
            "contents": [{"role": "user", "parts": [{"text": WORDS}]}],
            "generationConfig": {"maxOutputTokens": 500, "temperature": 0.2},
        },
    }
    return json.dumps(asked[caller], separators=(",", ":")).encode()


def measure(plan: Plan, work: Path) -> dict[str, list[Sample]]:
    """``direct`` and ``"caller → provider"`` → the samples of each round."""
    found: dict[str, list[Sample]] = {}
    for number in range(plan.rounds):
        for caller, provider in PAIRS:
            place = work / f"translated-{number}-{caller}-{provider}"
            place.mkdir()
            upstream, port = start_upstream(plan, place, provider)
            try:
                if caller == provider:
                    with Direct().start(place, port, streams=True) as running:
                        found.setdefault("direct", []).append(turn(running, upstream, plan))
                with Ferryman().start(place, port, streams=True, speaks=provider) as running:
                    sample = turn(
                        at(running, caller), upstream, plan, asking(caller, running.model)
                    )
            finally:
                upstream.stop()
            name = f"{caller} → {provider}"
            found.setdefault(name, []).append(sample)
            say(
                f"stream round {number + 1}  {name:34} {sample['chunk_us']:6.1f} µs an event  "
                f"first token p99 {sample['ttft_p99']:.0f} µs  cut {sample['cut']:.0f}"
            )
    return found


def at(running: Running, caller: str) -> Running:
    """The same gateway, as callers of a format reach it."""
    base = running.url.removesuffix(PATHS[CHAT])
    return replace(
        running, url=base + PATHS[caller], credentials={"authorization": f"Bearer {KEY}"}
    )
