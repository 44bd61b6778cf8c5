"""What the simulator has to know about an API format to speak it."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask, Request
from ferryman.simulator.credentials import Check, bearer
from ferryman.simulator.event import Event

Failure = tuple[int, dict[str, str], Any]
"""Status, headers, body: an object for JSON, bytes for anything else."""


class Body(msgspec.Struct, frozen=True):
    """A whole reply that is no JSON."""

    content_type: str
    data: bytes


class Format(msgspec.Struct, frozen=True):
    """One endpoint of one vendor."""

    read: Callable[[Request], Ask]
    """Reads a request; raises :class:`~ferryman.simulator.ask.RefusedError` as the vendor would."""
    whole: Callable[[Ask, Answer, str], Any]
    """The body of a whole reply with the given number: JSON, or a :class:`Body`."""
    stream: Callable[[Ask, Answer, str], Iterator[Event]] | None
    """The events of a streamed one."""
    failure: Callable[[str], Failure | None]
    """The vendor's error for a word; None where it reports that in a reply of status 200."""
    refusal: Callable[[int, str, str], Failure]
    """The vendor's error with a status, a message and a code."""
    broken: Event
    """The event that reports an error within a stream."""
    ends_in_errors: bool = False
    """Whether that one is the stream's usual last event, the same whatever went wrong."""
    check: Check = bearer
    """Who may call."""
    number: str = "x-request-id"
    """The header with the number of the request."""
    headers: dict[str, str] = {}
    """What else stands in the head of its replies."""
    answers: bool = True
    """Whether there is an answer to make up; embeddings and the like have none."""
    sealed: bool = False
    """Whether numbers are covered by checksums, so that they can't be put in at the end."""
