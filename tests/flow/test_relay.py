"""Same format on both sides: the bytes go through, and what may not go through does not."""

import json
import re
from typing import Any

import pytest

from tests.gateway import KEY, LAB_KEY, SPARE_KEY, Stack, asked, events, whole
from tests.simulator import wire

IDENTS = re.compile(rb"[0-9a-f]{24}")
CHAT = "/v1/chat/completions"
TOOLS = [{"type": "function", "function": {"name": "steer", "parameters": {"type": "object"}}}]


def direct(stack: Stack, fields: dict[str, Any], path: str = CHAT) -> wire.Reply:
    """The simulator's own reply to the same request."""
    fields = {**fields, "model": fields["model"].partition("/")[2]}
    return wire.talk(int(stack.sim_url.rpartition(":")[2]), wire.request(path, fields))


def plain(body: bytes) -> bytes:
    """A body without what counts up from reply to reply."""
    return IDENTS.sub(b"#", body)


@pytest.mark.parametrize(
    "word",
    ["", "unicode", "tools", "think", "refusal", "filtered", "no-usage", "cached=3", "reasoning=7",
     "chunked", "http10", "no-length", "connection-close", "1xx", "trailers", "many-headers=80",
     "huge-headers=30", "gzip", "drip=200000", "delay=20"],
)  # fmt: skip
def test_a_whole_reply_is_the_providers_byte_by_byte(stack: Stack, word: str) -> None:
    fields = asked(f"lab/sim?{word}", tools=TOOLS)
    reply, original = stack.post(fields), direct(stack, fields)
    assert (reply.status, original.status) == (200, 200)
    assert plain(reply.body) == plain(original.text)
    assert reply.complete
    assert not reply.trouble
    assert reply.header("content-encoding") is None


@pytest.mark.parametrize(
    "word",
    ["", "unicode", "tools=2", "think", "refusal", "filtered", "per-chunk=4", "usage-each", "crlf",
     "cr", "comments", "keep-alive=5&ttft=20", "blank", "multiline", "fields", "no-space", "bom",
     "split", "bytes", "split+crlf+comments+unicode", "bytes+multiline+cr", "gzip", "http10",
     "no-length", "connection-close", "1xx", "trailers", "drip=40000", "tokens=0"],
)  # fmt: skip
def test_a_stream_is_the_providers_byte_by_byte(stack: Stack, word: str) -> None:
    fields = asked(
        f"lab/sim?{word}", stream=True, stream_options={"include_usage": True}, tools=TOOLS
    )
    reply, original = stack.post(fields), direct(stack, fields)
    # What comes after [DONE] is nobody's: here it is at most blank lines.
    assert plain(reply.body).rstrip(b"\r\n") == plain(original.text).rstrip(b"\r\n")
    assert b"[DONE]" in reply.body
    assert reply.complete
    assert reply.header("content-type") == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize("word", ["", "crlf", "comments", "bytes", "multiline", "tokens=0"])
def test_a_caller_who_did_not_ask_for_usage_does_not_see_its_chunk(stack: Stack, word: str) -> None:
    fields = asked(f"lab/sim?{word}", stream=True)
    reply = stack.post(fields)
    asking = direct(stack, {**fields, "stream_options": {"include_usage": True}})
    assert len(reply.events) == len(asking.events) - 1
    chunks, theirs = reply.data, asking.data
    assert not any(chunk.get("usage") for chunk in chunks[:-1])
    assert [c["choices"] for c in chunks[:-1]] == [c["choices"] for c in theirs[:-2]]
    assert chunks[-1] == "[DONE]"
    row = stack.row(reply)
    assert row["tokens"]["output"] == theirs[-2]["usage"]["completion_tokens"]
    assert row["tokens"]["input"] == theirs[-2]["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": "Good morning", "max_tokens": 4}),
        ("/v1/embeddings", {"input": ["one", "two"], "dimensions": 4}),
        ("/v1/embeddings", {"input": [[1, 2], [3]], "encoding_format": "base64"}),
        ("/v1/moderations", {"input": "violence"}),
        ("/v1/responses", {"input": "Good morning"}),
        ("/v1/responses", {"input": [{"role": "user", "content": "Hi"}], "max_output_tokens": 3}),
    ],
)
def test_every_endpoint_relays(stack: Stack, path: str, fields: dict[str, Any]) -> None:
    fields = {"model": "lab/sim", **fields}
    original = direct(stack, fields, path)
    for alias in (path, path.removeprefix("/v1"), path + "/", path + "?api-version=1"):
        reply = stack.post(fields, alias)
        assert (reply.status, plain(reply.body)) == (200, plain(original.body)), alias
        assert stack.last()["target"] == path
    row = stack.row(reply)
    assert row["endpoint"] == path.removeprefix("/v1/").replace("/", ".")
    usage = reply.json().get("usage")
    if usage is None:
        assert row["tokens"] is None
    else:
        counted = row["tokens"]["input"] + row["tokens"]["output"]
        assert counted == usage["total_tokens"]


@pytest.mark.parametrize(
    ("path", "last"),
    [("/v1/completions", "[DONE]"), ("/v1/responses", "response.completed")],
)
def test_other_streams_relay(stack: Stack, path: str, last: str) -> None:
    fields = {"model": "lab/sim", "prompt": "Hi", "input": "Hi", "stream": True}
    reply, original = stack.post(fields, path), direct(stack, fields, path)
    if path == "/v1/completions":
        asking = direct(stack, {**fields, "stream_options": {"include_usage": True}}, path)
        assert len(reply.events) == len(asking.events) - 1 == len(original.events)
    else:
        assert plain(reply.body) == plain(original.body)
    final = reply.data[-1]
    assert (final if isinstance(final, str) else final["type"]) == last
    row = stack.row(reply)
    assert (row["status"], row["tokens"]["output"], row["stream"]) == (200, 16, True)


BODIES = [
    b'{"model":"lab/sim","messages":[{"role":"user","content":"hi"}],"temperature":1.0}',
    b' {\n\t"messages" : [ {"content":"\\u00e9 \\"model\\": 1","role":"user"} ] ,\r\n'
    b'  "unknown" : {"model":"deep", "n":1.50E+2, "big":123456789012345678901234567890},\n'
    b'  "model" : "lab/sim" }\n',
    '{"x":"größe 🚀","model":"lab\\/sim","messages":[{"role":"user","content":"hi"}]}'.encode(),
    b'{"metadata":{"model":"lab/sim"},"messages":[],"model":"l\\u0061b/sim","seed":0.10}',
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_is_the_callers_byte_by_byte(stack: Stack, body: bytes, streamed: bool) -> None:
    usage = b'"stream_options":{"include_usage":true}'
    if streamed:
        at = body.index(b"{") + 1
        body = body[:at] + b'"stream":true,' + body[at:]
    reply = stack.post(body)
    assert reply.status == 200
    sent = stack.last_body()
    wanted = re.sub(rb'("model" ?: ?)"l[^"]+sim"(?!\})', rb'\1"sim"', body)
    if streamed:
        wanted = wanted.replace(b'{"stream":true', b'{%b,"stream":true' % usage)
    assert sent == wanted


def test_only_what_an_upstream_may_see_goes_there(stack: Stack) -> None:
    secrets = {
        "x-api-key": "caller-secret-1", "api-key": "caller-secret-2", "cookie": "caller-secret-3",
        "proxy-authorization": "Basic caller-secret-4", "openai-organization": "caller-secret-5",
        "openai-project": "caller-secret-6", "x-forwarded-for": "203.0.113.7", "forwarded": "for=x",
        "user-agent": "the-callers-agent", "accept": "text/x-caller", "x-stainless-os": "Linux",
        "accept-encoding": "br", "referer": "http://caller", "x-sim": "429", "te": "trailers",
        "connection-extra": "1", "x-ferryman-summary": "1",
        "x-request-id": "caller-request", "via": "1.1 caller",
    }  # fmt: skip
    passed = {
        "Idempotency-Key": "once-17", "OpenAI-Beta": "assistants=v2",
        "tracestate": "ferry=1",
    }  # fmt: skip
    trace = "00-0af7651916cd43dd8448eb211c80319c-"
    parent = {"TraceParent": f"{trace}b7ad6b7169203331-01"}
    reply = stack.chat("lab/sim", headers={**secrets, **passed, **parent})
    assert reply.status == 200
    headers = stack.last()["headers"]
    names = [name.lower() for name, _ in headers]
    assert sorted(names) == sorted(
        ["host", "content-type", "accept-encoding", "user-agent", "authorization", "x-team",
         "content-length", "traceparent", *map(str.lower, passed)]
    )  # fmt: skip
    found = stack.last_headers()
    assert found["authorization"] == f"Bearer {LAB_KEY}"
    assert found["host"] == stack.sim_url.removeprefix("http://")
    assert found["x-team"] == "ferry"
    assert found["user-agent"].startswith("ferryman/")
    assert {name: found[name.lower()] for name in passed} == passed
    assert found["traceparent"].startswith(trace)
    assert found["traceparent"] != parent["TraceParent"], "our attempt is the parent"
    everything = json.dumps(stack.last())
    assert "caller" not in everything
    assert KEY not in everything


def test_each_provider_gets_its_own_key_in_its_own_way(stack: Stack) -> None:
    assert stack.chat("spare/sim").status == 200
    found = stack.last_headers()
    assert found["x-spare-key"] == SPARE_KEY
    assert "authorization" not in found
    assert stack.chat("chatty/sim").status == 200
    assert LAB_KEY not in json.dumps(stack.last())
    assert "authorization" not in stack.last_headers()


def test_a_provider_that_refuses_stream_options_does_not_get_them(stack: Stack) -> None:
    reply = stack.stream("silent/sim", stream_options={"include_usage": True})
    assert reply.status == 200
    assert "stream_options" not in json.loads(stack.last_body())
    assert stack.stream("silent/sim").status == 200
    assert "stream_options" not in json.loads(stack.last_body())


def test_headers_of_the_hop_and_of_the_provider_stay_there(stack: Stack) -> None:
    dropped = [
        b"set-cookie: session=1", b"Set-Cookie2: a", b"server: theirs", b"date: yesterday",
        b"keep-alive: timeout=5", b"alt-svc: h3=x", b"strict-transport-security: max-age=1",
        b"cache-control: public", b"access-control-allow-origin: *", b"proxy-authenticate: x",
        b"x-ferryman-cost-usd: 99", b"x-ferryman-request-id: theirs", b"X-Ferryman-Provider: them",
        b"x-ferryman-error: none", b"connection: keep-alive", b"x-accel-redirect: /etc/passwd",
        b"x-sendfile: /etc/passwd", b"location: http://evil", b"refresh: 0; url=http://evil",
        b"clear-site-data: *", b"www-authenticate: Basic", b"content-security-policy: x",
        b"access-control-allow-credentials: true", b"link: <x>; rel=preload", b"vary: *",
        b"x-ferryman-policy: theirs", b"etag: 1", b"some-name-of-their-own: 1",
    ]  # fmt: skip
    kept = [b"x-request-id: theirs-7", b"openai-processing-ms: 12", b"x-ratelimit-limit: 5",
            b"anthropic-organization-id: o", b"retry-after: 7", b"server-timing: a",
            b"x-own: 1"]  # fmt: skip
    body = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    stack.canned.answers = [whole(body, *dropped, *kept)] * 2
    for _ in range(2):
        reply = stack.chat("canned/m")
        assert (reply.status, reply.body) == (200, body)
        names = [name for name, _ in reply.headers]
        assert sorted(set(names)) == sorted(names), "no header twice"
        for line in dropped:
            name, _, value = line.lower().partition(b": ")
            if name not in (b"connection", b"date"):
                assert (name, value) not in reply.headers
        for line in kept:
            name, _, value = line.partition(b": ")
            assert (name, value) in reply.headers
        assert reply.header("x-ferryman-provider") == "canned"
        assert reply.header("date") != "yesterday"


def test_fields_named_by_connection_are_of_the_hop_too(stack: Stack) -> None:
    body = b'{"choices":[]}'
    stack.canned.answers = [
        whole(
            body, b"connection: keep-alive, X-Hop, x-other", b"x-hop: 1", b"X-Other: 2", b"x-c: 3"
        )
    ]
    reply = stack.chat("canned/m")
    assert reply.body == body
    assert (reply.header("x-hop"), reply.header("x-other"), reply.header("x-c")) == (
        None,
        None,
        "3",
    )


@pytest.mark.parametrize(
    "name",
    ["m\r\nx-injected: 1", "m\nx-injected: 1", "m\r\n\r\nHTTP/1.1 200 OK", "m\0x", "m\tx", "mö🚀",
     "m x-injected: 1", "m\u2028x", "%0d%0ax-injected: 1", "m\x7f", "../../admin", "m?x=1#y"],
)  # fmt: skip
def test_a_models_name_cannot_become_a_header(stack: Stack, name: str) -> None:
    stack.canned.answers = [whole(b'{"choices":[]}')]
    stack.canned.requests.clear()
    reply = stack.chat(f"canned/{name}")
    assert reply.status == 200
    assert reply.header("x-injected") is None
    assert not reply.trouble
    shown = reply.header("x-ferryman-model")
    assert shown is not None
    assert shown.isascii()
    assert shown.isprintable()
    [(_, request)] = stack.canned.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"injected" not in head
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert json.loads(body)["model"] == name
    assert stack.row(reply)["target"] == name.replace("\0", "\ufffd")


def test_ferrymans_own_headers_tell_of_the_call(stack: Stack) -> None:
    reply = stack.chat("lab/sim?cached=1&reasoning=2")
    row = stack.row(reply)
    assert re.fullmatch(r"req_[0-9a-f]{30}", reply.header("x-ferryman-request-id") or "")
    assert reply.header("x-ferryman-provider") == row["provider"] == "lab"
    assert reply.header("x-ferryman-model") == row["target"]
    assert reply.header("x-ferryman-attempts") == "1"
    assert float(reply.header("x-ferryman-overhead-ms") or "x") >= 0
    # 3 fresh and 1 cached token in, 16 visible and 2 reasoning tokens out
    assert row["tokens"]["cache_read"] == 1
    assert row["tokens"]["reasoning"] == 2
    assert reply.header("x-ferryman-cost-usd") == row["cost_usd"] == "0.00004325"
    assert reply.header("x-ferryman-error") is None


def test_an_unpriced_model_has_no_cost_rather_than_none(stack: Stack) -> None:
    reply = stack.chat("spare/sim")
    assert reply.header("x-ferryman-cost-usd") is None
    assert stack.row(reply)["cost_usd"] is None


@pytest.mark.parametrize("asks", ["1", "true", "yes"])
def test_a_stream_ends_in_a_summary_for_those_who_ask(stack: Stack, asks: str) -> None:
    reply = stack.stream("lab/sim", headers={"x-ferryman-summary": asks})
    *_, comment, done, rest = reply.body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    assert comment.startswith(b": ferryman {")
    summary = json.loads(comment[11:])
    row = stack.row(reply)
    assert summary == {
        "request_id": reply.header("x-ferryman-request-id"),
        "provider": "lab",
        "model": "sim",
        "attempts": 1,
        "cost_usd": row["cost_usd"],
        "usage": row["tokens"],
    }
    assert row["cost_usd"] == "0.000036"
    assert all(isinstance(e, dict) or e == "[DONE]" for e in reply.data)


@pytest.mark.parametrize("headers", [{}, {"x-ferryman-summary": "0"}, {"x-ferryman-summary": "no"}])
def test_no_summary_for_others(stack: Stack, headers: dict[str, str]) -> None:
    assert b"ferryman" not in stack.stream("lab/sim", headers=headers).body
    assert b": ferryman" not in stack.chat("lab/sim", headers={"x-ferryman-summary": "1"}).body


def test_a_summary_comes_before_a_response_that_ends_and_an_error_too(stack: Stack) -> None:
    fields = {"model": "lab/sim", "input": "Hi", "stream": True}
    reply = stack.post(fields, "/v1/responses", headers={"x-ferryman-summary": "1"})
    assert reply.body.index(b": ferryman {") < reply.body.index(b"event: response.completed")
    cut = stack.stream("lab/sim-cut", headers={"x-ferryman-summary": "1"})
    assert cut.body.index(b": ferryman {") < cut.body.index(b'"upstream_stream_truncated"')


def test_usage_and_ends_in_one_piece_or_many(stack: Stack) -> None:
    pieces = [
        b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n',
        b"data: [DONE]\n\n",
    ]
    all_in_one = b"".join(pieces)
    stack.canned.answers = [
        events(*pieces),
        events(all_in_one),
        events(*(bytes([byte]) for byte in all_in_one)),
    ]
    for _ in range(3):
        reply = stack.stream("canned/m")
        assert reply.body == pieces[0] + pieces[2]
        row = stack.row(reply)
        assert (row["tokens"]["input"], row["tokens"]["output"]) == (5, 6)


def test_a_provider_that_does_not_stream_though_asked_is_relayed_whole(stack: Stack) -> None:
    body = b'{"choices":[{"message":{}}],"usage":{"prompt_tokens":5,"completion_tokens":6}}'
    stack.canned.answers = [whole(body)]
    reply = stack.stream("canned/m")
    assert (reply.status, reply.body) == (200, body)
    assert stack.row(reply)["tokens"]["output"] == 6
