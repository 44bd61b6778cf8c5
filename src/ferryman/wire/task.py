"""What a task is to the rest: a call that is no conversation, such as embeddings or a ranking.

A task has a small common language of its own (``ir/tasks.py``) and one way to say it per *dialect*:
the client side serves callers, the provider side asks providers. ``tasks.py`` lists them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ferryman.ir.receipt import Receipt
from ferryman.ir.usage import Usage
from ferryman.wire.format import Aim


class TaskReply(Protocol):
    """A provider's answer in the common language; each task has a struct of its own."""

    @property
    def usage(self) -> Usage | None:
        """What the provider counted; None = it doesn't say."""


def _not_counted(headers: Sequence[tuple[bytes, bytes]]) -> Usage | None:
    return None


class TaskClient(NamedTuple):
    """Serves callers of one endpoint."""

    decode_request: Callable[[bytes, str], Any]
    """(body, model) → the task's request. ``model`` is the one that the caller named. Raises
    :class:`GatewayError` 400 that names the member (``param``: its path)."""
    encode_reply: Callable[[Any, Any, Receipt], tuple[bytes, bytes]]
    """(reply, request, receipt) → content-type and body. Raises :class:`ReplyError`."""


class TaskProvider(NamedTuple):
    """Asks providers at one endpoint."""

    encode_request: Callable[[Any, Aim, Receipt], bytes]
    """Raises :class:`GatewayError` 400 for what can be carried neither truly nor in part."""
    decode_reply: Callable[[bytes, Any], Any]
    """(body, request) → the task's reply, a :class:`TaskReply`. Raises :class:`ReplyError`."""
    serves: Callable[[str], bool] = bool
    """Whether the model of a name is asked there; any is, unless a dialect says otherwise."""
    counted: Callable[[Sequence[tuple[bytes, bytes]]], Usage | None] = _not_counted
    """Usage that a reply's headers tell of, where its body doesn't."""
