"""The gateway: everything that lives as long as a data plane, on one event loop."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import ssl
import time
from functools import partial

from ferryman import lifeline
from ferryman.catalog.tokens import Gauge
from ferryman.config.feed import KeyFacts
from ferryman.config.options import Options
from ferryman.config.seal import derive_for
from ferryman.config.secret import PoolKey, guard_secret, localise, own_secrets, pool
from ferryman.config.snapshot import Provider, ServerSettings, Snapshot
from ferryman.edge.counting import Counting, counters_of
from ferryman.edge.feed import FeedClient
from ferryman.edge.near import near
from ferryman.edge.probing import Prober
from ferryman.edge.replays import Keeping
from ferryman.edge.restoring import Restorer
from ferryman.edge.routes import Edge, http_refusal
from ferryman.edge.sealing import Opener
from ferryman.edge.sharing import Sharing
from ferryman.edge.siblings import Siblings
from ferryman.edge.syncing import Syncing
from ferryman.edge.vouching import Vouchers
from ferryman.flow.bearing import bear_all
from ferryman.flow.call import Plane
from ferryman.flow.classify import classified
from ferryman.flow.guarding import engine_of
from ferryman.flow.keeping import Keeper
from ferryman.flow.limiting import limiter_of
from ferryman.flow.policies import policies_of
from ferryman.flow.queueing import adopt_limits
from ferryman.flow.refusals import EVERY
from ferryman.flow.replay import Replays
from ferryman.flow.residency import residency_of
from ferryman.flow.stored import redactors_of
from ferryman.flow.together import recorded
from ferryman.flow.witness import Contents, wanted
from ferryman.http1.connect import Connector, environment_proxy
from ferryman.http1.limits import Limits
from ferryman.http1.pool import Pools
from ferryman.http1.server import Server, serve
from ferryman.log import log as write_log
from ferryman.meter.keytable import KeyTable
from ferryman.routing.health import Health
from ferryman.store.bodies import PURPOSE, BodyWriter
from ferryman.store.journal import JournalError, JournalWriter
from ferryman.store.responses import ResponseStore
from ferryman.upstream.cloud import forget
from ferryman.upstream.fleet import Fleet
from ferryman.wire.addresses import admits

SETTLE_SECONDS = 10.0
TARGETS_KEPT = 10_000
NEWS_PATIENCE = 5.0
"""Seconds that callers wait in the queue of an inherited socket, rather than be refused, while a
data plane without a cache asks its control plane for keys and configuration."""
PAY = 0.05
"""Seconds between two tries to write down what could not be written."""
SWEEP_RESPONSES = 600.0
"""Seconds between two looks for kept answers that have expired."""
FEW_CONNECTIONS = 4096
"""A limit below this is worth a line in the log."""


def log(text: str) -> None:
    """One line in the gateway's log."""
    write_log(os.environ.get("FERRYMAN_PLANE") or "gateway", text)


def regions(name: str) -> frozenset[str]:
    """A region and those that it is a part of: of eu-west-3 also eu-west and eu."""
    ends = [place for place, letter in enumerate(name) if letter in "-."]
    return frozenset(name[:end].lower() for end in (*ends, len(name)) if end)


class Gateway:
    """Owns everything that lives as long as the process."""

    def __init__(self, options: Options, env: dict[str, str]) -> None:
        self._options = options
        self._env = env
        self._loop = asyncio.get_running_loop()
        self._opener = Opener(options.paths, options.plane)
        self._open_key: bytes | None = None
        self._shut = 0
        """How many sealed secrets of the snapshot don't open."""
        self._journal = JournalWriter(options.paths.journal / options.plane)
        proxy = environment_proxy(env)
        connector = Connector(self._loop, proxy_for=proxy, admits=admits)
        self._connector = connector
        self._pools = Pools(connector)
        self._snapshot = Snapshot(version="")
        self._live: dict[str, tuple[Health, Gauge]] = {}
        self.plane = Plane(
            fleet=self._fleet(self._snapshot),
            keys=None,
            pepper=options.paths.secret("pepper").encode(),
            journal=self._journal,
            now=time.monotonic,
            log=log,
            replays=Replays(),
        )
        self._recorded = self._pools.before = partial(recorded, self.plane)
        self.plane.regions = regions(options.region)
        self.plane.data_policy = options.data_policy
        self._keeping = Keeping(self.plane, options.paths, env, log)
        self._bodies: BodyWriter | None = None
        token = options.paths.secret("feed-token")
        self.edge = Edge(self.plane, self._connections, token, options.paths.metrics_token())
        self._sharing = Sharing(
            self.plane, lambda name: self._live_of(name)[0], options.paths.secret("pepper"), log
        )
        self._counters = self.plane.counters = counters_of(options, log)
        self._counting = Counting(options, token, self.plane, self._counters)
        self._restorer = Restorer(options, token, self.plane, log)
        self.server: Server | None = None
        self._syncing = Syncing(self._journal, log)
        self._stopping = asyncio.Event()
        self._equipped = asyncio.Event()
        """Set once there are a key table and a snapshot."""
        self._reported = False
        self._background: list[asyncio.Future[None]] = []
        folder = options.paths.root / "workers"
        if (options.workers or 1) > 1:
            self.edge.siblings = Siblings(folder, options.plane, token)
        clear = self.plane.replays.cache.clear
        self._vouchers = Vouchers(options, token, self.plane, log)
        self._feed = FeedClient(
            options, token, self._opener, self.adopt, self._unseal, self._adopt_keys,
            self._adopt_facts, clear, self._vouchers.take_keys, log,
        )  # fmt: skip
        self._vouchers.found = self._feed.take_keysets

    def _connections(self) -> int:
        return len(self.server.connections) if self.server is not None else 0

    def _fleet(self, snapshot: Snapshot) -> Fleet:
        here = localise(snapshot, self._env, self._open_key)
        return Fleet(here, self._pools, self._pool_of, near, self._live_of)

    def _live_of(self, name: str) -> tuple[Health, Gauge]:
        live = self._live.get(name)
        if live is None:
            if len(self._live) >= TARGETS_KEPT:
                self._live.clear()
            live = self._live[name] = (Health(), Gauge())
        return live

    def _pool_of(self, provider: Provider) -> list[PoolKey] | None:
        return pool(provider, self._env, self._open_key)

    def adopt(self, snapshot: Snapshot) -> int:
        """Serve from ``snapshot`` from the next call on; open calls keep what they began with.

        Returns how many of its sealed secrets don't open.
        """
        self._connector.set_ca_files(snapshot.ca_files)
        self._open_key, shut = self._opener.look(snapshot)
        if shut:
            log(
                f"{shut} sealed secrets do not open here: providers that need them are "
                "inactive until the control plane has sent the key"
            )
        fleet = self._fleet(snapshot)
        policies = policies_of(snapshot)
        residency = residency_of(snapshot, self.plane.regions, self._options.data_policy)
        for problem in fleet.problems:
            log(problem)
        self._snapshot, self._shut = snapshot, shut
        self.plane.fleet = fleet
        self._keep_keys(frozenset(k for each in fleet.runtimes.values() for k in each.keys))
        own = self._own_secrets(snapshot, fleet)
        self.plane.policies = policies
        self.plane.residency = residency
        self.plane.guards = engine_of(snapshot, own)
        if self.plane.guards is not None:
            guards = snapshot.guards
            secrets = {each.name: guard_secret(each, self._env, self._open_key) for each in guards}
            for each in guards:
                if each.secret and secrets[each.name] is None:
                    log(f"the secret of the guard {each.name} is not there: it is not asked")
            self.plane.guards.asks = partial(classified, self.plane, secrets)
        self.plane.metrics.native = snapshot.telemetry.native_histograms
        adopt_limits(self.plane, snapshot)
        self.plane.limits = limiter_of(snapshot, self.plane.limits)
        counted = self.plane.limits is not None or bool(self.plane.queues)
        self._counters.wanted = bool(snapshot.server.state) and counted
        self._counters.away = snapshot.server.state_away
        bear_all(self.plane)
        self._restorer.wanted.set()
        self._vouchers.adopt(snapshot.issuers)
        self._syncing.adopt(snapshot.server.fsync_ms)
        self.plane.keeper = self._keeper_for(snapshot.keep_responses)
        self._keeping.equip(snapshot)
        self.plane.contents = self._contents_for(snapshot, own)
        if self.server is not None:
            self.server.limits = self.limits
        log(f"serving configuration {snapshot.version[:12]}: {_names(fleet)}")
        self._maybe_ready()
        self._loop.call_later(1.0, _settle_memory)
        return shut

    def _unseal(self) -> None:
        """There is another key for sealed secrets."""
        if self._shut:
            self.adopt(self._snapshot)

    def _own_secrets(self, snapshot: Snapshot, fleet: Fleet) -> set[str]:
        """What guards of secrets find exactly."""
        if not snapshot.guards:
            return set()
        paths, token = self._options.paths, "admin-token"
        own = {self._opener.secret, *(paths.secret(name) for name in ("feed-token", "pepper"))}
        if (paths.root / "secrets" / token).exists():  # the control plane makes it
            own.add(paths.secret(token))
        own |= {key for runtime in fleet.runtimes.values() for key in runtime.secrets}
        return own | own_secrets(snapshot, self._env, self._open_key)

    def _keep_keys(self, keys: frozenset[str]) -> None:
        """Forget what was known of keys that were taken out."""
        for key in self.plane.key_rests.keys() - keys:
            del self.plane.key_rests[key]
        for health, _ in self._live.values():
            health.keep(keys)

    def _keeper_for(self, seconds: float) -> Keeper | None:
        if not seconds:
            return None
        paths = self._options.paths
        key = derive_for(paths.secret("pepper"), "kept responses")
        return Keeper(ResponseStore(paths.root / "responses", key), seconds)

    def _contents_for(self, snapshot: Snapshot, own: set[str]) -> Contents | None:
        if not wanted(snapshot.content, snapshot.rules):
            return None
        if self._bodies is None:
            paths = self._options.paths
            key = derive_for(paths.secret("pepper"), PURPOSE)
            self._bodies = BodyWriter(paths.content / self._options.plane, key, log)
        return Contents(self._bodies, snapshot.content, redactors_of(snapshot, own))

    def _adopt_keys(self, keys: KeyTable) -> None:
        self.plane.keys = keys
        self._maybe_ready()

    def _adopt_facts(self, facts: dict[str, KeyFacts]) -> None:
        self.plane.facts = facts
        self.plane.bound = any(each.bounds is not None for each in facts.values())

    def _maybe_ready(self) -> None:
        if self.plane.keys is None or not self._snapshot.version:
            return
        self._equipped.set()
        if self._reported or self.server is None:
            return
        self._reported = True
        log("ready")
        self._say_where()
        lifeline.report("ready", port=self.server.port, providers=sorted(self.plane.fleet.runtimes))

    def _say_where(self) -> None:
        """Tell the commands of this data directory where we are."""
        assert self.server is not None
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._options.host, self._options.host)  # noqa: S104
        scheme = "https" if self._options.tls_cert else "http"
        at = f"[{host}]" if ":" in host else host
        with contextlib.suppress(OSError):  # a help for commands, not worth a call
            self._options.paths.gateway_url.write_text(f"{scheme}://{at}:{self.server.port}\n")

    async def _listen(self) -> Server:
        options = self._options
        limits = self.limits
        refuse = http_refusal(self.plane)
        tls = None
        if options.tls_cert:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(options.tls_cert, options.tls_key or None)
        server: Server | None = None
        inherited = lifeline.listeners()
        for sock in inherited:
            server = await serve(
                self.edge.handle, sock=sock, tls=tls, limits=limits, refuse=refuse, server=server
            )
        if not inherited:
            server = await serve(
                self.edge.handle,
                host=options.host,
                port=options.port,
                tls=tls,
                limits=limits,
                refuse=refuse,
            )
            if options.uds:
                await serve(self.edge.handle, uds=options.uds, server=server)
        assert server is not None
        if self.edge.siblings is not None:
            own = socket.create_server(("127.0.0.1", 0))
            own.setblocking(False)
            await serve(self.edge.handle, sock=own, limits=limits, refuse=refuse, server=server)
            self.edge.siblings.announce(own.getsockname()[1])
        return server

    def _warn_of_few_files(self) -> None:
        wanted = self._snapshot.server.max_connections
        most = most_connections(wanted)
        if most < min(wanted, FEW_CONNECTIONS):
            log(
                f"serving at most {most} connections at once, not {wanted}: this process may open "
                "too few files for more; raise the limit with ulimit -n"
            )

    def stop(self) -> None:
        """Drain and end."""
        self._stopping.set()
        self._equipped.set()

    def reload(self) -> None:
        """Read keys from files and the environment again (SIGHUP)."""
        log("reloading provider keys")
        forget()
        self.adopt(self._snapshot)

    @property
    def limits(self) -> Limits:
        """The listener's limits now."""
        return limits_of(self._snapshot.server, str(self._options.paths.root))

    def start(self) -> None:
        """Take the cached snapshot and follow the feed; needs a running loop."""
        self._feed.load_cache()
        self._syncing.start()
        self._background = [
            asyncio.ensure_future(self._feed.run()),
            asyncio.ensure_future(self._restorer.run()),
            asyncio.ensure_future(self._pay()),
            asyncio.ensure_future(self._sweep_responses()),
            asyncio.ensure_future(self._write_refusals()),
            asyncio.ensure_future(self._prober().run()),
            asyncio.ensure_future(self._sharing.run(self._state, self._env)),
            asyncio.ensure_future(self._counting.run(self._state, self._env)),
        ]

    def _prober(self) -> Prober:
        options = self._options
        ending = "" if options.plane == "gateway" else f"-{options.plane}"
        path = options.paths.root / f"probes{ending}.json"
        return Prober(self.plane, path, log, options.workers or 1)

    def _state(self) -> str:
        return self._snapshot.server.state

    async def run(self) -> None:
        """Listen and serve until told to stop; then let open calls end."""
        self.start()
        if self._env.get(lifeline.LISTEN):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._equipped.wait(), NEWS_PATIENCE)
        self.server = await self._listen()
        self.server.outbox.before = self._recorded
        self._journal.grouped = True
        self._warn_of_few_files()
        self._maybe_ready()
        await self._stopping.wait()
        drain = self._options.drain
        if drain is None:
            drain = self._snapshot.server.drain_seconds
        log(f"draining {self.plane.metrics.in_flight} open calls, for {drain:g} s at most")
        lifeline.report("draining")
        cut = await self.server.close(drain)
        await self.finish()
        log(f"stopped; {cut} connections were cut" if cut else "stopped")

    async def finish(self) -> None:
        """Settle what is still open, and leave the journal whole on disk."""
        self._pools.close()
        if self.plane.metrics.in_flight:  # calls whose callers are gone have yet to settle
            idle = self.plane.idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(idle.wait(), SETTLE_SECONDS)
        for task in self._background:
            task.cancel()
        await asyncio.sleep(0)
        self._recorded()
        with contextlib.suppress(JournalError):
            self.plane.pay()
        self.plane.refusals.write(self._journal, last=True)
        self._syncing.stop()
        self._journal.close()
        await self._keeping.close()
        if self._bodies is not None:
            await self._loop.run_in_executor(None, self._bodies.close)

    async def _write_refusals(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self.plane.refusals.write(self._journal)

    async def _sweep_responses(self) -> None:
        while True:
            keeper = self.plane.keeper
            if keeper is not None:
                await self._loop.run_in_executor(None, keeper.store.sweep)
            await asyncio.sleep(SWEEP_RESPONSES)

    async def _pay(self) -> None:
        while True:
            await asyncio.sleep(PAY)
            self._recorded()
            if self.plane.owed:
                with contextlib.suppress(JournalError):
                    self.plane.pay()


def limits_of(settings: ServerSettings, spool_directory: str) -> Limits:
    """The listener's limits in a snapshot."""
    return Limits(
        max_request_line=settings.max_request_line,
        max_headers=settings.max_headers,
        max_header_bytes=settings.max_header_bytes,
        max_body_bytes=settings.max_body_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        spool_directory=spool_directory,
        header_seconds=settings.header_seconds,
        min_body_rate=settings.min_body_rate,
        idle_seconds=settings.idle_seconds,
        max_connections=most_connections(settings.max_connections),
    )


def most_connections(wanted: int) -> int:
    """At most ``wanted``, and three quarters of the files that this process may open.

    The rest is for connections to upstreams, which not every caller needs at the same time, and for
    the journal. Past its limit of files a process could only hang up on callers, without a word.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else min(wanted, files * 3 // 4)


def _names(fleet: Fleet) -> str:
    names = sorted(fleet.runtimes)
    if not names:
        return "no provider is active yet (set a key such as *_API_KEY)"
    return f"{len(names)} active providers ({', '.join(names[:8])}{', …' if names[8:] else ''})"


def _settle_memory() -> None:
    """What a snapshot brought lives long: keep the collector from walking it at every turn."""
    gc.collect()
    gc.freeze()
