"""``ferryman simulator``: the command line."""

import argparse
import asyncio
import gc
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ferryman.simulator.directives import DIRECTIVES, Behaviour, DirectiveError, parse
from ferryman.simulator.server import listen
from ferryman.simulator.service import Service
from ferryman.simulator.sigv4 import ACCESS_KEY

DEFAULT_PORT = 8090


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(
        prog="ferryman simulator",
        description="A provider that speaks every vendor's format, and fails on demand.",
        epilog="Words: " + ", ".join(DIRECTIVES) + ". What each does: docs/simulator.md",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port (default 8090; 0: any)"
    )
    parser.add_argument("--tokens", type=int, help="output tokens of an answer (default 16)")
    parser.add_argument("--tokens-per-second", type=float, help="default: all at once")
    parser.add_argument("--ttft", type=float, metavar="MS", help="milliseconds to the first token")
    parser.add_argument("--behaviour", default="", metavar="WORDS", help="such as 429,fail=5")
    parser.add_argument(
        "--faults", default="", metavar="FILE", help="JSON of scripts by the models' names"
    )
    parser.add_argument("--key", default="", help="refuse requests without this API key")
    parser.add_argument(
        "--aws-key",
        default=":".join(ACCESS_KEY),
        metavar="ID:SECRET",
        help="with which calls of Bedrock have to be signed",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random failures")
    return parser.parse_args(argv)


def default_behaviour(args: argparse.Namespace) -> Behaviour:
    """What the flags ask for. Raises :class:`DirectiveError`."""
    flags = {"tokens": args.tokens, "tps": args.tokens_per_second, "ttft": args.ttft}
    given = Behaviour({name: float(value) for name, value in flags.items() if value is not None})
    return parse(args.behaviour).over(given)


def _faults(file: str) -> Any:
    """The JSON of a file. Raises OSError and :class:`msgspec.DecodeError`."""
    return msgspec.json.decode(Path(file).read_bytes())


async def serve(args: argparse.Namespace, service: Service) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    simulator = await listen(service, host=args.host, port=args.port)
    host = f"[{args.host}]" if ":" in args.host else args.host
    sys.stdout.write(f"simulator: http://{host}:{simulator.port}/v1\n")
    sys.stdout.flush()
    await stop.wait()
    await simulator.close()


def main(argv: list[str] | None = None) -> int:
    """Run the simulator. Returns the exit code: 0 stopped, 1 can't listen, 2 wrong flags."""
    args = arguments(argv)
    try:
        ident, _, secret = args.aws_key.partition(":")
        aws = (ident, secret)
        faults = _faults(args.faults) if args.faults else {}
        service = Service(
            default_behaviour(args), key=args.key, seed=args.seed, aws=aws, faults=faults
        )
    except (DirectiveError, OSError, msgspec.DecodeError) as error:
        sys.stderr.write(f"ferryman simulator: --behaviour or --faults: {error}.\n")
        return 2
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.set_threshold(50_000, 20, 20)
    try:
        uvloop.run(serve(args, service))
    except OSError as error:
        sys.stderr.write(f"ferryman simulator: can't listen on {args.host}:{args.port}: {error}.\n")
        return 1
    return 0
