"""Signing in at the dashboard with an account of an OpenID provider, which is a real one here."""

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from ferryman.config.identity_row import DISCOVERY, Issuer
from ferryman.config.seal import seal, unseal
from ferryman.config.snapshot import Secret, SignIn, Snapshot
from ferryman.control.keysets import AT_ONCE, Keyring
from ferryman.control.problem import ProblemError
from ferryman.control.signon import CALLBACK, Pending, SignOn, challenge
from ferryman.store import db, scim, users
from ferryman.store.keys import EVERYBODY
from ferryman.store.scim import Entry, Grants
from ferryman.store.users import UserInfo
from tests.control.conftest import Control
from tests.dashboard.test_doors import ask
from tests.processes import request
from tests.provider import CLIENT, SECRET, Key, Provider

URL = "https://localhost:8081"
COOKIES = bytes(32)
USERS = "/Users"
Query = dict[str, str]


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.end()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = db.open_engine(f"sqlite:///{tmp_path}/ferryman.db")
    db.migrate(made)
    yield made
    made.dispose()


def snapshot(provider: Provider, default: str = "viewer") -> bytes:
    row = Issuer(
        name="staff", issuer=provider.url, keys=provider.url + DISCOVERY, organisation="acme",
        claims=(("team", "unit"), ("user", "sub")), require=(("verified", (True,)),),
    )  # fmt: skip
    sign_in = SignIn(
        issuer="staff", client=CLIENT, secret=Secret("env", "SIGN_IN_SECRET"), url=URL,
        roles=(("platform", "admin"), ("money", "billing")), default=default,
    )  # fmt: skip
    return msgspec.msgpack.encode(Snapshot(version="1", issuers=(row,), sign_in=sign_in))


@pytest.fixture
def desk(
    provider: Provider, engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SignOn:
    monkeypatch.setenv("SIGN_IN_SECRET", SECRET)
    settings = snapshot(provider)
    keyring = Keyring(tmp_path / "keysets")
    keyring.adopt(settings)
    made = SignOn(engine, keyring, bytes(32), COOKIES)
    made.adopt(settings)
    provider.person = {"sub": "ann", "verified": True, "email": "ann@example.org", "unit": "red",
                       "name": "Ann Ferry", "groups": ["x", "money", "platform"]}  # fmt: skip
    return made


def visited(where: str) -> Query:
    """What the provider sends a browser back with."""
    parts = urlsplit(where)
    link = http.client.HTTPConnection(parts.netloc, timeout=30)
    link.request("GET", f"{parts.path}?{parts.query}")
    to = link.getresponse().headers["location"]
    assert to.startswith(URL + CALLBACK + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(to).query).items()}


def entered(desk: SignOn) -> tuple[UserInfo, str]:
    where, cookie = desk.start("/keys")
    return desk.finish(cookie, visited(where))


def refused(desk: SignOn, cookie: str, query: Query) -> int:
    with pytest.raises(ProblemError) as caught:
        desk.finish(cookie, query)
    return caught.value.status


def test_who_comes_back_is_a_user_with_the_role_of_their_group(
    desk: SignOn, provider: Provider, engine: sa.Engine
) -> None:
    where, cookie = desk.start("/keys")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
    pending = msgspec.json.decode(unseal(cookie, key=COOKIES, name="signing in"), type=Pending)
    assert asked["code_challenge"] == challenge(pending.verifier)
    assert asked["scope"].split()[0] == "openid"
    assert pending.verifier not in where
    assert asked["state"] not in cookie
    user, to = desk.finish(cookie, visited(where))
    assert to == "/keys"
    assert (user.name, user.display, user.role) == ("ann@example.org", "Ann Ferry", "admin")
    assert (user.organisation, user.team, user.subject) == ("acme", "red", "ann")
    provider.person |= {"groups": "money", "unit": "blue", "email": "new@example.org"}
    again, _ = entered(desk)
    assert (again.id, again.role, again.team) == (user.id, "billing", "blue")
    provider.person |= {"groups": []}
    assert entered(desk)[0].role == "viewer"
    desk.adopt(snapshot(provider, default=""))
    where, cookie = desk.start("/")
    assert refused(desk, cookie, visited(where)) == 403, "no group of hers has a role"
    kept = users.find(engine, user.id)
    assert kept is not None
    assert (kept.role, kept.active) == ("", True)
    provider.person |= {"groups": ["platform"]}
    assert entered(desk)[0].role == "admin"
    users.change(engine, user.id, EVERYBODY, {"active": False}, 1)
    where, cookie = desk.start("/")
    assert refused(desk, cookie, visited(where)) == 403, "disabled here"


def test_a_claim_takes_over_nobody(desk: SignOn, provider: Provider, engine: sa.Engine) -> None:
    own = UserInfo(id="usr_a", name="Ann@Example.org", role="owner", created_at=1, changed_at=1,
                   created_by="admin")  # fmt: skip
    users.create(engine, own, "a password's hash")
    user, _ = entered(desk)
    assert (user.id != own.id, user.name) == (True, "ann@example.org (staff)")
    assert users.find(engine, "usr_a") == own
    provider.person |= {"sub": "bob"}
    assert entered(desk)[0].name == "staff:bob"


def provisioned(engine: sa.Engine, name: str, organisation: str = "acme", **more: Any) -> str:
    """A user that a directory has made; returns the id."""
    user = UserInfo(id=users.new_id(), name=name, role="", organisation=organisation, created_at=1,
                    changed_at=1, created_by="tok_1", **more)  # fmt: skip
    return scim.add_user(engine, Entry(user=user, attributes="{}"), Grants()).user.id


def out(engine: sa.Engine, ident: str, **fields: Any) -> None:
    """The directory changes a user."""
    scim.edit_user(
        engine, "acme", ident, lambda old: replace(old, user=replace(old.user, **fields))
    )


def kept_out(desk: SignOn) -> str:
    """Why somebody who comes back is not let in, though their token is good."""
    where, cookie = desk.start("/")
    with pytest.raises(ProblemError) as caught:
        desk.finish(cookie, visited(where))
    assert caught.value.status == 403
    return f"{caught.value.code}: {caught.value.detail}"


def test_whom_a_directory_has_made_is_who_signs_in_once_it_is_sure(
    desk: SignOn, provider: Provider, engine: sa.Engine
) -> None:
    provisioned(engine, "boss@example.org", "globex")
    anna = provisioned(engine, "ANN@example.org")
    for said in (False, "true", 1, None):
        provider.person |= {"email_verified": said}
        assert "not said to be verified" in kept_out(desk)
    provider.person |= {"email_verified": True}
    user, _ = entered(desk)
    assert (user.id, user.role, user.team, user.name) == (anna, "admin", "red", "ANN@example.org")
    provider.person |= {"sub": "mallory"}
    assert "another account" in kept_out(desk), "the same address, another account"
    provider.person |= {"sub": "mallory", "email": "boss@example.org"}
    other, _ = entered(desk)
    assert (other.name, other.organisation) == ("boss@example.org (staff)", "acme")
    # Another address and name change nothing for who is linked, nor give anybody the old ones.
    out(engine, anna, name="ann.b@example.org")
    provider.person |= {"sub": "ann", "email": "new@example.org", "email_verified": False}
    assert entered(desk)[0].id == anna
    provider.person |= {"sub": "mallory", "email": "ann@example.org", "email_verified": True}
    assert entered(desk)[0].id == other.id
    provider.person |= {"sub": "ann"}
    out(engine, anna, active=False)
    assert kept_out(desk).startswith("no_role")
    kept = users.find(engine, anna)
    assert kept is not None
    assert not kept.active
    out(engine, anna, active=True)
    assert entered(desk)[0].id == anna
    scim.remove_user(engine, "acme", anna, 9)
    assert kept_out(desk).startswith("no_role"), "not as somebody new either"


def test_another_issuer_and_another_organisation_are_somebody_else(
    desk: SignOn, provider: Provider, engine: sa.Engine
) -> None:
    anna = provisioned(engine, "ann@example.org")
    provider.person |= {"email_verified": True}
    assert entered(desk)[0].id == anna
    row = msgspec.msgpack.decode(snapshot(provider), type=Snapshot)
    moved = replace(row.issuers[0], organisation="globex")
    desk.adopt(msgspec.msgpack.encode(replace(row, issuers=(moved,))))
    assert "another organisation" in kept_out(desk), "it would be lost to its directory"
    second = Provider()
    try:
        second.person = provider.person
        settings = snapshot(second)
        desk._keyring.adopt(settings)
        desk.adopt(settings)
        assert "another account" in kept_out(desk), "the same sub and address"
        found = users.find(engine, anna)
        assert found is not None
        assert found.issuer == provider.url
    finally:
        second.end()


def test_a_claim_may_be_the_directorys_id_and_others_may_stay_outside(
    desk: SignOn, provider: Provider, engine: sa.Engine
) -> None:
    by_mail = provisioned(engine, "ann@example.org", external_id="00u1")
    by_id = provisioned(engine, "someone", external_id="00u2")
    row = msgspec.msgpack.decode(snapshot(provider), type=Snapshot)
    assert row.sign_in is not None
    settings = replace(row, sign_in=replace(row.sign_in, external_id="oid", only=True))
    desk.adopt(msgspec.msgpack.encode(settings))
    provider.person |= {"email_verified": True}
    for oid in (None, "", "00u3", 2, ["00u2"], "00U2"):
        provider.person |= {"oid": oid}
        assert kept_out(desk) == "not_linked: staff knows you. The directory here does not."
    provider.person |= {"oid": "00u2"}
    assert entered(desk)[0].id == by_id
    found = users.find(engine, by_mail)
    assert found is not None
    assert found.subject is None


FORGED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another nonce": lambda claims: claims | {"nonce": "x"},
    "no nonce": lambda claims: {n: v for n, v in claims.items() if n != "nonce"},
    "for calls": lambda claims: claims | {"aud": "calls"},
    "for others too, by another": lambda claims: claims | {"aud": [CLIENT, "x"], "azp": "x"},
    "for others too, by nobody": lambda claims: claims | {"aud": [CLIENT, "x"]},
    "for us, by another": lambda claims: claims | {"azp": "x"},
    "expired": lambda claims: claims | {"exp": int(time.time()) - 60},
    "another issuer": lambda claims: claims | {"iss": "https://elsewhere.example.org"},
    "not verified": lambda claims: claims | {"verified": False},
    "nobody": lambda claims: claims | {"sub": ""},
}


def test_a_token_that_is_not_for_this_sign_in_signs_nobody_in(
    desk: SignOn, provider: Provider, engine: sa.Engine
) -> None:
    for alter in FORGED.values():
        provider.alter = alter
        where, cookie = desk.start("/")
        assert refused(desk, cookie, visited(where)) == 401
    provider.alter = lambda claims: claims
    real = provider.keys
    provider.keys = [Key("first")]
    desk._keyring._keys = {provider.url + DISCOVERY: ()}  # as if it had been asked before
    for _ in range(AT_ONCE):
        desk._keyring.renew(provider.url + DISCOVERY)
    provider.keys = real
    where, cookie = desk.start("/")
    assert refused(desk, cookie, visited(where)) == 401, "another key of the same name"
    assert users.page(engine, limit=9, within=EVERYBODY) == []


def test_only_the_browser_that_left_comes_back_and_once(desk: SignOn, provider: Provider) -> None:
    where, cookie = desk.start("/")
    query = visited(where)
    _, others = desk.start("/")
    for with_cookie, change in (
        (others, {}),
        ("", {}),
        (cookie[:-8] + "AAAAAAA=", {}),
        (seal("{}", key=bytes(31) + b"1", name="signing in"), {}),
        (cookie, {"state": "x"}),
        (cookie, {"state": ""}),
        (cookie, {"code": "x"}),
        (cookie, {"code": ""}),
        (cookie, {"code": "x" * 5000}),
        (cookie, {"iss": "https://elsewhere.example.org"}),
        (cookie, {"error": "access_denied", "code": ""}),
    ):
        assert refused(desk, with_cookie, query | change) == 401
    assert desk.finish(cookie, query | {"iss": provider.url})[0].subject == "ann"
    assert refused(desk, cookie, query) == 401, "a code works once"
    text = unseal(cookie, key=COOKIES, name="signing in")
    old = msgspec.structs.replace(msgspec.json.decode(text, type=Pending), until=1)
    late = seal(msgspec.json.encode(old).decode(), key=COOKIES, name="signing in")
    where, _ = desk.start("/")
    assert refused(desk, late, query) == 401


def test_a_provider_that_is_away_or_describes_another_is_told_of(
    desk: SignOn, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for description in ({"issuer": "https://elsewhere.example.org"}, {"jwks_uri": "ftp://x"},
                        {"authorization_endpoint": 1}):  # fmt: skip
        provider.description = description
        with pytest.raises(ProblemError) as caught:
            desk.start("/")
        assert caught.value.status == 503
    provider.description = {}
    where, cookie = desk.start("/")
    query = visited(where)
    provider.description = {"token_endpoint": "http://169.254.169.254/token"}
    assert refused(desk, cookie, query) == 503, "clouds' metadata are no provider"
    provider.description = {}
    monkeypatch.delenv("SIGN_IN_SECRET")
    assert refused(desk, cookie, query) == 401
    desk.adopt(msgspec.msgpack.encode(Snapshot(version="2")))
    assert (desk.name, refused(desk, cookie, query)) == ("", 404)


CONFIG = """\
identity:
  issuers: [{ name: staff, issuer: "ISSUER" }]
  sign_in:
    issuer: staff
    client_id: CLIENT
    client_secret: env:SIGN_IN_SECRET
    url: URL
    roles: { money: billing }
  groups: { Finance: { role: billing } }
"""


House = tuple[Control, Provider]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A control plane where people sign in with accounts of a provider, and a directory may."""
    folder, provider = tmp_path_factory.mktemp("house"), Provider()
    file = folder / "ferryman.yaml"
    text = CONFIG.replace("ISSUER", provider.url).replace("CLIENT", CLIENT).replace("URL", URL)
    file.write_text(text)
    control = Control(folder / "data", FERRYMAN_CONFIG=str(file), SIGN_IN_SECRET=SECRET).ready()
    yield control, provider
    control.process.end()
    provider.end()


def test_a_browser_signs_in_through_the_dashboard(house: House) -> None:
    control, provider = house
    page = ask(control, "GET", "/enter?next=/costs").body.decode()
    button = re.search(r'href="(/signon/start[^"]*)">Sign in with staff<', page)
    assert button
    provider.person = {"sub": "ann", "email": "ann@example.org", "groups": ["money"]}
    left = ask(control, "GET", button[1])
    assert left.status == 303
    cookie, _, kept = left.headers["set-cookie"].partition(";")
    assert cookie.startswith("__Host-")
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=600"} <= set(
        kept.strip().split("; ")
    )
    query = urlencode(visited(left.headers["location"]))
    stranger = ask(control, "GET", f"{CALLBACK}?{query}")
    assert (stranger.status, "did not sign you in" in stranger.body.decode()) == (401, True)
    link = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=30)
    link.request("GET", f"{CALLBACK}?{query}", headers={"cookie": cookie})
    back = link.getresponse()
    body = back.read().decode()
    assert (back.status, 'content="0; url=/costs"' in body) == (200, True)
    given = back.headers.get_all("set-cookie") or []
    [session] = [each for each in given if "-away" not in each and "Max-Age=0" not in each]
    assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(session.split("; "))
    inside = ask(control, "GET", "/costs", cookie=session.partition(";")[0])
    assert inside.status == 200
    assert ask(control, "GET", "/vault", cookie=session.partition(";")[0]).status == 403
    rows = control.admin("GET", "/api/v1/audit?action=session.begin").json()["data"]
    assert {row["outcome"] for row in rows} == {"refused", "done"}
    [user] = control.admin("GET", "/api/v1/users").json()["data"]
    assert (user["name"], user["role"]) == ("ann@example.org", "billing")
    assert [row["actor"] for row in rows if row["outcome"] == "done"] == [user["id"]]
    provider.person["groups"] = ["other"]
    left = ask(control, "GET", "/signon/start?next=//evil.example.org")
    query = urlencode(visited(left.headers["location"]))
    cookie = left.headers["set-cookie"].partition(";")[0]
    refusal = ask(control, "GET", f"{CALLBACK}?{query}", cookie=cookie)
    assert (refusal.status, "no role here" in refusal.body.decode()) == (403, True)
    provider.away = True
    assert ask(control, "GET", "/signon/start").status == 503


def test_whom_a_directory_ends_is_out_of_the_dashboard_and_stays_so(house: House) -> None:
    control, provider = house
    provider.away = False

    def directory(method: str, path: str, body: Any = None) -> Any:
        sent = None if body is None else json.dumps(body)
        reply = request(control.url, method, "/scim/v2" + path, token=token, body=sent)
        assert reply.status < 300, reply.body
        return reply.json() if reply.body else None

    def back() -> tuple[int, str]:
        left = ask(control, "GET", "/signon/start")
        query = urlencode(visited(left.headers["location"]))
        away = left.headers["set-cookie"].partition(";")[0]
        link = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=30)
        link.request("GET", f"{CALLBACK}?{query}", headers={"cookie": away})
        reply = link.getresponse()
        reply.read()
        given = reply.headers.get_all("set-cookie") or []
        new = [each for each in given if "-away" not in each and "Max-Age=0" not in each]
        return reply.status, new[0].partition(";")[0] if new else ""

    def inside(cookie: str) -> int:
        return ask(control, "GET", "/costs", cookie=cookie).status

    made = {"name": "d", "role": "provisioner"}
    token = control.admin("POST", "/api/v1/tokens", made).json()["token"]
    provider.person = {"sub": "bea", "email": "bea@example.org", "groups": ["money"],
                       "email_verified": True}  # fmt: skip
    early, before = back()
    assert (early, inside(before)) == (200, 200)
    mails = [{"value": "bea@example.org", "primary": True}]
    bea = directory("POST", USERS, {"userName": "bea", "emails": mails})["id"]
    assert inside(before) == 200, "nobody knows yet that she is the same"
    assert back()[0] == 403, "no group of the directory gives her a role"
    assert inside(before) != 200, "known to be the same, she has what groups give"
    directory("POST", "/Groups", {"displayName": "Finance", "members": [{"value": bea}]})
    status, session = back()
    assert (status, inside(session)) == (200, 200)
    user = control.admin("GET", "/api/v1/users/bea").json()
    assert (user["id"], user["role"]) == (bea, "billing")
    off = {"Operations": [{"op": "replace", "value": {"active": False}}]}
    directory("PATCH", f"{USERS}/{bea}", off)
    assert inside(session) != 200
    assert back() == (403, "")
    directory("PATCH", f"{USERS}/{bea}", {"Operations": [
        {"op": "replace", "value": {"active": True, "userName": "bea.b"}}]})  # fmt: skip
    status, session = back()
    assert (status, inside(session)) == (200, 200)
    directory("DELETE", f"{USERS}/{bea}")
    assert inside(session) != 200
    assert back() == (403, "")


def test_what_is_known_of_keys_outlives_the_provider_and_a_restart(
    provider: Provider, tmp_path: Path
) -> None:
    row = Issuer(name="a", issuer=provider.url, keys=f"{provider.url}/keys", audiences=("x",))
    snapshot = msgspec.msgpack.encode(Snapshot(version="1", issuers=(row,)))
    told: list[bytes] = []
    first = Keyring(tmp_path / "keysets")
    first._publish = told.append
    first.adopt(snapshot)
    first.renew(row.keys)
    [known] = first.keys(row.keys)
    assert known.id == "first"
    assert len(told) == 1
    provider.away = True
    assert first.renew(row.keys) == told[0]
    again = Keyring(tmp_path / "keysets")
    again.adopt(snapshot)
    again.renew(row.keys)
    assert again.keys(row.keys) == (known,)
    provider.away, provider.asked = False, []
    for _ in range(10):
        again.renew(row.keys)
    assert len(provider.asked) == AT_ONCE - 1, "questions in a row have a bound"
    assert again.renew("http://169.254.169.254/") == told[0], "nobody else is asked"
