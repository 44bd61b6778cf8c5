"""Requests: what is wrong with them is told, and what is right is kept, byte by byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.wire.envelope import MAX_MODEL_NAME, decode, encode

CHAT = "chat.completions"
USAGE = b'"stream_options":{"include_usage":true}'


def through(body: bytes, **options: Any) -> bytes:
    """What an upstream gets that calls the model ``m/2``."""
    return encode(decode(CHAT, body), b'"m/2"', **options)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"', b'","messages":[]}'),
        (b'{"messages":[],"model":"', b'"}'),
        (b' \t\r\n{ "messages" : [ ] ,\n\t"model" :\r\n "', b'" , "x" : 1 }\n\n'),
        (b'{"messages":[{"role":"user","content":"a \\"model\\": \\"b\\""}],"model":"', b'"}'),
        (b'{"messages":[{"model":"inner"}],"model":"', b'","metadata":{"model":"deep"}}'),
        (b'{"model":"', b'","messages":["\\u00e9 \\ud83d\\ude80"]}'),
        ('{"messages":["é 🚀 \u2028"],"größe":1.50e+003,"model":"'.encode(), b'"}'),
        (b'{"messages":[],"m\\u006fdel":"', b'"}'),
        (b'{"x\\"model":"first","messages":[],"model":"', b'"}'),
        (b'{"":0,"a\\\\":"\\\\","messages":[-0,1E5,1.0,0.10],"model":"', b'","z":null}'),
        (b'{"messages":[{"role":"model"}],"model":"', b'"}'),
        (b'{"messages":["model"], "model" : "', b'"}'),
        (b'{"messages":["\xff\xfe"],"model":"', b'"}'),
    ],
)
def test_every_byte_but_the_models_name_is_kept(before: bytes, after: bytes) -> None:
    assert through(before + b"lab/m" + after) == before + b"m/2" + after


@pytest.mark.parametrize("spelt", [b"lab\\/m", b"l\\u0061b/m", b"lab/m"])
def test_a_models_name_may_be_spelt_with_escapes(spelt: bytes) -> None:
    request = decode(CHAT, b'{"model":"%b","messages":[]}' % spelt)
    assert request.model == "lab/m"
    assert encode(request, b'"n"') == b'{"model":"n","messages":[]}'


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{ "model":"lab/m","messages":[],"stream":true }',
         b'{%b, "model":"m/2","messages":[],"stream":true }'),
        (b'{"stream":true,"messages":["\\u00e9"],"model" : "lab/m"}',
         b'{%b,"stream":true,"messages":["\\u00e9"],"model" : "m/2"}'),
        (b'{"model":"lab/m","messages":[],"stream":true,"stream_options":null, "z":1}',
         b'{"model":"m/2","messages":[],"stream":true,%b, "z":1}'),
        (b'{"model":"lab/m","messages":[],"stream":true,"stream_options":{}}',
         b'{"model":"m/2","messages":[],"stream":true,%b}'),
        (b'{"stream_options" :\n{"include_usage":false} ,"stream":true,"model":"lab/m",'
         b'"messages":[]}',
         b'{"stream_options" :\n{"include_usage":true} ,"stream":true,"model":"m/2",'
         b'"messages":[]}'),
        (b'{"model":"lab/m","messages":[],"stream":true,"stream_options":{"include_usage":null}}',
         b'{"model":"m/2","messages":[],"stream":true,%b}'),
    ],
)  # fmt: skip
def test_usage_is_asked_for_on_streams_and_nothing_else_changes(body: bytes, wanted: bytes) -> None:
    assert decode(CHAT, body).hide_usage
    assert through(body) == (wanted % USAGE if b"%b" in wanted else wanted)
    plain = body.replace(b'"lab/m"', b'"m/2"')
    assert through(body, ask_usage=False) == plain, "a provider that refuses the field"


def test_other_stream_options_stay() -> None:
    body = b'{"model":"lab/m","messages":[],"stream":true,"stream_options":{"obfuscate":false}}'
    sent = json.loads(through(body))
    assert sent["stream_options"] == {"obfuscate": False, "include_usage": True}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"lab/m","messages":[],"stream":true,"stream_options":{"include_usage":true}}',
        b'{"model":"lab/m","messages":[],"stream":false,"stream_options":{"include_usage":false}}',
        b'{"model":"lab/m","messages":[],"stream":null}',
        b'{"model":"lab/m","messages":[]}',
    ],
)
def test_usage_is_not_asked_for_where_the_caller_did_or_nothing_streams(body: bytes) -> None:
    assert not decode(CHAT, body).hide_usage
    assert through(body) == body.replace(b"lab/m", b"m/2")


@pytest.mark.parametrize("endpoint", ["embeddings", "moderations", "responses"])
def test_usage_is_asked_for_in_formats_that_know_how_only(endpoint: str) -> None:
    body = b'{"model":"lab/m","input":"x","stream":true}'
    request = decode(endpoint, body)
    assert not request.hide_usage
    assert encode(request, b'"m"') == body.replace(b"lab/m", b"m")
    assert decode("completions", body.replace(b"input", b"prompt")).hide_usage


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"first","messages":[],"model":"lab/m"}',
        b'{"model":"lab/m","messages":[1],"messages":[]}',
        b'{"model":"lab/m","model":"lab/m","messages":[]}',
        b'{"model":"lab/m","messages":[],"n":12,"n":1,"x":"\\u0041"}',
        b'{"m\\u006fdel":"first","messages":[],"model":"lab/m"}',
        b'{"model":"first","messages":[],"mod\\u0065l":"lab/m"}',
    ],
)
def test_of_a_key_written_twice_the_last_counts_for_gateway_and_upstream(body: bytes) -> None:
    assert decode(CHAT, body).model == "lab/m"
    sent = json.loads(through(body))
    assert sent == json.loads(body) | {"model": "m/2"}
    if b"odel" in body[9:]:
        assert b"first" not in through(body), "a reader that takes the first must not see another"


def test_quirks_change_members_and_values_keep_their_bytes() -> None:
    body = b'{"model":"lab/m","messages":[1.0e2],"max_tokens":5,"stream":true}'

    def rename(fields: dict[str, Any]) -> None:
        fields["limit"] = fields.pop("max_tokens")

    sent = through(body, quirks=(rename,))
    assert sent == b'{"model":"m/2","messages":[1.0e2],"stream":true,%b,"limit":5}' % USAGE


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        (b'"max_tokens":7', 7),
        (b'"max_completion_tokens":8,"max_tokens":7', 8),
        (b'"max_completion_tokens":null,"max_tokens":7', 7),
        (b'"max_output_tokens":9', 9),
        (b'"max_tokens":null', 0),
        (b'"max_tokens":123456789012345678901234567890', 123456789012345678901234567890),
        (b'"x":1', 0),
    ],
)
@pytest.mark.parametrize("more", [b"", b',"stream_options":null'])
def test_output_limit_by_any_of_its_names(fields: bytes, limit: int, more: bytes) -> None:
    assert decode(CHAT, b'{"model":"m","messages":[],%b%b}' % (fields, more)).max_output == limit


BAD = [
    (b"", None, "empty"),
    (b"[]", None, "object"),
    (b'"text"', None, "object"),
    (b"null", None, "object"),
    (b"12", None, "object"),
    (b"{", None, "not valid JSON"),
    (b'{"model":"m","messages":[]}}', None, "not valid JSON"),
    (b'{"model":"m","messages":[],}', None, "not valid JSON"),
    (b"{'model':'m'}", None, "not valid JSON"),
    (b'{"model":NaN,"messages":[]}', None, "not valid JSON"),
    (b'{"model":"m","messages":[],"top_p":Infinity}', None, "not valid JSON"),
    (b'\xef\xbb\xbf{"model":"m","messages":[]}', None, "not valid JSON"),
    (b"\x00\x01\x02\xff\xfe", None, "not valid JSON"),
    (b"\xff" * 1000, None, "not valid JSON"),
    (b'{"\xff":1,"stream":3}', None, "UTF-8"),
    (b'{"model":"m","messages":["\\ud800 lone"]}', None, "not valid JSON"),
    (b'{"model":"m","messages":[],"a":' + b"[" * 100_000, None, "deep"),
    (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, "deep"),
    (b'{"a":' * 100_000, None, "deep"),
    (b"{}", "model", "'model' is missing"),
    (b'{"messages":[]}', "model", "'model' is missing"),
    (b'{"model":null,"messages":[]}', "model", "string"),
    (b'{"model":7,"messages":[]}', "model", "string"),
    (b'{"model":["m"],"messages":[]}', "model", "string"),
    (b'{"model":"","messages":[]}', "model", "1 to"),
    (b'{"model":"%b","messages":[]}' % (b"m" * (MAX_MODEL_NAME + 1)), "model", "1 to"),
    (b'{"model":"\xff","messages":[]}', "model", "string"),
    (b'{"model":"m"}', "messages", "missing"),
    (b'{"model":"m","messages":"hi"}', "messages", "array"),
    (b'{"model":"m","messages":{}}', "messages", "array"),
    (b'{"model":"m","messages":null}', "messages", "array"),
    (b'{"model":"m","messages":[],"stream":"yes"}', "stream", "true or false"),
    (b'{"model":"m","messages":[],"stream":1}', "stream", "true or false"),
    (b'{"model":"m","messages":[],"max_tokens":"5"}', "max_tokens", "integer"),
    (b'{"model":"m","messages":[],"max_tokens":5.5}', "max_tokens", "integer"),
    (b'{"model":"m","messages":[],"max_tokens":-1}', "max_tokens", "negative"),
    (b'{"model":"m","messages":[],"max_tokens":1e400}', "max_tokens", "integer"),
    (b'{"model":"m","messages":[],"max_tokens":%b}' % (b"9" * 5000), "max_tokens", "integer"),
    (b'{"model":"m","messages":[],"max_completion_tokens":[]}', "max_completion_tokens", "integer"),
    (b'{"model":"m","messages":[],"stream":true,"stream_options":[]}', "stream_options", "object"),
    (b'{"model":"m","messages":[],"stream":true,"stream_options":{"\xff":1}}', "stream_options",
     "object"),
    (b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":"yes"}}',
     "stream_options.include_usage", "true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param", "words"), BAD, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_said_with_its_place(body: bytes, param: str | None, words: str) -> None:
    with pytest.raises(GatewayError) as caught:
        decode(CHAT, body)
    error = caught.value
    assert (error.status, error.kind) == (400, ErrorKind.INVALID_REQUEST)
    assert error.param == param
    assert words in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("endpoint", "name", "good", "bad"),
    [
        ("completions", "prompt", [b'"x"', b"[1,2]"], [b"1", b"null", b"{}"]),
        ("embeddings", "input", [b'"x"', b'["x"]', b"[[1]]"], [b"true", b"{}"]),
        ("moderations", "input", [b'"x"', b'[{"type":"text"}]'], [b"0"]),
    ],
)
def test_what_each_endpoint_needs(
    endpoint: str, name: str, good: list[bytes], bad: list[bytes]
) -> None:
    for value in good:
        assert decode(endpoint, b'{"model":"m","%b":%b}' % (name.encode(), value)).model == "m"
    for value in bad:
        with pytest.raises(GatewayError) as caught:
            decode(endpoint, b'{"model":"m","%b":%b}' % (name.encode(), value))
        assert caught.value.param == name
    with pytest.raises(GatewayError, match="missing"):
        decode(endpoint, b'{"model":"m"}')
    assert decode("responses", b'{"model":"m","prompt":{"id":"p"}}').model == "m"


def test_metadata_is_read_as_text() -> None:
    request = decode(CHAT, b'{"model":"m","messages":[],"metadata":{"a":"x","b":2,"c":true}}')
    assert request.metadata() == {"a": "x", "b": "2", "c": "true"}
    for nothing in (b"", b',"metadata":null', b',"metadata":{}'):
        assert decode(CHAT, b'{"model":"m","messages":[]%b}' % nothing).metadata() == {}
    for wrong in (b"[]", b'"x"', b'{"a":{}}', b'{"a":[1]}'):
        request = decode(CHAT, b'{"model":"m","messages":[],"metadata":%b}' % wrong)
        with pytest.raises(GatewayError, match="metadata"):
            request.metadata()


def test_a_key_that_is_not_utf8_is_refused_and_not_a_crash() -> None:
    request = decode(CHAT, b'{"\xff":1,"model":"m","messages":["\\u0041"]}')
    with pytest.raises(GatewayError, match="UTF-8"):
        encode(request, b'"n"')
    with pytest.raises(GatewayError, match="UTF-8"):
        decode(CHAT, b'{"\xff":1,"model":"m","messages":[]}').metadata()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])) | st.just("model"),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["model", "stream", 'x"model', "é", ""]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
_OPTIONS = st.none() | st.fixed_dictionaries(
    {}, optional={"include_usage": st.none() | st.booleans(), "other": _VALUES}
)
_REQUESTS = st.fixed_dictionaries(
    {"model": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
     "messages": st.lists(_VALUES, max_size=3)},
    optional={"stream": st.none() | st.booleans(), "stream_options": _OPTIONS,
              "metadata": _VALUES, "temperature": _VALUES, 'm"odel': _VALUES, "größe": _VALUES},
)  # fmt: skip


@given(
    fields=_REQUESTS.flatmap(lambda f: st.permutations(list(f.items()))),
    ascii_only=st.booleans(),
    spaced=st.booleans(),
    ask=st.booleans(),
    target=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_an_upstream_reads_the_same_but_for_model_and_stream_options(
    fields: list[tuple[str, Any]], ascii_only: bool, spaced: bool, ask: bool, target: str
) -> None:
    original = dict(fields)
    body = json.dumps(original, ensure_ascii=ascii_only, indent=2 if spaced else None).encode()
    request = decode(CHAT, body)
    sent = encode(request, json.dumps(target).encode(), ask_usage=ask)
    wanted = original | {"model": target}
    if original.get("stream") and ask:
        options = original.get("stream_options") or {}
        if options.get("include_usage") is not True:
            assert request.hide_usage
            wanted["stream_options"] = options | {"include_usage": True}
    assert json.loads(sent) == wanted
    assert request.model == original["model"]
    if "stream_options" not in original and not (ask and request.hide_usage):
        name = json.dumps(original["model"], ensure_ascii=ascii_only).encode()
        assert len(sent) == len(body) - len(name) + len(json.dumps(target))


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\ model1eu0', max_size=80))
def test_no_body_is_worse_than_a_refusal(body: bytes | str) -> None:
    raw = body.encode() if isinstance(body, str) else body
    for endpoint in ("chat.completions", "completions", "embeddings", "responses", "moderations"):
        try:
            request = decode(endpoint, raw)
            request.metadata()
            encode(request, b'"x"')
        except GatewayError as error:
            assert error.status == 400


@given(_REQUESTS, st.data())
def test_no_damage_to_a_body_is_worse_than_a_refusal(fields: Any, data: st.DataObject) -> None:
    body = bytearray(json.dumps(fields).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        if not body:
            return
    try:
        request = decode(CHAT, bytes(body))
        sent = encode(request, b'"x"')
    except GatewayError as error:
        assert error.status == 400
        return
    with_ours = json.loads(sent.decode("utf-8", "replace"))
    theirs = json.loads(bytes(body).decode("utf-8", "replace"))
    changed = ("model", "stream_options")
    assert {k: v for k, v in with_ours.items() if k not in changed} == {
        k: v for k, v in theirs.items() if k not in changed
    }
