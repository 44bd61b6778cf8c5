"""Large requests that have to be put into another format, which happens beside the event loop."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.gateway import Stack, error_of

LARGE = 12_000
"""Messages: more than half a megabyte."""


def conversation(last: Any = "And then?") -> list[dict[str, Any]]:
    said = [
        {"role": ("user", "assistant")[i % 2], "content": f"The ferry left the pier {i} times."}
        for i in range(LARGE)
    ]
    return [*said, {"role": "user", "content": last}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["messages", "generate", "converse", "cohere-like"])
def test_all_of_it_arrives(formats: Stack, provider: str, stream: bool) -> None:
    body = {"model": f"{provider}/sim-echo", "messages": conversation(), "stream": stream}
    reply = formats.post(body, "/v1/chat/completions")
    assert reply.status == 200, reply.body[:300]
    assert b"then?" in reply.body
    sent = json.loads(formats.last_body())
    said = sent.get("messages") or sent["contents"]
    assert len(said) == LARGE + 1
    assert "pier 11999 times" in json.dumps(said[-2])


def test_what_is_wrong_with_it_is_told(formats: Stack) -> None:
    body = {"model": "messages/sim", "messages": conversation([{"type": "text"}])}
    reply = formats.post(body, "/v1/chat/completions")
    assert reply.status == 400
    assert f"messages[{LARGE}].content[0].text" in error_of(reply)["message"]
    assert formats.row(reply)["status"] == 400


def test_many_at_once_beside_small_ones(formats: Stack) -> None:
    body = {"model": "messages/sim-tokens=3", "messages": conversation()}
    over = threading.Event()
    small = {"model": "chat/sim-tokens=3", "messages": [{"role": "user", "content": "hi"}]}

    def keep_asking() -> list[int]:
        found = []
        while not over.is_set() or not found:
            found.append(formats.post(small, "/v1/chat/completions").status)
        return found

    with ThreadPoolExecutor(9) as pool:
        beside = pool.submit(keep_asking)
        large = list(pool.map(lambda _: formats.post(body, "/v1/chat/completions"), range(8)))
        over.set()
        assert set(beside.result()) == {200}
    assert {reply.status for reply in large} == {200}
    assert all(formats.row(reply)["status"] == 200 for reply in large)
