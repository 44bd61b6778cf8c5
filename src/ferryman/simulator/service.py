"""Requests in, scripts out: which endpoint, which behaviour, and what was received so far."""

import base64
import random
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ferryman.simulator import errors, listing, routes, script
from ferryman.simulator.answer import NOTHING, Answer, answer
from ferryman.simulator.ask import Ask, RefusedError, Request
from ferryman.simulator.directives import DIRECTIVES, ERROR, STREAM, WIRE, Behaviour, parse
from ferryman.simulator.directives import DirectiveError as Wrong
from ferryman.simulator.format import Body, Format
from ferryman.simulator.memory import Memory
from ferryman.simulator.script import IDENT, Script
from ferryman.simulator.sigv4 import ACCESS_KEY

KEPT_SCRIPTS = 512
KEPT_BODY = 16_384
"""Scripts of at most this many requests of at most this many bytes are kept for the next time."""

_CHANCES = ("fail", "fail-first", "room")
"""Words that decide whether a call fails."""
MOST_MODELS = 1000
"""Model names counted singly; further ones only count as requests."""

Headers = list[tuple[bytes, bytes]]
Key = tuple[bytes, tuple[tuple[bytes, bytes], ...], bytes]
"""What an answer depends on: target, headers, body."""

MATTERING = {
    b"x-sim", b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"anthropic-version",
    b"accept", b"content-type", b"x-amz-date",
}  # fmt: skip
"""Headers on which an answer depends."""


class Received(msgspec.Struct):
    """The last request, as it came."""

    method: bytes = b""
    target: bytes = b""
    headers: Headers = []
    body: bytes = b""


class Stats(msgspec.Struct):
    """Counts since the start or the last reset."""

    requests: int = 0
    answered: int = 0
    """Replies played to their end, faulty ends included."""
    cancelled: int = 0
    """Replies whose caller left before their end."""
    active: int = 0
    """Replies being played now."""
    connections: int = 0
    """Connections accepted."""
    open: int = 0
    """Connections open now."""
    body_bytes: int = 0
    paths: dict[str, int] = {}
    models: dict[str, int] = {}


class Service:
    """All state of a simulator: one per process, used by one thread."""

    def __init__(
        self,
        default: Behaviour,
        *,
        key: str = "",
        seed: int = 0,
        aws: tuple[str, str] = ACCESS_KEY,
    ) -> None:
        self.default = default
        self.aws = aws
        self.key = key
        self.seed = seed
        self.scripts: dict[Key, tuple[Script, str]] = {}
        self.numbers = 0
        self.reset()

    def reset(self) -> None:
        """Forget what was received. Open connections and running replies stay counted."""
        old = getattr(self, "stats", Stats())
        self.stats = Stats(active=old.active, open=old.open)
        self.last = Received()
        self.paths: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.firsts: Counter[tuple[bytes, bytes]] = Counter()
        self.random = random.Random(self.seed)  # noqa: S311 - repeatable on purpose
        self.memory = Memory()
        self.scripts.clear()

    def handle(self, method: bytes, target: bytes, headers: Headers, body: bytes) -> Script:
        """The reply to a request, with ``IDENT`` where its number belongs."""
        path = target.partition(b"?")[0]
        if path.startswith(b"/sim/"):
            return msgspec.structs.replace(self._control(method, path, body), counted=False)
        self.stats.requests += 1
        self.stats.body_bytes += len(body)
        self.last = Received(method, target, headers, body)
        mattering = [
            (lower, value) for name, value in headers if (lower := name.lower()) in MATTERING
        ]
        key = (target, tuple(mattering), body)
        found = self.scripts.get(key) if method == b"POST" else None
        if found is not None:
            self._count(path, found[1])
            return found[0]
        known = {name.lower(): value for name, value in reversed(headers)}
        return self._answer(method.decode("latin-1"), key, known)

    def _count(self, path: bytes, model: str) -> None:
        self.paths[path.decode("latin-1")] += 1
        if len(self.models) < MOST_MODELS or model in self.models:
            self.models[model] += 1

    def _answer(self, method: str, key: Key, headers: dict[bytes, bytes]) -> Script:
        path, _, query = key[0].decode("latin-1").partition("?")
        route = routes.find(path)
        spoken = route.format if route else listing.spoken(path, headers)
        request = Request(
            method=method,
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers={k.decode("latin-1"): v.decode("latin-1") for k, v in headers.items()},
            body=key[2],
            default=self.default,
            memory=self.memory,
            aws=self.aws,
            model=route.model if route else "",
            action=route.action if route else "",
        )
        try:
            if path != "/healthz":
                spoken.check(request, self.key)
            if method in ("GET", "HEAD"):
                return self._get(request, spoken)
            if route is None:
                raise RefusedError(
                    f"Unknown request URL: {method} {path}.", status=404, code="unknown_url"
                )
            if method != "POST":
                message = f"Not allowed to {method} on {path}; use POST."
                raise RefusedError(message, status=405, code="method_not_allowed")
            return self._post(request, spoken, key)
        except Wrong as error:
            return _reply(*spoken.refusal(400, f"{error}.", "wrong_directive"), Behaviour(), spoken)
        except RefusedError as error:
            refusal = spoken.refusal(error.status, error.message, error.code)
            return _reply(*refusal, Behaviour(), spoken)
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            # readers take members for what they should be; a body of another shape ends up here
            message = f"The body of your request is not of the right shape: {error!r}"
            return _reply(*spoken.refusal(400, message, "invalid_json"), Behaviour(), spoken)

    def _post(self, request: Request, spoken: Format, key: Key) -> Script:
        ask = spoken.read(request)
        self._count(key[0].partition(b"?")[0], ask.model)
        wish = ask.behaviour
        chance = any(word in wish for word in _CHANCES)
        if chance:
            asked = request.headers.get("x-sim", "").encode()
            ask.behaviour = self._chance(wish, (asked, ask.model.encode()))
        made = self._script(request, spoken, ask)
        kept = not (chance or ask.fresh or "retry-date" in wish)
        if kept and len(request.body) <= KEPT_BODY:
            if len(self.scripts) >= KEPT_SCRIPTS:
                self.scripts.clear()
            self.scripts[key] = made, ask.model
        return made

    def _chance(self, wish: Behaviour, who: tuple[bytes, bytes]) -> Behaviour:
        """With a word of ``_CHANCES``: the faults that were asked for, or none."""
        self.firsts[who] += 1
        hit = self.firsts[who] <= wish.number("fail-first")
        hit = hit or self.random.random() * 100 < wish.number("fail")
        crowded = "room" in wish and self.stats.active >= wish.number("room")
        words = {k: v for k, v in wish.words.items() if k not in _CHANCES}
        faults = {k for k in words if DIRECTIVES[k].group in (ERROR, STREAM, WIRE)}
        if not (hit or crowded):
            words = {k: v for k, v in words.items() if k not in faults}
        elif not faults - {"at", "retry-after", "retry-date"}:
            words["500" if hit else "503"] = 1
        return Behaviour(words)

    def _script(self, request: Request, spoken: Format, ask: Ask) -> Script:
        wish = ask.behaviour
        spoiled = _spoiled(request, spoken, wish)
        if spoiled is not None:
            return spoiled
        found = answer(ask) if spoken.answers else NOTHING
        ident = IDENT.decode()
        if spoken.sealed:
            self.numbers += 1
            ident = f"{self.numbers:024x}"
        if spoken.stream is not None and ask.stream and "bomb" not in wish:
            headers = {"content-type": ask.framing.content_type, "cache-control": "no-cache"}
            headers |= {spoken.number: f"req_{IDENT.decode()}", **spoken.headers}
            events = spoken.stream(ask, found, ident)
            made = script.stream(headers, events, wish, ask.framing, spoken.broken)
        else:
            body = spoken.whole(ask, found, ident)
            made = _reply(200, ask.headers, body, wish, spoken, found.output)
        return _noted(made, ask, found)

    def _get(self, request: Request, spoken: Format) -> Script:
        if request.path == "/healthz":
            return _reply(200, {}, {"status": "ok"}, Behaviour(), spoken)
        wish = request.wishes("", None)
        spoiled = _spoiled(request, spoken, wish)
        if spoiled is not None:
            return spoiled
        found = listing.get(request)
        if found is None:
            message = f"Unknown request URL: GET {request.path}."
            raise RefusedError(message, status=404, code="unknown_url")
        return _reply(200, {}, found, wish, spoken)

    def _control(self, method: bytes, path: bytes, body: bytes) -> Script:
        """What tests ask the simulator itself; not counted."""
        plain = Behaviour()
        if method == b"POST" and path == b"/sim/reset":
            self.reset()
            return _reply(200, {}, {"reset": True}, plain, routes.OPENAI)
        if method == b"POST" and path == b"/sim/default":
            self.default = parse(body.decode("latin-1"))
            self.scripts.clear()
            return _reply(200, {}, self.default.words, plain, routes.OPENAI)
        if path == b"/sim/stats":
            self.stats.paths, self.stats.models = dict(self.paths), dict(self.models)
            return _reply(200, {}, self.stats, plain, routes.OPENAI)
        if path == b"/sim/last/body":
            raw = Body("application/octet-stream", self.last.body)
            return _reply(200, {}, raw, plain, routes.OPENAI)
        if path == b"/sim/last":
            last = self.last
            pairs = [[k.decode("latin-1"), v.decode("latin-1")] for k, v in last.headers]
            told = {
                "method": last.method.decode("latin-1"),
                "target": last.target.decode("latin-1"),
                "headers": pairs,
                "body": last.body.decode("utf-8", "replace"),
                "body_base64": base64.b64encode(last.body).decode(),
            }
            return _reply(200, {}, told, plain, routes.OPENAI)
        message = "known: GET /sim/stats, /sim/last, /sim/last/body; POST /sim/reset, /sim/default."
        return _reply(*errors.refusal(404, message, "unknown_url"), plain, routes.OPENAI)


def _spoiled(request: Request, spoken: Format, wish: Behaviour) -> Script | None:
    """The reply that has no answer in it, if one is wished for."""
    silent = script.nothing(wish)
    if silent is not None:
        return silent
    word = wish.first(*errors.ERRORS)
    failure = spoken.failure(word) if word else None
    if failure is not None:
        return _reply(*errors.dressed(failure, wish), wish, spoken)
    if "redirect" in wish:
        return _reply(307, {"location": request.path}, b"", wish, spoken)
    return None


def _noted(made: Script, ask: Ask, found: Answer) -> Script:
    """The script with what is to be remembered when it begins."""
    note = ask.note
    if note is None:
        return made
    return msgspec.structs.replace(made, note=lambda number: note(number, found))


def _reply(
    status: int,
    headers: dict[str, str],
    body: Any,
    wish: Behaviour,
    spoken: Format,
    tokens: int = 0,
) -> Script:
    kind, data = "application/json", body
    if isinstance(body, Body):
        kind, data = body.content_type, body.data
    elif not isinstance(body, bytes):
        data = msgspec.json.encode(body)
    number = {spoken.number: f"req_{IDENT.decode()}"}
    headers = {"content-type": kind, **headers, **number, **spoken.headers}
    return script.whole(status, headers, data, wish, tokens)
