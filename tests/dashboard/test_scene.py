"""Takes the pictures of the documentation, from two months of made-up calls: ``make pictures``."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser

from ferryman.ir.price import Price, Rate
from ferryman.ir.usage import Usage
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import PRICED, Attempt, Candidate, Closed, Labels, Priced
from tests.dashboard.visit import Visit
from tests.gateway import Stack
from tests.processes import until
from tests.store import samples

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = {
    "now": "/", "costs": "/costs?by=team&since=30d", "routes": "/routes",
    "call": "/calls/req_rescued", "compare": "/models/compare?model=groq/llama-3.3-70b-versatile"
    "&model=openai/gpt-4.1-mini&model=anthropic/claude-sonnet-4-5&in=3000&out=500",
}  # fmt: skip
LARGEST = 200_000
"""Bytes of a picture."""
CONFIG = """\
providers:
  openai: { base_url: SIM/v1, key: env:LAB_KEY }
  groq: { base_url: SIM/v1, key: env:LAB_KEY }
  anthropic: { base_url: SIM/v1, key: env:LAB_KEY }
models:
  fast:
    targets: [groq/llama-3.3-70b-versatile, openai/gpt-4.1-mini]
    strategy: weighted
    weights: { groq/llama-3.3-70b-versatile: 3 }
  smart: { targets: [anthropic/claude-sonnet-4-5], fallbacks: [openai/gpt-4.1] }
  draft: groq/llama-3.1-8b-instant
policies:
  - { name: batches, when: { tags: batch }, use: draft }
  - { name: contracts, when: { metadata.task: contract }, use: smart }
limits:
  - { name: teams, by: team, budget: { usd: 60, per: month } }
"""
FAST, MINI = ("groq", "llama-3.3-70b-versatile"), ("openai", "gpt-4.1-mini")
SMART, SPARE = ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-4.1")
DRAFT = ("groq", "llama-3.1-8b-instant")
KINDS = (
    # key, team, task, model, targets, tokens in and out, first token and whole answer in ms
    ("support bot", "support", "answer", "fast", (FAST, FAST, FAST, MINI), (2600, 240), (190, 900)),
    ("web shop", "shop", "search", "fast", (FAST, FAST, FAST, MINI), (900, 60), (170, 420)),
    ("contracts", "legal", "contract", "smart", (SMART,), (9000, 900), (820, 9000)),
    ("nightly", "data", "label", "draft", (DRAFT,), (700, 30), (120, 260)),
    ("assistant", "research", "chat", "smart", (SMART,), (3200, 700), (760, 7000)),
)  # fmt: skip
USD = {FAST: (0.59, 0.79), MINI: (0.4, 1.6), SMART: (3, 15), SPARE: (2, 8), DRAFT: (0.05, 0.08)}
"""For a million tokens in and out."""

pytestmark = pytest.mark.skipif(
    "FERRYMAN_PICTURES" not in os.environ, reason="takes the pictures of docs: make pictures"
)


def _calls(keys: dict[str, str], now_s: int) -> Iterator[Closed]:
    """Two months of workdays and weekends, and five busy minutes."""
    draw = random.Random(7)
    for day in range(60):
        begin = (now_s // 86_400 - day) * 86_400
        weekend = (begin // 86_400 + 3) % 7 > 4
        count = draw.randrange(90, 140) if weekend else draw.randrange(420, 600) - 3 * day
        for number in range(count):
            at = min(begin + int(draw.betavariate(4, 3) * 86_400), now_s - 400)
            yield _call(draw, f"req_d{day}n{number}", at * 1_000_000, keys)
    for number in range(360):
        at_us = now_s * 1_000_000 - int(draw.random() * 290e6)
        yield _call(draw, f"req_now{number}", at_us, keys)
    yield _rescued(now_s * 1_000_000 - 40_000_000, keys)


def _call(draw: random.Random, ident: str, at_us: int, keys: dict[str, str]) -> Closed:
    key, team, task, model, targets, size, times = draw.choices(KINDS, (40, 34, 8, 25, 16))[0]
    target, swing = draw.choice(targets), draw.lognormvariate(0, 0.35)
    tokens = [int(each * draw.lognormvariate(0, 0.3)) for each in size]
    first, whole = (int(each * 1000 * swing) for each in times)
    failed = draw.random() < 0.008
    tried = Attempt(
        provider=target[0], model=target[1], status=503 if failed else 200, sent_us=400,
        error="upstream_overloaded" if failed else "", first_byte_us=first - 2000,
        first_token_us=-1 if failed else first, last_token_us=-1 if failed else whole,
        start_us=300, end_us=first if failed else whole,
    )  # fmt: skip
    price = USD[target]
    return samples.call(
        ident, at_us=at_us, key=keys[key], model=model, provider=target[0], target=target[1],
        stream=True, status=503 if failed else 200, error=tried.error, duration_us=tried.end_us,
        first_token_us=tried.first_token_us, attempts=(tried,), overhead_us=draw.randrange(90, 240),
        usage=None if failed else Usage(input=tokens[0], output=tokens[1]),
        cost=None if failed else int(1e6 * sum(p * n for p, n in zip(price, tokens, strict=True))),
        labels=Labels(team=team, task=task, organisation="Harbour", metadata={"task": task}),
    )  # fmt: skip


def _rescued(at_us: int, keys: dict[str, str]) -> Closed:
    """A call that two providers were asked for."""
    usage, cost = Usage(input=8200, output=640), 8200 * 2_000_000 + 640 * 8_000_000
    tries = (
        Attempt(provider=SMART[0], model=SMART[1], status=529, error="upstream_overloaded",
                start_us=320, sent_us=900, first_byte_us=210_000, end_us=211_000,
                retry_after_ms=700),
        Attempt(provider=SMART[0], model=SMART[1], status=529, error="upstream_overloaded",
                start_us=911_000, sent_us=911_500, first_byte_us=1_090_000, end_us=1_091_000),
        Attempt(provider=SPARE[0], model=SPARE[1], status=200, start_us=1_091_300,
                sent_us=1_092_000, first_byte_us=1_560_000, first_token_us=1_580_000,
                last_token_us=5_200_000, end_us=5_204_000, usage=usage, cost=cost, price="p1"),
    )  # fmt: skip
    plan = (Candidate("anthropic/claude-sonnet-4-5"), Candidate("openai/gpt-4.1", fallback=True))
    labels = Labels(team="legal", task="contract", organisation="Harbour",
                    metadata={"task": "contract"}, tags=("q4",), run="review-118")  # fmt: skip
    return samples.call(
        "req_rescued", at_us=at_us, key=keys["contracts"], model="smart", provider=SPARE[0],
        target=SPARE[1], stream=True, duration_us=5_204_000, first_token_us=1_580_000,
        attempts=tries, plan=plan, policy="contracts", labels=labels, overhead_us=190,
        usage=usage, cost=cost, price="p1",
    )  # fmt: skip


def test_the_pictures_of_the_documentation(
    browser: Browser, packages: Path, tmp_path: Path
) -> None:
    with Stack(tmp_path, CONFIG, MISTRAL_API_KEY="").served() as ferry:
        made = {kind[0]: {"name": kind[0], "team": kind[1]} for kind in KINDS}
        keys = {n: ferry.admin("POST", "/api/v1/keys", k).json()["id"] for n, k in made.items()}
        writer = JournalWriter(ferry.data / "journal" / "gateway-2")
        price = Price(tiers=((-1, Rate(input=2_000_000, output=8_000_000)),))
        writer.append(PRICED, msgspec.msgpack.encode(Priced("p1", *SPARE, (price,))))
        samples.put(writer, sorted(_calls(keys, int(time.time())), key=lambda call: call.at_us))
        writer.close()
        until(lambda: ferry.admin("GET", "/api/v1/calls/req_rescued").status == 200, "the calls")
        visit = Visit(browser, ferry, (packages / "axe-core" / "axe.min.js").read_text())
        for name, path in PICTURES.items():
            page = visit.go(path)
            page.emulate_media(color_scheme="dark" if name in ("now", "routes") else "light")
            page.wait_for_load_state("load")
            while page.get_by_text("there was no time").count():  # each look gets further back
                page.reload()
            file = DOCS / f"dashboard-{name}.png"
            page.screenshot(path=file)
            assert file.stat().st_size < LARGEST, f"{file.name} is too large"
        visit.end()
