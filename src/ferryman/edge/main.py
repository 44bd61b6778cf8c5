"""The data plane's process: one event loop that only serves calls."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
from pathlib import Path

import uvloop

from ferryman import lifeline
from ferryman.config.options import Options, OptionsError
from ferryman.edge.gateway import Gateway, log
from ferryman.store.journal import JournalError

MOST_FILES = 1 << 20


async def _main(options: Options, env: dict[str, str]) -> None:
    gateway = Gateway(options, env)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, gateway.stop)
    loop.add_signal_handler(signal.SIGINT, gateway.stop)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload)
    lifeline.hold()
    await gateway.run()


def raise_file_limit() -> None:
    """Let this process open as many files as it may: each streamed call takes two.

    The soft limit is often 1,024, for the sake of programs that use ``select``; this one doesn't.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    with contextlib.suppress(ValueError, OSError):  # then the limit stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    """Entry of ``python -m ferryman.edge``. Exit code 78 = settings are wrong, 75 = try again."""
    try:
        options = Options.from_env()
        Path(options.data_dir).mkdir(parents=True, exist_ok=True, mode=0o700)
        raise_file_limit()
        gc.set_threshold(50_000, 20, 20)
        sys.setswitchinterval(0.001)  # large requests are read in a thread: calls go before it
        uvloop.run(_main(options, dict(os.environ)))
    except (OptionsError, ValueError) as error:
        log(str(error))
        sys.exit(lifeline.BAD_CONFIG)
    except JournalError as error:
        # A gateway that is still draining holds the journal, or the disk is full: it may pass.
        log(str(error))
        sys.exit(lifeline.TRY_AGAIN)
    except OSError as error:
        log(f"cannot start: {error}")
        sys.exit(1)
