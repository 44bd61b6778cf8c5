"""The two journal records of a call: ``Opened`` before it goes upstream, ``Closed`` after."""

from typing import Final

from msgspec import Struct

from ferryman.ir.price import Price
from ferryman.ir.usage import Usage

OPENED: Final = 1
"""Journal frame kind of an :class:`Opened`."""
CLOSED: Final = 2
"""Journal frame kind of a :class:`Closed`."""
PRICED: Final = 3
"""Journal frame kind of a :class:`Priced`."""


class Attempt(Struct, frozen=True, array_like=True):
    """One try at one target. Times are microseconds since the call began; -1 = never happened."""

    provider: str
    model: str
    """The model name sent to the provider."""
    status: int = 0
    """The provider's HTTP status; 0 when no reply came."""
    error: str = ""
    """:class:`~ferryman.ir.errors.ErrorKind` value, or empty when it succeeded."""
    start_us: int = 0
    first_byte_us: int = -1
    end_us: int = -1
    format: str = ""
    """The provider's format where it isn't the caller's: then the call was translated."""
    dropped: tuple[str, ...] = ()
    """What the translation left out (``ir/receipt.py``)."""
    altered: tuple[str, ...] = ()
    """What it changed or added."""
    usage: Usage | None = None
    """What it used, as far as the provider said; like the next two only kept where a call has
    several attempts, else they are the call's."""
    cost: int | None = None
    """Picodollars for that; None = unknown."""
    whole: bool = True
    """False: it may have cost more than that, or its cost is unknown."""
    price: str = ""
    """As in :class:`Closed`, where the call has several attempts."""


class Candidate(Struct, frozen=True, array_like=True):
    """A target that came into question, as it stood when the call was planned."""

    target: str
    """``provider/model``."""
    fallback: bool = False
    rests_us: int = 0
    """Microseconds that it still had to rest; 0 = it was well."""
    because: str = ""
    """Why it rested: an error kind."""
    left_out: str = ""
    """Why it could not be asked at all; empty = it could."""
    full: bool = False
    """Whether as many calls were at work there as it takes."""


class Charge(Struct, frozen=True, array_like=True):
    """What budgets bear of a call: their counters (``meter/limits.py``), and how much."""

    budgets: tuple[str, ...]
    picodollars: int
    """The hold of an open call; of a closed one its cost, or the hold where that is unknown."""
    tokens: int


class Opened(Struct, frozen=True, array_like=True):
    """A call that is about to go upstream, with the money held for it."""

    id: str
    at_us: int
    """Unix time in microseconds when the call began."""
    key: str
    """Public id of the virtual key (``key_…``), never the secret."""
    endpoint: str
    """``chat.completions``, ``embeddings``, ``images.generations`` and the like."""
    model: str
    """The model name the caller asked for."""
    provider: str
    target: str
    """First target's provider model name."""
    hold: int
    """Picodollars held: settles a call that never closes. 0 when unpriced."""
    charge: Charge | None = None
    """None: no budget bears it."""


class Closed(Struct, frozen=True, array_like=True):
    """A finished call: what it used, what it cost, what was tried."""

    id: str
    at_us: int
    duration_us: int
    key: str
    endpoint: str
    model: str
    provider: str
    """Provider that answered (or was tried last)."""
    target: str
    """Provider's model name that answered (or was tried last)."""
    stream: bool
    status: int
    """HTTP status the caller got; 499 when the caller left first."""
    error: str = ""
    usage: Usage | None = None
    """Of all attempts together, as far as is known; None = nobody said (unknown, not zero)."""
    cost: int | None = None
    """Picodollars for that; None = unpriced model or unknown usage."""
    attempts: tuple[Attempt, ...] = ()
    first_token_us: int = -1
    overhead_us: int = -1
    """Time spent in the gateway itself: before the upstream was asked and after it answered."""
    policy: str = ""
    """Name of the policy that matched; empty = none."""
    plan: tuple[Candidate, ...] = ()
    """In the order in which they were to be asked; empty when there was one only, and no doubt."""
    unknown_cost: int = 0
    """Attempts that may have cost more than stands in ``cost``, or whose cost is unknown."""
    cache: str = ""
    """What the cache of answers did: ``hit``, ``miss``, ``bypass``, ``coalesced`` (it had another
    call's answer), ``replayed`` (it repeated one by its Idempotency-Key); empty = it was off."""
    saved: int | None = None
    """Picodollars that such an answer had cost first; None = unknown, or no such answer."""
    charge: Charge | None = None
    """None: no budget bears it."""
    price: str = ""
    """Id of the :class:`Priced` that says how ``cost`` came about; empty = none, or several do."""


class Priced(Struct, frozen=True, array_like=True):
    """A price that a data plane bills by, written before the first call that it bills so."""

    id: str
    """A digest of the rest: another price has another one, for good."""
    provider: str
    model: str
    prices: tuple[Price, ...]
    """All periods that were known."""


def candidate_row(each: Candidate) -> dict[str, str | float]:
    """A candidate in names and seconds, without what there is nothing to say of."""
    said: dict[str, str | float] = {"target": each.target}
    if not each.left_out:
        said["role"] = "fallback" if each.fallback else "target"
    if each.rests_us:
        said |= {"rests_seconds": round(each.rests_us / 1e6, 3), "because": each.because}
    if each.full:
        said["full"] = True
    if each.left_out:
        said["left_out"] = each.left_out
    return said
