"""The admin API: who may enter, keys, and how bad input is answered."""

import json
import re
import time
from urllib.parse import quote

import pytest

from ferryman.meter.keys import well_formed
from tests.control.conftest import Control
from tests.processes import request


def test_without_the_admin_token_everything_is_refused_with_the_same_reply(
    shared: Control,
) -> None:
    tokens = (None, "", "x", shared.secret("feed-token"), shared.secret("admin-token") + "0")
    paths = ("/api/v1/keys", "/api/v1/usage", "/api/v1/openapi.json", "/nothing", "/docs")
    replies = [
        request(shared.url, method, path, token=token)
        for token in tokens
        for path in paths
        for method in ("GET", "POST", "DELETE")
    ]
    assert {reply.status for reply in replies} == {401}
    assert len({reply.body for reply in replies}) == 1
    assert replies[0].headers["www-authenticate"] == "Bearer"
    assert replies[0].headers["content-type"] == "application/problem+json"
    problem = replies[0].json()
    assert problem["code"] == "unauthorized"
    assert problem["status"] == 401
    assert problem["title"] == "Unauthorized"


def test_other_schemes_and_doubled_headers_are_no_way_in(shared: Control) -> None:
    token = shared.secret("admin-token")
    for value in (f"Basic {token}", token, f"Bearer{token}", f"Bearer {token},x"):
        reply = request(shared.url, path="/api/v1/keys", headers={"authorization": value})
        assert reply.status == 401, value
    assert shared.admin("GET", "/api/v1/keys").status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8081", 200),
        ("127.0.0.1:1", 200),
        ("[::1]", 200),
        ("[::1]:8081", 200),
        ("evil.example", 403),
        ("evil.example:8081", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("::1", 403),
        ("", 403),
    ],
)
def test_only_loopback_names_are_served_on_loopback(
    shared: Control, host: str, status: int
) -> None:
    for path in ("/healthz", "/api/v1/keys"):
        headers = {"host": host}
        reply = request(shared.url, path=path, headers=headers, token=shared.secret("admin-token"))
        assert reply.status == status, path
        if status == 403:
            assert reply.json()["code"] == "host_not_allowed"


def test_a_key_is_made_shown_once_listed_and_revoked(control: Control) -> None:
    reply = control.admin("POST", "/api/v1/keys", {"name": "web shop", "expires_in": "30d"})
    assert reply.status == 201
    made = reply.json()
    assert well_formed(made["key"])
    assert re.fullmatch(r"key_\w{12}", made["id"])
    assert made["state"] == "active"
    listed = control.admin("GET", "/api/v1/keys")
    assert made["key"] not in listed.body.decode()
    assert {key["name"] for key in listed.json()["data"]} == {"first", "web shop"}

    gone = control.admin("DELETE", f"/api/v1/keys/{quote('web shop')}")
    assert (gone.status, gone.json()["state"]) == (200, "revoked")
    again = control.admin("DELETE", f"/api/v1/keys/{made['id']}")
    assert (again.status, again.json()) == (200, gone.json()), "revoking is idempotent"
    log = "\n".join(control.process.lines)
    assert made["key"] not in log


def test_keys_expire_when_asked_to(control: Control) -> None:
    def make(**how: object) -> str:
        reply = control.admin("POST", "/api/v1/keys", {"name": "k", **how})
        assert reply.status == 201, reply.body
        return str(reply.json()["expires_at"])

    assert make(expires_at="2099-12-31") == "2099-12-31T00:00:00Z"
    assert make(expires_at="2099-12-31T12:00:00+02:00") == "2099-12-31T10:00:00Z"
    assert make(expires_at=4102444800) == "2100-01-01T00:00:00Z"
    assert make() == "None"
    control.admin("POST", "/api/v1/keys", {"name": "short", "expires_in": 1})
    time.sleep(1.1)
    keys = control.admin("GET", "/api/v1/keys").json()["data"]
    assert [key["state"] for key in keys if key["name"] == "short"] == ["expired"]


def test_the_first_key_file_goes_when_its_key_is_revoked(control: Control) -> None:
    path = control.data / "first-key"
    assert path.stat().st_mode & 0o777 == 0o600
    control.admin("POST", "/api/v1/keys", {"name": "other"})
    control.admin("DELETE", "/api/v1/keys/other")
    assert path.exists()
    control.admin("DELETE", "/api/v1/keys/first")
    assert not path.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"name"',
        b"\xff\xfe",
        b"{}",
        b'{"name": 5}',
        b'{"name": ""}',
        b'{"name": "a\\nb"}',
        b'{"name": "' + b"x" * 101 + b'"}',
        b'{"name": "x", "unknown": 1}',
        b'{"name": "x", "expires_in": "soon"}',
        b'{"name": "x", "expires_in": -5}',
        b'{"name": "x", "expires_in": 99999999999}',
        b'{"name": "x", "expires_at": "2001-01-01"}',
        b'{"name": "x", "expires_in": 60, "expires_at": "2099-01-01"}',
        b"[" * 30000,
    ],
)
def test_a_bad_body_is_told_and_makes_no_key(shared: Control, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    token = shared.secret("admin-token")
    reply = request(shared.url, "POST", "/api/v1/keys", token=token, body=body, headers=headers)
    assert reply.status == 400, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] in ("invalid_body", "invalid_key_field")
    assert len(reply.json()["detail"]) > 10
    assert len(shared.admin("GET", "/api/v1/keys").json()["data"]) == 1


def test_a_body_over_the_limit_is_refused_sized_or_chunked(shared: Control) -> None:
    token = shared.secret("admin-token")
    big = json.dumps({"name": "x" * 100_000})
    reply = request(shared.url, "POST", "/api/v1/keys", token=token, body=big)
    assert reply.status == 413
    pieces = iter([b"x" * 40_000] * 3)
    headers = {"content-type": "application/json"}  # an iterator is sent chunked
    reply = request(
        shared.url,
        "POST",
        "/api/v1/keys",
        token=token,
        body=pieces,  # type: ignore[arg-type]
        headers=headers,
    )
    assert (reply.status, reply.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("PATCH", "/api/v1/keys", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/keys/nobody", 404, "key_not_found"),
        ("GET", "/api/v1/usage?by=colour", 400, "invalid_query"),
        ("GET", "/api/v1/usage?by=day,day", 400, "invalid_query"),
        ("GET", "/api/v1/usage?since=soon", 400, "invalid_query"),
        ("GET", "/api/v1/usage?key=nobody", 404, "key_not_found"),
        ("GET", "/api/v1/calls?limit=0", 400, "invalid_query"),
        ("GET", "/api/v1/calls?limit=1001", 400, "invalid_query"),
        ("GET", "/api/v1/calls?limit=many", 400, "invalid_query"),
        ("GET", "/api/v1/calls?cursor=x", 400, "invalid_cursor"),
        ("GET", "/api/v1/calls?status=bad", 400, "invalid_query"),
    ],
)
def test_wrong_requests_get_a_problem_document(
    shared: Control, method: str, path: str, status: int, code: str
) -> None:
    reply = shared.admin(method, path)
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert reply.json()["detail"]


def test_keys_with_one_name_are_revoked_by_id(control: Control) -> None:
    ids = [control.admin("POST", "/api/v1/keys", {"name": "n"}).json()["id"] for _ in range(2)]
    reply = control.admin("DELETE", "/api/v1/keys/n")
    assert (reply.status, reply.json()["code"]) == (409, "ambiguous_key")
    assert all(each in reply.json()["detail"] for each in ids)
    assert control.admin("DELETE", f"/api/v1/keys/{ids[0]}").status == 200
    assert control.admin("DELETE", "/api/v1/keys/n").json()["id"] == ids[1]


def test_health_is_open_and_says_little(shared: Control) -> None:
    assert request(shared.url, path="/healthz").json() == {"status": "ok"}
    assert request(shared.url, path="/readyz").json() == {"status": "ready"}
