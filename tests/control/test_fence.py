"""The control plane's port: names it answers to, what every reply says, and wrong tokens."""

import http.client
from collections.abc import Callable
from urllib.parse import quote, urlencode, urlsplit

import pytest

from ferryman.control.fence import MOST_WRONG, Fence
from ferryman.control.problem import ProblemError
from ferryman.meter.strikes import MOST_PLACES, Strikes
from tests.control.conftest import Control, Start
from tests.processes import request

OPEN = [
    "127.0.0.1:8081", "203.0.113.7", "[2001:db8::1]:8081", "control:8081", "box.internal",
    "ferryman.default.svc.cluster.local", "admin.example.com", "ADMIN.EXAMPLE.COM:443",
]  # fmt: skip
SHUT = [
    "evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example",
    "admin.example.com.evil.example", "x.admin.example.com", "", "evil.example:x",
]  # fmt: skip


def served(fence: Fence, *hosts: str) -> bool:
    try:
        fence.check_host([(b"host", host.encode()) for host in hosts])
    except ProblemError as error:
        assert (error.status, error.code) == (403, "host_not_allowed")
        assert "--admin-names" in error.detail
        return False
    return True


def test_off_loopback_only_names_are_served_that_nobody_else_can_point_there() -> None:
    fence = Fence("0.0.0.0", " admin.example.com ,other.example.com")
    assert [host for host in OPEN if not served(fence, host)] == []
    assert [host for host in SHUT if served(fence, host)] == []
    assert not served(fence)
    assert not served(fence, "control", "control"), "two are none"
    alone = Fence("127.0.0.1", "admin.example.com")
    assert served(alone, "localhost") and served(alone, "admin.example.com")
    assert not served(alone, "box.internal") and not served(alone, "203.0.113.7")


def test_a_real_one_off_loopback(start: Start) -> None:
    env = {"FERRYMAN_ADMIN_HOST": "0.0.0.0", "FERRYMAN_ADMIN_NAMES": "admin.example.com"}
    control = start(**env).ready()
    statuses = [request(control.url, path="/healthz", headers={"host": host}).status
                for host in ("admin.example.com", "10.0.0.7:80", "evil.example")]  # fmt: skip
    assert statuses == [200, 200, 403]


def test_no_reply_can_be_used_by_a_page_of_another_origin(shared: Control) -> None:
    token = shared.secret("admin-token")
    paths = ("/healthz", "/readyz", "/metrics", "/api/v1/keys", "/openapi.json", "/nothing",
             "/internal/feed", "/enter", "/keys", "/static/x/base.css")  # fmt: skip
    for path in paths:
        for given in (None, token):
            headers = request(shared.url, path=path, token=given).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["x-frame-options"] == "DENY", path
            assert "frame-ancestors 'none'" in headers["content-security-policy"], path
            assert "default-src 'none'" in headers["content-security-policy"], path
            assert headers["cross-origin-resource-policy"] == "same-origin", path
            assert not [name for name in headers if name.startswith("access-control-")], path


def ask(
    control: Control, token: str, source: str, path: str = "/api/v1/keys", body: str = ""
) -> http.client.HTTPResponse:
    """The reply to a request that comes from this address."""
    parts = urlsplit(control.url)
    link = http.client.HTTPConnection(
        str(parts.hostname), parts.port, source_address=(source, 0), timeout=30
    )
    headers = {"authorization": f"Bearer {token}", "origin": control.url}
    if body:
        headers["content-type"] = "application/x-www-form-urlencoded"
    link.request("POST" if body else "GET", path, body or None, headers)
    reply = link.getresponse()
    reply.read()
    link.close()
    return reply


def shut_out(guess: Callable[[], int], right: Callable[[], int]) -> list[int]:
    """Guess until no guess is listened to any more; what became of them. The right one still is."""
    guessed: list[int] = []
    while not guessed or guessed[-1] != 429:
        assert len(guessed) <= 2 * MOST_WRONG, "it may guess on"
        guessed.append(guess())
    assert right() < 400, "a neighbour who guesses keeps nobody out"
    return guessed


def test_a_place_that_guesses_is_not_listened_to_and_others_are(start: Start) -> None:
    control = start().ready()
    token, feed = control.secret("admin-token"), control.secret("feed-token")
    guessed = shut_out(
        lambda: ask(control, f"{token}0", "127.0.0.2").status,
        lambda: ask(control, token, "127.0.0.2").status,
    )
    assert set(guessed[:-1]) == {401}, "each was told"
    assert ask(control, token, "127.0.0.3").status == 200
    assert ask(control, feed, "127.0.0.2", "/internal/feed").status == 200, "another token"
    wrong = [ask(control, "x", "127.0.0.2", "/internal/feed").status for _ in range(MOST_WRONG + 1)]
    assert set(wrong) <= {401, 429}
    assert ask(control, feed, "127.0.0.2", "/internal/feed").status == 200, "no gateway is cut off"

    def enter(token: str, source: str) -> int:
        return ask(control, "", source, "/enter", urlencode({"token": token, "next": "/"})).status

    shut_out(lambda: enter("guess", "127.0.0.4"), lambda: enter(token, "127.0.0.4"))
    assert enter(token, "127.0.0.5") == 303


def test_who_asks_for_too_much_that_is_not_there_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 600.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    fence = Fence("127.0.0.1", "")
    for _ in range(MOST_WRONG):
        fence.check_lost("tok_1")
        fence.note_lost("tok_1")
    with pytest.raises(ProblemError) as caught:
        fence.check_lost("tok_1")
    assert caught.value.status == 429
    fence.check_lost("tok_2")
    now += 60
    fence.check_lost("tok_1")


def test_wrong_ones_are_forgotten_in_time_and_many_places_are_one() -> None:
    strikes = Strikes(2)
    for address in ("2001:db8::1", "2001:db8::2"):
        assert not strikes.out(address, 60.0)
        strikes.note(address, 60.0)
    assert strikes.out("2001:db8::ffff", 119.9), "one caller has a whole network"
    assert strikes.out("2001:db8::1%eth0", 119.9)
    assert not strikes.out("2001:db8:0:1::1", 119.9)
    assert not strikes.out("2001:db8::1", 120.0)
    strikes.note("::ffff:192.0.2.1", 120.0)
    strikes.note("192.0.2.1", 120.0)
    assert strikes.out("192.0.2.1", 120.0)
    for number in range(MOST_PLACES + 2):
        strikes.note(f"place {number}", 121.0)
    assert strikes.out("one more", 121.0), "memory is bounded"
    assert strikes.rest(121.0) == 59


@pytest.mark.parametrize(
    "ident", ["%", "_", "*", "' OR 1=1 --", "key_%", "../../secrets", "\0", "k" * 5000]
)
def test_ids_of_another_shape_are_nobodys(shared: Control, ident: str) -> None:
    shared.admin("POST", "/api/v1/keys", {"name": "kept"})
    reply = shared.admin("DELETE", f"/api/v1/keys/{quote(ident, safe='')}")
    assert reply.status in (400, 404, 422), reply.body
    for path in ("calls", "runs"):
        assert shared.admin("GET", f"/api/v1/{path}/{quote(ident, safe='')}").status in (404, 400)
    found = shared.admin("GET", f"/api/v1/calls?{urlencode({'key': ident, 'limit': 5})}")
    assert found.status in (200, 400, 404, 422), found.body
    if found.status == 200:
        assert found.json()["data"] == []
    states = {key["state"] for key in shared.admin("GET", "/api/v1/keys").json()["data"]}
    assert states <= {"active", "expired"}, "nothing was revoked"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer " + "A" * 60_000},
        {"x" * 5000: "1"},
        {"cookie": "=;" * 20_000},
        {"content-length": "-1"},
        {"content-length": "9" * 40},
        {"transfer-encoding": "gzip"},
        {
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-host": "localhost",
            "x-original-url": "/healthz",
        },
    ],
)
def test_absurd_headers_are_no_way_in(shared: Control, headers: dict[str, str]) -> None:
    try:
        status = request(shared.url, path="/api/v1/keys", headers=headers).status
    except (http.client.HTTPException, OSError):
        status = 400  # cut
    assert status in (400, 401, 413, 414, 431)
    assert shared.admin("GET", "/api/v1/keys").status == 200
