"""Guards see every member of a request, of every format; only media and proofs pass unread."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ferryman.config.guard_row import Guard
from ferryman.guard.engine import REQUEST, Engine, JsonCheck, Session, TextCheck
from ferryman.guard.reading import checked
from ferryman.guard.talk import guarded_request, heard
from ferryman.ir.request import (
    CacheMark,
    Citation,
    HostedTool,
    Media,
    MediaKind,
    Message,
    Opaque,
    OutputFormat,
    OutputKind,
    Reasoning,
    Refusal,
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from ferryman.wire.formats import FORMATS
from ferryman.wire.paths import CONVERSATIONS

MAIL = "ann@example.org"
CARD = 4111111111111111
PIXEL = base64.b64encode(bytes(range(256))).decode()


def session(**members: Any) -> Session:
    return Session(Engine([Guard(name="pii", kind="pii", **members)], []), ["pii"])


def clean(text: str) -> str:
    return TextCheck(session(), REQUEST, answer=False).whole(text)


def read(value: Any) -> Any:
    return json.loads(checked(json.dumps(value).encode(), clean))


NAMES = {
    ("Request", "model"), ("Request", "origin"), ("Request", "dialect"), ("Request", "unknown"),
    ("Source", "file_id"), ("Source", "origin"), ("Opaque", "origin"), ("Opaque", "kind"),
    ("ToolCall", "id"), ("ToolCall", "name"), ("ToolResult", "call_id"),
    ("ToolResult", "name"), ("Tool", "name"), ("Tool", "namespace"), ("HostedTool", "origin"),
    ("HostedTool", "kind"), ("ToolChoice", "allowed"), ("OutputFormat", "name"),
    ("Thinking", "id"), ("Signature", "value"), ("Signature", "origin"), ("Media", "origin"),
    ("Citation", "origin"),
}  # fmt: skip
"""Members that stay: what others find something by, the gateway's own words, and proofs."""
HELD: dict[type, Any] = {
    Request: Request(model="m", messages=()), Message: Message(role=Role.USER, blocks=()),
    Text: Text(text=""), Media: Media(kind=MediaKind.DOCUMENT, source=Source()), Source: Source(),
    Thinking: Thinking(), ToolCall: ToolCall(id="c", name="t", arguments="{}"),
    ToolResult: ToolResult(call_id="c"), Refusal: Refusal(text=""),
    Opaque: Opaque(origin="openai_chat", kind="x", raw=b""), Tool: Tool(name="t"),
    HostedTool: HostedTool(origin="openai_chat", kind="x", raw=b""),
    ToolChoice: ToolChoice(mode=ToolMode.AUTO), OutputFormat: OutputFormat(kind=OutputKind.JSON),
    Reasoning: Reasoning(), CacheMark: CacheMark(), Signature: Signature("", ""),
    Citation: Citation(),
}  # fmt: skip
"""Every struct of a request. One that is new has to be added, and then placed below."""


def places() -> Iterator[tuple[type, str, str]]:
    """(struct, member, its type) of all that can hold words."""
    for struct in HELD:
        for name, kind in struct.__annotations__.items():
            if any(word in str(kind) for word in ("str", "Raw", "bytes")):
                yield struct, name, str(kind)


def planted(kind: str) -> Any:
    raw = json.dumps({"note": [f"to {MAIL}"]})
    if "tuple[tuple[str, msgspec.Raw]" in kind:
        return (("x", msgspec.Raw(raw.encode())),)
    if "tuple[tuple[str, str]" in kind:
        return (("x", f"to {MAIL}"),)
    if "tuple[str" in kind:
        return (f"to {MAIL}",)
    if "Raw" in kind:
        return msgspec.Raw(raw.encode())
    return raw.encode() if "bytes" in kind else f"to {MAIL}"


def within(held: Any) -> Request:
    """A request that holds it."""
    match held:
        case Request():
            return held
        case Message():
            return Request(model="m", messages=(held,))
        case Source():
            return within(Media(kind=MediaKind.DOCUMENT, source=held))
        case Tool() | HostedTool():
            return Request(model="m", messages=(), tools=(held,))
        case OutputFormat():
            return Request(model="m", messages=(), output=held)
        case Reasoning():
            return Request(model="m", messages=(), reasoning=held)
        case ToolChoice():
            return Request(model="m", messages=(), tool_choice=held)
        case Signature():
            return within(Text(text="", signature=held))
        case Citation():
            return within(Text(text="", citations=(held,)))
        case _:
            return within(Message(role=Role.USER, blocks=(held,)))


def test_every_member_of_a_request_is_checked_but_names_and_proofs() -> None:
    missed = set()
    for struct, name, kind in places():
        held = msgspec.structs.replace(HELD[struct], **{name: planted(kind)})
        sent = guarded_request(within(held), session())
        if MAIL in repr(sent) or MAIL.encode() in _raws(sent):
            missed.add((struct.__name__, name))
    assert missed == NAMES


def _raws(value: Any) -> bytes:
    if isinstance(value, msgspec.Raw | bytes):
        return bytes(value)
    if isinstance(value, tuple):
        return b"".join(map(_raws, value))
    if isinstance(value, msgspec.Struct):
        return b"".join(_raws(getattr(value, name)) for name in value.__struct_fields__)
    return b""


UNKNOWN: dict[str, dict[str, Any]] = {
    "chat.completions": {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi", "name": MAIL}],
        "prediction": {"type": "content", "content": MAIL},
        "stop": [MAIL], "prompt_cache_key": MAIL, "unheard_of": {"data": MAIL, "model": MAIL},
    },
    "responses": {
        "model": "m", "input": "Hi", "prompt": {"id": "p", "variables": {"to": MAIL}},
        "tools": [{"type": "web_search", "user_location": {"type": "approximate", "city": MAIL}}],
        "prompt_cache_key": MAIL,
    },
    "messages": {
        "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}],
        "stop_sequences": [MAIL], "container": {"skills": [{"data": MAIL}]},
        "tools": [{"type": "web_search_20250305", "name": "web_search", "user_location": MAIL}],
    },
    "generate_content": {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"stopSequences": [MAIL]}, "labels": {"who": MAIL},
    },
}  # fmt: skip


@pytest.mark.parametrize("endpoint", CONVERSATIONS)
def test_what_only_one_format_knows_is_checked_on_its_way_to_it(endpoint: str) -> None:
    form = FORMATS[CONVERSATIONS[endpoint]]
    assert form.client is not None
    body = json.dumps(UNKNOWN[endpoint]).encode()
    said = form.client.decode_request(body, "m", False)
    assert MAIL.encode() in body
    assert MAIL.encode() not in _raws(guarded_request(said, session()))
    assert MAIL not in repr(guarded_request(said, session()))


def test_members_called_data_and_model_are_texts_unless_they_hold_media() -> None:
    assert read({"data": MAIL, "model": MAIL}) == {"data": "[EMAIL]", "model": "[EMAIL]"}
    source = {"type": "text", "media_type": "text/plain", "data": f"to {MAIL}"}
    assert read([{"source": source}])[0]["source"]["data"] == "to [EMAIL]"
    for kind in ({"type": "base64"}, {"mimeType": "image/png"}, {"format": "wav"}):
        assert read({**kind, "data": PIXEL}) == {**kind, "data": PIXEL}
    hidden = base64.b64encode(f"Please write to {MAIL} as soon as you can, thanks.".encode())
    got = read({"type": "base64", "media_type": "text/plain", "data": hidden.decode()})
    assert b"[EMAIL]" in base64.b64decode(got["data"])
    assert checked(b'{"model":"ann@example.org"}', clean, MAIL) == b'{"model":"ann@example.org"}'
    assert b"[EMAIL]" in checked(b'{"x":{"model":"ann@example.org"}}', clean, MAIL)


def test_media_as_urls_are_read_where_they_are_texts() -> None:
    picture = f"data:image/png;base64,{PIXEL}"
    assert read([picture]) == [picture]
    assert read([f"data:text/plain,to%20{MAIL}"]) == ["data:text/plain,to%20%5BEMAIL%5D"]
    assert MAIL not in read([f"data:text/plain;name={MAIL},x"])[0]
    inner = base64.b64encode(f"<svg>{MAIL} and again {MAIL}, and once more</svg>".encode()).decode()
    [got] = read([f"data:image/svg+xml;base64,{inner}"])
    assert b"[EMAIL] and again [EMAIL]" in base64.b64decode(got.partition(",")[2])


def test_proofs_stay_and_what_only_bears_their_name_does_not() -> None:
    proof = base64.urlsafe_b64encode(bytes(range(255, 50, -1))).decode()
    for name in ("signature", "encrypted_content", "thoughtSignature"):
        assert read({name: proof}) == {name: proof}
        assert read({name: MAIL}) == {name: "[EMAIL]"}
    hidden = {"type": "redacted_thinking", "data": proof}
    assert read(hidden) == hidden
    assert read({"data": f"{proof} {MAIL}"}) == {"data": f"{proof} [EMAIL]"}


def test_numbers_are_read_and_kept_to_the_digit() -> None:
    assert read({"card": CARD, "n": [CARD, 7]}) == {"card": "[CARD]", "n": ["[CARD]", 7]}
    exact = b'{"a": 1.10, "b": 123456789012345678901234567890, "c": [true, null, -0.5e3]}'
    assert checked(exact, clean) is exact
    got = checked(exact[:-1] + b', "d": "ann@example.org"}', clean)
    assert got.startswith(b'{"a":1.10,"b":123456789012345678901234567890,"c":[true,null,')


def test_of_members_with_one_name_none_goes_out_that_was_not_checked() -> None:
    twice = b'{"to": "ann@example.org", "to": "x"}'
    assert checked(twice, clean) == b'{"to":"x"}'
    deep = b'[{"a": {"to": "ann@example.org", "to": "x"}}]'
    assert MAIL.encode() not in checked(deep, clean)
    check = JsonCheck(lambda: TextCheck(session(), REQUEST, answer=False))
    assert check.whole(twice.decode()) == '{"to":"x"}'
    assert check.whole(f'{{"card": {CARD}}}') == '{"card":"[CARD]"}'
    assert check.whole('{"a":  1}') == '{"a":  1}', "what is clean stays as it was written"


def turns(*said: tuple[Role, str]) -> Request:
    messages = tuple(Message(role=role, blocks=(Text(text=text),)) for role, text in said)
    return Request(model="m", messages=messages)


def test_what_classifiers_hear_of_a_request() -> None:
    forged = turns(
        (Role.SYSTEM, "Be kind."), (Role.USER, "attack"), (Role.ASSISTANT, "ok"), (Role.USER, "go")
    )
    assert heard(forged, "last") == "go"
    assert heard(forged, "said") == "attack\nok\ngo"
    assert heard(forged, "all") == "Be kind.\nattack\nok\ngo"
    begun = turns((Role.USER, "attack"), (Role.ASSISTANT, "Sure, "))
    assert heard(begun, "last") == "attack\nSure, ", "an answer that is begun hides nothing"
    page = Media(kind=MediaKind.DOCUMENT, source=Source(text="attack"), context="a page")
    assert heard(within(page), "last") == "attack\na page"
