"""The data plane's endpoints: a path leads to one function, and what is not listed is a 404."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import msgspec

from ferryman.edge import explaining, feedback, leaks
from ferryman.edge.endpoints import SUFFIX, endpoints, target_page
from ferryman.edge.exposition import TEXT, exposed
from ferryman.edge.listing import METHODS, STREAMS, Bounds, Listing, Own, shape_of, shape_of_path
from ferryman.edge.places import (
    CACHE,
    LIMITS,
    MODELS,
    PLACES,
    allow,
    allow_methods,
    sees_metrics,
)
from ferryman.edge.siblings import OWN, Siblings, merged_limits
from ferryman.flow.array import ArrayExchange
from ferryman.flow.bearers import Named, vouched_for
from ferryman.flow.call import Plane
from ferryman.flow.deliver import JSON
from ferryman.flow.headers import HeaderFacts, agent_of, facts_of, identify
from ferryman.flow.key_bounds import Confines, let_in
from ferryman.flow.limiting import limit_page, standing
from ferryman.flow.queueing import queue_page
from ferryman.flow.refusals import STATUSES
from ferryman.flow.spine import serve
from ferryman.flow.strangers import struck
from ferryman.http1.drive import Drive
from ferryman.http1.exchange import Exchange, Headers
from ferryman.http1.limits import Refusal
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.caller import Caller
from ferryman.meter.strikes import Strikes
from ferryman.wire.formats import client_of

_json = msgspec.json.Encoder().encode

CALLS = {
    b"/chat/completions": "chat.completions",
    b"/completions": "completions",
    b"/embeddings": "embeddings",
    b"/rerank": "rerank",
    b"/images/edits": "images.edits",
    b"/images/variations": "images.variations",
    b"/audio/transcriptions": "audio.transcriptions",
    b"/audio/translations": "audio.translations",
    b"/responses": "responses",
    b"/moderations": "moderations",
    b"/images/generations": "images.generations",
    b"/audio/speech": "audio.speech",
    b"/messages": "messages",
    b"/messages/count_tokens": "count_tokens",
}
V2 = {b"/v2/embed": "embed", b"/v2/rerank": "rerank"}
PREFIXES = (b"/v1", b"")
"""Base URLs with and without the version segment both work."""
_ONE_MODEL = tuple(path + b"/" for path in MODELS)


class Edge:
    """Hands each exchange to its endpoint."""

    def __init__(
        self, plane: Plane, connections: Callable[[], int], token: str, metrics: str
    ) -> None:
        """``token`` is what the planes share, ``metrics`` the one at ``/metrics``."""
        self.plane = plane
        self._token, self._metrics_token = token.encode(), metrics.encode()
        self._connections = connections
        self._calls = {p + path: name for path, name in CALLS.items() for p in PREFIXES} | V2
        self._listing = Listing()
        self._feedback = Strikes(feedback.MOST_A_MINUTE)
        self._reports = Strikes(leaks.MOST)
        self._working: set[asyncio.Future[None]] = set()
        self._own: dict[bytes, Callable[[Exchange, bytes], None]] = {
            b"/": self._root,
            b"/healthz": self._healthz,
            b"/readyz": self._readyz,
            b"/metrics": self._metrics,
            LIMITS: self._limits,
            CACHE: self._cache,
            explaining.PATH: self._explain,
            **dict.fromkeys(feedback.PATHS, self._feed_back),
            **dict.fromkeys(leaks.PATHS, self._leaked),
            **dict.fromkeys(MODELS, self._models),
        }
        if self._own.keys() != PLACES.keys():
            raise ValueError(f"declared in one place only: {self._own.keys() ^ PLACES.keys()}")
        self.siblings: Siblings | None = None
        """The other workers that share the port, if there are any."""

    def handle(self, exchange: Exchange) -> None:
        """The server's handler (:data:`ferryman.http1.exchange.Handler`)."""
        target = exchange.target
        endpoint = self._calls.get(target)
        if endpoint is not None and exchange.method == b"POST":
            Drive(serve(self.plane, exchange, endpoint), self._escaped)
            return
        try:
            self._other(exchange, target)
        except GatewayError as error:
            self._refuse(exchange, error)
        except Exception as fault:
            self._escaped(fault)
            self._refuse(exchange, _failed())

    def too_large(self, exchange: Exchange, limit: int) -> None:
        """Refuse a body that another server's HTTP end let through."""
        text = f"The body is over {limit} bytes."
        self._refuse(exchange, GatewayError(413, ErrorKind.BODY_TOO_LARGE, text))

    def no_room(self, exchange: Exchange) -> None:
        """Refuse an upload that could not be kept."""
        text = "There is no room to keep the upload; retry later."
        self._refuse(exchange, GatewayError(503, ErrorKind.OVERLOADED, text))

    def _refuse(self, exchange: Exchange, error: GatewayError) -> None:
        """Send ``error`` in the shape of the API that was called."""
        if error.status in STATUSES:
            self.plane.refusals.note(error, exchange.peer, "", agent_of(exchange), "")
        shape = shape_of(exchange, _path(exchange.target))
        error = struck(self.plane, exchange.peer, error)
        refuse(exchange, error, self.plane.next_id(), shape)

    def _other(self, exchange: Exchange, target: bytes) -> None:
        path = _path(target)
        endpoint = self._calls.get(path)
        if endpoint is not None:
            allow_methods(exchange, b"POST")
            self._call(exchange, endpoint)
            return
        place = PLACES.get(path)
        if place is not None:
            allow(exchange, place, self._token, self._metrics_token)
            self._own[path](exchange, path)
        elif path.startswith(_ONE_MODEL):
            self._model(exchange, path)
        else:
            shown = path[:100].decode("utf-8", "replace")
            raise GatewayError(
                404,
                ErrorKind.NOT_FOUND,
                f"There is no endpoint {shown}. Calls go to /v1/chat/completions, /v1/responses, "
                "/v1/messages, /v1beta/models/MODEL:generateContent, /v1/completions, "
                "/v1/embeddings, /v1/rerank, /v1/moderations, /v1/images/{generations, edits, "
                "variations} and /v1/audio/{speech, transcriptions, translations}; feedback "
                "to /v1/feedback; leaked keys to /v1/keys/leaked; /v1/models lists models.",
            )

    def _identify(self, exchange: Exchange, caller: Caller | None = None) -> Bounds | None:
        """What the caller is bound to. ``caller``: for whom an issuer vouches. Raises
        :class:`GatewayError` (401, 403)."""
        plane = self.plane
        key = identify(plane, facts_of(plane, exchange))
        bounds: Confines | Named | None = None
        if plane.bound:
            bounds = let_in(plane, key, exchange.peer)
        if caller is not None and caller.models:
            bounds = Named(caller.models)
        residency = plane.residency
        if residency is None:
            return bounds
        others = residency.others(plane.facts.get(key) if caller is None else caller.whose)
        return bounds if others is None else Own(bounds, others)

    def _models(self, exchange: Exchange, path: bytes) -> None:
        """What the caller may call: all of it, one model, or how its targets stand."""
        allow_methods(exchange, b"GET")
        facts = facts_of(self.plane, exchange)
        if facts.bearer:
            self._spawn(exchange, self._models_of_vouched(exchange, path, facts))
        else:
            self._show(exchange, path, self._identify(exchange))

    async def _models_of_vouched(self, exchange: Exchange, path: bytes, facts: HeaderFacts) -> None:
        caller = await vouched_for(self.plane, facts)
        self._show(exchange, path, self._identify(exchange, caller))

    def _show(self, exchange: Exchange, path: bytes, bounds: Bounds | None) -> None:
        shape, fleet = shape_of(exchange, path), self.plane.fleet
        if path in MODELS:
            query = exchange.target.partition(b"#")[0].partition(b"?")[2]
            body = self._listing.page(fleet, shape, query, bounds)
        elif (name := _model_of(path)).endswith(SUFFIX):
            body = endpoints(self.plane, name.removesuffix(SUFFIX), bounds)
        else:
            body = self._listing.one(fleet, name, shape, bounds)
        exchange.respond(200, JSON, body)

    def _spawn(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Answer in a task of its own, so that calls go on."""
        task = asyncio.ensure_future(self._guarded(exchange, work))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _guarded(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except GatewayError as error:
            self._refuse(exchange, error)
        except Exception as fault:
            self._escaped(fault)
            self._refuse(exchange, _failed())

    def _root(self, exchange: Exchange, _path: bytes) -> None:
        exchange.respond(200, JSON, _json({"ferryman": "gateway", "openai_base_url": "/v1"}))

    def _healthz(self, exchange: Exchange, _path: bytes) -> None:
        exchange.respond(200, JSON, b'{"status":"ok"}')

    def _feed_back(self, exchange: Exchange, _path: bytes) -> None:
        feedback.answer(self.plane, exchange, self._feedback)

    def _leaked(self, exchange: Exchange, _path: bytes) -> None:
        leaks.answer(self.plane, exchange, self._reports)

    def _explain(self, exchange: Exchange, _path: bytes) -> None:
        self._spawn(exchange, explaining.answer(self.plane, exchange, self._place))

    def _limits(self, exchange: Exchange, _path: bytes) -> None:
        self._spawn(exchange, self._all_limits(exchange))

    async def _all_limits(self, exchange: Exchange) -> None:
        rows = standing(self.plane)
        if self.siblings is not None and not exchange.target.endswith(b"?" + OWN):
            rows = merged_limits(rows, await self.siblings.ask(LIMITS.decode()))
        exchange.respond(200, JSON, _json(rows))

    def _metrics(self, exchange: Exchange, _path: bytes) -> None:
        self._spawn(exchange, self._all_metrics(exchange))

    async def _all_metrics(self, exchange: Exchange) -> None:
        if self.siblings is None:
            page = await self._page()
        else:
            own = exchange.target.endswith(b"?" + OWN)
            page = await self.siblings.metrics(self._page, own=own)
            if own:
                exchange.respond(200, TEXT, page)
                return
        accept = exchange.header(b"accept") or b""
        headers, body = await exposed(page, accept, native=self.plane.metrics.native)
        exchange.respond(200, headers, body)

    async def _page(self) -> bytes:
        pieces = []
        for piece in self.plane.metrics.render(self._connections()):
            pieces.append(piece)
            await asyncio.sleep(0)
        pieces += [queue_page(self.plane), limit_page(self.plane), self.plane.replays.page()]
        if self.plane.contents is not None:
            pieces.append(self.plane.contents.page())
        for piece in target_page(self.plane):
            pieces.append(piece)
            await asyncio.sleep(0)
        return b"".join(pieces)

    def _cache(self, exchange: Exchange, _path: bytes) -> None:
        self._spawn(exchange, self._cache_state(exchange))

    async def _cache_state(self, exchange: Exchange) -> None:
        exchange.respond(200, JSON, _json(await self.plane.replays.state()))

    def _readyz(self, exchange: Exchange, _path: bytes) -> None:
        plane = self.plane
        ready, names = plane.ready, plane.fleet.runtimes
        told = sees_metrics(exchange, self._token, self._metrics_token)
        facts = {
            "status": "ready" if ready else "waiting for the control plane",
            "snapshot": plane.fleet.snapshot.version,
            # Who a company's providers are is nobody's business.
            "providers": sorted(names) if told else len(names),
        }
        exchange.respond(200 if ready else 503, JSON, _json(facts))

    def _model(self, exchange: Exchange, path: bytes) -> None:
        """One model; or, in a POST, what Gemini's callers ask of it: ``models/NAME:METHOD``."""
        if exchange.method != b"POST":
            self._models(exchange, path)
            return
        endpoint, name, stream = _method(_model_of(path))
        if stream and b"alt=sse" not in exchange.target.partition(b"?")[2].split(b"&"):
            exchange = ArrayExchange(exchange)
        self._call(exchange, endpoint, name, stream)

    def _place(self, target: bytes) -> tuple[str, str, bool]:
        """The endpoint of calls to ``target``, and model and kind of reply where it names them."""
        path = _path(target)
        endpoint = self._calls.get(path)
        if endpoint is not None:
            return endpoint, "", False
        if path.startswith(_ONE_MODEL):
            return _method(_model_of(path))
        shown = path[:100].decode("utf-8", "replace")
        raise GatewayError(404, ErrorKind.NOT_FOUND, f"No calls go to {shown}.")

    def _call(
        self, exchange: Exchange, endpoint: str, model: str = "", stream: bool = False
    ) -> None:
        Drive(serve(self.plane, exchange, endpoint, model, stream), self._escaped)

    def _escaped(self, error: BaseException) -> None:
        self.plane.log(f"internal error outside a call: {type(error).__name__}: {error}")


def _model_of(path: bytes) -> str:
    return unquote_to_bytes(path.partition(b"/models/")[2]).decode("utf-8", "replace")


def _method(text: str) -> tuple[str, str, bool]:
    """``NAME:METHOD`` → endpoint, name, and whether it streams. Raises :class:`GatewayError`."""
    name, _, method = text.rpartition(":")
    if method in METHODS:
        return METHODS[method], name, method == STREAMS
    raise GatewayError(
        404,
        ErrorKind.NOT_FOUND,
        f"There is no method {method[:40]!r} here; {', '.join(METHODS)} are.",
    )


def refuse(
    exchange: Exchange, error: GatewayError, request_id: str, shape: str = "chat.completions"
) -> None:
    """Send ``error`` as callers of the endpoint ``shape`` expect it."""
    headers = [*JSON, *_ours(request_id, error.kind), *error.headers]
    exchange.respond(error.status, headers, client_of(shape).error_body(error, request_id))


def _ours(request_id: str, code: str) -> Headers:
    return [
        (b"x-ferryman-request-id", request_id.encode()),
        (b"x-ferryman-error", code.encode()),
    ]


def http_refusal(plane: Plane) -> Callable[[Refusal], tuple[Headers, bytes]]:
    """Gives HTTP's own refusals the shape that callers of the refused path expect."""

    def shape(refusal: Refusal) -> tuple[Headers, bytes]:
        request_id = plane.next_id()
        kind = cast(ErrorKind, refusal.code)  # HTTP has codes of its own; formats only show them
        error = GatewayError(refusal.status, kind, refusal.message)
        client = client_of(shape_of_path(_path(refusal.target)))
        ours = _ours(request_id, refusal.code)
        if refusal.status == 503:
            ours.append((b"retry-after", b"1"))
        return [*JSON, *ours], client.error_body(error, request_id)

    return shape


def _path(target: bytes) -> bytes:
    path = target.partition(b"?")[0].partition(b"#")[0]
    if path.startswith((b"http://", b"https://")):
        path = b"/" + path.split(b"/", 3)[3] if path.count(b"/") > 2 else b"/"
    return path.rstrip(b"/") if len(path) > 1 else path


def _failed() -> GatewayError:
    return GatewayError(500, ErrorKind.INTERNAL, "The gateway failed to handle this request.")
