"""What a caller says about providers: the ``provider`` object of a body, or a header of ours.

The object is the one routers take, https://openrouter.ai/docs/features/provider-routing, and the
keys of our own filters (``config/filter_grammar.py``) work in it as well.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from ferryman.config.filters import DATA_POLICIES, QUANTIZATIONS, picodollars, policies
from ferryman.config.snapshot import Filter
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE

HEADER: Final = "x-ferryman-providers"
BODY: Final = "provider"
MOST_NAMES: Final = 100
_SORTS: Final = {"price": "cost", "latency": "latency", "throughput": "throughput"}
_SOFT: Final = ("preferred_min_throughput", "preferred_max_latency")
"""Wishes that leave nobody out."""
_PRICES: Final = (("input", "prompt"), ("output", "completion"), ("request", "request"))
_LARGEST: Final = 10**6
"""USD, as in the configuration."""

Names = list[str] | None


class _Object(Struct):
    only: Names = None
    ignore: Names = None
    order: Names = None
    allow_fallbacks: bool | None = None
    sort: str | dict[str, Any] | None = None
    regions: Names = None
    data_collection: str | None = None
    zdr: bool | None = None
    data_policy: str | list[str] | None = None
    quantizations: Names = None
    max_price: dict[str, float | str | None] | None = None
    require_parameters: bool | None = None
    require_abilities: bool | None = None


_members = msgspec.json.Decoder(dict[str, Any])


class Preferences(NamedTuple):
    """What one such object asks for."""

    filter: Filter
    place: str = HEADER
    """Where it stands: :data:`BODY` or :data:`HEADER`."""
    order: tuple[str, ...] = ()
    """Providers, or targets as provider/model, to ask first."""
    fallbacks: bool = True
    """False: no other model is asked, and with ``order`` nobody beyond it."""
    strategy: str = ""
    """In place of the route's; empty = the route's."""
    unknown: tuple[str, ...] = ()
    """Demands that nothing here can meet."""


def read(text: bytes, place: str, aliases: Mapping[str, str]) -> Preferences | None:
    """The object in ``text`` (JSON), which stands at ``place``; None for ``null``.

    ``aliases`` are further names of providers. Raises :class:`GatewayError` (400).
    """
    if text.strip() == b"null":
        return None
    try:
        members = _members.decode(text)
        said = msgspec.convert(members, _Object)
        return _preferences(members, said, place, aliases)
    except (*UNREADABLE, ValueError) as error:
        raise _bad(place, str(error)) from None


def read_header(text: bytes, aliases: Mapping[str, str]) -> Preferences | None:
    """The same of a header: such an object, or names with commas between (``!`` = none of these).

    Raises :class:`GatewayError` (400).
    """
    if text.lstrip()[:1] == b"{":
        return read(text, HEADER, aliases)
    names = [name for part in text.decode("latin-1").split(",") if (name := part.strip())]
    only = [name for name in names if name[0] != "!"]
    ignore = [name[1:].strip() for name in names if name[0] == "!"]
    if not names or not all(ignore):
        raise _bad(HEADER, "it names nobody")
    return Preferences(_filter(HEADER, only=_names(only, aliases), ignore=_names(ignore, aliases)))


def _preferences(
    members: dict[str, Any], said: _Object, place: str, aliases: Mapping[str, str]
) -> Preferences:
    known = {*_Object.__struct_fields__, *_SOFT}
    unknown = [name for name, value in members.items() if name not in known and value]
    given = said.data_policy or []
    wanted = [given] if isinstance(given, str) else [*given]
    if not set(wanted) <= set(DATA_POLICIES):
        raise ValueError(f"data_policy is of {', '.join(DATA_POLICIES)}")
    if said.zdr:
        wanted.append("zero_retention")
    if said.data_collection is not None:
        wanted.append(_choice(said.data_collection, {"allow": "", "deny": "no_training"}))
    prices: dict[str, int] = {}
    for name, value in (said.max_price or {}).items():
        ours = [ours for ours, theirs in _PRICES if name in (ours, theirs)]
        if ours and value is not None:
            prices[f"{ours[0]}_price"] = _price(value, ours[0])
        elif value is not None:
            unknown.append(f"max_price.{name}")
    quantizations = tuple(_few(said.quantizations))
    if not set(quantizations) <= set(QUANTIZATIONS):
        raise ValueError(f"quantizations are among {', '.join(QUANTIZATIONS)}")
    sort = said.sort.get("by") if isinstance(said.sort, dict) else said.sort
    return Preferences(
        _filter(
            place,
            only=_names(said.only, aliases),
            ignore=_names(said.ignore, aliases),
            regions=tuple(_few(said.regions)),
            quantizations=quantizations,
            data_policy=policies(wanted),
            require_abilities=said.require_abilities,
            require_parameters=bool(said.require_parameters),
            **prices,
        ),
        place=place,
        order=_names(said.order, aliases),
        fallbacks=said.allow_fallbacks is not False,
        strategy=_choice(sort, _SORTS) if sort is not None else "",
        unknown=tuple(unknown),
    )


def _filter(place: str, **keys: Any) -> Filter:
    whose = f"the header '{place}'" if place == HEADER else f"the request's '{place}'"
    return Filter(source=whose, **keys)


def _names(names: Names, aliases: Mapping[str, str]) -> tuple[str, ...]:
    found = []
    for name in _few(names):
        provider, slash, model = name.partition("/")
        provider = provider.lower()
        found.append(aliases.get(provider, provider) + slash + model)
    return tuple(found)


def _few(names: Names) -> list[str]:
    if names is not None and len(names) > MOST_NAMES:
        raise ValueError(f"a list has {len(names)} names; at most {MOST_NAMES} are taken")
    return names or []


def _choice(word: object, choices: Mapping[str, str]) -> str:
    if not isinstance(word, str) or word not in choices:
        raise ValueError(f"{word!r:.60} is not one of {', '.join(choices)}")
    return choices[word]


def _price(value: float | str, name: str) -> int:
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite() or not 0 <= usd <= _LARGEST:
        raise ValueError(f"a price is a number from 0 to {_LARGEST}")
    return picodollars(usd, name)


def _bad(place: str, why: str) -> GatewayError:
    form = '{"only": ["lab"], "ignore": ["spare"], "max_price": {"input": 1}}'
    also = ", or names with commas between" if place == HEADER else ""
    return GatewayError(
        400,
        ErrorKind.INVALID_REQUEST,
        f"'{place}' can't be read: {why}. It must be an object such as {form}{also}.",
        param=place,
    )
