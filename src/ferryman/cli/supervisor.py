"""``ferryman up``: runs both planes as child processes, and keeps them running.

It owns the listening sockets: after a crash of a plane callers wait in the kernel's queue for the
restart instead of being refused. Exit codes: 0 stopped as asked, 1 can't start, 2 wrong options,
130 stopped the hard way (a second Ctrl-C).
"""

import contextlib
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Final

from msgspec.structs import replace

from ferryman import lifeline
from ferryman.cli import banner
from ferryman.cli.child import Child
from ferryman.cli.listen import ListenError, beside, bind_tcp, bind_unix
from ferryman.cli.withheld import for_control
from ferryman.config.options import Options, OptionsError
from ferryman.config.secret import base_url_variable
from ferryman.log import log

SLOW_START: Final = 10.0
"""Seconds after which we say what the start is waiting for."""
DRAIN_DEFAULT: Final = 30.0
DRAIN_GRACE: Final = 10.0
"""Seconds beyond the drain time until a plane that should have ended is killed."""
CLOSE_LIMIT: Final = 20.0
"""Seconds the control plane has to take in the rest of the journal once the gateway has ended."""


class Supervisor:
    """The loop around the children. One thread; woken by signals, reports and its own deadlines."""

    def __init__(self, options: Options, children: Sequence[Child], paths: Sequence[str]) -> None:
        self.options = options
        self.children = {child.name: child for child in children}
        self.unix_paths = paths
        self.exit_code = 0
        self._selector = selectors.DefaultSelector()
        self._signals: deque[int] = deque()
        self._alive_read, self._alive_write = os.pipe()
        self._stopping: list[tuple[str, ...]] | None = None
        """Names still to be stopped, in stages; None while we run normally."""
        self._kill_at: float | None = None
        self._welcomed = False
        self._nudge_at: float | None = time.monotonic() + SLOW_START
        self._terminal = sys.stdin is not None and sys.stdin.isatty()
        self._nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN

    def run(self) -> int:
        """Serve until told to stop. Returns the exit code."""
        self._catch_signals()
        self._start(self.children["control"])
        while self._stopping is None or any(c.running for c in self.children.values()):
            for key, _ in self._selector.select(self._patience()):
                if isinstance(key.data, Child):
                    self._hear(key.data)
                else:
                    self._drain_wakeups()
            while self._signals:
                self._on_signal(self._signals.popleft())
            for child in self.children.values():
                self._bury(child)
            self._keep_deadlines()
            self._advance_stop()
        for path in self.unix_paths:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108
        return self.exit_code

    # -- signals --------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        self._wake_read, wake_write = os.pipe()
        for fd in (self._wake_read, wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

        def note(number: int, _frame: FrameType | None) -> None:
            self._signals.append(number)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, note)

    def _drain_wakeups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP and self._terminal and not os.isatty(0):
            # Not a wish to reload: the terminal that we ran in was closed.
            if self._nohup:
                return
            number = signal.SIGTERM
        if number == signal.SIGHUP and self._stopping is None:
            log("up", "reload: passing SIGHUP on to the planes")
            for name, child in self.children.items():
                if name != "local" and child.ready:
                    child.send(signal.SIGHUP)
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._stopping is None:
                self._stop(signal.Signals(number).name)
            elif number == signal.SIGINT:
                self._stop_now()

    # -- children -------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        try:
            child.start(self._alive_read)
        except OSError as error:  # no memory or no process slots left: try again later
            pause = child.schedule()
            log("up", f"can't start {child.name} ({error}); trying again in {pause:.1f} s")
            return
        self._selector.register(child.reports, selectors.EVENT_READ, child)

    def _hear(self, child: Child) -> None:
        events, ended = child.read_reports()
        if ended:
            self._selector.unregister(child.reports)
            child.close_reports()
        if self._stopping is not None:
            return
        if child.name == "control" and "checked" in events:
            # The configuration is good: now the others may show themselves.
            self._add_workers()
            for other in [*self.children.values()]:
                if not other.running and not other.was_ready and other.restart_at is None:
                    self._start(other)
        for event in events:
            if event == "progress":
                log(child.name, str(child.facts.get("text", "")))
        if not self._welcomed and all(c.ready for c in self.children.values()):
            self._welcomed = True
            self._nudge_at = None
            banner.show(self.options, self._facts())
        elif "ready" in events and self._welcomed:
            log("up", f"{child.name} is ready again")

    def _add_workers(self) -> None:
        """At the first start, as many gateways as are wanted."""
        first = self.children["gateway"]
        wanted = self.options.workers or self.children["control"].facts.get("workers")
        if not isinstance(wanted, int) or first.was_ready or len(self._gateways()) > 1:
            return
        plane = first.env.get("FERRYMAN_PLANE", "gateway")
        shutil.rmtree(self.options.paths.root / "workers", ignore_errors=True)  # of an earlier run
        if wanted > 1:
            first.env["FERRYMAN_WORKERS"] = str(wanted)
        for number in range(2, wanted + 1):
            env = first.env | {"FERRYMAN_PLANE": f"{plane}-{number}"}
            sockets = [beside(sock) for sock in first.sockets]
            child = Child(f"gateway-{number}", first.argv, env, sockets)
            self.children[child.name] = child

    def _gateways(self) -> tuple[str, ...]:
        return tuple(name for name in self.children if name.startswith("gateway"))

    def _facts(self) -> dict[str, object]:
        """What the banner shows, from the control plane; the free model for the example."""
        facts = dict(self.children["control"].facts)
        if "local" in self.children:
            facts["model"] = f"local/{self.children['local'].facts.get('model')}"
        return facts

    def _bury(self, child: Child) -> None:
        how = child.reap()
        if how is None:
            return
        if child.reports >= 0:
            self._hear(child)  # its last words
        if self._stopping is not None:
            return
        if how == f"exit code {lifeline.BAD_CONFIG}" and not child.was_ready:
            # It has said why on standard error; starting it again would say the same.
            self.exit_code = 1
            self._stop("a wrong setting")
            return
        pause = child.schedule()
        log("up", f"{child.name} ended ({how}); starting it again in {pause:.1f} s")

    # -- time -----------------------------------------------------------------------------------

    def _deadlines(self) -> list[float]:
        times = [c.restart_at for c in self.children.values()] if self._stopping is None else []
        return [at for at in (*times, self._kill_at, self._nudge_at) if at is not None]

    def _patience(self) -> float | None:
        due = self._deadlines()
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _keep_deadlines(self) -> None:
        now = time.monotonic()
        if self._stopping is None:
            for child in self.children.values():
                if child.restart_at is not None and child.restart_at <= now:
                    self._start(child)
        if self._nudge_at is not None and self._nudge_at <= now:
            self._nudge_at = None
            waiting = [c.name for c in self.children.values() if not c.ready]
            if self._stopping is None and waiting:
                log("up", f"still starting: waiting for {', '.join(waiting)}")
        if self._kill_at is not None and self._kill_at <= now:
            self._kill_at = None
            for child in self.children.values():
                if child.running and self._stopping is not None and child.name in self._stopping[0]:
                    log("up", f"{child.name} did not end in time; killing it")
                    child.send(signal.SIGKILL)

    # -- stopping -------------------------------------------------------------------------------

    def _stop(self, why: str) -> None:
        """Gateways first: they finish open calls. Then control, which ingests what they wrote."""
        for child in self.children.values():
            for sock in child.sockets:
                sock.close()  # else callers would go on queueing at a door that nobody opens
        gateways = self._gateways()
        self._stopping = [gateways, tuple(name for name in self.children if name not in gateways)]
        seconds = self._drain_seconds()
        running = [self.children[name] for name in gateways if self.children[name].running]
        if running:
            log("up", f"stopping ({why}): open calls have {seconds:g} s to finish")
        for gateway in running:
            gateway.send(signal.SIGTERM)
        self._kill_at = time.monotonic() + seconds + DRAIN_GRACE

    def _drain_seconds(self) -> float:
        if self.options.drain is not None:
            return self.options.drain
        told = self.children["control"].facts.get("drain")
        return float(told) if isinstance(told, int | float) else DRAIN_DEFAULT

    def _advance_stop(self) -> None:
        stages = self._stopping
        if not stages or any(self.children[name].running for name in stages[0]):
            return
        del stages[0]
        if stages:
            for name in stages[0]:
                self.children[name].send(signal.SIGTERM)
            self._kill_at = time.monotonic() + CLOSE_LIMIT

    def _stop_now(self) -> None:
        """The second Ctrl-C. Nothing acknowledged is lost: the journal is on disk."""
        log("up", "stopping at once: open calls are cut")
        self.exit_code = 130
        for child in self.children.values():
            child.send(signal.SIGKILL)


def children_of(
    options: Options, calls: Sequence[socket.socket], admin: Sequence[socket.socket]
) -> list[Child]:
    """The processes of one installation. ``options`` must hold the ports that were really bound."""
    env = _environment(os.environ) | options.to_env()
    # The gateway needs digests only, never the key itself; of secrets that are sealed, what opens
    # them reaches each gateway from the control plane.
    left_out = ("FERRYMAN_KEY", "FERRYMAN_SEAL_KEY")
    gateway_env = {name: value for name, value in env.items() if name not in left_out}
    python = [sys.executable, "-P", "-m"]
    children = [
        Child("control", [*python, "ferryman.control"], for_control(env, options.config), admin),
        Child("gateway", [*python, "ferryman.edge"], gateway_env, calls),
    ]
    if options.local_model:
        port = _free_port()
        argv = [*python, "ferryman.cli.local_model", "--port", str(port)]
        children.append(Child("local", argv, gateway_env))
        for child in children[:2]:
            child.env[base_url_variable("local")] = f"http://127.0.0.1:{port}/v1"
    return children


def _free_port() -> int:
    """A port for the local model, the same for all of its lives."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """``env`` without what a supervisor above us may have left in it."""
    ours = (*lifeline.VARIABLES, "FERRYMAN_CONTROL_URL")
    return {name: value for name, value in env.items() if name not in ours}


def _check_tls(options: Options) -> None:
    """Raises :class:`OptionsError` when the gateway couldn't load the certificate."""
    if not options.tls_cert and not options.tls_key:
        return
    if not options.tls_cert:
        raise OptionsError("--tls-key needs --tls-cert (or FERRYMAN_TLS_CERT).")
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            options.tls_cert,
            options.tls_key or None,
            password="",  # of a key that needs one: fail, don't ask the terminal
        )
    except OSError as error:  # ssl.SSLError is one too
        reason = getattr(error, "reason", None) or error.strerror or error
        raise OptionsError(
            f"--tls-cert {options.tls_cert} and --tls-key {options.tls_key or '(none)'} can't be "
            f"loaded as a PEM certificate and its key: {reason}."
        ) from None


def main() -> int:
    """Read ``FERRYMAN_*``, bind, run. Returns the exit code."""
    try:
        options = Options.from_env()
        options.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        calls = bind_tcp(options.host, options.port, "--port")
        if options.uds:
            calls.append(bind_unix(options.uds))
        admin = bind_tcp(options.admin_host, options.admin_port, "--admin-port")
        _check_tls(options)
    except OptionsError as error:
        sys.stderr.write(f"ferryman: {error}\n")
        return 2
    except ListenError as error:
        sys.stderr.write(f"ferryman: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"ferryman: can't use --data-dir {options.data_dir}: {error.strerror}.\n")
        return 1
    os.umask(0o077)  # from here on what we and the planes make is for this user alone
    options = replace(
        options,
        port=calls[0].getsockname()[1],
        admin_port=admin[0].getsockname()[1],
        control_url="",
    )
    paths = [options.uds] if options.uds else []
    return Supervisor(options, children_of(options, calls, admin), paths).run()


if __name__ == "__main__":
    sys.exit(main())
