"""Ids of spans. They follow from the call, so both planes know them without a word."""

from hashlib import blake2b


def trace_id(call: str) -> str:
    """32 hexadecimal digits: the trace of a call (a request id) whose caller named none."""
    return blake2b(call.encode(), digest_size=16, person=b"ferryman trace").hexdigest()


def call_span(call: str) -> str:
    """16 hexadecimal digits, like the next."""
    return blake2b(call.encode(), digest_size=8, person=b"ferryman call").hexdigest()


def attempt_span(call: str, provider: str, model: str, start_us: int) -> str:
    """The span of an attempt, by the fields of its record."""
    which = "\0".join((call, provider, model, str(start_us)))
    return blake2b(which.encode(), digest_size=8, person=b"ferryman attempt").hexdigest()
