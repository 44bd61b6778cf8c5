"""The data plane's process: one event loop that only serves calls."""

import asyncio
import gc
import signal
import ssl
import sys
from pathlib import Path

import uvloop

from ferryman import lifeline
from ferryman.config.options import Options, OptionsError
from ferryman.config.seal import derive
from ferryman.config.secret import activate, localised
from ferryman.config.snapshot import Provider, ServerSettings, Snapshot
from ferryman.edge.feed import FeedClient
from ferryman.edge.near import near
from ferryman.edge.routes import Edge, http_refusal
from ferryman.flow.call import Plane
from ferryman.http1.connect import Connector, environment_proxy
from ferryman.http1.limits import Limits
from ferryman.http1.pool import Pools
from ferryman.http1.server import Server, serve
from ferryman.log import log as write_log
from ferryman.meter.keytable import KeyTable
from ferryman.store.journal import JournalError, JournalWriter
from ferryman.upstream.fleet import Fleet

PLANE_NAME = "gateway"


def log(text: str) -> None:
    """One line in the gateway's log."""
    write_log("gateway", text)


class Gateway:
    """Owns everything that lives as long as the process."""

    def __init__(self, options: Options, env: dict[str, str]) -> None:
        self._options = options
        self._env = env
        self._loop = asyncio.get_running_loop()
        self._open_key = derive(options.paths.secret("feed-token"))
        self._journal = JournalWriter(options.paths.journal / PLANE_NAME)
        connector = Connector(self._loop, proxy_for=environment_proxy(env))
        self._connector = connector
        self._pools = Pools(connector)
        self._snapshot = Snapshot(version="")
        self.plane = Plane(
            fleet=self._fleet(self._snapshot),
            keys=None,
            pepper=options.paths.secret("pepper").encode(),
            journal=self._journal,
            now=self._loop.time,
            log=log,
        )
        self.edge = Edge(self.plane, lambda: len(self.server.connections) if self.server else 0)
        self.server: Server | None = None
        self._sync_seconds = 0.05
        self._stopping = asyncio.Event()
        self._reported = False
        self._feed = FeedClient(
            options, options.paths.secret("feed-token"), self.adopt, self._adopt_keys, log
        )

    def _fleet(self, snapshot: Snapshot) -> Fleet:
        return Fleet(snapshot, self._pools, self._activate, near)

    def _activate(self, provider: Provider) -> tuple[Provider, list[str]] | None:
        keys = activate(provider, self._env, self._open_key)
        if keys is None:
            return None
        return localised(provider, self._env, self._open_key), keys

    def adopt(self, snapshot: Snapshot) -> None:
        """Serve from ``snapshot`` from the next call on; open calls keep what they began with."""
        self._connector.set_ca_files(snapshot.ca_files)
        fleet = self._fleet(snapshot)
        for problem in fleet.problems:
            log(problem)
        self._snapshot = snapshot
        self.plane.fleet = fleet
        self._sync_seconds = snapshot.server.fsync_ms / 1000
        if self.server is not None:
            self.server.limits = limits_of(snapshot.server)
        log(f"serving configuration {snapshot.version[:12]}: {_names(fleet)}")
        self._maybe_ready()
        self._loop.call_later(1.0, _settle_memory)

    def _adopt_keys(self, keys: KeyTable) -> None:
        self.plane.keys = keys
        self._maybe_ready()

    def _maybe_ready(self) -> None:
        if self._reported or self.server is None or self.plane.keys is None:
            return
        if not self._snapshot.version:
            return
        self._reported = True
        log("ready")
        lifeline.report("ready", port=self.server.port, providers=sorted(self.plane.fleet.runtimes))

    async def _listen(self) -> Server:
        options = self._options
        limits = limits_of(self._snapshot.server)
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
        return server

    def stop(self) -> None:
        """Drain and end."""
        self._stopping.set()

    def reload(self) -> None:
        """Read keys from files and the environment again (SIGHUP)."""
        log("reloading provider keys")
        self.adopt(self._snapshot)

    async def run(self) -> None:
        """Serve until told to stop; then let open calls end."""
        self._feed.load_cache()
        self.server = await self._listen()
        self._maybe_ready()
        following = asyncio.ensure_future(self._feed.run())
        syncing = asyncio.ensure_future(self._sync_journal())
        await self._stopping.wait()
        drain = self._options.drain
        if drain is None:
            drain = self._snapshot.server.drain_seconds
        log(f"draining {self.plane.metrics.in_flight} open calls, for {drain:g} s at most")
        lifeline.report("draining")
        cut = await self.server.close(drain)
        following.cancel()
        syncing.cancel()
        await asyncio.sleep(0)
        self._pools.close()
        self._journal.sync()
        self._journal.close()
        log(f"stopped; {cut} connections were cut" if cut else "stopped")

    async def _sync_journal(self) -> None:
        while True:
            await asyncio.sleep(self._sync_seconds)
            try:
                await self._loop.run_in_executor(None, self._journal.sync)
            except JournalError as error:
                log(str(error))


def limits_of(settings: ServerSettings) -> Limits:
    """The listener's limits in a snapshot."""
    return Limits(
        max_request_line=settings.max_request_line,
        max_headers=settings.max_headers,
        max_header_bytes=settings.max_header_bytes,
        max_body_bytes=settings.max_body_bytes,
        header_seconds=settings.header_seconds,
        min_body_rate=settings.min_body_rate,
        idle_seconds=settings.idle_seconds,
        max_connections=settings.max_connections,
    )


def _names(fleet: Fleet) -> str:
    names = sorted(fleet.runtimes)
    if not names:
        return "no provider is active yet (set a key such as *_API_KEY)"
    return f"{len(names)} active providers ({', '.join(names[:8])}{', …' if names[8:] else ''})"


def _settle_memory() -> None:
    """What a snapshot brought lives long: keep the collector from walking it at every turn."""
    gc.collect()
    gc.freeze()


async def _main(options: Options, env: dict[str, str]) -> None:
    gateway = Gateway(options, env)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, gateway.stop)
    loop.add_signal_handler(signal.SIGINT, gateway.stop)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload)
    lifeline.hold()
    await gateway.run()


def main() -> None:
    """Entry of ``python -m ferryman.edge``. Exit code 78 = settings are wrong."""
    import os

    try:
        options = Options.from_env()
        Path(options.data_dir).mkdir(parents=True, exist_ok=True, mode=0o700)
        gc.set_threshold(50_000, 20, 20)
        uvloop.run(_main(options, dict(os.environ)))
    except (OptionsError, JournalError, ValueError) as error:
        log(str(error))
        sys.exit(lifeline.BAD_CONFIG)
    except OSError as error:
        log(f"cannot start: {error}")
        sys.exit(1)
