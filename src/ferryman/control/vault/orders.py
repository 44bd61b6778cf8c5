"""What the control plane asks of the process that opens the vault, and how it is asked."""

import os
import subprocess
import sys
from typing import Final

import msgspec
from msgspec import Struct

from ferryman import lifeline
from ferryman.config.options import Options
from ferryman.control.problem import ProblemError
from ferryman.store.audit import Who

PUT, REMOVE, INTAKE = "put", "remove", "intake"
VERIFY, ROTATE, ACCEPT = "verify", "rotate", "accept"
PATIENCE: Final = 120.0
KMS, KEYS, KEY_FILE = "FERRYMAN_KMS", "FERRYMAN_MASTER_KEY", "FERRYMAN_MASTER_KEY_FILE"
"""Variables that say where master keys are."""


class Order(Struct, frozen=True, kw_only=True):
    """One thing to do."""

    what: str
    name: str = ""
    body: bytes = b""
    """JSON of a ``Value``, as it was sent."""
    master: bool = False
    """Of ``rotate``: make a newer master key first, in the file."""
    who: Who = Who()
    """Who wants it."""

    def __repr__(self) -> str:
        return f"Order({self.what})"


class Value(Struct, frozen=True, forbid_unknown_fields=True):
    """A secret as it comes in: sealed to the vault's key (``config/intake.py``), in base64.

    Never plain: what a process has received once, it may hold for long in memory that it has freed.
    """

    sealed: str


class Done(Struct, frozen=True, kw_only=True):
    """What came of it."""

    error: str = ""
    code: str = ""
    status: int = 200
    count: int = 0
    wrong: dict[str, str] = {}
    """By name, of ``verify``."""
    key: bytes = b""
    """The public key of ``intake``."""


def ready(options: Options) -> bool:
    """Whether there is a master key; not whether it is a good one."""
    given = any(os.environ.get(name) for name in (KMS, KEYS, KEY_FILE))
    return given or options.paths.master_key.exists()


def ask(options: Options, order: Order) -> Done:
    """Have it done. Raises :class:`ProblemError`. Waits: not for an event loop."""
    env = {k: v for k, v in os.environ.items() if k not in lifeline.VARIABLES} | options.to_env()
    try:
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "ferryman.control.vault"],
            env=env,
            input=msgspec.msgpack.encode(order),
            stdout=subprocess.PIPE,
            process_group=0,
            timeout=PATIENCE,
            check=False,
        )
        done = msgspec.msgpack.decode(ran.stdout, type=Done)
    except (subprocess.TimeoutExpired, msgspec.DecodeError):
        detail = "The vault did not answer; the control plane's log says more."
        raise ProblemError(503, "vault_failed", detail) from None
    if done.error:
        said = done.error[:1].upper() + done.error[1:].rstrip(".") + "."
        raise ProblemError(done.status, done.code, said)
    return done
