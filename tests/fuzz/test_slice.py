"""The fuzzing of ``make soak ARGS=fuzz`` with fixed seeds, and every case that it has found."""

import contextlib
import functools
import json
import socket
from pathlib import Path
from typing import Any

import uvloop
from soak.fuzz import ends, live, run
from soak.fuzz.mutate import Chance

from tests.http1.corpus import CASES

SEED = 20261127
KEPT: dict[str, Any] = json.loads((Path(__file__).parent / "kept.json").read_text())
WHOLE = {
    "length with a thousand zeros", "gzip and chunked", "empty element in the list", "no host",
    "two hosts", "two equal hosts", "two names in one host", "a path in the host", "version 2.0",
    "version 0.9",
}  # fmt: skip
"""Those whose end the control plane's parser finds where everybody does. What they ask for is
refused, and the request behind them is one."""


def _same(data: bytes, chance: Chance) -> bytes:
    return data


def test_what_was_found_once_is_not_found_again() -> None:
    async def play() -> None:
        targets = run.inside(listener := ends.Listener())
        for name, (target, text) in KEPT.items():
            for seed in range(3):
                data = text.encode("latin-1")
                found = targets[target]._replace(make=functools.partial(_same, data))
                _, wrong = await run.case(found, name, seed)
                assert not wrong, (name, wrong)
        await listener.close()

    uvloop.run(play())


def test_a_slice_of_the_ends_the_decoders_and_the_configuration() -> None:
    found = run.Outcome()

    async def play() -> None:
        listener = ends.Listener()
        await run.play(run.inside(listener), found, SEED, cases=50)
        await listener.close()

    uvloop.run(play())
    assert not found.failed
    assert min(found.cases.values()) >= 50


def test_a_slice_of_running_planes_and_the_corpus_at_the_control_plane() -> None:
    found = run.Outcome()

    async def play() -> None:
        upstream = live.Upstream()
        port = await upstream.open()
        with live.standing(port) as place:
            ground = live.Ground(place, upstream)
            await run.ready(ground)
            await run.play(run.outside(ground), found, SEED, cases=12)
            await ground.others(place.port)
            at_the_control_plane(ground.admin_port)
            await run.play(run.orders(ground), found, SEED, cases=10)
            ground.alive()
        await upstream.close()

    uvloop.run(play())
    assert not found.failed


def at_the_control_plane(port: int) -> None:
    """Of streams with two meanings, what is hidden in them or stands behind them is not served."""
    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    found = set()
    for name, (data, _, _) in CASES.items():
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as line:
            line.sendall(data.replace(b"Host: x\r\n", b"Host: localhost\r\n") + last)
            said = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                while piece := line.recv(65536):
                    said += piece
        if b'{"status":"ok"}' in said:
            found.add(name)
    assert found <= WHOLE, found - WHOLE
