"""Who may come in: links that work once, sessions, and changes from elsewhere."""

import http.client
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
import sqlalchemy as sa

from ferryman.control.api.access import OWNER, Gate
from ferryman.control.doors import LINK_SECONDS, SEEN_EVERY, SESSION_SECONDS, Doors
from ferryman.store import db
from ferryman.store.schema import open_calls
from ferryman.store.sessions import IDLE_SECONDS
from tests.control.conftest import Control
from tests.processes import Reply

NAME = "ferryman.example.org"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A control plane on its own, which has a name besides."""
    env = {"FERRYMAN_ADMIN_NAMES": NAME}
    running = Control(tmp_path_factory.mktemp("doors") / "data", **env).ready()
    yield running
    running.process.end()


def ask(control: Control, method: str, path: str, form: object = None, **headers: str) -> Reply:
    """A request as a browser would send it; ``_`` in names stands for a hyphen."""
    link = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=30)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    body = None if form is None else urlencode(form)  # type: ignore[call-overload]
    link.request(method, path, body, sent | (FORM if form is not None else {}))
    reply = link.getresponse()
    found = {name.lower(): value for name, value in reply.getheaders()}
    return Reply(reply.status, found, reply.read())


def signed_in(control: Control) -> str:
    """A cookie."""
    token = control.admin("POST", "/api/v1/links").json()["token"]
    reply = ask(control, "POST", "/enter", {"token": token}, origin=control.url)
    assert reply.status == 303
    set_cookie = reply.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(set_cookie.split("; ")), set_cookie
    return set_cookie.partition(";")[0]


def proof(control: Control, cookie: str) -> str:
    page = ask(control, "GET", "/keys", cookie=cookie).body.decode()
    found = re.search(r'data-proof="(\w+)"', page)
    assert found
    return found[1]


def test_without_a_session_every_page_leads_to_the_door(control: Control) -> None:
    for path in (
        "/",
        "/calls",
        "/calls/x?y=1",
        "/keys",
        "/costs",
        "/models",
        "/alerts",
        "/audit",
        "/playground",
    ):
        reply = ask(control, "GET", path)
        assert reply.status == 303, path
        assert reply.headers["location"].startswith("/enter?next=/")
    assert ask(control, "GET", "/live").status == 401
    assert ask(control, "GET", "/playground/outcome/x").status == 303
    run = ask(control, "POST", "/playground/run", {}, origin=control.url)
    assert run.status == 403


def test_a_link_works_once(control: Control) -> None:
    token = control.admin("POST", "/api/v1/links").json()["token"]
    wrong = ask(control, "POST", "/enter", {"token": token[:-1]}, origin=control.url)
    assert wrong.status == 401
    first = ask(control, "POST", "/enter", {"token": token, "next": "/keys"}, origin=control.url)
    assert (first.status, first.headers["location"]) == (303, "/keys")
    again = ask(control, "POST", "/enter", {"token": token}, origin=control.url)
    assert again.status == 401
    assert b"has been used" in again.body
    admin = {"token": control.secret("admin-token")}
    assert ask(control, "POST", "/enter", admin, origin=control.url).status == 303


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "x"])
def test_signing_in_leads_nowhere_else(control: Control, to: str) -> None:
    form = {"token": control.secret("admin-token"), "next": to}
    reply = ask(control, "POST", "/enter", form, origin=control.url)
    assert reply.headers["location"] == "/"


def test_changes_need_the_page_they_came_from(control: Control) -> None:
    cookie = signed_in(control)
    good = {"name": "shop", "proof": proof(control, cookie)}
    refused = [
        ask(control, "POST", "/keys", good, origin=control.url),
        ask(control, "POST", "/keys", good, cookie=cookie),
        ask(control, "POST", "/keys", good, cookie=cookie, origin="http://evil.example"),
        ask(control, "POST", "/keys", good, cookie=cookie, origin="null"),
        ask(control, "POST", "/keys", good, cookie=cookie, sec_fetch_site="same-site"),
        ask(control, "POST", "/keys", good | {"proof": "x"}, cookie=cookie, origin=control.url),
        ask(control, "POST", "/keys", {"name": "shop"}, cookie=cookie, origin=control.url),
        ask(control, "POST", "/leave", {}, cookie=cookie, origin=control.url),
    ]
    assert [reply.status for reply in refused] == [303, *[403] * 7]
    assert "shop" not in {
        key["name"] for key in control.admin("GET", "/api/v1/keys").json()["data"]
    }
    assert ask(control, "POST", "/keys", good, cookie=cookie, origin=control.url).status == 200
    leave = {"proof": good["proof"]}
    assert ask(control, "POST", "/leave", leave, cookie=cookie, origin=control.url).status == 303
    assert ask(control, "GET", "/keys", cookie=cookie).status == 303


def test_passwords_are_for_owners_unless_the_configuration_says_otherwise(
    control: Control,
) -> None:
    cookie, words = signed_in(control), "correct horse battery"
    sent = {"cookie": cookie, "origin": control.url}
    form = {"proof": proof(control, cookie), "name": "vera", "role": "viewer"}
    refused = ask(control, "POST", "/users", form | {"password": words}, **sent)
    assert refused.status == 400
    assert b"owners alone have one, and the role of vera is viewer" in refused.body
    assert ask(control, "POST", "/users", form, **sent).status == 200
    page = ask(control, "POST", "/users", form | {"name": "olga", "role": "owner"}, **sent).body
    assert b"Password (of an owner)" in page
    assert b'Set the password<span class="sr"> of olga' in page
    assert b'Set the password<span class="sr"> of vera' not in page
    change = {"proof": form["proof"], "user": "vera", "password": words}
    assert ask(control, "POST", "/users/password", change, **sent).status == 400
    assert ask(control, "POST", "/users/password", change | {"user": "olga"}, **sent).status == 200
    for name, status in (("vera", 401), ("olga", 303)):
        form = {"name": name, "password": words}
        assert ask(control, "POST", "/enter", form, origin=control.url).status == status


def test_pages_may_load_nothing_from_elsewhere_and_run_nothing_inline(control: Control) -> None:
    cookie = signed_in(control)
    for path in ("/", "/enter", "/keys", "/reference", "/nothing-here?x=1", "/static/x/base.css"):
        reply = ask(control, "GET", path, cookie=cookie)
        if path.startswith("/nothing"):
            assert reply.status == 401  # not the dashboard's: the admin API's, which wants a token
            continue
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert not re.search(rb"<script>|<style| style=| on\w+=", reply.body), path
    rebound = ask(control, "GET", "/enter", host="evil.example")
    assert rebound.status == 403


def doors_of(engine: sa.Engine) -> Doors:
    return Doors(engine, "admin", Gate(engine, "admin", "pepper"), lambda _role: True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = db.open_engine(f"sqlite:///{tmp_path / 'ferryman.db'}")
    db.migrate(made)
    yield made
    made.dispose()


def test_sessions_outlive_a_restart_and_are_not_in_the_file(
    engine: sa.Engine, tmp_path: Path
) -> None:
    doors = doors_of(engine)
    inside = doors.enter(doors.link(), "::1")
    assert inside is not None
    session = inside.session
    assert inside.caller == OWNER
    assert doors.inside(session) == inside
    assert doors.inside("") is None and doors.inside(session + "x") is None
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("ferryman.db*"))
    assert b"::1" in kept and session.encode() not in kept
    again = doors_of(engine)
    assert again.inside(session) == inside
    second = again.enter("admin", "::1", instead=session)
    assert second is not None
    assert doors.inside(session) is None, "who signs in again has a new session, and that alone"
    again.leave(second.session)
    assert doors.inside(second.session) is None


def test_links_and_sessions_end_in_time(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    doors = doors_of(engine)
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    link = doors.link()
    now += LINK_SECONDS + 1
    assert doors.enter(link, "") is None
    idle, used = doors.enter("admin", ""), doors.enter("admin", "")
    assert idle and used
    end, step = now + SESSION_SECONDS, IDLE_SECONDS - SEEN_EVERY
    now += step
    assert doors.inside(used.session)
    now += SEEN_EVERY
    assert not doors.inside(idle.session)
    while now + step < end:
        assert doors.inside(used.session), "used now and then, it lasts for a week"
        now += step
    assert doors.inside(used.session)
    now = end
    assert not doors.inside(used.session)


def test_the_command_prints_a_link_that_lets_in(control: Control) -> None:
    command = [sys.executable, "-P", "-m", "ferryman", "dashboard", "--data-dir", str(control.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    address, _, token = done.stdout.strip().partition("#")
    assert address == control.url + "/enter"
    assert ask(control, "POST", "/enter", {"token": token}, origin=control.url).status == 303


def test_behind_tls_the_cookie_is_for_this_host_and_for_tls_alone(control: Control) -> None:
    origin = control.url.replace("http:", "https:")
    form = {"token": control.secret("admin-token")}
    reply = ask(control, "POST", "/enter", form, origin=origin)
    cookie, *attributes = reply.headers["set-cookie"].split("; ")
    assert cookie.startswith("__Host-ferryman-") and "Secure" in attributes
    page = ask(control, "GET", "/keys", cookie=cookie)
    assert page.status == 200


@pytest.mark.parametrize(
    "sign", [{"sec_fetch_site": "same-origin"}, {"x_forwarded_proto": "https"},
             {"forwarded": "for=192.0.2.1;proto=https"}]
)  # fmt: skip
def test_behind_tls_a_cookie_that_a_neighbour_can_set_is_no_session(
    control: Control, sign: dict[str, str]
) -> None:
    """It would have the victim work in the neighbour's own session."""
    host = f"{NAME}:{urlsplit(control.url).port}"
    planted, here = signed_in(control), {"host": host, **sign}
    assert not planted.startswith("__Host-")
    assert ask(control, "GET", "/keys", cookie=planted, **here).status == 303
    form = {"name": "x", "proof": proof(control, planted)}
    sent = {**here, "origin": f"https://{host}"}
    assert ask(control, "POST", "/keys", form, cookie=planted, **sent).status == 303
    token = {"token": control.secret("admin-token")}
    own = ask(control, "POST", "/enter", token, **sent).headers["set-cookie"].partition(";")[0]
    assert own.startswith("__Host-")
    both = f"{planted}; {own}"
    page = ask(control, "GET", "/keys", cookie=both, **here).body.decode()
    assert form["proof"] not in page, "the planted one was taken"
    assert ask(control, "GET", "/keys", cookie=own, **here).status == 200


def test_without_tls_names_of_a_private_network_go_on(control: Control) -> None:
    host = f"{NAME}:{urlsplit(control.url).port}"
    token = {"token": control.secret("admin-token")}
    reply = ask(control, "POST", "/enter", token, host=host, origin=f"http://{host}")
    cookie = reply.headers["set-cookie"].partition(";")[0]
    assert ask(control, "GET", "/keys", cookie=cookie, host=host).status == 200


@pytest.mark.parametrize("path", ["/playground/run", "/routes/check", "/routes/edit"])
def test_nothing_large_is_taken_of_whom_nobody_knows(control: Control, path: str) -> None:
    """The answer comes before the body, which never does."""
    link = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=30)
    link.putrequest("POST", path)
    for name, value in {"content-length": "3000000", "origin": control.url, **FORM}.items():
        link.putheader(name, value)
    link.endheaders()
    assert link.getresponse().status in (303, 403)
    link.close()


def test_a_body_without_a_length_is_bounded_as_well(control: Control) -> None:
    body = iter([b"token=", *[b"x" * 60_000] * 3])
    link = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=30)
    link.request("POST", "/enter", body, {"origin": control.url, **FORM}, encode_chunked=True)
    assert link.getresponse().status == 413
    link.close()


def test_an_outage_of_the_database_ends_no_session_and_no_stream(control: Control) -> None:
    engine = db.open_engine(f"sqlite:///{control.data / 'ferryman.db'}")
    cookie = signed_in(control)
    said = proof(control, cookie)
    link = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=60)
    link.request("GET", "/live", headers={"cookie": cookie})
    stream = link.getresponse()

    def news(name: str) -> None:
        """A call begins, and those who watch hear of it."""
        row = dict.fromkeys(("plane", "boot", "key_id", "endpoint", "model", "provider"), "x")
        with db.writing(engine) as connection:
            more = {"request_id": name, "at_us": 1, "target": "x", "hold_pico": 0}
            connection.execute(open_calls.insert().values(**row, **more))
        while name.encode() not in stream.readline():
            pass

    def rename(old: str, new: str) -> None:
        with db.writing(engine) as connection:
            connection.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))

    news("req_before")
    rename("sessions", "away")
    try:
        for number in range(4):  # half a second each: the session is looked up in between
            news(f"req_meanwhile_{number}")
        for path in ("/live", "/calls", "/calls/x/nothing"):
            reply = ask(control, "GET", path, cookie=cookie)
            assert reply.status == (404 if "nothing" in path else 503), path
        for path in ("/leave", "/playground/run"):
            sent = {"cookie": cookie, "origin": control.url, "x-ferryman-proof": said}
            reply = ask(control, "POST", path, {"proof": said}, **sent)
            assert reply.status == 503 and b"database does not answer" in reply.body, path
    finally:
        rename("away", "sessions")
    news("req_after")
    link.close()
    assert ask(control, "GET", "/calls", cookie=cookie).status == 200
    engine.dispose()


def test_who_watches_does_not_hold_up_the_end(tmp_path: Path) -> None:
    control = Control(tmp_path / "data").ready()
    cookie = signed_in(control)
    link = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=30)
    link.request("GET", "/live", headers={"cookie": cookie})
    reply = link.getresponse()
    assert reply.readline().startswith(b"retry:")
    assert control.process.stop() == 0
    assert reply.read().endswith(b"\n"), "it was ended, not cut off: else this raises"
