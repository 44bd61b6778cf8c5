"""Upstreams that go away and return, and control planes that are away, strange, or gone mad."""

import asyncio
import contextlib
import json
import random
import signal
import socket

import msgspec
from msgspec import Struct
from tests.processes import PATIENCE, Process
from tests.processes import until as wait_until

from ferryman.config.feed import Feed, SealKey
from ferryman.store.keys import RECORD, REVOKED
from soak.client import Address, Answer, call
from soak.kills import SIMPLE
from soak.mix import CHAT
from soak.plant import PROVIDER, Plant


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


STREAMS = 20


class Outage(Struct, kw_only=True):
    """What callers saw while their provider was gone."""

    cut: int
    """Streams under way that ended with an error event."""
    refused: int
    """Calls answered with a clear 502."""
    recovered: bool


async def upstream(plant: Plant) -> Outage:
    """Kill the provider under open streams, call on, and start it again."""
    body = json.dumps(
        {
            "model": f"{PROVIDER}/one",
            "messages": [{"role": "user", "content": "Don't stop."}],
            "sim": "tokens=400&tps=20",
            "stream": True,
        }
    ).encode()
    under_way = [asyncio.create_task(call(plant.address, CHAT, body)) for _ in range(STREAMS)]
    await plant.busy_with(STREAMS)
    await asyncio.sleep(0.3)
    plant.simulator.stop(signal.SIGKILL)
    answers = await asyncio.wait_for(asyncio.gather(*under_way), PATIENCE)
    for answer in answers:
        assert answer.status == 200, answer
        assert answer.ended and not answer.whole, f"a cut stream looks whole: {answer}"
        error = json.loads(answer.body.rstrip().rpartition(b"data: ")[2])["error"]
        assert error["code"] == "upstream_stream_truncated", error
    gone = [await call(plant.address, CHAT, SIMPLE) for _ in range(20)]
    for answer in gone:
        assert answer.status == 502, answer
        assert json.loads(answer.body)["error"]["code"] == "upstream_unreachable", answer
    await asyncio.to_thread(plant.restart_simulator)
    back = [await call(plant.address, CHAT, SIMPLE) for _ in range(20)]
    assert all(answer.status == 200 for answer in back), [answer.status for answer in back]
    ledger = await asyncio.to_thread(plant.ledger)
    for answer in (*answers, *gone, *back):
        row = ledger.by_id[answer.id]
        assert (row["state"], row["status"]) == ("closed", answer.status), row
    assert not ledger.open
    return Outage(cut=len(answers), refused=len(gone), recovered=True)


async def wrong_token(plant: Plant) -> None:
    """A data plane with the wrong feed token says so, serves on from its disk, and recovers.

    ``plant`` must not be up.
    """
    control = await asyncio.to_thread(_control, plant)
    edge = await asyncio.to_thread(_edge, plant)
    assert (await call(plant.address, CHAT, SIMPLE)).status == 200
    edge.stop(signal.SIGKILL)

    strange = await asyncio.to_thread(_edge, plant, FERRYMAN_FEED_TOKEN="not-the-token")
    await asyncio.to_thread(
        strange.wait_for, r"answered 401 \(do both planes share FERRYMAN_FEED_T"
    )
    first = plant.address
    assert (await call(first, CHAT, SIMPLE)).status == 200, "it has all it needs on its disk"
    reply = await asyncio.to_thread(plant.admin, "DELETE", "/api/v1/keys/first")
    assert reply.status == 200
    assert (await call(first, CHAT, SIMPLE)).status == 200, "how could it know?"
    strange.stop(signal.SIGKILL)

    again = await asyncio.to_thread(_edge, plant)
    await until_status(first, 401)
    again.stop()
    control.stop()


async def alone(plant: Plant) -> int:
    """A data plane killed and started again while its control plane is away knows what it knew.

    ``plant`` must not be up. Returns how many calls the ledger learnt of afterwards.
    """
    control = await asyncio.to_thread(_control, plant)
    edge = await asyncio.to_thread(_edge, plant)
    made = [
        await asyncio.to_thread(plant.admin, "POST", "/api/v1/keys", {"name": name})
        for name in ("stays", "goes")
    ]
    stays, goes = (Address("127.0.0.1", plant.port, each.json()["key"]) for each in made)
    await until_status(goes, 200)
    await asyncio.to_thread(plant.admin, "DELETE", "/api/v1/keys/goes")
    await until_status(goes, 401)
    delta = plant.data / "cache" / "keys.delta"
    await asyncio.to_thread(wait_until, lambda: _revoked_in(delta.read_bytes()), "it to be on disk")
    control.stop(signal.SIGKILL)
    ids = []
    for _ in range(2):
        edge.stop(signal.SIGKILL)
        edge = await asyncio.to_thread(_edge, plant)
        for address, status in ((stays, 200), (goes, 401), (plant.address, 200)):
            answer = await call(address, CHAT, SIMPLE)
            assert answer.status == status, answer
            if status == 200:
                ids.append(answer.id)
    port = plant.env["FERRYMAN_CONTROL_URL"].rpartition(":")[2]
    control = await asyncio.to_thread(_control, plant, port)
    ledger = await asyncio.to_thread(plant.ledger)
    for each in ids:
        assert ledger.by_id[each]["state"] == "closed", each
    assert not ledger.lost
    edge.stop()
    control.stop()
    return len(ids)


def _revoked_in(delta: bytes) -> bool:
    return any(record[-1] & REVOKED for record in RECORD.iter_unpack(delta))


def _control(plant: Plant, port: str = "0") -> Process:
    control = plant.start("control", FERRYMAN_ADMIN_PORT=port)
    url = control.wait_for(r"ready at (\S+)")[1]
    plant.env["FERRYMAN_CONTROL_URL"] = url
    return control


def _edge(plant: Plant, **env: str) -> Process:
    if not plant.port:
        plant.port = free_port()
    edge = plant.start("edge", FERRYMAN_PORT=str(plant.port), **env)
    edge.wait_for("gateway +ready")
    cache = plant.data / "cache"
    files = (cache / "keys.bin", cache / "snapshot.msgpack")
    wait_until(lambda: all(path.exists() for path in files), "what it needs to be on its disk")
    return edge


# -- a control plane gone mad


def answer_with(body: bytes, status: str = "200 OK") -> bytes:
    """A whole HTTP reply."""
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


GOOD = answer_with(msgspec.msgpack.encode(Feed(keys_seq=7)))
"""Nothing new."""


class Mad:
    """Listens where a control plane should, and answers its data plane with ``script`` in turn.

    After each answer comes a good one, so that the data plane asks again soon.
    """

    def __init__(self, script: list[bytes]) -> None:
        self._script = script
        self.served = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                turn, good = divmod(self.served, 2)
                answer = GOOD if good else self._script[turn % len(self._script)]
                self.served += 1
                writer.write(answer)
                if answer != GOOD:
                    break
        writer.close()


def rubbish(seed: int) -> list[bytes]:
    """Answers that a control plane should never give."""
    draw = random.Random(seed)
    pack = msgspec.msgpack.encode
    return [
        answer_with(b""),
        answer_with(b"\xc1"),
        answer_with(draw.randbytes(300)),
        answer_with(b"<html>Not found</html>", "404 Not Found"),
        answer_with(b"", "500 Internal Server Error"),
        answer_with(pack(Feed(keys_seq=7))[:-1]),
        answer_with(pack({"keys_seq": "seven"})),
        answer_with(pack(Feed(snapshot=b"\xc1", keys_seq=7))),
        answer_with(pack(Feed(snapshot=draw.randbytes(200), keys_seq=7))),
        answer_with(pack(Feed(snapshot=pack({"version": "x", "providers": 5}), keys_seq=7))),
        answer_with(pack(Feed(keys_full=draw.randbytes(64 * 5), keys_seq=7))),
        answer_with(pack(Feed(keys_full=b"short", keys_seq=7))),
        answer_with(pack(Feed(keys_delta=b"short", keys_seq=8))),
        answer_with(pack(Feed(keys_seq=7, seal=SealKey("mark", draw.randbytes(80))))),
        answer_with(pack(Feed(keys_seq=7, seal=SealKey("", b"short")))),
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ]


async def mad_control(plant: Plant, seed: int) -> int:
    """A data plane whose control plane talks rubbish keeps its keys and configuration, and follows
    the real one as soon as it is back. ``plant`` must not be up. Returns the number of answers.
    """
    script = rubbish(seed)
    control = await asyncio.to_thread(_control, plant)
    edge = await asyncio.to_thread(_edge, plant)
    edge.stop(signal.SIGKILL)
    address = plant.env["FERRYMAN_CONTROL_URL"]
    port = address.rpartition(":")[2]
    control.stop()
    made = Mad(script)
    server = await asyncio.start_server(made.serve, "127.0.0.1", int(port))
    edge = await asyncio.to_thread(_edge, plant)
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while made.served < 2 * len(script):
        answer = await call(plant.address, CHAT, SIMPLE)
        assert answer.status == 200, f"after answer {made.served}: {answer}"
        assert asyncio.get_running_loop().time() < deadline, f"it stopped asking: {made.served}"
        await asyncio.sleep(0.05)
    server.close()
    control = await asyncio.to_thread(_control, plant, port)
    first = plant.address
    reply = await asyncio.to_thread(plant.admin, "DELETE", "/api/v1/keys/first")
    assert reply.status == 200
    await until_status(first, 401)
    edge.stop()
    control.stop()
    return made.served


async def until_status(address: Address, status: int) -> Answer:
    """Call until the answer has this status."""
    for _ in range(int(PATIENCE * 20)):
        answer = await call(address, CHAT, SIMPLE)
        if answer.status == status:
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"never came: status {status}; the last was {answer}")
