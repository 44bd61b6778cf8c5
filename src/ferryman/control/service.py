"""The running control plane: server, feed, ingestion and watchers under one roof."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn

from ferryman import lifeline
from ferryman.config.model import Retention
from ferryman.config.options import Options
from ferryman.control.app import Application, Front
from ferryman.control.configuration import POLL, Configuration
from ferryman.control.feed import FeedHub
from ferryman.control.ingest import Ingester
from ferryman.control.keeping import Keeper
from ferryman.control.keys import KeyDesk
from ferryman.control.problem import ProblemError
from ferryman.control.rounds import Rounds
from ferryman.log import log
from ferryman.store import ledger, versions
from ferryman.store.db import migrate, open_engine

TAIL: Final = 15.0
"""Seconds to take in what is left of the journal at the end; the rest keeps for the next start."""
PREPARE_AFTER: Final = 2.0
"""Seconds after the start at which the admin API is loaded, if nobody has asked for it before."""


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Service:
    """Owns everything that lives as long as the process. Raises ``store.db.DatabaseError``."""

    def __init__(self, options: Options, configuration: Configuration) -> None:
        self.options = options
        self.configuration = configuration
        paths = options.paths
        self.engine = open_engine(options.database_url or f"sqlite:///{paths.database}")
        migrate(self.engine)
        configuration.keep = lambda version, after: versions.add(self.engine, version, after=after)
        self.desk = KeyDesk(self.engine, paths.secret("pepper"), paths.first_key)
        self._first_is_new = self.desk.ensure_first(options.key)
        self._reloading = asyncio.Lock()
        self._hub: FeedHub | None = None
        self._rounds: Rounds | None = None
        self.moved = False
        """True at the end: the database is elsewhere now."""

    async def run(self, sockets: list[socket.socket]) -> None:
        """Serve on ``sockets`` until SIGTERM or SIGINT, then take in the rest of the journal."""
        loop = asyncio.get_running_loop()
        hub = self._hub = FeedHub(self.engine, loop)
        self.desk.changed = hub.keys_changed
        compiled = self.configuration.compiled
        if compiled is not None:
            hub.publish(compiled.version, compiled.snapshot)
        self.configuration.publish = self._publish
        rounds = self._rounds = Rounds(
            Ingester(self.engine, self.options.paths.journal),
            hub.look,
            Keeper(self.engine, self._retention).step,
            self._leave,
        )
        rounds.start()
        front = Front(
            hub,
            feed_token=self.options.paths.secret("feed-token"),
            admin_token=self.options.paths.secret("admin-token"),
            admin_host=self.options.admin_host,
            spent=self._spent,
            admin=self._admin,
            unready=self._unready,
        )
        server = _Server(
            uvicorn.Config(
                front,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=5,
            )
        )

        def stop() -> None:
            server.should_exit = True
            hub.close()

        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGINT, stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._announce(sockets)
        background = [
            asyncio.ensure_future(self._watch()),
            asyncio.ensure_future(self._prepare(front)),
        ]
        try:
            await server.serve(sockets)
        finally:
            for task in background:
                task.cancel()
            await asyncio.to_thread(rounds.stop, TAIL)
            self.engine.dispose()
            log("control", "stopped")

    def _announce(self, sockets: list[socket.socket]) -> None:
        """Tell the supervisor, the log and the commands where we are."""
        port = sockets[0].getsockname()[1]
        host = self.options.admin_host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        path = self.options.paths.admin_url
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        Path(draft).write_text(url + "\n")
        draft.replace(path)
        log("control", f"ready at {url}")
        lifeline.report(
            "ready",
            admin_url=url,
            first_key_is_new=self._first_is_new,
            **self._facts(),
        )

    def _facts(self) -> dict[str, object]:
        compiled = self.configuration.compiled
        if compiled is None:
            return {}
        return {
            "drain": compiled.drain_seconds,
            "providers": compiled.providers,
            "model": compiled.example,
        }

    def _admin(self) -> Application:
        from ferryman.control.admin import Admin, build

        assert self._hub is not None
        assert self._rounds is not None
        hub, rounds = self._hub, self._rounds
        return build(
            Admin(
                self.engine,
                self.desk,
                catch_up=rounds.catch_up,
                configuration=self.configuration,
                version=lambda: hub.version,
                cleared=hub.look,
                journal=self.options.paths.journal,
                failing=lambda: rounds.failing,
            )
        )

    def _leave(self) -> None:
        """End, to begin again with the database that everything was moved to."""
        self.moved = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _retention(self) -> Retention | None:
        compiled = self.configuration.compiled
        return None if compiled is None else compiled.retention

    def _spent(self, since_s: int, until_us: int, step_s: int) -> list[ledger.Spent]:
        """What budgets bear, once all of the journal is in. Raises :class:`ProblemError`."""
        assert self._rounds is not None
        if not self._rounds.catch_up():
            detail = "The ledger does not have all of the journal yet; ask again."
            raise ProblemError(503, "ledger_behind", detail)
        return ledger.spent(self.engine, since_s, until_us, step_s)

    def _unready(self) -> str:
        if self._hub is None or not self._hub.version:
            return "no good configuration yet"
        if self._rounds is not None and self._rounds.failing:
            return "the ledger takes no records in; they stay in the journal"
        return ""

    def _hang_up(self) -> None:
        log("control", "reload (SIGHUP)")
        task = asyncio.ensure_future(self._reload())
        task.add_done_callback(_note)

    def _publish(self, version: str, snapshot: bytes) -> bool:
        assert self._hub is not None
        lifeline.report("settings", **self._facts())
        return self._hub.publish(version, snapshot)

    async def _reload(self) -> None:
        await asyncio.to_thread(self.configuration.reload)

    async def _watch(self) -> None:
        last = None
        while True:
            await asyncio.sleep(POLL)
            last, changed = self.configuration.watch_once(last)
            if changed:
                try:
                    await self._reload()
                except Exception as error:
                    log("control", f"reload failed: {type(error).__name__}: {error}")

    async def _prepare(self, front: Front) -> None:
        await asyncio.sleep(PREPARE_AFTER)
        await front.admin()


def _note(task: "asyncio.Future[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        error = task.exception()
        log("control", f"reload failed: {type(error).__name__}: {error}")
