"""Holds calls of a virtual key to what the key is bound to; callers can't widen it."""

import re
from fnmatch import translate
from functools import lru_cache

from msgspec.structs import replace

from ferryman.config.feed import KeyBounds
from ferryman.config.filters import Written, barred
from ferryman.config.key_bounds import address_of, endpoints_of, in_words, network_of
from ferryman.config.snapshot import Filter
from ferryman.flow.call import Call, Plane
from ferryman.flow.residency import unmet
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.upstream.fleet import Resolved, Target

SOURCE = "the bounds of the key"
REASON = "beyond the key's bounds"
"""As the audit log calls it."""
_ASK = "Ask whoever runs the gateway for another key, or to change this one's bounds."


class Confines:
    """Bounds, ready to be asked."""

    def __init__(self, bounds: KeyBounds) -> None:
        self.may = in_words(bounds)
        self._models = re.compile("|".join(map(translate, bounds.models)))
        self._any_model = not bounds.models
        self._endpoints = endpoints_of(bounds.endpoints)
        self._tags = re.compile("|".join(map(translate, bounds.tags)))
        self._any_tag = not bounds.tags
        self._networks = [network_of(text) for text in bounds.networks]
        wanted = Filter(
            source=f"{SOURCE}: {self.may}", only=bounds.providers, regions=bounds.regions,
            data_policy=bounds.data_policy,
        )  # fmt: skip
        held = wanted.only or wanted.regions or wanted.data_policy
        self.filters = (wanted,) if held else ()
        """What targets of its calls must pass;"""
        self._place = replace(wanted, only=())
        """and what others that hear of them must, which are no providers."""

    def lets_in(self, peer: str) -> bool:
        """Whether calls may come from there."""
        if not self._networks:
            return True
        address = address_of(peer)
        return address is not None and any(address in network for network in self._networks)

    def offers(self, endpoint: str) -> bool:
        """Whether calls may go there."""
        return not self._endpoints or endpoint in self._endpoints

    def lets_say(self, tag: str) -> bool:
        """Whether callers may add that tag to the key's own."""
        return self._any_tag or self._tags.match(tag) is not None

    def names(self, model: str, resolved: Resolved) -> bool:
        """Whether calls may be for ``model``: by its name, or by that of the target that it is."""
        if self._any_model or self._models.match(model):
            return True
        alone = resolved.route is None
        return alone and all(self._models.match(target.name) for target in resolved.targets)

    def admits(self, target: Target) -> bool:
        """Whether what calls say may go to ``target``."""
        return not any(barred(target.written, wanted) for wanted in self.filters)

    def admits_at(self, place: Written) -> bool:
        """Whether what calls say may go to a service that is no provider."""
        return not barred(place, self._place)

    def shows(self, name: str, resolved: Resolved) -> bool:
        """Whether a list of models has ``name``, which leads to ``resolved``."""
        targets = (*resolved.targets, *resolved.fallbacks)
        return self.names(name, resolved) and any(map(self.admits, targets))


_made = lru_cache(maxsize=1024)(Confines)


def confines_of(plane: Plane, key: str) -> Confines | None:
    """What calls of a virtual key are held to; None = nothing."""
    facts = plane.facts.get(key)
    return None if facts is None or facts.bounds is None else _made(facts.bounds)


def let_in(plane: Plane, key: str, peer: str) -> Confines | None:
    """Check where a request comes from. Raises :class:`GatewayError` (403)."""
    confines = confines_of(plane, key)
    if confines is not None and not confines.lets_in(peer):
        text = f"This key may not be used from {peer}, but from the networks it is bound to."
        raise _refusal(f"{text} {_ASK}")
    return confines


def confine(call: Call, tags: frozenset[str], peer: str = "") -> None:
    """Hold a call to its key's bounds, before anything of it is read; ``tags``: what it says that
    it is, ``peer``: where it is from.

    Raises :class:`GatewayError` (403), also where the gateway itself is out of them.
    """
    plane = call.plane
    confines = let_in(plane, call.key, peer) if peer else confines_of(plane, call.key)
    if confines is None:
        return
    if not confines.offers(call.endpoint):
        text = f"This key may not call {call.endpoint}; it may use: {confines.may}. {_ASK}"
        raise _refusal(text)
    own = () if call.whose is None else call.whose.tags
    for tag in sorted(tags.difference(own)):
        if not confines.lets_say(tag):
            text = f"This key may not send the tag {tag[:100]!r}; it may use: {confines.may}."
            raise _refusal(f"{text} {_ASK}")
    for wanted in confines.filters:
        why = unmet(plane.regions, plane.data_policy, wanted)
        if why:
            text = f"This gateway may not serve the call: it {why}, as {wanted.source} want."
            raise _refusal(f"{text} Send it to another gateway, or ask whoever runs this one.")
    call.filters += confines.filters


def check_model(call: Call, model: str, resolved: Resolved) -> None:
    """Check what a call is for. Raises :class:`GatewayError` (403)."""
    confines = confines_of(call.plane, call.key)
    if confines is not None and not confines.names(model, resolved):
        text = f"This key may not use the model {model[:100]!r}; it may use: {confines.may}. {_ASK}"
        raise _refusal(text, "model")


def _refusal(text: str, param: str | None = None) -> GatewayError:
    return GatewayError(403, ErrorKind.FORBIDDEN, text, param=param, reason=REASON)
