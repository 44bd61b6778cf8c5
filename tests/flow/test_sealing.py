"""Secrets reach each gateway sealed for it alone: its disk, the feed, its neighbours open none."""

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ferryman.cli.supervisor import children_of
from ferryman.config.compile import compile_snapshot
from ferryman.config.feed import Feed, SealKey, mark
from ferryman.config.options import Options, OptionsError, Paths
from ferryman.config.seal import SealError, derive_for
from ferryman.config.secret import resolve, sealed
from ferryman.config.snapshot import Snapshot
from ferryman.config.wrapping import unwrapped, wrapped
from ferryman.edge.sealing import Opener
from tests.config.catalogue import loaded
from tests.control.conftest import Control
from tests.processes import Process, environment, request, until

CANARY = "sk-canary-" + os.urandom(16).hex()
KEY = "key-of-the-sealing-tests"
CONFIG = """\
providers: { lab: { base_url: "SIM/v1", key: CANARY, headers: { X-Api-Key: CANARY-too } } }
models: { fast: lab/sim }
"""
SHUT = "2 sealed secrets do not open here"


class Host:
    """A gateway with a data directory of its own."""

    def __init__(self, place: "Place", name: str) -> None:
        self.name, self._place = name, place
        self.data = place.folder / name
        self.process = self.start()

    def start(self) -> Process:
        """Start it, and wait until it serves."""
        env = environment(
            self.data, FERRYMAN_PLANE=self.name, FERRYMAN_CONTROL_URL=self._place.control.url,
            FERRYMAN_FEED_TOKEN=self._place.secret("feed-token"),
            FERRYMAN_PEPPER=self._place.secret("pepper"),
        )  # fmt: skip
        where = self.data / "gateway-url"
        where.unlink(missing_ok=True)
        self.process = Process(["ferryman.edge"], env, self._place.folder)
        self._place.running.append(self.process)
        self.process.wait_for(rf"{self.name} +ready$")
        until(lambda: where.exists() and where.read_text().endswith("\n"), "its address")
        return self.process

    def key(self) -> str | None:
        """The provider's key that a call brings there; None = the provider is not active."""
        url = (self.data / "gateway-url").read_text().strip()
        body = msgspec.json.encode(
            {"model": "fast", "messages": [{"role": "user", "content": "x"}]}
        )
        reply = request(url, "POST", "/v1/chat/completions", token=KEY, body=body)
        if reply.status == 404:
            return None
        assert reply.status == 200, reply.body
        seen = request(self._place.sim_url, path="/sim/last").json()["headers"]
        sent = {name.lower(): value for name, value in seen}
        assert sent["x-api-key"] == f"{CANARY}-too"
        return str(sent["authorization"]).removeprefix("Bearer ")

    def files(self) -> dict[str, bytes]:
        """Its data directory, without its private key."""
        own = self.data / "secrets" / f"plane-{self.name}"
        return {
            str(path.relative_to(self.data)): path.read_bytes()
            for path in self.data.rglob("*")
            if path.is_file() and path != own
        }


class Place:
    """A control plane, a provider, and two gateways on hosts of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Process] = []
        sim = Process(["ferryman.simulator", "--port", "0"], os.environ, folder)
        self.running.append(sim)
        self.sim_url = sim.wait_for(r"^simulator: (http://\S+)/v1$")[1]
        self._file = folder / "ferryman.yaml"
        self._file.write_text(CONFIG.replace("SIM", self.sim_url).replace("CANARY", CANARY))
        self._port = "0"
        self.control = self.start()
        self.east, self.west = Host(self, "east"), Host(self, "west")

    def start(self) -> Control:
        """Start the control plane, where it was before."""
        env = {"FERRYMAN_CONFIG": str(self._file), "FERRYMAN_KEY": KEY}
        self.control = Control(self.folder / "control", **env, FERRYMAN_ADMIN_PORT=self._port)
        self.running.append(self.control.process)
        self._port = self.control.ready().url.rpartition(":")[2]
        return self.control

    def secret(self, name: str) -> str:
        return self.control.secret(name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("hosts"))
    yield made
    for process in made.running:
        process.end()


def private(host: Host) -> bytes:
    text = (host.data / "secrets" / f"plane-{host.name}").read_text()
    return bytes.fromhex(text.split()[1])


def held(host: Host) -> SealKey:
    folder = host.data / "cache" / host.name
    return msgspec.msgpack.decode((folder / "snapshot.seal").read_bytes(), type=SealKey)


def test_each_gateway_opens_what_was_wrapped_for_it_and_nothing_else(place: Place) -> None:
    assert place.east.key() == place.west.key() == CANARY
    until(lambda: "cache/west/snapshot.seal" in place.west.files(), "it is kept")
    until(lambda: "cache/east/snapshot.seal" in place.east.files(), "it is kept")
    wraps = {"east": held(place.east).wrapped, "west": held(place.west).wrapped}
    privates = {"east": private(place.east), "west": private(place.west)}
    assert len(set(wraps.values()) | set(privates.values())) == 4
    opened = unwrapped(wraps["east"], "east", privates["east"])
    assert opened == unwrapped(wraps["west"], "west", privates["west"])
    for plane, data in wraps.items():
        for name in ("east", "west"):
            for whose, key in privates.items():
                if not plane == name == whose:
                    with pytest.raises(SealError):
                        unwrapped(data, name, key)
    for host in (place.east, place.west):
        mode = (host.data / "secrets" / f"plane-{host.name}").stat().st_mode
        assert mode & 0o777 == 0o600


def test_a_gateway_s_disk_the_feed_and_the_log_reveal_no_secret(place: Place) -> None:
    files = place.east.files()
    assert {"cache/east/snapshot.msgpack", "cache/east/snapshot.seal"} <= files.keys()
    assert not any("seal-key" in name for name in files), "that is the control plane's"
    public = (place.east.data / "secrets" / "plane-east").read_text().split()[0]
    path = f"/internal/feed?plane=east&public={public}"
    answer = request(place.control.url, path=path, token=place.secret("feed-token")).body
    feed = msgspec.msgpack.decode(answer, type=Feed)
    assert feed.seal is not None
    opens = unwrapped(feed.seal.wrapped, "east", private(place.east))
    whole = b"\n".join([*files.values(), answer, "\n".join(place.east.process.lines).encode()])
    whole += "\n".join(place.control.process.lines).encode()
    for secret in (CANARY.encode(), opens, private(place.east), place.secret("seal-key").encode()):
        for form in (secret, base64.b64encode(secret)[:-4], secret.hex().encode()):
            assert form not in whole
    snapshot = msgspec.msgpack.decode(feed.snapshot, type=Snapshot)
    texts = sealed(snapshot)
    assert len(texts) == 2
    tokens = [data.decode().strip() for name, data in files.items() if name.startswith("secrets/")]
    for token in (*tokens, place.secret("feed-token"), place.secret("pepper")):
        key = derive_for(token, "sealed secrets")
        assert not any(resolve(secret, name, {}, key) for secret, name in texts)
    assert all(resolve(secret, name, {}, opens) for secret, name in texts), "the look is right"


def test_it_starts_and_serves_alone_but_not_from_a_cache_that_does_not_open(place: Place) -> None:
    east, cache = place.east, place.east.data / "cache" / "east"
    assert east.process.stop() == 0
    assert place.control.process.stop() == 0
    east.start()
    assert east.key() == CANARY, "without a control plane"
    assert east.process.stop() == 0
    shutil.copy(place.west.data / "cache" / "west" / "snapshot.seal", cache / "snapshot.seal")
    process = east.start()
    assert east.key() is None, "another's does not open"
    assert len([line for line in process.lines if SHUT in line]) == 1
    assert place.west.key() == CANARY, "who was there goes on"

    before = held(place.west)
    (place.control.data / "secrets" / "seal-key").unlink()
    place.start()
    assert until(east.key, "the control plane sends another") == CANARY
    until(lambda: held(place.west).mark != before.mark, "and another to whoever had the first")
    assert place.west.key() == CANARY
    assert "do not open" not in "\n".join(place.west.process.lines), "key and snapshot together"
    until(lambda: held(east).mark == held(place.west).mark, "it is kept")
    assert held(east).wrapped != held(place.west).wrapped


# -- what lies on the disk, spoilt


SEAL_KEY = os.urandom(32)


@pytest.fixture
def opener_of(tmp_path: Path) -> Callable[[str], Opener]:
    return lambda plane: Opener(Paths(tmp_path / "data"), plane)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    config = CONFIG.replace("SIM", "http://127.0.0.1:9").replace("CANARY", CANARY)
    found = loaded(tmp_path_factory.mktemp("compiled"), config)
    return compile_snapshot(found, seal_key=SEAL_KEY, env={})


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1], flip, lambda _: b"", lambda _: b"\xc1", lambda _: os.urandom(200),
        lambda data: data + b"\0",
    ],
)  # fmt: skip
def test_a_spoilt_wrapped_key_is_none_and_another_is_asked_for(
    opener_of: Callable[[str], Opener],
    snapshot: Snapshot,
    tmp_path: Path,
    spoil: Callable[[bytes], bytes],
) -> None:
    opener, file = opener_of("east"), tmp_path / "seal"
    wrap = SealKey(mark(SEAL_KEY), wrapped(SEAL_KEY, "east", bytes.fromhex(opener.public)))
    good = msgspec.msgpack.encode(wrap)
    file.write_bytes(good)
    opener.load(file)
    assert (opener.mark, opener.look(snapshot)) == (mark(SEAL_KEY), (SEAL_KEY, 0))
    again = opener_of("east")
    assert again.public == opener.public, "its own key is kept"
    file.write_bytes(spoil(good))
    again.load(file)
    assert again.look(snapshot) == (None, 2)
    assert again.mark == ""
    with pytest.raises(SealError):
        again.take(SealKey("", b"short"))
    again.take(wrap)
    assert again.look(snapshot) == (SEAL_KEY, 0)
    with pytest.raises(SealError):
        again.take(SealKey(wrap.mark, flip(wrap.wrapped)))
    assert again.look(snapshot) == (SEAL_KEY, 0), "the good one stays"


@pytest.mark.parametrize("text", [b"", b"x", b"\xff\xfe", b"aa bb", b"ab" * 32, b"00 " * 3])
def test_a_spoilt_key_pair_is_made_anew(
    opener_of: Callable[[str], Opener], tmp_path: Path, text: bytes
) -> None:
    before = opener_of("east")
    file = tmp_path / "data" / "secrets" / "plane-east"
    file.write_bytes(text)
    after = opener_of("east")
    assert after.public != before.public
    assert opener_of("east").public == after.public
    assert opener_of("east-2").public != after.public, "each worker has its own"


@pytest.mark.parametrize("name", ["seal-key", "feed-token", "pepper"])
def test_an_empty_secret_is_none(tmp_path: Path, name: str) -> None:
    paths = Paths(tmp_path)
    assert len(paths.secret(name)) == 64
    (tmp_path / "secrets" / name).write_text("\n")
    with pytest.raises(OptionsError, match=f"secrets/{name} is empty"):
        paths.secret(name)


def test_the_supervisor_gives_gateways_no_seal_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_SEAL_KEY", "of the control plane")
    control, gateway = children_of(Options(), [], [])
    assert control.env["FERRYMAN_SEAL_KEY"] == "of the control plane"
    assert "FERRYMAN_SEAL_KEY" not in gateway.env


def test_what_needs_no_key_is_not_held_up(
    opener_of: Callable[[str], Opener], tmp_path: Path
) -> None:
    config = CONFIG.replace("SIM", "http://127.0.0.1:9").replace("CANARY-too", "x")
    config = config.replace("CANARY", "env:LAB_KEY").replace("X-Api-Key", "X-Plain")
    plain = compile_snapshot(loaded(tmp_path, config), seal_key=SEAL_KEY, env={})
    assert opener_of("east").look(plain) == (None, 0)
