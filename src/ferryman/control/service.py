"""The running control plane: server, feed, ingestion and watchers under one roof."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn

from ferryman import lifeline
from ferryman.config.model import Retention
from ferryman.config.options import Options
from ferryman.config.seal import derive_for
from ferryman.control.alerts.courier import Courier
from ferryman.control.alerts.watch import Watch
from ferryman.control.api.access import Gate
from ferryman.control.app import Application, Counted, Front
from ferryman.control.auditing import Book, Tail
from ferryman.control.bodies import BodyIntake
from ferryman.control.configuration import Configuration
from ferryman.control.delegating import Adder
from ferryman.control.doors import Doors
from ferryman.control.feed import FeedHub, Seen
from ferryman.control.fence import Fence
from ferryman.control.granting import Granter, grants_of
from ferryman.control.ingest import Ingester
from ferryman.control.keeping import Keeper
from ferryman.control.keys import KeyDesk
from ferryman.control.keysets import Keyring
from ferryman.control.leaks import shut_out
from ferryman.control.listener import Ends, Listener
from ferryman.control.logs import CallLogs
from ferryman.control.otlp.exporter import Exporter
from ferryman.control.problem import ProblemError
from ferryman.control.rounds import Rounds
from ferryman.control.thresholds import Thresholds
from ferryman.log import log
from ferryman.store import audit, budgets, versions
from ferryman.store.audit import Act
from ferryman.store.bodies import PURPOSE
from ferryman.store.contents import Contents
from ferryman.store.db import migrate, open_engine
from ferryman.store.scim import Grants
from ferryman.telemetry.metrics import escape, family

if TYPE_CHECKING:
    from ferryman.control.admin import Admin
    from ferryman.control.signon import SignOn

TAIL: Final = 15.0
"""Seconds to take in what is left of the journal at the end; the rest keeps for the next start."""
PREPARE_AFTER: Final = 2.0
"""Seconds after the start at which the admin API is loaded, if nobody has asked for it before."""


class Service:
    """Owns everything that lives as long as the process. Raises ``store.db.DatabaseError``."""

    def __init__(self, options: Options, configuration: Configuration) -> None:
        self.options = options
        self.configuration = configuration
        paths = options.paths
        engine = open_engine(options.database_url or f"sqlite:///{paths.database}")
        migrate(engine)
        chain = derive_for(paths.secret("pepper"), audit.PURPOSE)
        self.engine = audit.keyed(engine, chain)
        self._adder = Adder(self.engine)
        configuration.added = self._adder.add
        configuration.keep = lambda version, after: versions.add(self.engine, version, after=after)
        self._admin_token = paths.secret("admin-token")
        seed = derive_for(self._admin_token, "idempotent keys")
        self.desk = KeyDesk(self.engine, paths.secret("pepper"), seed, paths.first_key)
        self.desk.limits_changed = configuration.renew
        self._first_is_new = self.desk.ensure_first(options.key)
        self._gate = Gate(self.engine, self._admin_token, paths.secret("pepper"), self._roles)
        self._reloading = asyncio.Lock()
        self._hub: FeedHub | None = None
        self._rounds: Rounds | None = None
        self._alerts = Watch(self.engine, options.data_dir, paths.journal)
        self._thresholds = Thresholds(self.engine, self._alerts.raised)
        key = derive_for(paths.secret("pepper"), PURPOSE)
        self._contents = Contents(self.engine, key)
        self._logs = CallLogs(paths.root / "logs")
        self._book = Book(self.engine)
        self._tail = Tail(self.engine, chain, paths.audit_head, self._logs.tell, self._retention)
        self._keysets = Keyring(paths.keysets)
        self._sign_on: SignOn | None = None
        self._seal_key = paths.seal_key()
        self._courier = Courier(self.engine, self._seal_key)
        self._exporter = Exporter(os.environ, self._seal_key)
        self._doors = Doors(self.engine, self._admin_token, self._gate, configuration.password_for)
        self._fence = Fence(options.admin_host, options.admin_names)
        self._close_pages: Callable[[], None] = lambda: None
        self.moved = False
        """True at the end: the database is elsewhere now."""

    async def run(self, sockets: list[socket.socket]) -> None:
        """Serve on ``sockets`` until SIGTERM or SIGINT, then take in the rest of the journal."""
        loop = asyncio.get_running_loop()
        hub = self._hub = FeedHub(self.engine, loop, self._seal_key)
        self.desk.changed = hub.keys_changed
        compiled = self.configuration.compiled
        if compiled is not None:
            self._hear(compiled.snapshot)
            hub.publish(compiled.version, compiled.snapshot)
        self.configuration.publish = self._publish
        rounds = self._rounds = Rounds(
            self._ingester(),
            self._look,
            self._tidy(),
            self._leave,
        )
        rounds.start()
        self._courier.start()
        self._keysets.start(hub.publish_keysets)
        self._alerts.start()
        front = Front(
            hub,
            feed_token=self.options.paths.secret("feed-token"),
            metrics_token=self.options.paths.metrics_token(),
            gate=self._gate,
            fence=self._fence,
            spent=self._spent,
            counted=self._counted,
            renewed=self._keysets.renew,
            admin=self._admin,
            dashboard=self._dashboard,
            unready=self._unready,
            metrics=self._metrics,
            book=self._book,
        )
        server = Listener(
            uvicorn.Config(
                front,
                http=Ends,
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
            self._close_pages()

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
            await asyncio.to_thread(self._stop, rounds)
            log("control", "stopped")

    def _look(self) -> None:
        """Whether somebody else has changed keys, or what tenants may take."""
        assert self._hub is not None
        self._hub.look()
        if self._adder.news():
            self.configuration.renew()

    def _ingester(self) -> Ingester:
        heard = (self._exporter, self._logs)
        leaked = partial(shut_out, self.engine, self.desk, self._alerts.leaked)
        return Ingester(
            self.engine, self.options.paths.journal, self._thresholds.take, heard, leaked
        )

    def _stop(self, rounds: Rounds) -> None:
        """Take in the rest, then end all that works beside."""
        rounds.stop(TAIL)
        self._courier.stop()
        self._keysets.stop()
        self._exporter.stop()
        self._logs.close()
        self._alerts.stop()
        self.engine.dispose()

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
            entry=self._doors.link(),
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

    def _tidy(self) -> Callable[[], None]:
        """What is done after each round of ingestion."""
        keeper = Keeper(self.engine, self._retention)
        granter = Granter(self.engine, self._grants)
        intake = BodyIntake(self._contents, self.options.paths.content)

        def tidy() -> None:
            intake.step()
            keeper.step()
            granter.step()
            self._book.step()
            self._tail.step()

        return tidy

    def _admin(self) -> Application:
        from ferryman.control.api.serve import build

        return build(self._shared())

    def _shared(self) -> "Admin":
        from ferryman.control.admin import Admin

        assert self._hub is not None
        assert self._rounds is not None
        hub, rounds = self._hub, self._rounds
        return Admin(
            engine=self.engine,
            desk=self.desk,
            configuration=self.configuration,
            options=self.options,
            admin_token=self._admin_token,
            catch_up=rounds.catch_up,
            version=lambda: hub.version,
            link=self._link,
            sessions=self._doors.open,
            sign_out=self._sign_out,
            cleared=hub.look,
            failing=lambda: rounds.failing,
            contents=self._contents,
            sinks=self._logs.state,
            leaked=self._alerts.leaked,
            courier=self._courier,
            planes=lambda: hub.planes()[0],
            keys_seq=lambda: hub.planes()[1],
            ahead=hub.ahead,
            gate=self._gate,
        )

    def _link(self) -> str:
        audit.record(self.engine, Act(action="link.create"))
        return self._doors.link()

    def _sign_out(self) -> int:
        audit.record(self.engine, Act(action="session.end", target="all"))
        count = self._doors.open()
        self._doors.leave_others("")
        return count

    def _dashboard(self) -> Application:
        from ferryman.control.dashboard.app import Dashboard
        from ferryman.control.dashboard.desk import Desk
        from ferryman.control.dashboard.relay import Relay
        from ferryman.control.signon import SignOn

        cookies = derive_for(self._admin_token, "cookies of sign-on")
        sign_on = self._sign_on = SignOn(
            self.engine, self._keysets, self._seal_key, cookies, self._groups_give
        )
        if self.configuration.compiled is not None:
            sign_on.adopt(self.configuration.compiled.snapshot)
        made = Dashboard(
            Desk(
                relay=Relay(self.options, self.desk),
                admin=self._shared(),
                doors=self._doors,
                fence=self._fence,
                sign_on=sign_on,
                options=self.options,
                configuration=self.configuration,
                planes=self._planes,
            )
        )
        self._close_pages = made.close
        return made.app

    def _groups_give(self) -> bool:
        compiled = self.configuration.compiled
        return compiled is not None and bool(compiled.groups)

    def _planes(self) -> tuple[list[Seen], int]:
        assert self._hub is not None
        return self._hub.planes()

    def _leave(self) -> None:
        """End, to begin again with the database that everything was moved to."""
        self.moved = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _roles(self) -> dict[str, tuple[str, ...]]:
        compiled = self.configuration.compiled
        return {} if compiled is None else compiled.roles

    def _grants(self) -> Grants:
        compiled = self.configuration.compiled
        return grants_of({} if compiled is None else compiled.groups, self._gate.roles())

    def _retention(self) -> Retention | None:
        compiled = self.configuration.compiled
        return None if compiled is None else compiled.retention

    def _spent(self, since_s: int, until_us: int, step_s: int) -> list[budgets.Spent]:
        """What budgets bear, once all of the journal is in. Raises :class:`ProblemError`."""
        self._catch_up()
        return budgets.spent(self.engine, since_s, until_us, step_s)

    def _counted(self, asked: Counted) -> object:
        """The same without what others count; or what single calls are charged."""
        self._catch_up()
        if asked.ids:
            return budgets.charged(self.engine, asked.ids)
        if asked.ended:
            return budgets.spent(
                self.engine, asked.since, asked.until, asked.step, without=asked.without
            )
        return budgets.counted(
            self.engine, asked.since, asked.until, asked.step, begun=asked.begun,
            without=asked.without,
        )  # fmt: skip

    def _catch_up(self) -> None:
        assert self._rounds is not None
        if not self._rounds.catch_up(urgent=True):
            detail = "The ledger does not have all of the journal yet; ask again."
            raise ProblemError(503, "ledger_behind", detail)

    def _unready(self) -> str:
        if self._hub is None or not self._hub.version:
            return "no good configuration yet"
        if self._rounds is not None and self._rounds.failing:
            return "the ledger takes no records in; they stay in the journal"
        return ""

    def _metrics(self) -> str:
        """A page for Prometheus."""
        failing = self._rounds is not None and bool(self._rounds.failing)
        out = family("ledger_failing", "gauge", "1 while the ledger takes no records in.")
        out += [f"ferryman_ledger_failing {int(failing)}", *self._exporter.page()]
        text = "How far a data plane's clock is ahead of the control plane's; negative: behind."
        out += family("plane_clock_ahead_seconds", "gauge", text)
        for seen in self._planes()[0]:
            if seen.ahead is not None:
                label = f'plane="{escape(seen.plane)}"'
                out.append(f"ferryman_plane_clock_ahead_seconds{{{label}}} {seen.ahead:.3f}")
        return "\n".join(out) + "\n"

    def _hang_up(self) -> None:
        log("control", "reload (SIGHUP)")
        task = asyncio.ensure_future(self._reload())
        task.add_done_callback(_note)

    def _publish(self, version: str, snapshot: bytes) -> bool:
        assert self._hub is not None
        lifeline.report("settings", **self._facts())
        self._hear(snapshot)
        return self._hub.publish(version, snapshot)

    def _hear(self, snapshot: bytes) -> None:
        """Take over whom to tell of what, and where telemetry goes."""
        self._alerts.adopt(snapshot)
        self._thresholds.adopt(snapshot)
        self._courier.adopt(snapshot)
        self._keysets.adopt(snapshot)
        if self._sign_on is not None:
            self._sign_on.adopt(snapshot)
        self._exporter.adopt(snapshot)
        if self.configuration.compiled is not None:
            self._logs.adopt(self.configuration.compiled.logs)

    async def _reload(self) -> None:
        await asyncio.to_thread(self.configuration.reload)

    async def _watch(self) -> None:
        last = None
        while True:
            await asyncio.sleep(self.configuration.pause)
            last, changed = self.configuration.watch_once(last)
            if changed:
                try:
                    await self._reload()
                except Exception as error:
                    log("control", f"reload failed: {type(error).__name__}: {error}")

    async def _prepare(self, front: Front) -> None:
        await asyncio.sleep(PREPARE_AFTER)
        await front.prepare()


def _note(task: "asyncio.Future[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        error = task.exception()
        log("control", f"reload failed: {type(error).__name__}: {error}")
