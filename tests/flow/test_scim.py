"""SCIM over a whole installation: as directories ask, who may, and what ends with whom."""

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from msgspec import Struct

from ferryman.control.api.access import ROLES
from ferryman.control.scim.serve import HANDLERS
from tests.flow.test_docs import needs_curl, typed
from tests.gateway import Stack
from tests.processes import Reply, request, until
from tests.test_readme import blocks

PAGE = "docs/scim.md"
(GROUPS,) = blocks("yaml", PAGE)
CONFIG = f"""\
providers:
  lab: {{ base_url: SIM/v1, auth: none }}
models:
  fast: {{ targets: [lab/sim] }}
{GROUPS}"""
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
USER, GROUP = (f"urn:ietf:params:scim:schemas:core:2.0:{name}" for name in ("User", "Group"))
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
WORK = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class World(Struct):
    """An installation with three directories: acme's, globex's, and one of nobody's."""

    stack: Stack
    tokens: dict[str, str]

    @property
    def url(self) -> str:
        return (self.stack.data / "admin-url").read_text().strip()

    @property
    def admin(self) -> str:
        return (self.stack.data / "secrets" / "admin-token").read_text().strip()

    def api(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        sent = None if body is None else json.dumps(body)
        reply = request(self.url, method, "/api/v1" + path, token=token or self.admin, body=sent)
        assert reply.status < 300, reply.body
        return reply.json()

    def scim(self, method: str, path: str, body: Any = None, of: str = "acme") -> Reply:
        sent = body if isinstance(body, str) or body is None else json.dumps(body)
        headers = {"content-type": "application/scim+json"}
        return request(self.url, method, "/scim/v2" + path.replace(" ", "%20"),
                       token=self.tokens.get(of, of), body=sent, headers=headers)  # fmt: skip

    def user(self, name: str, of: str = "acme", **more: Any) -> str:
        reply = self.scim("POST", "/Users", {"schemas": [USER], "userName": name, **more}, of)
        assert reply.status == 201, reply.body
        return str(reply.json()["id"])

    def may(self, name: str) -> tuple[str, str | None]:
        found = self.api("GET", f"/users/{name}")
        return found["role"], found["team"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Stack(tmp_path_factory.mktemp("scim"), CONFIG).served() as stack:
        it = World(stack, {})
        for name in ("acme", "globex", ""):
            body = {"name": "d", "role": "provisioner", "organisation": name or None}
            it.tokens[name or "nobody"] = it.api("POST", "/tokens", body)["token"]
        yield it


def change(*operations: Any) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": list(operations)}


# -- as directories ask ----------------------------------------------------------------------------

OKTA_USER = {
    "schemas": [USER], "userName": "test.user@okta.local", "externalId": "00ujl29u0le5T6Aj10h7",
    "name": {"givenName": "Test", "familyName": "User"}, "displayName": "Test User",
    "emails": [{"primary": True, "value": "test.user@okta.local", "type": "work"}],
    "locale": "en-US", "groups": [], "password": "1mz050nq", "active": True,
}  # fmt: skip
OKTA: list[tuple[str, str, Any, int, dict[str, Any]]] = [
    ("GET", "/Users?startIndex=1&count=1", None, 200, {"startIndex": 1}),
    ("GET", '/Users?filter=userName eq "test.user@okta.local"&startIndex=1&count=100', None, 200,
     {"totalResults": 0, "Resources": []}),
    ("POST", "/Users", OKTA_USER, 201, {"userName": "test.user@okta.local", "active": True}),
    ("POST", "/Users", OKTA_USER, 409, {"status": "409", "scimType": "uniqueness"}),
    ("GET", "/Users/ID", None, 200, {"displayName": "Test User", "locale": "en-US"}),
    ("PUT", "/Users/ID", OKTA_USER | {"id": "ID", "name": {"givenName": "Another"},
     "meta": {"resourceType": "User"}}, 200, {"name": {"givenName": "Another"}}),
    ("PATCH", "/Users/ID", change({"op": "replace", "value": {"active": False}}), 200,
     {"active": False}),
    ("PATCH", "/Users/ID", change({"op": "replace", "value": {"active": True}}), 200,
     {"active": True}),
    ("POST", "/Groups", {"schemas": [GROUP], "displayName": "Okta Group", "members": []}, 201,
     {"displayName": "Okta Group"}),
    ("GET", "/Groups?startIndex=1&count=100", None, 200, {}),
    ("PATCH", "/Groups/ID", change({"op": "replace", "value": {"id": "ID", "displayName": "New"}}),
     200, {"displayName": "New"}),
    ("PATCH", "/Groups/ID", change({"op": "add", "path": "members",
     "value": [{"value": "FIRST", "display": "test.user@okta.local"}]}), 200, {}),
    ("PATCH", "/Groups/ID", change({"op": "remove", "path": 'members[value eq "FIRST"]'}), 200, {}),
    ("PATCH", "/Groups/ID", change({"op": "replace", "path": "members", "value":
     [{"value": "FIRST", "display": "x"}]}), 200, {}),
    ("PUT", "/Groups/ID", {"schemas": [GROUP], "displayName": "New", "members":
     [{"value": "FIRST"}]}, 200, {"displayName": "New"}),
    ("DELETE", "/Groups/ID", None, 204, {}),
]  # fmt: skip
"""What Okta's documentation shows, in its order; ID is of what was made last, FIRST of the user."""
ENTRA_USER = {
    "schemas": [USER, WORK], "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
    "userName": "Test_User_ab6490ee", "active": True,
    "emails": [{"primary": True, "type": "work", "value": "t@testuser.com"}],
    "meta": {"resourceType": "User"}, "name": {"formatted": "g f", "familyName": "f",
    "givenName": "g"}, "roles": [], WORK: {"department": "d"},
}  # fmt: skip
WITHOUT = "excludedAttributes=members"
ENTRA: list[tuple[str, str, Any, int, dict[str, Any]]] = [
    ("GET", "/Schemas", None, 200, {"totalResults": 3}),
    ("GET", '/Users?filter=userName eq "non-existent user"', None, 200, {"totalResults": 0}),
    ("POST", "/Users", ENTRA_USER, 201, {"schemas": [USER, WORK], WORK: {"department": "d"}}),
    ("GET", '/Users?filter=userName eq "TEST_user_AB6490EE"', None, 200, {"totalResults": 1}),
    ("GET", '/Users?filter=externalId eq "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"', None, 200,
     {"totalResults": 1}),
    ("PATCH", "/Users/ID", change(
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "u@microsoft.com"},
        {"op": "Replace", "path": "name.familyName", "value": "u"}), 200,
     {"emails": [{"primary": True, "type": "work", "value": "u@microsoft.com"}]}),
    ("PATCH", "/Users/ID", change({"op": "Replace", "path": "userName", "value": "5b50642d"}), 200,
     {"userName": "5b50642d"}),
    ("PATCH", "/Users/ID", change({"op": "Add", "path": f"{WORK}:manager", "value": "FIRST"}), 200,
     {WORK: {"department": "d", "manager": {"value": "FIRST"}}}),
    ("PATCH", "/Users/ID", change({"op": "Replace", "path": "active", "value": "False"}), 200,
     {"active": False}),
    ("POST", "/Groups", {"schemas": [GROUP, "http://schemas.microsoft.com/2006/11/Group"],
     "externalId": "8aa1a0c0", "displayName": "displayName", "meta": {"resourceType": "Group"}},
     201, {"externalId": "8aa1a0c0"}),
    ("GET", f"/Groups/ID?{WITHOUT}", None, 200, {"displayName": "displayName"}),
    ("GET", f'/Groups?{WITHOUT}&filter=displayName eq "DISPLAYNAME"', None, 200,
     {"totalResults": 1}),
    ("PATCH", "/Groups/ID", change({"op": "Replace", "path": "displayName", "value": "1879db"}),
     200, {"displayName": "1879db"}),
    ("PATCH", "/Groups/ID", change({"op": "Add", "path": "members", "value":
     [{"$ref": None, "value": "FIRST"}]}), 200, {}),
    ("GET", '/Groups?filter=id eq "ID" and members eq "FIRST"', None, 200, {"totalResults": 1}),
    ("PATCH", "/Groups/ID", change({"op": "Remove", "path": "members", "value":
     [{"$ref": None, "value": "FIRST"}]}), 200, {}),
    ("GET", '/Groups?filter=id eq "ID" and members eq "FIRST"', None, 200, {"totalResults": 0}),
    ("DELETE", "/Groups/ID", None, 204, {}),
    ("DELETE", "/Users/FIRST", None, 204, {}),
    ("GET", "/Users/FIRST", None, 404, {"schemas": [ERROR], "status": "404"}),
    ("DELETE", "/Users/FIRST", None, 404, {"status": "404"}),
]  # fmt: skip
"""The same of the reference of Entra ID's provisioning."""


@pytest.mark.parametrize("steps", [OKTA, ENTRA], ids=["okta", "entra"])
def test_a_directory_is_answered_as_its_documentation_wants(world: World, steps: Any) -> None:
    first = last = ""
    for method, path, body, status, wanted in steps:
        sent, asked, said = (
            text.replace("FIRST", first or "FIRST").replace('"ID"', json.dumps(last))
            for text in (json.dumps(body), path, json.dumps(wanted))
        )
        reply = world.scim(method, asked.replace("ID", last), body and sent)
        at = (method, path, reply.status, reply.body)
        assert reply.status == status, at
        if status == 204:
            assert reply.body == b"", at
            continue
        assert reply.headers["content-type"] == "application/scim+json"
        assert reply.json().items() >= json.loads(said).items(), at
        if status == 201:
            last = reply.json()["id"]
            first = first or last
            assert reply.headers["location"] == reply.json()["meta"]["location"]
            assert reply.headers["location"].endswith(f"/{last}")
        assert "1mz050nq" not in reply.body.decode()


def test_lists_have_pages_and_parts(world: World) -> None:
    for n in range(5):
        world.user(
            f"page-{n}", of="globex", title=f"T{n}", emails=[{"value": f"{n}@x", "type": "w"}]
        )

    def names(query: str) -> list[str]:
        found = world.scim("GET", f"/Users?{query}", of="globex").json()
        assert found["itemsPerPage"] == len(found["Resources"])
        return [each["userName"] for each in found["Resources"]]

    every = names("")
    assert sorted(every) == [f"page-{n}" for n in range(5)]
    assert names("startIndex=2&count=2") == every[1:3]
    assert names("startIndex=-5&count=2") == every[:2]
    assert names("startIndex=6") == names("count=0") == names("count=-1") == []
    assert (
        names('filter=title ge "t1"&startIndex=2&count=2')
        == [e for e in every if e != "page-0"][1:3]
    )
    assert names('filter=userName eq "PAGE-3" and title eq "t4"') == []
    found = world.scim("GET", "/Users?count=0", of="globex").json()
    assert found["totalResults"] == 5
    [one] = world.scim("GET", '/Users?filter=title eq "T1"&attributes=emails.value,USERNAME',
                       of="globex").json()["Resources"]  # fmt: skip
    assert one == {
        "schemas": [USER],
        "id": one["id"],
        "userName": "page-1",
        "emails": [{"value": "1@x"}],
    }
    less = "excludedAttributes=meta,emails.type,id"
    assert world.scim("GET", f"/Users/{one['id']}?{less}", of="globex").json() == {
        "schemas": [USER], "id": one["id"], "userName": "page-1", "title": "T1", "active": True,
        "emails": [{"value": "1@x"}],
    }  # fmt: skip
    search = {"filter": "title pr", "count": 2, "attributes": ["userName"]}
    for path in ("/.search", "/Users/.search"):
        found = world.scim("POST", path, search, of="globex").json()
        assert (found["totalResults"], len(found["Resources"])) == (5, 2)
    assert world.scim("POST", "/Groups/.search", search, of="globex").json()["totalResults"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", "/Users?filter=userName%20is%205", None, 400, "invalidFilter"),
        ("GET", "/Users?count=many", None, 400, "invalidValue"),
        ("GET", "/Users?attributes=id&excludedAttributes=id", None, 400, "invalidValue"),
        ("GET", "/Users?attributes=a..b", None, 400, "invalidValue"),
        ("POST", "/Users", "{", 400, "invalidSyntax"),
        ("POST", "/Users", "[" * 100_000, 400, "invalidSyntax"),
        ("POST", "/Users", "[]", 400, "invalidSyntax"),
        ("POST", "/Users", {"displayName": "x"}, 400, "invalidValue"),
        ("POST", "/Users", {"userName": "a\0b"}, 400, "invalidValue"),
        ("POST", "/Users", {"userName": "x" * 201}, 400, "invalidValue"),
        ("POST", "/Users", {"userName": ["x"]}, 400, "invalidValue"),
        ("POST", "/Users", {"userName": "x", "active": "perhaps"}, 400, "invalidValue"),
        ("POST", "/Users", {"userName": "x", "title": "y" * 70_000}, 400, "invalidValue"),
        ("POST", "/Groups", {"displayName": ""}, 400, "invalidValue"),
        ("POST", "/Groups", {"displayName": "x", "members": [{"value": "usr_none"}]}, 400,
         "invalidValue"),
        ("POST", "/Groups", {"displayName": "x", "members": ["a\0"]}, 400, "invalidValue"),
        ("PATCH", "/Users/usr_none", change({"op": "remove"}), 404, ""),
        ("GET", "/Users/a%00b", None, 404, ""),
        ("GET", "/Groups/usr_none", None, 404, ""),
        ("GET", "/Schemas/none", None, 404, ""),
        ("GET", "/Schemas?filter=id%20pr", None, 403, ""),
        ("GET", "/Me", None, 404, ""),
        ("PATCH", "/Users", None, 405, ""),
        ("POST", "/Users", "x" * 4_000_001, 413, ""),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_in_the_form_of_scim(
    world: World, method: str, path: str, body: Any, status: int, kind: str
) -> None:
    reply = world.scim(method, path, body)
    said = reply.json()
    assert reply.headers["content-type"] == "application/scim+json"
    assert (reply.status, said["status"], said.get("scimType", "")) == (status, str(status), kind)
    assert said["schemas"] == [ERROR]
    assert said["detail"]


def test_what_there_is_is_told(world: World) -> None:
    said = world.scim("GET", "/ServiceProviderConfig").json()
    assert said["patch"]["supported"]
    assert not said["bulk"]["supported"]
    kinds = world.scim("GET", "/ResourceTypes").json()["Resources"]
    assert [each["endpoint"] for each in kinds] == ["/Users", "/Groups"]
    for each in world.scim("GET", "/Schemas").json()["Resources"]:
        assert world.scim("GET", f"/Schemas/{quote(each['id'])}").json() == each
        assert each["meta"]["location"].startswith(f"{world.url}/scim/v2/Schemas/urn:")


def test_a_judge_of_others_finds_nothing_else(world: World) -> None:
    tester = pytest.importorskip("scim2_tester", reason="scim2-tester is not installed")
    from httpx2 import Client  # type: ignore[import-not-found]
    from scim2_client.engines.httpx2 import SyncSCIMClient  # type: ignore[import-not-found]

    headers = {"authorization": f"Bearer {world.tokens['nobody']}"}
    client = SyncSCIMClient(Client(base_url=f"{world.url}/scim/v2", headers=headers))
    client.discover()
    results = tester.check_server(client)
    wrong = [f"{each.title}: {each.reason}" for each in results if each.status.name != "SUCCESS"]
    # Whether somebody is in has to be said: what is removed stays as it is (docs/scim.md).
    assert [each for each in wrong if "did not remove attribute 'active'" not in each] == []
    assert len(results) > 100


# -- who may ---------------------------------------------------------------------------------------


def test_only_who_may_is_served_and_no_team(world: World) -> None:
    made = {}
    for role in ROLES:
        for where in ({}, {"organisation": "acme"}, {"organisation": "acme", "team": "red"}):
            body = {"name": "t", "role": role, **where}
            made[role, "team" in where] = world.api("POST", "/tokens", body)["token"]
    for (role, team), token in made.items():
        for path, handlers in HANDLERS.items():
            for method, one in handlers:
                reply = world.scim(method, f"{path}/none" if one else path, "", of=token)
                said = (role, team, method, path, reply.body)
                opened = "scim.write" in ROLES[role] and not team
                assert (reply.status == 403) is not opened, said
                assert reply.json()["schemas"] == [ERROR] if reply.status >= 400 else True, said
    assert {role for role, may in ROLES.items() if "scim.write" in may} == {
        "owner", "admin", "provisioner",
    }  # fmt: skip
    reply = request(world.url, "GET", "/scim/v2/Users")
    assert (reply.status, reply.json()["schemas"]) == (401, [ERROR])
    assert reply.headers["www-authenticate"] == "Bearer"
    told = request(world.url, "GET", "/api/v1/keys", token=world.tokens["acme"])
    assert told.status == 403, "a directory's token does nothing else"


def test_a_directory_meets_its_own_organisation(world: World) -> None:
    gina = world.user("gina@globex", of="globex")
    group = {"displayName": "g", "members": [{"value": gina}]}
    made = world.scim("POST", "/Groups", group, of="globex").json()["id"]
    world.api("POST", "/users", {"name": "root@acme", "role": "owner", "organisation": "acme",
                                 "password": "correct horse battery"})  # fmt: skip
    root = world.api("GET", "/users/root@acme")["id"]
    off = change({"op": "replace", "value": {"active": False}})
    for path in (f"/Users/{gina}", f"/Users/{root}", f"/Groups/{made}"):
        for method, body in (("GET", None), ("PATCH", off), ("DELETE", None),
                             ("PUT", {"userName": "x", "displayName": "x"})):  # fmt: skip
            assert world.scim(method, path, body).status == 404, (path, method)
    for query in (f'filter=id eq "{gina}"', 'filter=userName eq "gina@globex"', "", "filter=id pr"):
        assert gina not in world.scim("GET", f"/Users?{query}").body.decode()
        assert root not in world.scim("GET", f"/Users?{query}").body.decode()
    for name in ("gina@globex", "ROOT@acme"):
        assert world.scim("POST", "/Users", {"userName": name}).status == 409
    taking = {"displayName": "mine", "members": [{"value": gina}]}
    assert world.scim("POST", "/Groups", taking).status == 400
    assert world.scim("GET", f"/Users/{gina}", of="nobody").status == 200
    assert world.scim("GET", f"/Users/{root}", of="nobody").status == 404
    assert all(world.api("GET", f"/users/{each}")["active"] for each in (gina, root))
    assert world.api("GET", f"/users/{gina}")["organisation"] == "globex"


# -- what it does ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["PATCH", "DELETE", "PUT"])
def test_who_leaves_is_out_at_the_gateway(world: World, how: str) -> None:
    name = f"leaver-{how}@acme.example".lower()
    ident, other = world.user(name), world.user(f"stays-{name}")
    body = {"name": "k", "organisation": "acme", "user": name.upper()}
    mine = world.api("POST", "/keys", body)
    theirs = [
        world.api("POST", "/keys", body | {"organisation": "globex"}),
        world.api("POST", "/keys", body | {"user": f"stays-{name}"}),
    ]
    token = world.api("POST", "/tokens", {"name": "t", "role": "viewer", "user": name})
    assert (token["organisation"], token["user_id"]) == ("acme", ident)
    for key in (mine, *theirs):
        until(lambda k=key["key"]: world.stack.get("/v1/models", k).status == 200, "the key")
    assert world.api("GET", "/me", token=token["token"])["name"] == token["id"]
    bodies = {
        "PATCH": change({"op": "Replace", "path": "active", "value": "False"}),
        "PUT": {"userName": name, "active": False}, "DELETE": None,
    }  # fmt: skip
    assert world.scim(how, f"/Users/{ident}", bodies[how]).status in (200, 204)
    until(lambda: world.stack.get("/v1/models", mine["key"]).status == 401, "the key's end")
    for key in theirs:
        assert world.stack.get("/v1/models", key["key"]).status == 200
    asked = request(world.url, "GET", "/api/v1/me", token=token["token"])
    assert asked.status == 401
    said = [
        (each["action"], each["target"]) for each in world.api("GET", "/audit?limit=20")["data"]
    ]
    what = "user.remove" if how == "DELETE" else "user.change"
    wanted = {(what, ident), ("token.revoke", token["id"]), ("key.revoke", mine["id"])}
    assert wanted <= set(said)
    assert world.api("GET", f"/users/{other}")["active"]
    if how != "DELETE":
        refused = request(
            world.url, "POST", "/api/v1/keys", token=world.admin, body=json.dumps(body)
        )
        assert refused.status == 400
        assert b"is disabled" in refused.body


def test_groups_give_what_the_configuration_says(world: World) -> None:
    anna, ben = world.user("anna.g@acme"), world.user("ben.g@acme")
    assert world.may("anna.g@acme") == ("", None)

    def group(name: str, *members: str) -> str:
        body = {"displayName": name, "members": [{"value": each} for each in members]}
        return str(world.scim("POST", "/Groups", body).json()["id"])

    everybody = group("EVERYBODY", anna, ben)
    engineering = group("engineering", anna)
    assert world.may("anna.g@acme") == ("developer", "engineering")
    assert world.may("ben.g@acme") == ("viewer", None)
    found = world.scim("GET", f"/Users/{anna}").json()["groups"]
    assert [(each["value"], each["display"]) for each in found] == [
        (engineering, "engineering"), (everybody, "EVERYBODY"),
    ]  # fmt: skip
    gone = change({"op": "remove", "path": f'members[value eq "{anna}"]'})
    assert world.scim("PATCH", f"/Groups/{engineering}", gone).status == 200
    assert world.may("anna.g@acme") == ("viewer", None)
    try:
        world.stack.write(CONFIG.replace("role: viewer", "role: auditor, team: all"))
        world.api("POST", "/config/reload")
        until(lambda: world.may("ben.g@acme") == ("auditor", "all"), "what the group gives now")
    finally:
        world.stack.write(CONFIG)
        world.api("POST", "/config/reload")
    until(lambda: world.may("ben.g@acme") == ("viewer", None), "what it gave before")
    world.scim("DELETE", f"/Groups/{everybody}")
    assert world.may("ben.g@acme") == ("", None)


# -- the page --------------------------------------------------------------------------------------


def shell(world: World, command: str) -> str:
    env = f"export FERRYMAN_CONTROL_URL={world.url}\nunset FERRYMAN_ADMIN_PORT\n"
    ferryman = f'ferryman() {{ {sys.executable} -m ferryman "$@"; }}\n'
    return typed(world.stack, ["sh", "-ec", env + ferryman + command], world.stack.data)


@needs_curl
def test_the_page_sets_a_directory_up(world: World) -> None:
    said = shell(world, blocks("sh", PAGE)[0])
    assert '"userName":"anna@acme.example"' in said
    assert "anna@acme.example" in said.splitlines()[-1]


def test_the_page_ends_a_service_account_and_all_that_is_its_own(world: World) -> None:
    lines = blocks("sh", PAGE)[1].strip().splitlines()
    token = json.loads(shell(world, "\n".join(lines[:2])).partition("\n")[2])
    key = shell(world, lines[2]).strip().splitlines()[-1]
    until(lambda: world.stack.get("/v1/models", key).status == 200, "the key")
    assert world.api("GET", "/me", token=token["token"])["organisation"] == "acme"
    shell(world, lines[3])
    until(lambda: world.stack.get("/v1/models", key).status == 401, "the key's end")
    assert request(world.url, "GET", "/api/v1/me", token=token["token"]).status == 401
    refused = request(world.url, "POST", "/api/v1/tokens", token=world.admin, body=json.dumps(
        {"name": "t", "role": "viewer", "user": "build-bot"}))  # fmt: skip
    assert (refused.status, refused.json()["code"]) == (409, "user_disabled")
