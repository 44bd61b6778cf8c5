"""Every decoder of ``wire/``: anything at all gives an answer or an error that it declares."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
from tests.wire.aws import frame
from tests.wire.turns import checked, drained

from ferryman.http1.spool import Spool
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Event
from ferryman.ir.fold import unfold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request
from ferryman.wire import envelope, eventstream
from ferryman.wire.bedrock_converse.errors import kind_of_exception, kind_of_reply
from ferryman.wire.format import Aim, ReplyContext, ReplyError
from ferryman.wire.formats import FORMATS, relay_of
from ferryman.wire.framing import EventTooLargeError
from ferryman.wire.invoke import InvokeUnwrapper
from ferryman.wire.multipart import FormReader
from ferryman.wire.openai_chat import errors
from ferryman.wire.paths import CONVERSATIONS, WAYS
from ferryman.wire.tasks import CLIENTS, PROVIDERS, TASKS
from ferryman.wire.translate import TranslatingTap, translate_whole
from soak.fuzz import seeds
from soak.fuzz.mutate import Chance, cuts, damaged, of_stream, twisted

AIMS = (
    Aim(model="m"),
    Aim(model="m", max_output=50, abilities=("tools", "vision", "json_schema", "reasoning")),
)
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsim\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\r\n--\r\n--b--\r\n"
)
FORM_WORDS = (
    b"\r\n", b"--b", b"--", b"\r\n--b\r\n", b"\r\n--b--\r\n", b'; name="model"', b"; name=model",
    b"name*=", b'\\"', b'"', b";", b"Content-Disposition: form-data", b"\r\n\r\n", b"\0", b"\xff",
    b"a" * 20_000,
)  # fmt: skip


def _context(chance: Chance, request: Request, provider: str) -> ReplyContext:
    return ReplyContext(
        request=request, receipt=Receipt(), request_id="req-1", provider=provider, now=1_700_000_000
    )


def _object(data: bytes, *, relayed: bool = False) -> Any:
    """What was written, read by another reader than the one that wrote it. What is ``relayed`` byte
    by byte may hold what is no UTF-8, where it did so before."""
    return json.loads(data.decode("utf-8", "replace" if relayed else "strict"), parse_int=str)


def answer(chance: Chance) -> bytes:
    """Ends with the number of a format and that of another."""
    name = chance.choice(list(FORMATS))
    known = seeds.answers(name, False)
    data = chance.choice(known)
    data = twisted(chance, data, known) if chance.random() < 0.7 else damaged(chance, data)
    return data + bytes([list(FORMATS).index(name), chance.randrange(256)])


def play_answer(data: bytes, chance: Chance) -> None:
    """A whole reply: decoded, and said in every caller's format."""
    data, name, which = data[:-2], list(FORMATS)[data[-2] % len(FORMATS)], data[-1]
    provider = FORMATS[name].provider
    assert provider is not None
    request = seeds.talks()[which % len(seeds.talks())]
    readable = True
    try:
        checked(unfold(provider.decode_reply(data)))
    except ReplyError:
        readable = False
    for client in [each.client for each in FORMATS.values() if each.client is not None]:
        try:
            said, _ = translate_whole(data, provider, client, _context(chance, request, name))
        except ReplyError:
            continue
        assert readable
        _object(said, relayed=True)  # what has no words of ours is told as it came
    for endpoint, format_name in CONVERSATIONS.items():
        if format_name == name:
            relay_of(endpoint).read_whole(data, ())


def stream(chance: Chance) -> bytes:
    """Ends with the number of a format and that of another."""
    name = chance.choice(list(FORMATS))
    known = seeds.answers(name, True)
    data = chance.choice(known)
    if chance.random() < 0.3:
        data = damaged(chance, data)
    elif name == "bedrock_converse":
        data = _frames(chance, data, chance.choice(known))
    else:
        data = of_stream(chance, data, known)
    return data + bytes([list(FORMATS).index(name), chance.randrange(256)])


def _frames(chance: Chance, data: bytes, other: bytes) -> bytes:
    """The same for messages with check sums, which stay right."""
    found, _ = eventstream.FrameDecoder().feed(data)
    more, _ = eventstream.FrameDecoder().feed(other)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if not found:
            break
        at = chance.randrange(len(found))
        each = found[at]
        how = chance.randrange(5)
        if how <= 1:
            found[at] = each._replace(payload=twisted(chance, each.payload))
        elif how == 2:
            found.insert(at, chance.choice(more or found))
        elif how == 3:
            del found[at]
        else:
            headers = dict(each.headers) | {":event-type": chance.choice(("x", "metadata", ""))}
            found[at] = each._replace(headers=headers)
    return b"".join(
        frame([(n, 7, v) for n, v in each.headers.items() if isinstance(v, str)], each.payload)
        for each in found
    )


def _written(events: list[Event]) -> list[tuple[str, bytes]]:
    """Events, so that they can be compared."""
    return [(type(event).__name__, msgspec.json.encode(event)) for event in events]


def _taken(tap: Any, pieces: list[bytes]) -> tuple[bytes, Any]:
    """What a tap relays, and what it thinks at the end."""
    try:
        out = b"".join([tap.feed(piece) for piece in pieces])
    except EventTooLargeError:
        return b"", "large"
    tap.close()
    return out + tap.ending, (tap.done, tap.failure, tap.usage, tap.broken)


def play_stream(data: bytes, chance: Chance) -> None:
    """A stream: decoded, translated and relayed, the same however it is cut."""
    data, name, which = data[:-2], list(FORMATS)[data[-2] % len(FORMATS)], data[-1]
    provider = FORMATS[name].provider
    assert provider is not None
    request = seeds.talks()[which % len(seeds.talks())]
    whole = [data] if data else []
    pieces = cuts(chance, data)
    events = _written(drained(provider.stream_decoder(), whole, b""))
    assert _written(drained(provider.stream_decoder(), pieces, b"")) == events, pieces
    clients = [each.client for each in FORMATS.values() if each.client is not None]
    client = clients[which % len(clients)]
    taps: list[Callable[[], Any]] = [
        lambda: TranslatingTap(
            provider, client, _context(chance, request, name), WAYS[name].media_types
        )
    ]
    for endpoint, format_name in CONVERSATIONS.items():
        if format_name == name:
            for hide in (False, True):
                taps.append(
                    lambda e=endpoint, h=hide: relay_of(e).tap(hide_usage=h, quirks=())  # type: ignore[misc]
                )
    for make in taps:
        once = _taken(make(), whole)
        again = _taken(make(), pieces)
        assert again == once, (once, again, pieces)


def request(chance: Chance) -> bytes:
    """Ends with the number of a format and that of an aim."""
    name = chance.choice(list(FORMATS))
    known = seeds.requests(name)
    data = chance.choice(known)
    data = twisted(chance, data, known) if chance.random() < 0.8 else damaged(chance, data)
    return data + bytes([list(FORMATS).index(name), chance.randrange(256)])


def play_request(data: bytes, chance: Chance) -> None:
    """A request: refused with a 400, or sent on in every provider's format."""
    data, name, which = data[:-2], list(FORMATS)[data[-2] % len(FORMATS)], data[-1]
    for endpoint in ("chat.completions", "messages", "responses", "embeddings", "rerank"):
        _open(endpoint, data)
    client = FORMATS[name].client
    if client is None:
        return
    try:
        asked = client.decode_request(data, "m", bool(which & 1))
    except GatewayError as error:
        assert error.status == 400, error
        client.error_body(error, "req-1").decode()
        client.error_event(error, "req-1").decode()
        return
    for each in FORMATS.values():
        assert each.provider is not None
        try:
            said = each.provider.encode_request(asked, AIMS[which // 2 % 2], Receipt())
        except GatewayError as error:
            assert error.status == 400, error
        else:
            _object(said, relayed=True)  # schemas, and members that are not known


def _open(endpoint: str, data: bytes) -> None:
    try:
        found = envelope.decode(endpoint, data)
        found.metadata()
        fields = dict(found.fields)
        envelope.lower_output(fields, 5)
        said = envelope.encode(found, b'"other"')
    except GatewayError as error:
        assert error.status == 400, error
        return
    assert _object(said, relayed=True)["model"] == "other"


def task(chance: Chance) -> bytes:
    """Ends with the number of a task, and 0 for a request or another for a reply."""
    number = chance.randrange(len(CLIENTS))
    data = json.dumps(seeds.TASKS[list(CLIENTS)[number]]).encode()
    kind = chance.randrange(4)
    if kind:
        known = [*_replies(), *seeds.answers("gemini_generate", False)]
        data = chance.choice(known)
    data = twisted(chance, data) if chance.random() < 0.8 else damaged(chance, data)
    return data + bytes([number, kind])


def _replies() -> list[bytes]:
    vector = [0.5, -0.25]
    said: list[Any] = [
        {"data": [{"embedding": vector, "index": 0, "object": "embedding"}] * 2,
         "usage": {"prompt_tokens": 5, "total_tokens": 5}, "object": "list", "model": "m"},
        {"data": [{"embedding": "AAAAPwAAgL4=", "index": 0}]},
        {"embeddings": [{"values": vector}]}, {"embedding": {"values": vector}},
        {"embeddings": {"float": [vector], "int8": [[1, 2]]}, "id": "x",
         "meta": {"billed_units": {"input_tokens": 5}}},
        {"embedding": vector, "inputTextTokenCount": 5},
        {"results": [{"index": 0, "relevance_score": 0.5}], "id": "x",
         "meta": {"billed_units": {"search_units": 1}}},
        {"predictions": [{"bytesBase64Encoded": "iVBORw0KGgo=", "mimeType": "image/png"}]},
        {"images": ["iVBORw0KGgo="], "error": None},
        {"data": [{"b64_json": "iVBORw0KGgo="}], "created": 5},
    ]  # fmt: skip
    return [json.dumps(each).encode() for each in said]


def play_task(data: bytes, chance: Chance) -> None:
    """Embeddings, rankings, pictures, speech: requests and replies."""
    data, endpoint, kind = data[:-2], list(CLIENTS)[data[-2] % len(CLIENTS)], data[-1]
    client = CLIENTS[endpoint]
    asked = client.decode_request(json.dumps(seeds.TASKS[endpoint]).encode(), "m")
    if not kind:
        try:
            asked = client.decode_request(data, "m")
        except GatewayError as error:
            assert error.status == 400, error
            return
    for provider in PROVIDERS[TASKS[endpoint]].values():
        try:
            _object(provider.encode_request(asked, AIMS[0], Receipt()))
            if kind:
                client.encode_reply(provider.decode_reply(data, asked), asked, Receipt())
        except GatewayError as error:
            assert error.status == 400, error
        except ReplyError:
            pass
    relay_of(endpoint).read_whole(data, ())


def failure(chance: Chance) -> bytes:
    """An error's body."""
    known = [each for name in FORMATS for each in seeds.answers(name, False) if b"rror" in each]
    data = chance.choice(known)
    return twisted(chance, data, known) if chance.random() < 0.7 else damaged(chance, data)


def play_failure(data: bytes, chance: Chance) -> None:
    """An error's body of any provider: always some kind, and never more than there is."""
    for status in (400, 401, 404, 429, 500):
        assert isinstance(errors.kind_of(status, data), ErrorKind)
        assert isinstance(
            kind_of_reply(status, [(b"x-amzn-errortype", data[:80])], data), ErrorKind
        )
        told = errors.relayed_error(status, ErrorKind.UPSTREAM_ERROR, data, "req-1")
        assert told is None or _object(told, relayed=True)
    errors.error_facts(data)
    errors.failed(data)
    kind_of_exception(data[:80].decode("latin-1"), data.decode("latin-1"))


def form(chance: Chance) -> bytes:
    """A form with a file."""
    return damaged(chance, FORM, FORM_WORDS)


def play_form(data: bytes, chance: Chance) -> None:
    """A form, read as it comes."""
    outcomes = []
    for pieces in ([data], cuts(chance, data)):
        spool = Spool()
        try:
            reader = FormReader(spool, b"multipart/form-data; boundary=b", True)
            for piece in pieces:
                spool.append(piece)
                reader.follow()
            outcomes.append((reader.model, reader.model_at, reader.closed, reader.digest))
        except GatewayError as error:
            assert error.status == 400, error
            outcomes.append(error.message)  # type: ignore[arg-type]
        finally:
            spool.close()
    assert outcomes[0] == outcomes[1], outcomes


def invoked(chance: Chance) -> bytes:
    """A stream of messages with chunks in them."""
    known = seeds.answers("bedrock_converse", True)
    chunks = [b'{"bytes":"eyJhIjoxfQ=="}', b'{"bytes":"!"}', b'{"message":"x"}', b"{}", b"[]"]
    data = b"".join(
        frame([(":event-type", 7, "chunk"), (":message-type", 7, "event")], twisted(chance, each))
        for each in chance.choices(chunks, k=4)
    )
    return damaged(chance, chance.choice((data, data, chance.choice(known))))


def play_invoked(data: bytes, chance: Chance) -> None:
    """Messages and what is wrapped in them, the same however they are cut."""
    pieces = cuts(chance, data)
    outcomes: list[Any] = []
    for some in ([data], pieces):
        reader, unwrapper = eventstream.FrameDecoder(), InvokeUnwrapper()
        found: list[Any] = []
        wrong = None
        for piece in some:
            more, wrong = reader.feed(piece)
            found += more
            if wrong is not None:
                break
        said = b"".join([unwrapper.feed(piece) for piece in some]) + unwrapper.close()
        outcomes.append((found, str(wrong), said))
    assert outcomes[0] == outcomes[1], (outcomes, pieces)
