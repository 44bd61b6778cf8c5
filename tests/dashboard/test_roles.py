"""Who sees and does what at the dashboard: every page, by role and tenant; and who is out."""

import http.client
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec import Struct
from starlette.routing import Route

from ferryman.control.api.access import ROLES, Caller, Gate, within
from ferryman.control.dashboard import frame
from ferryman.control.dashboard.people import page
from ferryman.control.dashboard.ways import WAYS, Way
from ferryman.control.doors import Doors
from ferryman.control.fence import MOST_WRONG
from ferryman.store import db, users
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import Labels
from tests.control.conftest import Control
from tests.dashboard.test_doors import ask, proof, signed_in
from tests.processes import Reply, request, until
from tests.store.samples import call, put

PASSWORD = "correct horse battery"
TENANTS = {"": None, "acme": "acme"}
"""Whose users there are: nobody's, and an organisation's."""
FREE = {
    "/enter", "/leave", "/signon/start", "/signon/callback", "/static/{edition}/{name}",
}  # fmt: skip
"""All that is open without a session: the door, and what pages are made with."""


class Guest(Struct):
    """Somebody who is signed in."""

    caller: Caller
    cookie: str
    proof: str


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    folder = tmp_path_factory.mktemp("roles")
    (folder / "ferryman.yaml").write_text("identity: { passwords: everyone }\n")
    running = Control(folder / "data", FERRYMAN_CONFIG=str(folder / "ferryman.yaml")).ready()
    yield running
    running.process.end()


def enter(control: Control, name: str, password: str = PASSWORD, **headers: str) -> Reply:
    form = {"name": name, "password": password, "next": "/reference"}
    return ask(control, "POST", "/enter", form, **({"origin": control.url} | headers))


def cookie_of(reply: Reply) -> str:
    assert reply.status == 303, reply.body
    return reply.headers["set-cookie"].partition(";")[0]


def made(control: Control, name: str, role: str, **more: object) -> str:
    """The id of a new user."""
    body = {"name": name, "role": role, "password": PASSWORD, **more}
    reply = control.admin("POST", "/api/v1/users", body)
    assert reply.status == 201, reply.body
    return str(reply.json()["id"])


@pytest.fixture(scope="module")
def guests(control: Control) -> dict[tuple[str, str], Guest]:
    """(role, tenant) → a user who is signed in, as an identity provider does it."""
    found = {}
    engine = db.open_engine(f"sqlite:///{control.data / 'ferryman.db'}")
    token = control.secret("admin-token")
    doors = Doors(engine, token, Gate(engine, token, control.secret("pepper")), bool)
    cookie = signed_in(control).partition("=")[0]
    for role in ROLES:
        for tenant, organisation in TENANTS.items():
            body = {"name": f"{role}.{tenant}", "role": role, "organisation": organisation}
            ident = control.admin("POST", "/api/v1/users", body).json()["id"]
            user = users.find(engine, ident)
            assert user is not None
            inside = doors.open_for(user, "192.0.2.1")
            assert inside is not None
            proof = doors.proof(inside.session)
            found[role, tenant] = Guest(inside.caller, f"{cookie}={inside.session}", proof)
    engine.dispose()
    return found


# -- the table -------------------------------------------------------------------------------------


def test_every_page_says_what_it_takes() -> None:
    """Pages are made from the table, and from nothing else."""
    from ferryman.control.dashboard.app import Dashboard

    class Bare:
        lookers = None

    app = Dashboard(Bare()).app  # type: ignore[arg-type]
    served = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route) and route.path not in FREE
        for method in (route.methods or ()) - {"HEAD"}
    }
    assert served == {(way.method, way.path) for way in WAYS}
    assert {entry[0] for entry in frame.NAV} <= {way.path for way in WAYS if way.method == "GET"}
    with pytest.raises(ValueError, match="no permission"):
        Way("GET", "/x", "everything", page)
    with pytest.raises(ValueError, match="in the audit log"):
        Way("GET", "/x.csv", "calls.read", page, download=True)


def test_who_may_only_look_can_change_nothing() -> None:
    viewer = Caller(name="v", permissions=ROLES["viewer"])
    auditor = Caller(name="a", permissions=ROLES["auditor"])
    for way in WAYS:
        if way.method == "POST":
            assert not way.open_to(viewer) and not way.open_to(auditor), way.path
    tenant = Caller(name="t", permissions=ROLES["owner"], organisation="acme")
    assert {way.path for way in WAYS if way.open_to(tenant)} == {
        "/calls", "/calls/export.csv", "/calls/{request_id}", "/costs", "/costs/table.csv",
        "/costs/focus.csv", "/keys", "/keys/bounds", "/keys/revoke", "/keys/rotate",
        "/users", "/users/change", "/users/password", "/users/tokens", "/users/revoke",
        "/reference", "/vault", "/vault/intake", "/vault/remove",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("role", "tenant"), [*((role, "") for role in ROLES), ("owner", "acme"), ("billing", "acme")]
)
def test_every_page_is_open_to_whom_it_declares_and_to_nobody_else(
    control: Control, guests: dict[tuple[str, str], Guest], role: str, tenant: str
) -> None:
    guest = guests[role, tenant]
    outside = ask(control, "GET", "/nothing-of-the-dashboard", cookie=guest.cookie)
    assert outside.status == 401, "a session is nothing to the admin API"
    assert guest.caller.within == within(TENANTS[tenant], None)
    may = {each.path for each in WAYS if each.open_to(guest.caller) and each.method == "GET"}
    for way in WAYS:
        path = re.sub(r"{\w+}", "1", way.path)
        opened = way.permission in ROLES[role] and (way.tenants or not tenant)
        said = (role, tenant, way.method, way.path)
        if way.method == "GET" and opened and (tenant or role == "viewer") and path != "/live":
            reply = ask(control, "GET", path, cookie=guest.cookie)
            assert reply.status in (200, 404), said
            nav = set(re.findall(rb'<a href="(/\w*)"[^>]*data-go', reply.body))
            if nav:
                may = [each.path for each in WAYS if each.open_to(guest.caller)]
                assert nav == {to.encode() for to, *_ in frame.NAV if to in may}, said
        elif not opened:
            form = None if way.method == "GET" else {"proof": guest.proof}
            more = {"x-ferryman-proof": guest.proof} if form else {}
            reply = ask(control, way.method, path, form, cookie=guest.cookie, origin=control.url,
                        **more)  # fmt: skip
            if path == "/" and way.method == "GET":
                first = next((to for to, *_ in frame.NAV if to in may), None)
                assert reply.status == (403 if first is None else 303), said
                assert reply.headers.get("location") == first, said
                continue
            assert reply.status == 403, said
            assert b"permission" in reply.body or b"whole installation" in reply.body or (
                way.view is None
            ), said  # fmt: skip


# -- tenants ---------------------------------------------------------------------------------------


def test_a_tenants_keys_and_users_are_all_that_it_meets(
    control: Control, guests: dict[tuple[str, str], Guest]
) -> None:
    for name, organisation in (("theirs", "acme"), ("others", "globex"), ("loose", None)):
        body = {"name": f"key-{name}", "organisation": organisation}
        ident = control.admin("POST", "/api/v1/keys", body).json()["id"]
        if name != "theirs":
            strange = ident
    guest = guests["admin", "acme"]
    keys = ask(control, "GET", "/keys", cookie=guest.cookie).body
    assert b"key-theirs" in keys and b"key-others" not in keys and b"key-loose" not in keys
    people = ask(control, "GET", "/users", cookie=guest.cookie).body
    assert b"viewer.acme" in people and b'viewer."' not in people and b">viewer.<" not in people
    for place in ("/calls", "/calls/export.csv", "/costs", "/costs/focus.csv"):
        path = f"{place}?organisation=globex"
        assert ask(control, "GET", path, cookie=guest.cookie).status == 403, path
    sent = {"cookie": guest.cookie, "origin": control.url}
    new = {"proof": guest.proof, "name": "made-by-acme"}
    assert ask(control, "POST", "/keys", new, **sent).status == 200
    rows = {row["name"]: row for row in control.admin("GET", "/api/v1/keys").json()["data"]}
    assert rows["made-by-acme"]["organisation"] == "acme"
    gone = {"proof": guest.proof, "key": strange}
    assert ask(control, "POST", "/keys/revoke", gone, **sent).status == 404
    stranger = control.admin("GET", "/api/v1/users/viewer.").json()["id"]
    out = {"proof": guest.proof, "user": stranger, "do": "disable"}
    assert ask(control, "POST", "/users/change", out, **sent).status == 404
    boss = control.admin("GET", "/api/v1/users/owner.acme").json()["id"]
    assert ask(control, "POST", "/users/change", out | {"user": boss}, **sent).status == 403
    assert control.admin("GET", "/api/v1/users/owner.acme").json()["active"]


ELSEWHERE = ("/settings/alone", "/playground/run", "/playground/feedback")
"""Of what is sent: it ends the sessions of others; these ask a gateway, which there is none of."""


@pytest.mark.parametrize(
    ("role", "tenant"), [*((role, "") for role in ROLES), ("owner", "acme"), ("billing", "acme")]
)
def test_whoever_may_send_a_form_is_not_refused_and_needs_a_proof(
    control: Control, guests: dict[tuple[str, str], Guest], role: str, tenant: str
) -> None:
    guest = guests[role, tenant]
    sent = {"cookie": guest.cookie, "origin": control.url}
    for way in WAYS:
        if way.method == "GET" or way.path in ELSEWHERE or not way.open_to(guest.caller):
            continue
        reply = ask(control, "POST", way.path, {"proof": guest.proof}, **sent)
        said = (role, tenant, way.path, reply.status)
        assert reply.status not in (401, 403) and reply.status < 500, said
        assert reply.headers.get("location", "/") != "/enter", said
        forged = ask(control, "POST", way.path, {"proof": "0" * 32}, **sent)
        assert forged.status == 403, said


def test_a_tenant_meets_nothing_of_others_by_their_ids(
    control: Control, guests: dict[tuple[str, str], Guest]
) -> None:
    """As if there were none; and nothing of it has changed."""
    guest = guests["owner", "acme"]
    sent = {"cookie": guest.cookie, "origin": control.url}
    key = control.admin("POST", "/api/v1/keys", {"name": "of-globex", "organisation": "globex"})
    stranger = made(control, "stranger", "viewer", organisation="globex")
    token = {"name": "of-globex", "role": "viewer", "organisation": "globex"}
    token = control.admin("POST", "/api/v1/tokens", token).json()
    journal = JournalWriter(control.data / "journal" / "gateway")
    ours, theirs = Labels(organisation="acme"), Labels(organisation="globex")
    now = time.time_ns() // 1000
    put(journal, [call("req_ours", at_us=now, model="our-model", labels=ours),
                  call("req_theirs", at_us=now, model="their-model", labels=theirs)])  # fmt: skip
    journal.close()
    get = {"cookie": guest.cookie}
    assert ask(control, "GET", "/calls/req_ours", **get).status == 200
    assert ask(control, "GET", "/calls/req_theirs", **get).status == 404
    for path in ("/calls", "/calls?model=their-model", "/costs?by=model", "/costs/focus.csv",
                 "/costs/table.csv?by=model", "/costs/table.csv?by=organisation"):  # fmt: skip
        reply = ask(control, "GET", path, **get)
        assert reply.status == 200, path
        assert b"req_theirs" not in reply.body and b"globex" not in reply.body, path
        assert b"their-model" not in reply.body or "their-model" in path, path
    assert b"our-model" in ask(control, "GET", "/costs/table.csv?by=model", **get).body
    outside = ask(control, "GET", "/costs/table.csv?by=model&organisation=globex", **get)
    assert outside.status == 403
    ident = key.json()["id"]
    forms = {
        "/keys/bounds": {"key": ident, "models": "none"}, "/keys/revoke": {"key": ident},
        "/users/password": {"user": stranger, "password": "another " + PASSWORD},
        "/users/change": {"user": stranger, "do": "remove"},
        "/users/revoke": {"token": token["id"]}, "/vault/remove": {"name": ident},
    }  # fmt: skip
    for path, form in forms.items():
        foreign = ask(control, "POST", path, {"proof": guest.proof} | form, **sent)
        nobodys = {name: "of-nobody" if value in (ident, stranger, token["id"]) else value
                   for name, value in form.items()}  # fmt: skip
        nobody = ask(control, "POST", path, {"proof": guest.proof} | nobodys, **sent)
        assert foreign.status == nobody.status and foreign.status in (400, 404), path
    mine = ask(control, "POST", "/users/tokens", {"proof": guest.proof, "name": "of-acme",
               "role": "viewer", "organisation": "globex"}, **sent)  # fmt: skip
    assert mine.status == 200
    tokens = {row["name"]: row for row in control.admin("GET", "/api/v1/tokens").json()["data"]}
    assert tokens["of-acme"]["organisation"] == "acme"
    assert tokens["of-globex"]["state"] == "active"
    keys = {row["id"]: row for row in control.admin("GET", "/api/v1/keys").json()["data"]}
    assert keys[ident]["bounds"] == key.json()["bounds"]
    assert keys[ident]["state"] == "active"
    assert enter(control, "stranger").status == 303, "the password is the old one"


# -- in and out ------------------------------------------------------------------------------------


def test_each_wrong_way_in_says_the_same(control: Control) -> None:
    made(control, "there", "viewer")
    made(control, "barred", "viewer")
    control.admin("PATCH", "/api/v1/users/barred", {"active": False})
    said = set()
    for name, password in (("there", "wrong"), ("barred", PASSWORD), ("nobody", PASSWORD)):
        reply = enter(control, name, password)
        assert reply.status == 401 and "set-cookie" not in reply.headers
        said.add(reply.body.replace(name.encode(), b""))
    assert len(said) == 1
    assert enter(control, "there", origin="http://evil.example").status == 403
    assert enter(control, "there", origin="null").status == 403


def test_who_signs_in_again_has_a_new_session(control: Control) -> None:
    made(control, "again", "viewer")
    first = cookie_of(enter(control, "again"))
    second = cookie_of(enter(control, "AGAIN", cookie=first))
    assert first != second
    assert ask(control, "GET", "/calls", cookie=first).status == 303
    assert ask(control, "GET", "/calls", cookie=second).status == 200
    planted = first.partition("=")[0] + "=" + "x" * 32
    assert cookie_of(enter(control, "again", cookie=planted)) != planted
    reply = enter(control, "again", origin=control.url.replace("http:", "https:"))
    cookie, *attributes = reply.headers["set-cookie"].split("; ")
    assert cookie.startswith("__Host-")
    assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)


@pytest.mark.parametrize("how", ["PATCH", "DELETE", "PUT"])
def test_who_is_shut_out_is_out_at_once(control: Control, how: str) -> None:
    """From pages, and from one that they watch."""
    name = f"leaver-{how.lower()}"
    ident = made(control, name, "developer")
    cookie = cookie_of(enter(control, name))
    link = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=30)
    link.request("GET", "/live", headers={"cookie": cookie})
    stream = link.getresponse()
    assert stream.readline().startswith(b"retry:")
    body = {"PATCH": {"active": False}, "PUT": {"password": "another " + PASSWORD}}.get(how)
    path = f"/api/v1/users/{ident}" + ("/password" if how == "PUT" else "")
    assert control.admin(how, path, body).status == 200
    assert ask(control, "GET", "/calls", cookie=cookie).status == 303
    until(lambda: stream.read1() == b"", "the end of the stream")
    assert enter(control, name).status == 401


def test_signing_in_and_out_and_what_was_refused_is_in_the_audit_log(control: Control) -> None:
    ident = made(control, "watched", "viewer")
    cookie = cookie_of(enter(control, "watched"))

    def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = control.admin("GET", "/api/v1/audit?limit=50").json()["data"]
        return [row for row in reversed(found) if ident in (row["actor"], row["target"])]

    def refused() -> bool:
        assert ask(control, "GET", "/vault", cookie=cookie).status == 403
        return any(row["target"] == "GET /vault" for row in rows())

    until(refused, "of refusals so many a minute are written, and other tests had theirs")
    enter(control, "watched", "a wrong password")
    page = ask(control, "GET", "/calls", cookie=cookie).body.decode()
    said = re.search(r'data-proof="(\w+)"', page)
    assert said
    left = ask(control, "POST", "/leave", {"proof": said[1]}, cookie=cookie, origin=control.url)
    assert left.status == 303
    assert ask(control, "GET", "/calls", cookie=cookie).status == 303
    owner = signed_in(control)
    form = {"proof": proof(control, owner), "user": ident, "do": "disable"}
    assert (
        ask(control, "POST", "/users/change", form, cookie=owner, origin=control.url).status == 200
    )
    found = {
        (row["actor"].partition(" ")[0], row["action"], row["target"], row["outcome"])
        for row in rows()
    }
    assert found == {
        ("admin", "user.create", ident, "done"),
        ("unknown", "session.begin", ident, "refused"),
        (ident, "session.begin", ident, "done"),
        (ident, "access", "GET /vault", "refused"),
        (ident, "session.end", "", "done"),
        ("session", "user.change", ident, "done"),
    }
    assert PASSWORD not in str(rows())
    kept = Path(control.data / "ferryman.db").read_bytes()
    assert PASSWORD.encode() not in kept


def test_who_guesses_ids_has_to_wait(
    control: Control, guests: dict[tuple[str, str], Guest]
) -> None:
    """By session and by token, each by itself; nobody else has to. The last: it leaves no room for
    refusals in the audit log of its minute."""
    made(control, "guesser", "viewer", organisation="acme")
    cookie = cookie_of(enter(control, "guesser"))
    body = {"name": "guesser", "role": "viewer", "organisation": "acme"}
    token = control.admin("POST", "/api/v1/tokens", body).json()["token"]

    def by_page(path: str) -> int:
        return ask(control, "GET", path, cookie=cookie).status

    def by_token(path: str) -> int:
        return request(control.url, path=f"/api/v1{path}", token=token).status

    for guess in (by_page, by_token):
        assert guess("/calls") == 200
        told: list[int] = []
        while not told or told[-1] != 429:
            assert len(told) <= 2 * MOST_WRONG, "it may guess on"
            told.append(guess(f"/calls/req_{len(told)}"))
        assert set(told[:-1]) == {404}
    neighbour = guests["viewer", "acme"].cookie
    assert ask(control, "GET", "/calls", cookie=neighbour).status == 200
