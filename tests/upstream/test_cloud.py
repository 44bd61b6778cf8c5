"""Credentials of clouds: real libraries, real sockets, and the library's own word on signatures."""

import asyncio
import base64
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ferryman.config.snapshot import Provider
from ferryman.http1.connect import Connector
from ferryman.http1.drive import Drive
from ferryman.http1.pool import Pools
from ferryman.upstream import cloud
from ferryman.upstream.fleet import Runtime
from ferryman.upstream.reply import Reply

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ACCESS, TOKEN = "AKIDEXAMPLE", "a-session-token/with+signs=="


class Server:
    """A server on loopback: ``answer`` is given the handler and the body, and returns JSON."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler, bytes], tuple[int, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, value = answer(self, body)
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def end(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No credentials of this machine, none of another test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
                 "AWS_REGION", "GOOGLE_APPLICATION_CREDENTIALS"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    cloud.forget()
    yield
    cloud.forget()


def run(work: Callable[[], Awaitable[None]]) -> None:
    """``work`` in a loop of its own, driven as the request path is."""

    async def main() -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def whole() -> None:
            await work()
            done.set_result(None)

        Drive(whole(), done.set_exception)
        await done

    asyncio.run(main())


async def call(
    provider: Provider, endpoint: str, model: str, body: bytes, stream: bool = False
) -> int:
    """The status that ``provider`` answers a request with."""
    loop = asyncio.get_running_loop()
    pools = Pools(Connector(loop))
    runtime = Runtime(provider, [], pools, None)
    head = runtime.head(endpoint, model, stream)
    assert head is not None
    assert runtime.signer is not None
    assert await runtime.signer.ready(time.time()) == ""
    lines = runtime.signature(head, body, time.time())
    reply = Reply(loop.time, None)
    connection = await runtime.pool.connect(5)
    until = loop.time() + 60
    connection.send(reply, head + b"%d\r\n%b\r\n" % (len(body), lines), body, 30, 30, until)
    await reply.ready
    pools.close()
    assert reply.fault is None
    return reply.status


# -- AWS ------------------------------------------------------------------------------------------


def judged(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
    """200 when botocore makes the same signature of the request as it came."""
    given = dict(
        part.strip().split("=", 1)
        for part in handler.headers["authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(",")
    )
    scope = given["Credential"].split("/")
    request = AWSRequest(
        method=handler.command,
        url=f"http://{handler.headers['host']}{handler.path}",
        data=body,
        headers={name: handler.headers[name] for name in given["SignedHeaders"].split(";")},
    )
    request.context["timestamp"] = handler.headers["x-amz-date"]
    auth = SigV4Auth(Credentials(ACCESS, SECRET, TOKEN), scope[3], scope[2])
    text = auth.string_to_sign(request, auth.canonical_request(request))
    ok = scope[0] == ACCESS and auth.signature(text, request) == given["Signature"]
    ok = ok and handler.headers["x-amz-security-token"] == TOKEN
    ok = ok and {"host", "x-amz-date", "x-amz-security-token"} <= set(
        given["SignedHeaders"].split(";")
    )
    return (200 if ok and scope[2:4] == ["eu-west-3", "bedrock"] else 403), {}


@pytest.mark.parametrize(
    "model",
    ["amazon.nova-pro-v1:0", "arn:aws:bedrock:eu-west-3:1:inference-profile/eu.x-v1:0", "a b@ü~!*"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_aws_would_accept_the_signature(
    model: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    server = Server(judged)
    provider = Provider(
        name="p", format="bedrock_converse", base_url=server.url, auth="sigv4", region="eu-west-3"
    )

    async def work() -> None:
        for body in (b"{}", b'{"messages": []}' * 1000):
            assert await call(provider, "converse", model, body, stream) == 200

    run(work)
    server.end()


def test_a_queried_path_is_signed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    server = Server(judged)
    provider = Provider(
        name="p",
        format="openai_chat",
        base_url=f"{server.url}/v1",
        auth="sigv4",
        region="eu-west-3",
        paths=(("chat.completions", "/chat/{model}?b=2&a=1"),),
    )

    async def work() -> None:
        assert await call(provider, "chat.completions", "m:1", b"{}") == 200

    run(work)
    server.end()


def test_the_region_is_in_the_hosts_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "ca-central-1")
    found = {}
    for host, region in (
        ("bedrock-runtime.us-gov-west-1.amazonaws.com", "eu-west-1"),
        ("vpce-1.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", ""),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", ""),
        ("proxy.us-east-1.example.com", "eu-west-1"),
        ("10.0.0.7", ""),
    ):
        signer = cloud.signer_of("sigv4", region, host)
        assert isinstance(signer, cloud.AwsSigner)
        found[host] = signer._region
    assert list(found.values()) == [
        "us-gov-west-1", "ap-southeast-2", "cn-north-1", "eu-west-1", "ca-central-1"
    ]  # fmt: skip
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ValueError, match="region"):
        cloud.signer_of("sigv4", "eu", "10.0.0.7")
    assert cloud.signer_of("bearer", "", "10.0.0.7") is None


def test_a_profile_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"[work]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "work")

    async def work() -> None:
        signer = cloud.signer_of("sigv4", "eu-west-3", "h")
        assert signer is not None
        assert await signer.ready(time.time()) == ""
        lines = signer.lines("POST", "/x", "h", b"", 1_700_000_000)
        assert lines.startswith(b"x-amz-date: 20231114T221320Z\r\nauthorization: AWS4-HMAC-SHA256 ")
        assert lines.endswith(b"\r\n")
        assert SECRET.encode() not in lines
        assert SECRET not in repr(signer._chain._grant)  # type: ignore[attr-defined]

    run(work)


def test_without_any_the_reason_says_so() -> None:
    async def work() -> None:
        signer = cloud.signer_of("sigv4", "eu-west-3", "h")
        assert signer is not None
        why = await signer.ready(time.time())
        assert why == "NoCredentialsError: Unable to locate credentials"
        assert await signer.ready(time.time()) == why

    run(work)


def test_a_containers_role_is_renewed_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    life = 700.0

    def role(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
        nonlocal asked
        asked += 1
        end = time.gmtime(time.time() + life)
        return 200, {
            "AccessKeyId": f"AKID{asked}",
            "SecretAccessKey": SECRET,
            "Token": TOKEN,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", end),
        }

    server = Server(role)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/role")

    async def work() -> None:
        nonlocal life
        signer = cloud.signer_of("sigv4", "eu-west-3", "h")
        assert signer is not None

        def who() -> bytes:
            return signer.lines("POST", "/", "h", b"", now).partition(b"Credential=")[2][:5]

        now = time.time()
        assert await signer.ready(now) == ""
        first = asked
        assert who() == b"AKID%d" % first
        assert await signer.ready(now + 30) == ""
        assert asked == first
        life = 3600.0
        # after a minute the library is asked again, and renews what ends in less than 15 minutes
        assert await signer.ready(now + 61) == "", "the old ones serve meanwhile"
        while who() == b"AKID%d" % first:
            await _moment()
        assert asked == first + 1
        grant = signer._chain._grant  # type: ignore[attr-defined]
        assert await signer.ready(now + 122) == ""
        while signer._chain._grant is grant:  # type: ignore[attr-defined]
            await _moment()
        assert asked == first + 1, "what is good for an hour is not asked for again"

    run(work)
    server.end()


async def _moment() -> None:
    """A short wait that a driven coroutine can make."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.call_later(0.01, future.set_result, None)
    await future


# -- Google ---------------------------------------------------------------------------------------

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = PRIVATE.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


class TokenServer(Server):
    """A token endpoint that checks the assertion's signature."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.asked = 0
        self.status = 200
        self.lifetime = 3600
        self.hold = threading.Event()
        self.hold.set()

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
        self.asked += 1
        self.hold.wait(10)
        if self.status != 200:
            return self.status, {"error": "invalid_grant", "error_description": "No such account"}
        (assertion,) = parse_qs(body.decode())["assertion"]
        signed, _, signature = assertion.rpartition(".")
        PRIVATE.public_key().verify(
            _unpadded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        claims = json.loads(_unpadded(signed.partition(".")[2]))
        assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        token = f"ya29.token-{self.asked}"
        return 200, {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TokenServer]:
    server = TokenServer()
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k",
        "private_key": PEM,
        "client_email": "ferry@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{server.url}/token",
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    yield server
    server.end()


def google() -> cloud.Signer:
    signer = cloud.signer_of("google", "", "us-east5-aiplatform.googleapis.com")
    assert signer is not None
    return signer


def token_of(signer: cloud.Signer) -> bytes:
    return signer.lines("POST", "/x", "h", b"", 0)


def test_a_service_accounts_token_is_sent(tokens: TokenServer) -> None:
    seen: list[str] = []

    def vertex(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
        seen.append(f"{handler.path} {handler.headers['authorization']}")
        return 200, {}

    server = Server(vertex)
    provider = Provider(
        name="p",
        format="anthropic_messages",
        base_url=f"{server.url}/v1/projects/p/locations/l",
        auth="google",
        endpoints=("messages",),
        paths=(("messages", "/publishers/anthropic/models/{model}:rawPredict"),),
    )

    async def work() -> None:
        for _ in range(2):
            assert await call(provider, "messages", "claude-sonnet-5@default", b"{}") == 200

    run(work)
    server.end()
    path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-5@default"
    assert seen == [f"{path}:rawPredict Bearer ya29.token-1"] * 2
    assert tokens.asked == 1


def test_a_token_is_renewed_ahead_while_the_old_one_serves(tokens: TokenServer) -> None:
    async def work() -> None:
        signer = google()
        now = time.time()
        assert await signer.ready(now) == ""
        assert token_of(signer) == b"authorization: Bearer ya29.token-1\r\n"
        assert await signer.ready(now + 2900) == ""
        assert tokens.asked == 1, "ten minutes ahead is early enough"
        tokens.hold.clear()
        for _ in range(3):
            assert await signer.ready(now + 3600 - 301) == "", "no call waits for it"
        assert token_of(signer) == b"authorization: Bearer ya29.token-1\r\n"
        tokens.hold.set()
        while token_of(signer) != b"authorization: Bearer ya29.token-2\r\n":
            await _moment()
        assert tokens.asked == 2

    run(work)


def test_a_crowd_asks_once(tokens: TokenServer) -> None:
    tokens.hold.clear()

    async def main() -> None:
        signer = google()
        loop = asyncio.get_running_loop()
        crowd = [loop.create_task(signer.ready(time.time())) for _ in range(50)]
        await asyncio.sleep(0.05)
        crowd[0].cancel()  # one who leaves takes nobody along
        tokens.hold.set()
        found = await asyncio.gather(*crowd, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert found[1:] == [""] * 49

    asyncio.run(main())
    assert tokens.asked == 1


def test_a_refusal_is_told_and_tried_again_later(tokens: TokenServer) -> None:
    tokens.status = 400

    async def work() -> None:
        signer = google()
        now = time.time()
        why = await signer.ready(now)
        assert why == "RefreshError: invalid_grant: No such account"
        asked = tokens.asked
        assert await signer.ready(now + 1) == why
        assert tokens.asked == asked, "not for every call"
        tokens.status = 200
        assert await signer.ready(now + 6) == ""

    run(work)


def test_an_old_token_serves_while_new_ones_are_refused(tokens: TokenServer) -> None:
    async def work() -> None:
        signer = google()
        now = time.time()
        assert await signer.ready(now) == ""
        tokens.status = 400
        assert await signer.ready(now + 3600 - 500) == ""
        while tokens.asked < 2:
            await _moment()
        assert await signer.ready(now + 3600 - 60) == ""
        assert token_of(signer) == b"authorization: Bearer ya29.token-1\r\n"
        assert await signer.ready(now + 3600 - 20) != "", "but not beyond its end"

    run(work)


def test_nothing_shows_the_key_or_the_token(tokens: TokenServer) -> None:
    async def work() -> None:
        signer = google()
        assert await signer.ready(time.time()) == ""
        chain = signer._chain  # type: ignore[attr-defined]
        shown = " ".join(map(repr, (signer, chain, chain._grant, vars(chain), chain._find)))
        assert "ya29" not in shown
        assert "PRIVATE KEY" not in shown

    run(work)
    assert cloud.reason(ValueError(PEM)) == "ValueError", "words of unknown errors are not told"
    assert cloud.reason(KeyError()) == "KeyError"


def test_a_key_that_is_none(
    tokens: TokenServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def work() -> None:
        why = await google().ready(time.time())
        assert why
        assert "secret" not in why

    for text in ("", "{", '{"type": "service_account", "private_key": "secret"}', "[1]"):
        cloud.forget()
        (tmp_path / "account.json").write_text(text)
        run(work)


# -- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "module", "extra"),
    [("sigv4", "botocore.session", "aws"), ("google", "google.auth", "google")],
)
def test_a_missing_library_is_named_with_its_extra(
    auth: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # what Python has for "can't be imported"

    async def work() -> None:
        signer = cloud.signer_of(auth, "eu-west-3", "h")
        assert signer is not None
        why = await signer.ready(time.time())
        assert why.endswith(f"is not installed; pip install 'ferryman[{extra}]'")

    run(work)


def test_a_call_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "PATIENCE", 0.05)
    hang = threading.Event()

    def find(now: float) -> cloud.Grant[bytes]:
        hang.wait(10)
        return cloud.Grant(b"found", now + 60, now + 60)

    async def work() -> None:
        chain = cloud.Chain(find, "x")
        now = time.time()
        assert await chain.ready(now) == "they are still being looked for"
        assert await chain.ready(now + 10) == "they are still being looked for"
        hang.set()
        while await chain.ready(now + 10):
            await _moment()
        assert chain.value() == b"found"

    run(work)
