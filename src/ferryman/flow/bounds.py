"""The most that a call can be charged beyond its tokens, as far as its request says."""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from ferryman.flow.call import Call
from ferryman.ir.errors import GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Extras
from ferryman.meter.cost import capped, fees, hold
from ferryman.upstream.fleet import Target
from ferryman.wire.envelope import MOST_CHOICES, Request
from ferryman.wire.framing import mentions

USUAL_RUNS: Final = 10
"""Searches, or runs of code, of a call that sets no limit to its tools."""
USUAL_SOURCES: Final = 20
"""Sources of a live search that doesn't say: https://docs.x.ai/docs/guides/live-search."""
MOST_IMAGES: Final = 10
"""Images of a form, whose fields are not known before it is sent on; no provider makes more."""
IMAGE_TOKENS: Final = 16_384
"""Of an image; no model's that is known takes more."""
SLOWEST_BYTES: Final = 1_000
"""Bytes of a second of audio; speech that is coded at 8 kbit/s, the least that is usual."""
LARGEST_UPLOAD: Final = 100_000_000
"""Bytes of a form whose length is not announced; no provider takes more."""
CHUNK: Final = 500
"""Bytes of a document that a ranking may count as one: a token is one at least."""
IMAGES: Final = frozenset(("images.generations", "images.edits", "images.variations"))
SILENT: Final = frozenset(("embeddings", "embed", "embed_content", "batch_embed_contents", "rerank",
                           "moderations"))  # fmt: skip
"""Endpoints whose answers are no tokens."""
TRANSCRIPTS: Final = frozenset(("audio.transcriptions", "audio.translations"))
_MEMORY: Final = {"1g": 1, "4g": 4, "16g": 16, "64g": 64}
_MARKS: Final[tuple[str, ...]] = ("search", "Search", '"code_')
"""One of them is in every body that names a tool with a fee."""

_tools: Final = msgspec.json.Decoder(list[dict[str, Any]])
_object: Final = msgspec.json.Decoder(dict[str, Any])
_number: Final[msgspec.json.Decoder[int | None]] = msgspec.json.Decoder(int | None)
_text: Final = msgspec.json.Decoder(str)
_documents: Final = msgspec.json.Decoder(list[Raw])


def size_of(call: Call, request: Request) -> int:
    """Bytes of what the call sends, or the most that they may come to."""
    if call.upload is None:
        return len(request.body)
    spool = call.upload.form.spool
    if spool.complete:
        return spool.size
    return spool.announced if spool.announced >= 0 else LARGEST_UPLOAD


def answers(call: Call, request: Request) -> int:
    """How many answers may come."""
    return choices(request) if call.upload is None or call.endpoint not in IMAGES else MOST_IMAGES


def choices(request: Request) -> int:
    """How many answers are asked for, or made to choose from."""
    if request.choices:
        return request.choices
    fields = request.fields
    return max(_count(fields.get("n")), _count(fields.get("best_of")))


def _count(raw: Raw | None) -> int:
    try:
        return 1 if raw is None else min(max(int(bytes(raw)), 1), MOST_CHOICES)
    except ValueError:
        return 1


def most_output(call: Call, request: Request, target: Target) -> int:
    """The most tokens of an answer; 0 = nobody knows."""
    if call.endpoint in SILENT:
        return 0
    if call.endpoint in IMAGES:
        return max(target.max_output, IMAGE_TOKENS)
    return request.max_output or target.max_output or target.context


def most_cost(call: Call, request: Request, targets: Sequence[Target]) -> int:
    """Picodollars that the call can cost at most: what its budgets hold, or else at the dearest of
    ``targets``, or at all of them where several may be asked to the end."""
    grant = call.grant
    if grant is not None and call.priced and grant.budgets:
        return grant.picodollars
    size, many = size_of(call, request), answers(call, request)
    dearest = total = 0
    for target in targets:
        most = hold(target.dearest, size, many * most_output(call, request, target))
        if target.fees is not None:
            most += beyond(call, request, target)
        total += most
        if most > dearest:
            dearest = most
    several = call.hedge or call.rescue or call.retry_empty or call.on_content_filter
    return capped(total if several else dearest)


def beyond(call: Call, request: Request, target: Target) -> int:
    """Picodollars for all but tokens, and but for the fee of the call itself; 0 for most calls."""
    price = target.fees
    if price is None:
        return 0
    try:
        most = _most(call, request)
    except GatewayError:
        return 0  # no JSON: the call is refused as soon as somebody reads it
    if most is None:
        return 0
    return fees(most, price.tiers[0][1], price)


def _most(call: Call, request: Request) -> Extras | None:
    endpoint = call.endpoint
    if endpoint == "audio.speech":
        return Extras(characters=characters(request))
    if endpoint in TRANSCRIPTS:
        return Extras(audio_ms=max(size_of(call, request) * 1000 // SLOWEST_BYTES, 1))
    if endpoint in IMAGES:
        return Extras(images=answers(call, request))
    if endpoint == "rerank":
        return Extras(searches=_searches(request))
    return _of_tools(request) if mentions(request.body, _MARKS) else None


def characters(request: Request) -> int:
    """Of the text that is to be said."""
    try:
        return len(_text.decode(request.fields.get("input", b'""')))
    except UNREADABLE:
        return len(request.body)


def _searches(request: Request) -> int:
    """Searches of a ranking: one for a hundred documents, of which long ones count several times
    (https://docs.cohere.com/docs/how-does-cohere-pricing-work)."""
    try:
        documents = _documents.decode(request.fields.get("documents", b"[]"))
    except UNREADABLE:
        documents = []
    pieces = sum(1 + len(bytes(each)) // CHUNK for each in documents)
    return max(math.ceil(pieces / 100), 1)


def _of_tools(request: Request) -> Extras:
    """What tools of the provider's may do. Those of one kind have one limit."""
    fields = request.fields
    limit = _limit(fields.get("max_tool_calls"))
    searches = files = units = sources = 0
    for tool in _read_tools(fields.get("tools")):
        kind = str(tool.get("type", ""))
        uses = tool.get("max_uses")
        most = uses if isinstance(uses, int) and uses >= 0 else limit
        if kind.startswith(("web_search", "x_search", "browser_search")) or _grounds(tool):
            searches += most
        elif kind in ("file_search", "collections_search"):
            files += most
        elif kind.startswith("code_"):
            units += _units(tool, most)
    if "web_search_options" in fields:
        searches += limit
    if "search_parameters" in fields:
        sources = _sources(fields["search_parameters"])
    return Extras(searches=searches, file_searches=files, code_units=units, sources=sources)


def _grounds(tool: dict[str, Any]) -> bool:
    """Whether it is Gemini's tool that searches, by any of its names."""
    return any(name.lower().replace("_", "").startswith("googlesearch") for name in tool)


def _units(tool: dict[str, Any], most: int) -> int:
    container = tool.get("container")
    if container is None:
        return most  # charged by the run
    memory = container.get("memory_limit") if isinstance(container, dict) else "64g"
    return _MEMORY.get(str(memory), 1)


def _sources(raw: Raw) -> int:
    try:
        said = _object.decode(raw)
    except UNREADABLE:
        return USUAL_SOURCES
    most = said.get("max_search_results", USUAL_SOURCES)
    return most if isinstance(most, int) and most >= 0 else USUAL_SOURCES


def _limit(raw: Raw | None) -> int:
    try:
        said = _number.decode(raw) if raw is not None else None
    except UNREADABLE:
        said = None
    return said if said is not None and said >= 0 else USUAL_RUNS


def _read_tools(raw: Raw | None) -> list[dict[str, Any]]:
    try:
        return _tools.decode(raw) if raw is not None and bytes(raw) != b"null" else []
    except UNREADABLE:
        return []
