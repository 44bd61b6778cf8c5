"""The model list, in the shape that the caller's SDK expects.

OpenAI: https://platform.openai.com/docs/api-reference/models; Anthropic:
https://platform.claude.com/docs/en/api/models-list; Gemini: https://ai.google.dev/api/models.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw

from ferryman.config.filters import barred
from ferryman.config.snapshot import Filter, ModelRow
from ferryman.flow.bearers import Named
from ferryman.flow.key_bounds import Confines
from ferryman.http1.exchange import Exchange
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.upstream.fleet import Fleet, Resolved, Target
from ferryman.wire.envelope import MAX_MODEL_NAME

_json = msgspec.json.Encoder().encode
_EPOCH = "1970-01-01T00:00:00Z"
GATEWAY: Final = "ferryman"
"""Who owns a route: where it leads is nobody's business."""
STREAMS: Final = "streamGenerateContent"
_GENERATES: Final = {
    "generateContent": "generate_content",
    STREAMS: "generate_content",
    "countTokens": "count_content",
}
_EMBEDS: Final = {"embedContent": "embed_content", "batchEmbedContents": "batch_embed_contents"}
METHODS: Final[dict[str, str]] = _GENERATES | _EMBEDS
"""What can be asked of a model in Gemini's URLs → endpoint."""
_ASKED = tuple(f":{method}".encode() for method in METHODS)
BOUNDS_KEPT: Final = 64
"""Ways to be bound for which it is remembered what callers may call."""


class Own(NamedTuple):
    """Bounds of a caller to whom what belongs to other organisations is not there."""

    bounds: Confines | Named | None
    others: Filter
    """Of ``flow/residency.py``."""

    @property
    def may(self) -> str:
        """In words."""
        return self.bounds.may if self.bounds is not None else "models of all, and its own"

    def leads(self, resolved: Resolved) -> bool:
        """Whether any target is there."""
        targets = (*resolved.targets, *resolved.fallbacks)
        return any(not barred(target.written, self.others) for target in targets)

    def shows(self, name: str, resolved: Resolved) -> bool:
        """Whether a list of models has ``name``, which leads to ``resolved``."""
        bounds = self.bounds
        return self.leads(resolved) and (bounds is None or bounds.shows(name, resolved))

    def admits(self, target: Target) -> bool:
        """Whether calls may go to ``target``."""
        bounds = self.bounds
        return not barred(target.written, self.others) and (bounds is None or bounds.admits(target))


Bounds = Confines | Named | Own
"""Of a virtual key, or of an issuer's callers."""
_MOST = 1000
"""Models on a page at most, of Anthropic's and of Gemini's."""


class Listing:
    """The lists of one fleet, made once for as long as it serves."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Fleet, dict[str, Raw]]] = {}
        self._shown: dict[Bounds, tuple[Fleet, frozenset[str]]] = {}

    def page(self, fleet: Fleet, shape: str, query: bytes, confines: Bounds | None = None) -> bytes:
        """The models that can be called, in the shape of ``shape`` (see :func:`shape_of`), of those
        that a caller with ``confines`` may call.

        All of them, or where callers of that shape know pages, the one that the URL's ``query``
        asks for. Raises :class:`GatewayError` (400).
        """
        made = self._made.get(shape)
        if made is None or made[0] is not fleet:
            rows = {row[0]: Raw(_json(_SHAPES[shape](*row))) for row in _rows(fleet)}
            made = self._made[shape] = (fleet, rows)
        asked = dict(parse_qsl(query.decode("utf-8", "replace")))
        rows = made[1]
        if confines is not None:
            shown = self._shown_to(fleet, confines, rows)
            rows = {name: row for name, row in rows.items() if name in shown}
        return _json(_PAGES[shape](rows, asked))

    def _shown_to(self, fleet: Fleet, confines: Bounds, names: Iterable[str]) -> frozenset[str]:
        """Worked out once for all callers that are bound alike."""
        known = self._shown.get(confines)
        if known is None or known[0] is not fleet:
            if len(self._shown) >= BOUNDS_KEPT:
                self._shown.clear()
            shown = frozenset(n for n in names if confines.shows(n, fleet.resolve(n)))
            known = self._shown[confines] = (fleet, shown)
        return known[1]

    def one(self, fleet: Fleet, name: str, shape: str, confines: Bounds | None = None) -> bytes:
        """One model. Raises :class:`GatewayError` (404), also where the caller may not call it."""
        if len(name) > MAX_MODEL_NAME:
            message = f"A model's name has at most {MAX_MODEL_NAME} characters."
            raise GatewayError(404, ErrorKind.MODEL_NOT_FOUND, message, param="model")
        shown_of(fleet, name, confines)
        return _json(_SHAPES[shape](*_route(fleet, name)))


def shown_of(fleet: Fleet, name: str, confines: Bounds | None) -> Resolved:
    """What ``name`` leads to. Raises :class:`GatewayError` (404), also where a caller with
    ``confines`` may not call it."""
    resolved = fleet.resolve(name)
    if isinstance(confines, Own) and not confines.leads(resolved):
        raise fleet.unknown(name)
    if confines is not None and not confines.shows(name, resolved):
        message = f"This caller may use no model {name[:100]!r}, but: {confines.may}."
        raise GatewayError(404, ErrorKind.MODEL_NOT_FOUND, message, param="model")
    return resolved


def shape_of(exchange: Exchange, path: bytes) -> str:
    """The endpoint whose callers ask for ``path`` in this way."""
    if exchange.header(b"x-goog-api-key") is not None:
        return "generate_content"
    if exchange.header(b"anthropic-version") is not None and not path.startswith(b"/v1beta/"):
        return "messages"
    return shape_of_path(path)


def shape_of_path(path: bytes) -> str:
    """The same by the path alone, which need not be whole."""
    if path.startswith(b"/v1beta") or path.endswith(_ASKED):
        return "generate_content"
    return "messages" if path.startswith((b"/v1/messages", b"/messages")) else "chat.completions"


Row = tuple[str, str, ModelRow | None]
"""Name, owner, what is known."""


def _rows(fleet: Fleet) -> Iterator[Row]:
    """The user's own names that lead somewhere, then every active provider's."""
    for name in sorted(fleet.snapshot.routes):
        with contextlib.suppress(GatewayError):  # none of its providers is active
            yield _route(fleet, name)
    for runtime in fleet.runtimes.values():
        for model, row in runtime.rows.items():
            if (name := f"{runtime.name}/{model}") not in fleet.snapshot.routes:
                yield name, runtime.name, row


def _route(fleet: Fleet, name: str) -> Row:
    """Any name that can be called. Raises :class:`GatewayError` (404)."""
    resolved = fleet.resolve(name)
    target = (resolved.targets or resolved.fallbacks)[0]
    owner = GATEWAY if name in fleet.snapshot.routes else target.provider
    return name, owner, target.runtime.rows.get(target.model)


def _chat(name: str, owner: str, row: ModelRow | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": name, "object": "model", "created": 0, "owned_by": owner}
    if row is not None:
        if row.context:
            facts["context_window"] = row.context
        if row.max_output:
            facts["max_output_tokens"] = row.max_output
        if row.abilities:
            facts["abilities"] = row.abilities
    return facts


def _messages(name: str, _: str, row: ModelRow | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "type": "model", "id": name, "display_name": name, "created_at": _EPOCH,
        "lifecycle": "active",
    }  # fmt: skip
    if row is not None and row.context:
        facts["max_input_tokens"] = row.context
    if row is not None and row.max_output:
        facts["max_tokens"] = row.max_output
    return facts


def _generate(name: str, _: str, row: ModelRow | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": f"models/{name}",
        "displayName": name,
        "supportedGenerationMethods": [*_GENERATES],
    }
    if row is not None and "embeddings" in row.abilities:
        facts["supportedGenerationMethods"] = [*_EMBEDS]
    if row is not None and row.context:
        facts["inputTokenLimit"] = row.context
    if row is not None and row.max_output:
        facts["outputTokenLimit"] = row.max_output
    return facts


_SHAPES = {"chat.completions": _chat, "messages": _messages, "generate_content": _generate}


Rows = Mapping[str, Raw]
"""Name → entry, in the list's order."""


def _all(rows: Rows, _: Mapping[str, str]) -> dict[str, Any]:
    return {"object": "list", "data": list(rows.values())}


def _messages_page(rows: Rows, asked: Mapping[str, str]) -> dict[str, Any]:
    """``limit`` models behind ``after_id``, or before ``before_id``."""
    limit = _number(asked, "limit", 20)
    if not 1 <= limit <= _MOST:
        raise _bad(f"'limit' goes from 1 to {_MOST}.", "limit")
    names = list(rows)
    if "before_id" in asked:
        if "after_id" in asked:
            raise _bad("Only one of 'after_id' and 'before_id' can be given.", "before_id")
        end = _place(names, asked, "before_id")
        shown, more = names[max(0, end - limit) : end], end > limit
    else:
        start = _place(names, asked, "after_id") + 1
        shown, more = names[start : start + limit], start + limit < len(names)
    return {
        "data": [rows[name] for name in shown],
        "has_more": more,
        "first_id": shown[0] if shown else None,
        "last_id": shown[-1] if shown else None,
    }


def _generate_page(rows: Rows, asked: Mapping[str, str]) -> dict[str, Any]:
    """``pageSize`` models behind ``pageToken``, which is the name of a page's last."""
    size = min(_number(asked, "pageSize", 0) or 50, _MOST)
    names = list(rows)
    start = _place(names, asked, "pageToken") + 1
    shown = names[start : start + size]
    page: dict[str, Any] = {"models": [rows[name] for name in shown]}
    if start + size < len(names):
        page["nextPageToken"] = shown[-1]
    return page


_PAGES = {
    "chat.completions": _all, "messages": _messages_page, "generate_content": _generate_page
}  # fmt: skip


def _number(asked: Mapping[str, str], name: str, default: int) -> int:
    text = asked.get(name, "")
    if not text:
        return default
    if len(text) > 9 or not (text.isascii() and text.isdigit()):
        raise _bad(f"'{name}' must be a whole number.", name)
    return int(text)


def _place(names: list[str], asked: Mapping[str, str], param: str) -> int:
    """The index of the model that a page begins or ends at; -1 when none is said."""
    name = asked.get(param, "")
    if not name:
        return -1
    if name not in names:
        raise _bad(f"'{param}' names no model of this list (any more): begin without it.", param)
    return names.index(name)


def _bad(message: str, param: str) -> GatewayError:
    return GatewayError(400, ErrorKind.INVALID_REQUEST, message, param=param)
