"""Providers killed at random under the official SDK: callers see nothing but slower answers."""

import asyncio
import random
import time

import openai
from soak.overload import NAMES, Harbour, harbour

SECONDS = 10.0
CALLERS = 12


def test_killing_providers_at_random_shows_nothing_but_slower_answers() -> None:
    with harbour() as place:
        answers, kills = asyncio.run(_run(place))
    assert kills >= 5
    assert answers > 100


async def _run(place: Harbour) -> tuple[int, int]:
    """Answers, each of which was right, and kills."""
    address = place.place.address
    client = openai.AsyncOpenAI(
        base_url=f"http://{address.host}:{address.port}/v1",
        api_key=address.key,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    )
    ends = time.monotonic() + SECONDS
    callers = [_caller(client, number, ends) for number in range(CALLERS)]
    killer = asyncio.create_task(_killer(place, ends))
    answers = sum(await asyncio.gather(*callers))
    await client.close()
    return answers, await killer


async def _caller(client: openai.AsyncOpenAI, number: int, ends: float) -> int:
    """Ask again and again, whole and streamed, and compare each answer. Returns how many."""
    count = 0
    while time.monotonic() < ends:
        text = f"This is call {count} of caller {number}."
        messages = [{"role": "user", "content": text}]
        said = ""
        if count % 2:
            stream = await client.chat.completions.create(
                model="spread", messages=messages, stream=True, extra_body={"sim": "echo,ttft=40"}
            )
            async for chunk in stream:
                said += chunk.choices[0].delta.content or "" if chunk.choices else ""
        else:
            whole = await client.chat.completions.create(
                model="spread", messages=messages, extra_body={"sim": "echo,delay=40"}
            )
            said = whole.choices[0].message.content or ""
        assert said == text
        count += 1
    return count


async def _killer(place: Harbour, ends: float) -> int:
    """Kill one or two of the three at a time, and start them again. Returns how many were."""
    rng = random.Random(4)
    kills = 0
    while time.monotonic() < ends:
        dead = rng.sample(NAMES, rng.randint(1, 2))
        for name in dead:
            await asyncio.to_thread(place.kill, name)
            await asyncio.sleep(rng.random() * 0.3)
        await asyncio.sleep(rng.random() * 0.6)
        for name in dead:
            await asyncio.to_thread(place.start, name)
        kills += len(dead)
        await asyncio.sleep(rng.random() * 0.6)
    return kills
