"""A gateway before a simulator that plays the fault wall's scripts, and many calls at a time."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar

from tests.flow.fault_rows import AWAY, CHAT, LATE, MESSAGES, RESPONSES, Row, Script
from tests.gateway import KEY, Stack, asked
from tests.processes import request

T = TypeVar("T")
PATHS = {"gemini_generate": "/v1beta", "bedrock_converse": "", "cohere_chat": "/v2"}
MORE = {
    CHAT: ", endpoints: [chat.completions]",
    MESSAGES: ', headers: { anthropic-version: "2023-06-01" }, auth: x-api-key',
    RESPONSES: ", endpoints: [responses]",
}
USUAL = 8
"""Good calls before each that fails: attempts beyond the first are rationed."""
CONFIG = """\
providers:
  well: { base_url: SIM/v1, auth: none, prices: { t: { input: 1, output: 2 } } }
PROVIDERS
models:
MODELS
timeouts: { connect: 1s, first_byte: 20s, idle: 20s, total: 60s }
policies:
  - name: quick
    when: { header.x-quick: "1" }
    timeouts: { first_byte: 2s, idle: 2s }
"""


def config(providers: Sequence[str], models: Sequence[str]) -> str:
    """A configuration with these lines; ``well/t`` is a target that is well."""
    return CONFIG.replace("PROVIDERS", "\n".join(providers)).replace("MODELS", "\n".join(models))


def provider(row: Row, deaf: str, *, spare_key: bool = False) -> str:
    """The settings of a provider that a row is about; ``deaf`` is where nobody listens."""
    places = {"DEAD": "http://127.0.0.1:1", "DEAF": deaf, "SIM": "SIM"}
    key = "keys: [env:LAB_KEY, env:SPARE_KEY]" if spare_key else "key: env:LAB_KEY"
    url = places[row.place] + PATHS.get(row.format, "/v1")
    more = MORE.get(row.format, "")
    return f'{{ format: {row.format}, base_url: "{url}", {key}{more} }}'


@contextlib.contextmanager
def staged(
    folder: Path, configured: Callable[[str], str], faults: Mapping[str, Script]
) -> Iterator[Stack]:
    """The gateway with the configuration that is made once it is known where nobody listens."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        filling = [socket.socket() for _ in range(3)]
        for link in filling:
            link.setblocking(False)
            link.connect_ex(deaf.getsockname())
        stack = Stack(folder, configured(f"http://127.0.0.1:{deaf.getsockname()[1]}"))
        try:
            stack.ready()
            scripts = {"t": "unicode,tokens=6", **faults}
            told = request(stack.sim_url, "POST", "/sim/faults", body=json.dumps(scripts))
            assert told.status == 200, told.body
            yield stack
            assert not stack.complaints()
        finally:
            stack.end()
            for link in filling:
                link.close()


def slow(row: Row) -> bool:
    """Whether calls of a row wait for a timeout."""
    return row.kind in (LATE, AWAY)


def all_of(jobs: Mapping[str, tuple[bool, Callable[[], T]]]) -> dict[str, T]:
    """What comes of all jobs; those that wait don't hold up the others."""
    with ThreadPoolExecutor(48) as waiting, ThreadPoolExecutor(6) as quick:
        running = {
            name: (waiting if waits else quick).submit(job) for name, (waits, job) in jobs.items()
        }
        return {name: future.result() for name, future in running.items()}


def usual(stack: Stack, count: int = USUAL) -> None:
    """Some good calls, on one connection."""
    link = HTTPConnection("127.0.0.1", stack.port, timeout=60)
    for _ in range(count):
        body, headers = json.dumps(asked("well/t")), {"Authorization": f"Bearer {KEY}"}
        link.request("POST", "/v1/chat/completions", body, headers)
        reply = link.getresponse()
        said = reply.read()
        assert reply.status == 200, said
    link.close()
