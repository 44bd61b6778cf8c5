"""Callers that send what they should not: a clear refusal, a stable code, and life goes on."""

import base64
import json
import socket
import time
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai

from ferryman.meter.keys import digest
from ferryman.meter.strikes import MOST_STRANGERS
from tests.gateway import KEY, Stack, asked, error_of
from tests.processes import until
from tests.simulator import wire

CHAT = "/v1/chat/completions"


def refused(stack: Stack, body: Any, path: str = CHAT) -> dict[str, Any]:
    """The error of a call that must not reach any provider."""
    before = stack.stats()["requests"]
    reply = stack.post(body, path)
    error = error_of(reply)
    assert reply.status == 400
    assert error["type"] == "invalid_request_error"
    assert error["code"] == reply.header("x-ferryman-error") == "invalid_request"
    assert error["request_id"] == reply.header("x-ferryman-request-id")
    assert stack.stats()["requests"] == before
    row = stack.row(reply)
    assert (row["status"], row["error"], row["cost_usd"], row["attempts"]) == (
        400, "invalid_request", "0", 0)  # fmt: skip
    return error


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (b"", None, "empty"),
        (b"{", None, "not valid JSON"),
        (b"[]", None, "object"),
        (b'[{"model":"lab/sim"}]', None, "object"),
        (b"null", None, "object"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, None, "not valid JSON"),
        (b"\x00" * 1000, None, "not valid JSON"),
        (b"\xef\xbb\xbf" + json.dumps(asked("lab/sim")).encode(), None, "not valid JSON"),
        (json.dumps(asked("lab/sim")).encode("utf-16"), None, "not valid JSON"),
        (b'{"model":NaN}', None, "not valid JSON"),
        (b'{"model":"lab/sim","messages":["\\ud800"]}', None, "not valid JSON"),
        (b'{"a":' * 100_000, None, "deep"),
        (b'{"model":"lab/sim","messages":' + b"[" * 1_000_000, None, "deep"),
        (b'{"messages":[]}', "model", "missing"),
        (b'{"model":5,"messages":[]}', "model", "string"),
        (b'{"model":null,"messages":[]}', "model", "string"),
        (b'{"model":"","messages":[]}', "model", "1 to"),
        (b'{"model":"%b","messages":[]}' % (b"m" * 100_000), "model", "1 to"),
        (b'{"model":"lab/sim"}', "messages", "missing"),
        (b'{"model":"lab/sim","messages":"hi"}', "messages", "array"),
        (b'{"model":"lab/sim","messages":[],"stream":"true"}', "stream", "true or false"),
        (b'{"model":"lab/sim","messages":[],"max_tokens":-5}', "max_tokens", "negative"),
        (b'{"model":"lab/sim","messages":[],"max_tokens":1.5}', "max_tokens", "integer"),
        (b'{"model":"lab/sim","messages":[],"stream":true,"stream_options":1}', "stream_options",
         "object"),
        (b'{"model":"lab/sim","messages":[],"metadata":[1]}', "metadata", "metadata"),
        (b'{"\xff":1,"model":"lab/sim","messages":["\\u0041"]}', None, "UTF-8"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_bodies_that_are_no_requests(stack: Stack, body: bytes, param: str, says: str) -> None:
    error = refused(stack, body)
    assert says in error["message"]
    assert error["param"] == param


@pytest.mark.parametrize(
    "member", [b'"max_tokens":%b' % (b"9" * 18), b'"seed":%b' % (b"9" * 5000), b'"x":1e999']
)
def test_numbers_beyond_reason_break_nothing(stack: Stack, member: bytes) -> None:
    body = b'{"model":"lab/sim","messages":[],%b}' % member
    reply = stack.post(body)
    assert reply.status in (200, 400), "as the provider likes"
    assert stack.last_body() == body.replace(b"lab/", b"")
    assert stack.row(reply)["status"] == reply.status


def test_of_a_key_written_twice_the_last_counts(stack: Stack) -> None:
    body = b'{"model":"spare/sim-429","messages":[],"model":"lab/sim"}'
    reply = stack.post(body)
    assert (reply.status, reply.header("x-ferryman-provider")) == (200, "lab")
    assert stack.last_body() == b'{"model":"sim","messages":[]}'


def _big(size: int) -> bytes:
    """A chat request of ``size`` bytes."""
    start, end = b'{"model":"lab/sim","messages":[{"role":"user","content":"', b'"}]}'
    return start + b"x" * (size - len(start) - len(end)) + end


def test_a_body_up_to_the_limit_is_taken_and_one_above_is_refused(stack: Stack) -> None:
    limit = 52_428_800
    reply = stack.post(_big(limit))
    assert reply.status == 200
    sent = stack.last_body()
    assert len(sent) == limit - len("lab/")
    assert sent == _big(limit).replace(b"lab/", b"", 1)
    for size in (limit + 1, limit * 2):
        over = stack.post(_big(size))
        assert (over.status, error_of(over)["code"]) == (413, "body_too_large")
        assert str(limit) in error_of(over)["message"]
    assert stack.chat("lab/sim").status == 200


def test_a_compressed_body_is_refused_with_advice(stack: Stack) -> None:
    reply = stack.post(b"\x1f\x8b" + b"0" * 50, headers={"content-encoding": "gzip"})
    assert (reply.status, error_of(reply)["code"]) == (415, "unsupported_media_type")
    assert "without compression" in error_of(reply)["message"]
    plain = stack.post(asked("lab/sim"), headers={"content-encoding": "identity"})
    assert plain.status == 200


# -- keys -----------------------------------------------------------------------------------------


def _refusal(reply: wire.Reply) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
    """A refusal without what differs from call to call."""
    error = error_of(reply)
    del error["request_id"]
    changing = (b"date", b"x-ferryman-request-id", b"content-length")
    return reply.status, error, [pair for pair in reply.headers if pair[0] not in changing]


def test_every_wrong_key_gets_the_same_answer(stack: Stack) -> None:
    revoked = stack.admin("POST", "/api/v1/keys", {"name": "for-revocation"}).json()["key"]
    expired = stack.admin("POST", "/api/v1/keys", {"name": "short", "expires_in": 3}).json()["key"]
    for key in (revoked, expired):
        until(lambda key=key: stack.post(asked("lab/sim"), key=key).status == 200, "its first call")
    stack.admin("DELETE", "/api/v1/keys/for-revocation")
    for key in (revoked, expired):
        until(lambda key=key: stack.post(asked("lab/sim"), key=key).status == 401, "its end")
    before = stack.stats()["requests"]
    keys = [revoked, expired, "fm-" + "x" * 49, "wrong", "", "é", KEY + "x", KEY[:-1], "a" * 5000]
    pepper = (stack.data / "secrets" / "pepper").read_text().strip().encode()
    kept = digest(pepper, KEY.encode())  # all that the database has of a key
    keys += [kept.hex(), base64.b64encode(kept).decode(), "%", "*"]
    keys += [row["id"] for row in stack.admin("GET", "/api/v1/keys").json()["data"][:1]]
    keys += ["eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "' OR '1'='1", "fm-\uff21"]
    keys += [(stack.data / "secrets" / name).read_text().strip() for name in
             ("admin-token", "feed-token")]  # fmt: skip
    answers = [_refusal(stack.post(asked("lab/sim"), key=key)) for key in keys]
    answers.append(_refusal(stack.post(asked("lab/sim"), key=None)))
    for sent in ({"authorization": f"Basic {KEY}"}, {"authorization": KEY}, {"x-api-key": "no"},
                 {"authorization": f"bearer{KEY}"}, {"authorization": "Bearer"}):  # fmt: skip
        answers.append(_refusal(stack.post(asked("lab/sim"), key=None, headers=sent)))
    for body in (b"{", b"", asked("no-such-model")):
        answers.append(_refusal(stack.post(body, key="wrong")))
    status, error, headers = answers[0]
    assert status == 401
    assert error["code"] == "invalid_api_key"
    assert error["type"] == "authentication_error"
    assert (b"www-authenticate", b"Bearer") in headers
    assert all(answer == answers[0] for answer in answers)
    assert stack.stats()["requests"] == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY} "},
        {"AUTHORIZATION": f"BEARER {KEY}"},
        {"x-api-key": KEY},
        {"Api-Key": KEY},
        {"authorization": "Basic xyz", "api-key": KEY},
    ],
)
def test_a_key_may_come_in_any_of_the_usual_headers(stack: Stack, headers: dict[str, str]) -> None:
    assert stack.post(asked("lab/sim"), key=None, headers=headers).status == 200


def test_a_flood_of_strangers_is_told_to_slow_down_and_who_has_a_key_is_served(
    tmp_path: Path,
) -> None:
    config = "providers: { lab: { base_url: SIM/v1, auth: none } }"
    with Stack(tmp_path, config).served() as own:
        client = openai.OpenAI(base_url=own.endpoint, api_key="guess", max_retries=5)
        refused: list[int] = []
        while not refused or refused[-1] != 429:
            assert len(refused) <= 2 * MOST_STRANGERS, "they are told on and on"
            try:
                client.models.list()
            except openai.APIStatusError as error:
                refused.append(error.status_code)
                last = error
        assert set(refused[:-1]) == {401}
        assert last.code == "rate_limit_exceeded"
        assert last.response.headers["x-should-retry"] == "false", "so the SDK did not"
        assert own.chat("lab/sim").status == 200


def test_a_refused_stranger_is_not_in_the_ledger_but_in_the_metrics(stack: Stack) -> None:
    def strangers() -> float:
        page = stack.get("/metrics").body.decode()
        lines = [line for line in page.splitlines() if line.startswith("ferryman_calls_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines if 'status="401"' in line)

    before = strangers()
    reply = stack.post(asked("lab/sim"), key="wrong")
    assert strangers() == before + 1
    known = stack.chat("lab/sim")
    stack.row(known)  # what came later is there
    ident = reply.header("x-ferryman-request-id")
    assert stack.admin("GET", f"/api/v1/calls?request_id={ident}").json()["data"] == []


# -- names and paths ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "near"),
    [("quik", "quick"), ("lab2/sim-echo", None), ("plan-c", "plan-b"), ("shaers", "shares"),
     ("zzzzzz", None), ("lab/", None), ("/sim", None), ("🚢", None), ("x" * 512, None)],
)  # fmt: skip
def test_an_unknown_model_says_which_are_near(stack: Stack, model: str, near: str | None) -> None:
    for _ in range(2):
        reply = stack.chat(model)
        error = error_of(reply)
        assert (reply.status, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert "/v1/models" in error["message"]
        assert len(error["message"]) < 400
        if near is not None:
            assert f"Near: {near}" in error["message"]
    assert stack.row(reply)["model"] == model[:200]


def test_an_inactive_provider_names_what_to_set(stack: Stack) -> None:
    for model in ("asleep/anything", "dreaming"):
        reply = stack.chat(model)
        error = error_of(reply)
        assert (reply.status, error["code"]) == (404, "model_not_found")
        assert "asleep (set A_VARIABLE_NOBODY_SETS)" in error["message"]
    bare = error_of(stack.chat("gpt-4o-mini"))
    assert "OPENAI_API_KEY" in bare["message"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"), ("PUT", "/v1/embeddings", "POST"), ("GET", "/completions", "POST"),
        ("OPTIONS", "/v1/responses", "POST"), ("POST", "/v1/models", "GET"),
        ("PATCH", "/v1/models/lab%2Fsim", "GET"), ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/metrics", "GET"), ("POST", "/", "GET, HEAD"),
    ],
)  # fmt: skip
def test_a_wrong_method_says_which_is_right(
    stack: Stack, method: str, path: str, allow: str
) -> None:
    request = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
    reply = wire.talk(stack.port, f"{request}connection: close\r\n\r\n".encode())
    assert (reply.status, reply.header("allow")) == (405, allow)
    assert error_of(reply)["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v2/chat/completions", "/v1/chat", "/v1/chat/completions/x", "/v1/audio/song", "/x",
     "/v1/responses/resp_1", "/api/v1/keys", "//v1/models", "/v1/../metrics", "/%00"],
)  # fmt: skip
def test_an_unknown_path_says_what_there_is(stack: Stack, path: str) -> None:
    for method in ("GET", "POST"):
        request = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n"
        reply = wire.talk(stack.port, f"{request}connection: close\r\n\r\n".encode())
        assert reply.status == 404
        assert error_of(reply)["code"] == reply.header("x-ferryman-error") == "not_found"
        assert "/v1/chat/completions" in error_of(reply)["message"]


def test_http_refusals_have_the_same_shape(stack: Stack) -> None:
    cases = [
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
    ]
    for request, status in cases:
        reply = wire.talk(stack.port, request)
        assert reply.status == status
        assert error_of(reply)["request_id"] == reply.header("x-ferryman-request-id")
        assert error_of(reply)["code"] == reply.header("x-ferryman-error")


MALFORMED = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"


@pytest.mark.parametrize(
    "path",
    [b"/v1/messages", b"/messages/", b"/v1/messages/count_tokens?beta=true",
     b"http://x/v1/messages"],
)  # fmt: skip
def test_http_refusals_on_paths_of_messages_have_their_shape(stack: Stack, path: bytes) -> None:
    reply = wire.talk(stack.port, MALFORMED % path)
    assert reply.status == 400
    said = reply.json()
    assert (said["type"], said["error"]["type"]) == ("error", "invalid_request_error")
    assert said["error"]["code"] == reply.header("x-ferryman-error") == "malformed_http"
    assert said["request_id"] == reply.header("x-ferryman-request-id")


@pytest.mark.parametrize(
    "path",
    [b"/v1beta/models/m:generateContent", b"/v1/models/m:streamGenerateContent?alt=sse",
     b"/models/a/b:countTokens", b"/v1beta/"],
)  # fmt: skip
def test_http_refusals_on_paths_of_generate_have_their_shape(stack: Stack, path: bytes) -> None:
    reply = wire.talk(stack.port, MALFORMED % path)
    said = reply.json()["error"]
    assert (reply.status, said["code"], said["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert said["details"][0]["metadata"] == {
        "code": "malformed_http",
        "request_id": reply.header("x-ferryman-request-id"),
    }


@pytest.mark.parametrize("path", [b"/v1/responses", b"/v1/models/a:b", b"/v1/embeddings", b"/x"])
def test_http_refusals_elsewhere_have_openais_shape(stack: Stack, path: bytes) -> None:
    assert error_of(wire.talk(stack.port, MALFORMED % path))["code"] == "malformed_http"


MANY = {f"x-{number}": "y" for number in range(200)}


def test_the_vendors_own_sdks_read_http_refusals(stack: Stack) -> None:
    claude = anthropic.Anthropic(base_url=stack.url, api_key=KEY, max_retries=0)
    with pytest.raises(anthropic.APIStatusError) as messages:
        claude.messages.create(
            model="lab/sim",
            max_tokens=9,
            messages=[{"role": "user", "content": "Hi"}],
            extra_headers=MANY,
        )
    assert messages.value.status_code == 431
    assert messages.value.type == "invalid_request_error"
    options = genai.types.HttpOptions(base_url=stack.url, headers=MANY)
    gemini = genai.Client(api_key=KEY, vertexai=False, http_options=options)
    with pytest.raises(genai.errors.ClientError) as generate:
        gemini.models.generate_content(model="lab/sim", contents="Hi")
    assert (generate.value.code, generate.value.status) == (431, "INVALID_ARGUMENT")
    assert "header fields" in str(generate.value.message)


# -- callers that leave ---------------------------------------------------------------------------


def _leave(stack: Stack, model: str, *, streamed: bool, after: bytes) -> str:
    """Call, read until ``after`` is there, hang up. Returns the request id, if it came."""
    request = wire.request(CHAT, asked(model, stream=streamed), {"Authorization": f"Bearer {KEY}"})
    with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as link:
        link.sendall(request)
        raw = b""
        while after not in raw:
            raw += link.recv(65536)
        until(lambda: stack.stats()["active"] >= 1, "the call at the provider")
    head = raw.partition(b"x-ferryman-request-id: ")[2]
    return head.partition(b"\r\n")[0].decode()


def test_a_caller_that_leaves_a_stream_ends_the_providers_work(stack: Stack) -> None:
    stack.forget()
    ident = _leave(stack, "lab/sim?tps=2&tokens=500", streamed=True, after=b'"content":"The"')
    until(lambda: stack.stats()["cancelled"] == 1, "the end of the provider's work")
    assert stack.stats()["active"] == 0
    row = stack.row(ident)
    assert (row["status"], row["error"]) == (499, "client_closed_request")
    assert (row["tokens"], row["cost_usd"]) == (None, None), "what it said by then is not known"
    assert row["ttft_ms"] is not None


@pytest.mark.parametrize("streamed", [False, True])
def test_a_caller_that_leaves_before_the_answer_ends_the_providers_work(
    stack: Stack, streamed: bool
) -> None:
    stack.forget()
    begun = time.time()
    _leave(stack, f"lab/sim-hang?at={int(streamed)}", streamed=streamed, after=b"")
    until(lambda: stack.stats()["cancelled"] == 1, "the end of the provider's work")
    path = "/api/v1/calls?status=499&limit=1"
    model = f"lab/sim-hang?at={int(streamed)}"

    def row() -> Any:
        found = stack.admin("GET", path).json()["data"]
        return found and found[0]["model"] == model and found[0]

    left = until(row, "its row")
    assert left["error"] == "client_closed_request"
    assert left["cost_usd"] is None
    assert left["time"] >= time.strftime("%Y-%m-%dT%H:%M", time.gmtime(begun - 60))
    assert stack.chat("lab/sim").status == 200


def test_a_caller_that_reads_slowly_gets_everything(stack: Stack) -> None:
    """Its buffers fill up on the way, and nothing is lost."""
    request = wire.request(
        CHAT, asked("lab/sim?tokens=6000", stream=True), {"Authorization": f"Bearer {KEY}"}
    )
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.settimeout(30)
        link.connect(("127.0.0.1", stack.port))
        link.sendall(request)
        time.sleep(0.5)
        raw = b""
        while piece := link.recv(65536):
            raw += piece
    assert raw.count(b'"delta":{"content":') == 6000
    assert raw.rstrip().endswith(b"0")
    assert b"data: [DONE]" in raw
