"""Requests in, scripts out: which endpoint, which behaviour, and what was received so far."""

import base64
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from ferryman.simulator import chat, errors, lists, responses, script
from ferryman.simulator.answer import Answer, answer
from ferryman.simulator.ask import Ask, read
from ferryman.simulator.directives import DIRECTIVES, ERROR, STREAM, WIRE, Behaviour, parse
from ferryman.simulator.directives import DirectiveError as Wrong
from ferryman.simulator.script import IDENT, Script

KEPT_SCRIPTS = 512
KEPT_BODY = 16_384
"""Scripts of at most this many requests of at most this many bytes are kept for the next time."""

MOST_MODELS = 1000
"""Model names counted singly; further ones only count as requests."""

Headers = list[tuple[bytes, bytes]]
Whole = Callable[[Ask, Answer, str], Any]
Stream = Callable[[Ask, Answer, str], Any]

SPOKEN: dict[str, tuple[Whole, Stream]] = {
    "/v1/chat/completions": (chat.whole, chat.stream),
    "/v1/completions": (chat.old_whole, chat.old_stream),
    "/v1/responses": (responses.whole, responses.stream),
}
LISTED: dict[str, Callable[[Ask], Any]] = {
    "/v1/embeddings": lists.embeddings,
    "/v1/moderations": lambda ask: lists.moderations(ask, IDENT.decode()),
}


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

    def __init__(self, default: Behaviour, *, key: str = "", seed: int = 0) -> None:
        self.default = default
        self.key = f"Bearer {key}".encode() if key else b""
        self.seed = seed
        self.scripts: dict[tuple[bytes, bytes | None, bytes], tuple[Script, str]] = {}
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

    def handle(self, method: bytes, target: bytes, headers: Headers, body: bytes) -> Script:
        """The reply to a request, with ``IDENT`` where its number belongs."""
        path = target.partition(b"?")[0]
        if path.startswith(b"/sim/"):
            return msgspec.structs.replace(self._control(method, path, body), counted=False)
        self.stats.requests += 1
        self.stats.body_bytes += len(body)
        self.last = Received(method, target, headers, body)
        asked = authorization = None
        for name, value in headers:
            lower = name.lower()
            if lower == b"x-sim":
                asked = value
            elif lower == b"authorization":
                authorization = value
        if self.key and authorization != self.key and path != b"/healthz":
            return _reply(*errors.ERRORS["401"], Behaviour())
        found = self.scripts.get((path, asked, body))
        if found is not None:
            self._count(path, found[1])
            return found[0]
        try:
            return self._answer(method, path, asked, body)
        except Wrong as error:
            return _reply(*errors.refusal(400, f"{error}.", "wrong_directive"), Behaviour())

    def _count(self, path: bytes, model: str) -> None:
        self.paths[path.decode("latin-1")] += 1
        if len(self.models) < MOST_MODELS or model in self.models:
            self.models[model] += 1

    def _answer(self, method: bytes, path: bytes, asked: bytes | None, body: bytes) -> Script:
        name = path.decode("latin-1")
        if method in (b"GET", b"HEAD"):
            return self._get(name, parse((asked or b"").decode("latin-1")).over(self.default))
        if name not in SPOKEN and name not in LISTED:
            message = f"Unknown request URL: {method.decode('latin-1')} {name}."
            return _reply(*errors.refusal(404, message, "unknown_url"), Behaviour())
        if method != b"POST":
            message = f"Not allowed to {method.decode('latin-1')} on {name}; use POST."
            return _reply(*errors.refusal(405, message, "method_not_allowed"), Behaviour())
        try:
            ask = read(body, parse((asked or b"").decode("latin-1")), self.default)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"We could not parse the JSON body of your request: {error}"
            return _reply(*errors.refusal(400, message, "invalid_json"), Behaviour())
        self._count(path, ask.model)
        if not ask.model:
            message = "you must provide a model parameter"
            return _reply(*errors.refusal(400, message, "missing_model"), Behaviour())
        chance = "fail" in ask.behaviour or "fail-first" in ask.behaviour
        if chance:
            ask.behaviour = self._chance(ask.behaviour, (asked or b"", ask.model.encode()))
        made = self._script(name, ask)
        dated = "retry-date" in ask.behaviour
        if not chance and not dated and len(body) <= KEPT_BODY:
            if len(self.scripts) >= KEPT_SCRIPTS:
                self.scripts.clear()
            self.scripts[path, asked, body] = made, ask.model
        return made

    def _chance(self, wish: Behaviour, who: tuple[bytes, bytes]) -> Behaviour:
        """With ``fail`` or ``fail-first``: the faults that were asked for, or none."""
        self.firsts[who] += 1
        hit = self.firsts[who] <= wish.number("fail-first")
        hit = hit or self.random.random() * 100 < wish.number("fail")
        words = {k: v for k, v in wish.words.items() if k not in ("fail", "fail-first")}
        faults = {k for k in words if DIRECTIVES[k].group in (ERROR, STREAM, WIRE)}
        if not hit:
            words = {k: v for k, v in words.items() if k not in faults}
        elif not faults - {"at", "retry-after", "retry-date"}:
            words["500"] = 1
        return Behaviour(words)

    def _script(self, path: str, ask: Ask) -> Script:
        wish = ask.behaviour
        silent = script.nothing(wish)
        if silent is not None:
            return silent
        if failed := wish.first(*errors.ERRORS):
            return _reply(*errors.failure(failed, wish), wish)
        if "redirect" in wish:
            return _reply(307, {"location": path}, b"", wish)
        if path in LISTED:
            return _reply(200, _json(), LISTED[path](ask), wish)
        whole, stream = SPOKEN[path]
        found = answer(ask)
        ident = IDENT.decode()
        if ask.stream and "bomb" not in wish:
            headers = {"content-type": "text/event-stream; charset=utf-8"}
            headers |= {"cache-control": "no-cache", "x-request-id": f"req_{ident}"}
            return script.stream(headers, stream(ask, found, ident), wish)
        return _reply(200, _json(), whole(ask, found, ident), wish, found.output)

    def _get(self, name: str, wish: Behaviour) -> Script:
        if name == "/healthz":
            return _reply(200, _json(), {"status": "ok"}, Behaviour())
        silent = script.nothing(wish)
        if silent is not None:
            return silent
        if failed := wish.first(*errors.ERRORS):
            return _reply(*errors.failure(failed, wish), wish)
        if name == "/v1/models":
            return _reply(200, _json(), lists.models(), wish)
        if name.startswith("/v1/models/"):
            model = name.removeprefix("/v1/models/")
            return _reply(200, _json(), lists.model(model), wish)
        return _reply(
            *errors.refusal(404, f"Unknown request URL: GET {name}.", "unknown_url"), wish
        )

    def _control(self, method: bytes, path: bytes, body: bytes) -> Script:
        """What tests ask the simulator itself; not counted."""
        plain = Behaviour()
        if method == b"POST" and path == b"/sim/reset":
            self.reset()
            return _reply(200, _json(), {"reset": True}, plain)
        if method == b"POST" and path == b"/sim/default":
            self.default = parse(body.decode("latin-1"))
            self.scripts.clear()
            return _reply(200, _json(), self.default.words, plain)
        if path == b"/sim/stats":
            self.stats.paths, self.stats.models = dict(self.paths), dict(self.models)
            return _reply(200, _json(), self.stats, plain)
        if path == b"/sim/last/body":
            return _reply(200, {"content-type": "application/octet-stream"}, self.last.body, plain)
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
            return _reply(200, _json(), told, plain)
        message = "known: GET /sim/stats, /sim/last, /sim/last/body; POST /sim/reset, /sim/default."
        return _reply(*errors.refusal(404, message, "unknown_url"), plain)


def _json() -> dict[str, str]:
    return {"content-type": "application/json"}


def _reply(
    status: int, headers: dict[str, str], body: Any, wish: Behaviour, tokens: int = 0
) -> Script:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    headers = {**headers, "x-request-id": f"req_{IDENT.decode()}"}
    return script.whole(status, headers, data, wish, tokens)
