"""Who may what, over the real server: every route, role and tenant; and what others can't reach."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from ferryman.control.api.access import PERMISSIONS, ROLES
from ferryman.control.api.route import PREFIX, Route
from ferryman.control.api.serve import ROUTES
from ferryman.control.app import FEED, METRICS, OPEN, PLACES
from ferryman.store import db
from ferryman.store.schema import admin_tokens
from tests.flow.test_docs import typed
from tests.gateway import Stack
from tests.processes import Reply, request, until
from tests.test_readme import blocks

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, auth: none, prices: { sim: { input: 1, output: 2 } } }
  safe: { base_url: "https://safe.example/v1", key: env:LAB_KEY }
models:
  fast: { targets: [lab/sim] }
content: { store: all }
roles: { support: [api.read, calls.read], ops: [config.read, config.write] }
"""
OWN = {
    "support": frozenset(("api.read", "calls.read")),
    "ops": frozenset(("config.read", "config.write")),
}
"""What the roles of this configuration may."""
TRACE = "0af7651916cd43dd8448eb211c80319c"
OWNERS = {
    "acme-red": ("acme", "red"), "acme-blue": ("acme", "blue"), "globex-red": ("globex", "red"),
    "loose-red": (None, "red"), "nobody": (None, None),
}  # fmt: skip
"""Whose keys there are."""
BOUND = {
    "acme": ("acme", None, {"acme-red", "acme-blue"}), "red": (None, "red", {"loose-red"}),
    "acme/red": ("acme", "red", {"acme-red"}), "globex": ("globex", None, {"globex-red"}),
}  # fmt: skip
"""Tenant → its organisation, its team, and whose keys are theirs."""


class Owned(Struct):
    """What belongs to one owner."""

    key: str
    """Id."""
    secret: str
    call: str
    """Request id."""
    user: str
    """Id."""


class World(Struct):
    """An installation with calls of several tenants that call everything alike."""

    stack: Stack
    owned: dict[str, Owned]
    tokens: dict[tuple[str, str], str]
    """(role, tenant or nothing) → token."""

    def ask(self, token: str, method: str, path: str, body: Any = None, **more: str) -> Reply:
        url = (self.stack.data / "admin-url").read_text().strip()
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body)
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        return request(url, method, PREFIX + path, token=token, body=sent, headers=headers)

    def make(self, role: str, by: str = "", **more: Any) -> Reply:
        return self.ask(by or self.admin, "POST", "/tokens", {"name": "t", "role": role, **more})

    @property
    def admin(self) -> str:
        return (self.stack.data / "secrets" / "admin-token").read_text().strip()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Stack(tmp_path_factory.mktemp("access"), CONFIG).served() as stack:
        it = World(stack, {}, {})
        for name, (organisation, team) in OWNERS.items():
            body = {"name": "shop", "organisation": organisation, "team": team, "user": name}
            made = it.ask(it.admin, "POST", "/keys", body).json()
            until(lambda key=made["key"]: stack.get("/v1/models", key).status == 200, "the key")
            trace = f"00-{TRACE}-b7ad6b7169203331-01"
            headers = {"x-ferryman-run-id": "nightly", "traceparent": trace}
            said = [{"role": "user", "content": f"words of {name}"}]
            sent = {"model": "fast", "messages": said, "metadata": {"whose": name}}
            reply = stack.post(sent, key=made["key"], headers=headers)
            assert reply.status == 200, reply.body
            who = {"name": f"u.{name}", "role": "viewer", "organisation": organisation}
            user = it.ask(it.admin, "POST", "/users", who | {"team": team}).json()["id"]
            it.owned[name] = Owned(made["id"], made["key"], stack.row(reply)["request_id"], user)
        for role in ROLES:
            for tenant, (organisation, team, _) in {"": (None, None, set()), **BOUND}.items():
                made = it.make(role, organisation=organisation, team=team)
                assert made.status == 201, made.body
                it.tokens[role, tenant] = made.json()["token"]
        for role in OWN:
            it.tokens[role, ""] = it.make(role).json()["token"]
        for each in it.owned.values():
            path = f"/calls/{each.call}/content"
            until(lambda p=path: it.ask(it.admin, "GET", p).status == 200, "the content")
        yield it


def marks(world: World, owner: str) -> set[bytes]:
    """What is in an answer only if it tells of this owner."""
    it = world.owned[owner]
    return {
        it.key.encode(),
        it.call.encode(),
        it.user.encode(),
        f"words of {owner}".encode(),
        f'"{owner}"'.encode(),
    }


# -- the matrix ------------------------------------------------------------------------------------


def test_who_asks_for_ids_of_others_is_written_down(world: World) -> None:
    """First of this file: so many refusals are written down in a minute."""
    own, foreign = world.owned["acme-red"], world.owned["globex-red"]
    made = world.make("viewer", organisation="acme").json()
    token, paths = made["token"], [f"/calls/{foreign.call}", f"/runs/{foreign.call}", "/runs/none"]
    assert world.ask(token, "GET", f"/calls/{own.call}").status == 200
    assert [world.ask(token, "GET", path).status for path in paths] == [404] * 3
    acts = world.ask(world.admin, "GET", f"/audit?actor={made['id']}&outcome=refused").json()
    assert {f"GET {PREFIX}{path}" for path in paths} == {act["target"] for act in acts["data"]}
    assert {act["after"]["status"] for act in acts["data"]} == {404}


@pytest.mark.parametrize(
    ("role", "tenant"), [*itertools.product(ROLES, ["", *BOUND]), *((each, "") for each in OWN)]
)
def test_every_route_is_open_to_whom_it_declares_and_to_nobody_else(
    world: World, role: str, tenant: str
) -> None:
    """A parameter that no route has is refused behind the door, before anything is done."""
    for route in ROUTES:
        path = route.path.replace("{", "").replace("}", "")
        reply = world.ask(world.tokens[role, tenant], route.method, f"{path}?no_such=1")
        opened = route.permission in (ROLES | OWN)[role] and (route.tenants or not tenant)
        said = (role, tenant, route.method, route.path, reply.body)
        assert (reply.status, reply.json()["code"] == "forbidden") == (
            (400, False) if opened else (403, True)
        ), said


@pytest.mark.parametrize("role", ROLES)
def test_every_other_path_of_the_port_is_open_to_whom_it_declares(world: World, role: str) -> None:
    url = (world.stack.data / "admin-url").read_text().strip()
    feed = (world.stack.data / "secrets" / "feed-token").read_text().strip()
    tokens = {"": None, "wrong": "fma-wrong", FEED: feed, OPEN: world.stack.metrics_token}
    tokens[role] = world.tokens[role, ""]
    for path, place in PLACES.items():
        opened = {OPEN: {*tokens}, FEED: {FEED}, METRICS: {OPEN}}[place.access]
        if place.access in ROLES[role]:
            opened = {*opened, role}
        for who, token in tokens.items():
            body = b"" if place.method == "POST" else None
            reply = request(url, place.method, path, token=token, body=body)
            told = (path, who, reply.status, reply.body)
            assert (reply.status not in (401, 403, 429)) == (who in opened), told


def test_roles_are_what_they_are_meant_to_be() -> None:
    assert ROLES["owner"] == PERMISSIONS
    assert "dashboard.enter" not in ROLES["admin"], "who is in the dashboard may do everything"
    assert ROLES["provisioner"] == {"api.read", "scim.write"}
    for role in ("billing", "viewer", "auditor"):
        assert all(each.endswith(".read") for each in ROLES[role]), role
    for role in ("billing", "developer", "viewer", "auditor"):
        assert not ROLES[role] & {
            "content.read",
            "tokens.write",
            "config.write",
            "vault.write",
            "users.write",
        }


# -- tenants ---------------------------------------------------------------------------------------

READ = ("/usage?by=key,user,run&since=1d", "/usage/forecast?by=key", "/calls", "/runs", "/keys",
        "/keys?name=shop", "/export/calls", "/export/focus", "/export/content?shape=raw",
        "/export/content", "/tokens", "/users", "/roles", "/me", "/openapi.json", "/runs/nightly",
        f"/runs/{TRACE}", "/limits", "/limits/delegated", "/latencies?by=model", "/alerts",
        "/alerts/history", "/models", "/prices?model=fast", "/organisations", "/vault")  # fmt: skip
ONE = ("/calls/{call}", "/runs/{call}", "/calls/{call}/content", "/calls/{call}/feedback",
       "/calls/{call}/cost", "/keys/{key}", "/users/{user}")  # fmt: skip
"""What is asked for by an id, in place of ``{ident}`` and the like."""
WRITE = {"POST /keys", "PATCH /keys/{key}", "POST /keys/{key}/rotate", "DELETE /keys/{key}",
         "POST /keys/{key}/leaked",
         "POST /tokens", "DELETE /tokens/{token}", "POST /users", "PATCH /users/{user}",
         "PUT /users/{user}/password", "DELETE /users/{user}"}  # fmt: skip
_TEAMS = "/organisations/{organisation}/teams"
ELSEWHERE = {"GET /organisations/{organisation}", f"GET {_TEAMS}", f"POST {_TEAMS}",
             *(f"{method} {_TEAMS}/{{team}}" for method in ("GET", "PATCH", "DELETE")),
             "PUT /limits/delegated", "DELETE /limits/delegated", "PUT /vault/secrets/{name}",
             "DELETE /vault/secrets/{name}", "POST /vault/intake"}  # fmt: skip
"""In test_tenants.py, and what is about the vault in test_own_keys.py."""
FILTERED = ("/usage", "/usage/forecast", "/calls", "/runs", "/export/calls", "/export/focus",
            "/export/content")  # fmt: skip


def test_every_route_that_tenants_may_ask_is_asked_here() -> None:
    def plain(path: str) -> str:
        for name in ("{call}", "{ident}", "{request_id}", "nightly", TRACE):
            path = path.replace(name, "{}")
        return path.partition("?")[0]

    asked = {f"GET {plain(path)}" for path in (*READ, *ONE)} | WRITE | ELSEWHERE
    assert {f"{each.method} {plain(each.path)}" for each in ROUTES if each.tenants} == asked
    # Who adds to what calls are chosen by, adds here too.
    chosen = {each.path for each in ROUTES if "where" in each.hints}
    assert {each.path for each in ROUTES if each.tenants and "where" in each.hints} == set(FILTERED)
    assert chosen == set(FILTERED)


@pytest.mark.parametrize("tenant", BOUND)
def test_a_tenant_reads_what_is_its_own_and_nothing_else(world: World, tenant: str) -> None:
    token, (_, _, own) = world.tokens["owner", tenant], BOUND[tenant]
    foreign = set(OWNERS) - own
    strange = set().union(*(marks(world, owner) for owner in foreign))
    for path in READ:
        reply = world.ask(token, "GET", path)
        assert reply.status == 200, (path, reply.body)
        assert not [mark for mark in strange if mark in reply.body], (path, reply.body)
    calls = {row["request_id"] for row in world.ask(token, "GET", "/calls").json()["data"]}
    assert calls == {world.owned[owner].call for owner in own}
    usage = world.ask(token, "GET", "/usage?since=1d").json()
    assert usage["total"]["calls"] == len(own)
    times = world.ask(token, "GET", "/latencies?by=model").json()["data"]
    assert [(row["model"], row["calls"]) for row in times] == [("fast", len(own))]
    for path in ONE:
        for owner in OWNERS:
            it = world.owned[owner]
            reply = world.ask(token, "GET", path.format(call=it.call, key=it.key, user=it.user))
            assert reply.status == (200 if owner in own else 404), (path, owner, reply.body)
            asked = {each.encode() for each in (it.call, it.key, it.user)}
            assert not [mark for mark in strange - asked if mark in reply.body]
    if len(own) == 1:  # a name that others have too is no way to them, nor ambiguous
        mine = world.owned[next(iter(own))].key
        assert world.ask(token, "GET", "/keys/shop").json()["id"] == mine


@pytest.mark.parametrize("tenant", BOUND)
def test_no_filter_and_no_cursor_leads_out(world: World, tenant: str) -> None:
    token, (organisation, team, own) = world.tokens["owner", tenant], BOUND[tenant]
    for path in FILTERED:
        for other in ("globex" if organisation == "acme" else "acme", "%", "-", "acme,globex"):
            if (organisation, other) == (None, "-"):
                continue
            assert world.ask(token, "GET", f"{path}?organisation={other}").status == 403
        if team:
            assert world.ask(token, "GET", f"{path}?team=blue").status == 403
        for owner in set(OWNERS) - own:
            assert world.ask(token, "GET", f"{path}?key={world.owned[owner].key}").status == 404
        everything = f"{path}?user=nobody"
        assert b"words of nobody" not in world.ask(token, "GET", everything).body
    cursor = world.ask(world.admin, "GET", "/calls?limit=1").json()["next"]
    assert world.ask(world.admin, "GET", f"/calls?limit=1&cursor={cursor}").status == 200
    assert world.ask(token, "GET", f"/calls?limit=1&cursor={cursor}").status == 400


@pytest.mark.parametrize("tenant", BOUND)
def test_a_tenant_changes_nothing_of_others(world: World, tenant: str) -> None:
    token, (organisation, _, own) = world.tokens["admin", tenant], BOUND[tenant]
    keys = world.ask(world.admin, "GET", "/keys").json()["data"]
    stranger = world.make("viewer", organisation="other").json()
    for owner in set(OWNERS) - own:
        path = f"/keys/{world.owned[owner].key}"
        assert world.ask(token, "PATCH", path, {"tags": ["x"]}).status == 404
        assert world.ask(token, "POST", f"{path}/rotate", {"overlap": 0}).status == 404
        assert world.ask(token, "POST", f"{path}/leaked", {"where": "x"}).status == 404
        assert world.ask(token, "DELETE", path).status == 404
        path = f"/users/{world.owned[owner].user}"
        assert world.ask(token, "PATCH", path, {"role": "admin"}).status == 404
        assert world.ask(token, "PATCH", f"/users/u.{owner}", {"active": False}).status == 404
        assert world.ask(token, "PUT", path + "/password", {"password": None}).status == 404
        assert world.ask(token, "DELETE", path).status == 404
    assert world.ask(token, "DELETE", f"/tokens/{stranger['id']}").status == 404
    other = "globex" if organisation == "acme" else "acme"
    mine = world.owned[next(iter(own))].key
    assert world.ask(token, "PATCH", f"/keys/{mine}", {"organisation": other}).status == 403
    assert world.ask(token, "POST", "/keys", {"name": "n", "organisation": other}).status == 403
    assert world.make("viewer", token, organisation=other).status == 403
    assert world.make("owner", token).status == 403, "more than its maker may"
    user = f"/users/{world.owned[next(iter(own))].user}"
    assert world.ask(token, "PATCH", user, {"organisation": other}).status == 403
    named = {"name": f"new.{tenant}", "role": "viewer"}
    assert world.ask(token, "POST", "/users", named | {"organisation": other}).status == 403
    assert world.ask(world.admin, "GET", "/keys").json()["data"] == keys
    assert world.ask(stranger["token"], "GET", "/me").status == 200


def test_what_a_tenant_makes_is_its_own(world: World) -> None:
    once = {"idempotency_key": "a text that tenants share"}
    secrets = set()
    for tenant, (organisation, team, _) in BOUND.items():
        token = world.tokens["admin", tenant]
        made = world.ask(token, "POST", "/keys", {"name": f"of {tenant}"}, **once).json()
        assert (made["organisation"], made["team"]) == (organisation, team)
        secrets.add(made["key"])
        under = world.make("viewer", token).json()
        assert (under["organisation"], under["team"]) == (organisation, team)
        assert world.ask(token, "DELETE", f"/keys/{made['id']}").status == 200
        assert world.ask(token, "DELETE", f"/tokens/{under['id']}").status == 200
        assert world.ask(under["token"], "GET", "/me").status == 401
    assert len(secrets) == len(BOUND), "an Idempotency-Key that another tenant used tells its key"


# -- users -----------------------------------------------------------------------------------------


def test_nobody_makes_or_changes_a_user_that_may_more_than_they_do(world: World) -> None:
    admin = world.tokens["admin", ""]
    new = {"name": "boss", "role": "owner"}
    assert world.ask(admin, "POST", "/users", new).status == 403
    assert world.ask(world.admin, "POST", "/users", new).status == 201
    for method, path, body in (
        ("PATCH", "", {"role": "viewer"}), ("PATCH", "", {"active": False}),
        ("PUT", "/password", {"password": "correct horse battery"}), ("DELETE", "", None),
    ):  # fmt: skip
        reply = world.ask(admin, method, f"/users/boss{path}", body)
        assert reply.status == 403, (method, path, reply.body)
    assert world.ask(admin, "PATCH", "/users/u.nobody", {"role": "owner"}).status == 403
    found = world.ask(admin, "GET", "/users/boss").json()
    assert (found["role"], found["active"]) == ("owner", True)
    assert world.ask(world.admin, "DELETE", "/users/boss").status == 200
    assert world.ask(admin, "GET", "/users/boss").status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "u.nobody", "role": "viewer"}, 409),
        ({"name": "U.NOBODY", "role": "viewer"}, 409),
        ({"name": "", "role": "viewer"}, 400),
        ({"name": "a b", "role": "viewer"}, 400),
        ({"name": "usr_1", "role": "viewer"}, 400),
        ({"name": "x" * 201, "role": "viewer"}, 400),
        ({"name": "n", "role": "root"}, 400),
        ({"name": "n", "role": "viewer", "organisation": "-"}, 400),
        ({"name": "n", "role": "viewer", "kind": "robot"}, 400),
        ({"name": "n", "role": "owner", "password": "short"}, 400),
        ({"name": "n", "role": "owner", "password": "aaaaaaaaaaaaaaaa"}, 400),
        ({"name": "nadja", "role": "owner", "password": "Nadja-has-a-password"}, 400),
        ({"name": "n", "role": "viewer", "kind": "service", "password": "correct horse"}, 400),
    ],
)
def test_a_user_that_can_not_be_made(world: World, body: dict[str, Any], status: int) -> None:
    reply = world.ask(world.admin, "POST", "/users", body)
    assert reply.status == status, reply.body
    assert reply.json()["fix"]


def test_passwords_are_for_owners_unless_the_configuration_says_otherwise(world: World) -> None:
    words = {"password": "correct horse battery"}
    for role in ("viewer", "admin", "support"):
        reply = world.ask(world.admin, "POST", "/users", {"name": "wordy", "role": role} | words)
        assert (reply.status, reply.json()["code"]) == (400, "passwords_for_owners")
        assert "identity: { passwords: everyone }" in reply.json()["fix"]
    assert (
        world.ask(world.admin, "POST", "/users", {"name": "wordy", "role": "viewer"}).status == 201
    )
    reply = world.ask(world.admin, "PUT", "/users/wordy/password", words)
    assert (reply.status, reply.json()["code"]) == (400, "passwords_for_owners")
    assert world.ask(world.admin, "PUT", "/users/wordy/password", {"password": None}).status == 200
    assert world.ask(world.admin, "PATCH", "/users/wordy", {"role": "owner"}).status == 200
    assert world.ask(world.admin, "PUT", "/users/wordy/password", words).status == 200
    assert world.ask(world.admin, "DELETE", "/users/wordy").status == 200


def test_who_may_less_than_before_loses_what_they_made(world: World) -> None:
    """A token of theirs could else do what they may no more."""
    name = "climber"
    made = world.ask(world.admin, "POST", "/users", {"name": name, "role": "viewer"}).json()
    assert made["created_by"] == "admin"
    for body, out in (
        ({"role": "developer"}, False), ({"display": "C."}, False), ({"role": "viewer"}, True),
        ({"team": "red"}, True), ({"team": None}, True), ({"active": False}, True),
    ):  # fmt: skip
        token = world.make("viewer").json()
        _belongs(world, token["id"], made["id"])
        assert world.ask(world.admin, "PATCH", f"/users/{name}", body).status == 200
        status = world.ask(token["token"], "GET", "/me").status
        assert status == (401 if out else 200), body
    world.ask(world.admin, "DELETE", f"/users/{name}")


def _belongs(world: World, token: str, user: str) -> None:
    """As if that user had made the token at the dashboard."""
    engine = db.open_engine(f"sqlite:///{world.stack.data / 'ferryman.db'}")
    with db.writing(engine) as connection:
        mine = admin_tokens.c.id == token
        connection.execute(admin_tokens.update().where(mine).values(created_by=user))
    engine.dispose()


# -- tokens ----------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_ends(world: World) -> None:
    made = world.make("viewer", expires_in=3).json()
    assert world.ask(made["token"], "GET", "/me").json()["name"] == made["id"]
    until(lambda: world.ask(made["token"], "GET", "/me").status == 401, "its end")
    rows = world.ask(world.admin, "GET", "/tokens?limit=1000").json()["data"]
    [row] = [row for row in rows if row["id"] == made["id"]]
    assert row["state"] == "expired"
    assert row["last_used_at"] is not None
    kept = b"".join(path.read_bytes() for path in files(world.stack.data) if path.is_file())
    assert made["id"].encode() in kept
    assert made["token"].encode() not in kept
    revoked = world.make("viewer").json()
    for _ in range(2):
        gone = world.ask(world.admin, "DELETE", f"/tokens/{revoked['id']}").json()
        assert gone["state"] == "revoked"
    assert world.ask(revoked["token"], "GET", "/me").status == 401


def test_the_page(world: World) -> None:
    """docs/identity.md: its example is run."""
    # test_identity_page.py has what needs a token of somebody else
    own = [each for each in blocks("sh", "docs/identity.md") if "token.jwt" not in each]
    command = "\n".join(own)
    made = world.ask(world.admin, "POST", "/keys", {"name": "sold", "team": "sales"}).json()
    until(lambda: world.stack.get("/v1/models", made["key"]).status == 200, "the key")
    sent = {"model": "fast", "messages": [{"role": "user", "content": "Hi"}]}
    world.stack.row(world.stack.post(sent, key=made["key"]))
    shell = (
        f'unset FERRYMAN_ADMIN_PORT\nferryman() {{ {sys.executable} -m ferryman "$@"; }}\n{command}'
    )
    said = typed(world.stack, ["sh", "-ec", shell], world.stack.data)
    assert '"calls": 1,' in said, said
    assert "sales reports" in said
    assert "Shut out anna@example.com" in said


def test_a_role_of_the_configuration_holds_as_it_stands(world: World) -> None:
    token = world.make("support").json()["token"]
    assert world.ask(token, "GET", "/calls").status == 200
    assert world.ask(token, "GET", "/keys").status == 403
    text = world.stack.file.read_text()
    try:
        world.stack.write(CONFIG.replace("[api.read, calls.read]", "[keys.read]"))
        world.ask(world.admin, "POST", "/config/reload")
        assert world.ask(token, "GET", "/calls").status == 403
        assert world.ask(token, "GET", "/keys").status == 200
        world.stack.write(CONFIG.replace("support", "others"))
        world.ask(world.admin, "POST", "/config/reload")
        assert world.ask(token, "GET", "/keys").status == 403
    finally:
        world.stack.file.write_text(text)
        world.ask(world.admin, "POST", "/config/reload")


def test_who_writes_the_configuration_is_held_to_what_they_may(world: World) -> None:
    """tests/control/test_beyond.py has what that is."""
    token, evil = world.make("ops").json()["token"], {"base_url": "https://evil.example/v1"}
    before = world.ask(world.admin, "GET", "/config").json()
    reply = world.ask(token, "PATCH", "/config/providers/safe", evil)
    assert (reply.status, reply.json()["code"]) == (403, "forbidden"), reply.body
    assert world.ask(world.admin, "GET", "/config").json() == before


def files(folder: Path) -> list[Path]:
    """Where a database and logs stand; not sockets, and not the journal's preallocated zeros."""
    return [path for path in folder.rglob("*") if ".db" in path.name or "log" in path.name]


def test_what_is_no_token_is_refused_with_the_same_words(world: World) -> None:
    good = world.tokens["viewer", ""]
    flipped = good[:-1] + ("a" if good[-1] != "a" else "b")
    other = "fma-" + world.owned["nobody"].secret.removeprefix("fm-")
    wrong = (good[:-1], flipped, good.upper(), good + "x", other, world.owned["nobody"].secret,
             "fma-", "", "x" * 5000)  # fmt: skip
    said = {world.ask(token, "GET", "/keys").body for token in wrong}
    assert len(said) == 1
    assert b"unauthorized" in said.pop()
    url = (world.stack.data / "admin-url").read_text().strip()
    for scheme in ("Basic", "bearer bearer", ""):
        sent = {"authorization": f"{scheme} {good}"}
        assert request(url, "GET", PREFIX + "/keys", headers=sent).status == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "t"}, 400),
        ({"name": "t", "role": "root"}, 400),
        ({"name": "", "role": "viewer"}, 400),
        ({"name": "t", "role": "viewer", "organisation": "-"}, 400),
        ({"name": "t", "role": "viewer", "team": "a\nb"}, 400),
        ({"name": "t", "role": "viewer", "expires_in": "0d"}, 400),
        ({"name": "t", "role": "viewer", "expires_in": "1d", "expires_at": "2090-01-01"}, 400),
        ({"name": "t", "role": "viewer", "expires_at": "2200-01-01"}, 400),
        ({"name": "t", "role": "viewer", "permissions": ["keys.read"]}, 400),
    ],
)
def test_a_token_that_can_not_be_made(world: World, body: dict[str, Any], status: int) -> None:
    reply = world.ask(world.admin, "POST", "/tokens", body)
    assert reply.status == status, reply.body
    assert reply.json()["fix"]


def test_a_route_for_tenants_says_how_it_minds_them() -> None:
    """One that has neither the calls' filter nor the parts of the control plane can't."""
    for each in ROUTES:
        if each.tenants and each.path not in ("/openapi.json",):
            assert "admin" in each.hints, each.path
    assert not Route("GET", "/x", "keys.read", lambda: None).tenants, "closed unless it says so"
