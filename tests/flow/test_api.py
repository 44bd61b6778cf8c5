"""The admin API as a whole: its description, each of its routes, and what it refuses."""

import base64
import json
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from ferryman.client import ApiError, Client
from ferryman.client.documents import Explain, KeyChange, NewKey, Rotation
from ferryman.config.intake import seal_for
from ferryman.control.api import openapi
from ferryman.control.api.access import PERMISSIONS, Caller, may
from ferryman.control.api.route import PREFIX, Route
from ferryman.control.api.serve import ROUTES
from ferryman.control.problem import ProblemError
from ferryman.control.vault.masters import make
from tests.gateway import Stack
from tests.processes import Reply, request, until
from tests.receivers import Hook

CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    auth: none
    prices: { sim: { input: 1, output: 2 }, sim-2: { input: 2, output: 2 } }
models:
  fast: { targets: [lab/sim, lab/sim-2] }
limits: [{ by: key, requests: 10000/hour }]
content: { store: all }
identity: { passwords: everyone }
alerts:
  channels: { ops: { webhook: HOOK, secret: env:HOOK_SECRET, private: true } }
  rules: [{ on: disk_low, free: 1000000GB }]
"""
CALLS = 7
PASSWORD = {"password": "five words or more"}
FOUND = {"where": "a paste", "revoke": False}
"""What is said of a key."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with calls of two runs, one of which failed, and somebody to tell of it."""
    hook = Hook()
    config = CONFIG.replace("HOOK", hook.url, 1)
    with Stack(tmp_path_factory.mktemp("api"), config, HOOK_SECRET="s3cret").served() as running:
        for number in range(CALLS):
            running.chat("fast", headers={"x-ferryman-run-id": f"run-{number % 2}"})
        running.row(running.chat("lab/sim-400", headers={"x-ferryman-run-id": "run-1"}))
        yield running
    hook.server.shutdown()


def asked(
    stack: Stack,
    method: str,
    path: str,
    body: object = None,
    token: str | None = "",
    **headers: str,
) -> Reply:
    """A request below the prefix; ``token`` "" = the right one."""
    url = (stack.data / "admin-url").read_text().strip()
    right = (stack.data / "secrets" / "admin-token").read_text().strip()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) or body is None else json.dumps(body)
    given = right if token == "" else token
    return request(url, method, PREFIX + path, token=given, body=data, headers=sent)


@pytest.fixture
def client(stack: Stack) -> Client:
    url = (stack.data / "admin-url").read_text().strip()
    return Client(url, (stack.data / "secrets" / "admin-token").read_text().strip())


def problem(reply: Reply, status: int, code: str) -> dict[str, Any]:
    """The problem document; fails if it is another one, or does not say what to do."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    assert (found["code"], found["status"]) == (code, status)
    assert found["detail"]
    assert found["fix"]
    return found


# -- the description -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = asked(stack, "GET", "/openapi.json").json()
    return found


def test_the_description_is_openapi_and_whole(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    said = {
        (method.upper(), path.removeprefix(PREFIX), each["x-permission"])
        for path, operations in document["paths"].items()
        for method, each in operations.items()
    }
    assert said == {(route.method, route.path, route.permission) for route in ROUTES}
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert all(each["summary"] for each in operations)


def checked(document: dict[str, Any], route: Route, reply: Reply) -> None:
    """The answer is of the schema that the description has for it."""
    operation = document["paths"][PREFIX + route.path][route.method.lower()]
    content = operation["responses"][str(route.status)]["content"]
    kind = reply.headers["content-type"].partition(";")[0]
    assert set(content) == {kind}, route.path
    if kind == "application/json":
        schema = {"components": document["components"], **content[kind]["schema"]}
        jsonschema.Draft202012Validator(schema).validate(reply.json())


VIEWS: dict[tuple[str, str], tuple[str, Any]] = {
    ("PUT", "/views/{name}"): ("/views/slow%2Fred", {"query": "team=red&min_seconds=9"}),
    ("DELETE", "/views/{name}"): ("/views/slow%2Fred", None),
}
ONE = "/organisations/{organisation}"
TENANTS: dict[tuple[str, str], tuple[str, Any]] = {
    ("PUT", "/limits/delegated"): ("/limits/delegated?organisation=acme", {"parallel": 9}),
    ("DELETE", "/limits/delegated"): ("/limits/delegated?organisation=acme", None),
    ("POST", "/organisations"): ("/organisations", {"name": "acme", "title": "Acme"}),
    ("GET", ONE): ("/organisations/acme", None),
    ("PATCH", ONE): ("/organisations/acme", {"title": "Acme Corporation"}),
    ("POST", f"{ONE}/teams"): ("/organisations/acme/teams", {"name": "red"}),
    ("GET", f"{ONE}/teams"): ("/organisations/acme/teams", None),
    ("GET", f"{ONE}/teams/{{team}}"): ("/organisations/acme/teams/red", None),
    ("PATCH", f"{ONE}/teams/{{team}}"): ("/organisations/acme/teams/red", {"title": "Red"}),
    ("DELETE", f"{ONE}/teams/{{team}}"): ("/organisations/acme/teams/red", None),
    ("DELETE", ONE): ("/organisations/acme", None),
}
"""In this order: from the first record on, names are held to them."""


def written_down(stack: Stack, route: Route, path: str, before: int) -> None:
    """All acts are in the audit log, and exports; what only asks, or tries, leaves no trace."""
    asks = route.method == "GET" or route.path == "/explain" or "check=true" in path
    if not asks or route.path.startswith("/export/"):
        acts = asked(stack, "GET", "/audit?limit=10").json()["data"]
        new = [each["action"] for each in acts if each["seq"] > before]
        assert new, f"nothing in the audit log of {route.method} {path}"


def test_every_route_answers_with_what_it_describes(stack: Stack, document: dict[str, Any]) -> None:
    ident = asked(stack, "GET", "/calls?limit=1&status=200").json()["data"][0]["request_id"]
    body = {"request": {"model": "fast", "messages": [{"role": "user", "content": "Hi"}]}}
    alerts = until(lambda: asked(stack, "GET", "/alerts").json()["data"], "an alert")
    alert = alerts[0]["id"]
    silence = {"alert": alert, "until": "1h"}
    quiet = asked(stack, "POST", "/alerts/silences", silence).json()["id"]
    make(stack.data / "secrets" / "master-key")
    public = base64.b64decode(asked(stack, "POST", "/vault/intake").json()["key"])
    sealed = {"sealed": base64.b64encode(seal_for(public, "spare", "s3cret")).decode()}
    token = asked(stack, "POST", "/tokens", {"name": "t", "role": "viewer"}).json()["id"]
    requests: dict[tuple[str, str], tuple[str, object]] = {
        **VIEWS,
        ("POST", "/keys"): ("/keys", {"name": "shop/one", "team": "red"}),
        ("GET", "/keys/{key}"): ("/keys/shop%2Fone", None),
        ("PATCH", "/keys/{key}"): ("/keys/shop%2Fone", {"tags": ["a"], "team": None}),
        ("POST", "/keys/{key}/leaked"): ("/keys/shop%2Fone/leaked", FOUND),
        ("POST", "/keys/{key}/rotate"): ("/keys/shop%2Fone/rotate", {"overlap": 0}),
        ("DELETE", "/keys/{key}"): ("/keys/shop%2Fone", None),
        ("POST", "/tokens"): ("/tokens", {"name": "t", "role": "viewer", "team": "red"}),
        ("DELETE", "/tokens/{token}"): (f"/tokens/{token}", None),
        ("POST", "/users"): ("/users", {"name": "ben", "role": "viewer"}),
        ("GET", "/users/{user}"): ("/users/ben", None),
        ("PATCH", "/users/{user}"): ("/users/BEN", {"display": "Ben"}),
        ("PUT", "/users/{user}/password"): ("/users/ben/password", PASSWORD),
        ("DELETE", "/users/{user}"): ("/users/ben", None),
        ("GET", "/usage"): ("/usage?by=day,key&units=true&model=fast", None),
        ("GET", "/usage/forecast"): ("/usage/forecast?by=model", None),
        ("GET", "/calls/{ident}"): (f"/calls/{ident}", None),
        ("GET", "/calls/{request_id}/content"): (f"/calls/{ident}/content", None),
        ("GET", "/calls/{request_id}/feedback"): (f"/calls/{ident}/feedback", None),
        ("GET", "/calls/{request_id}/cost"): (f"/calls/{ident}/cost", None),
        ("GET", "/calls/{ident}/offers"): (f"/calls/{ident}/offers", None),
        ("GET", "/runs/{ident}"): ("/runs/run-1", None),
        ("POST", "/alerts/silences"): ("/alerts/silences", silence),
        ("DELETE", "/alerts/silences/{silence}"): (f"/alerts/silences/{quiet}", None),
        ("POST", "/alerts/channels/{channel}/test"): ("/alerts/channels/ops/test", None),
        ("POST", "/alerts/{alert}/acknowledge"): (f"/alerts/{alert}/acknowledge", None),
        ("GET", "/prices"): ("/prices?model=fast", None),
        ("GET", "/models"): ("/models?text=lab", None),
        ("POST", "/explain"): ("/explain", body),
        ("DELETE", "/cache"): ("/cache?model=fast", None),
        ("PATCH", "/config/{section}/{name}"): ("/config/models/fast", {"fallbacks": ["lab/x"]}),
        ("PUT", "/config/{section}/{name}"): ("/config/models/other", b"lab/sim"),
        ("DELETE", "/config/{section}/{name}"): ("/config/models/other", None),
        ("GET", "/config/diff"): ("/config/diff?old=1", None),
        ("GET", "/config/versions/{number}"): ("/config/versions/1", None),
        ("POST", "/config/rollback"): ("/config/rollback?check=true", {"version": 1}),
        ("PUT", "/config"): ("/config?check=true", b"{}"),
        ("DELETE", "/config"): ("/config?check=true", None),
        ("PUT", "/vault/secrets/{name}"): ("/vault/secrets/spare", sealed),
        ("POST", "/vault/rotate"): ("/vault/rotate", {"master": True}),
        ("DELETE", "/vault/secrets/{name}"): ("/vault/secrets/spare", None),
        **TENANTS,
    }
    order = list(requests)
    for route in sorted(
        ROUTES, key=lambda r: order.index((r.method, r.path)) if (r.method, r.path) in order else -1
    ):
        path, sent = requests.get((route.method, route.path), (route.path, None))
        assert "{" not in path, f"a request for {route.method} {path} is missing"
        before = asked(stack, "GET", "/audit/head").json()["seq"]
        reply = asked(stack, route.method, path, sent)
        assert reply.status == route.status, (route.method, path, reply.body)
        written_down(stack, route, path, before)
        checked(document, route, reply)
        if route.tagged:
            assert reply.headers["etag"] == f'"{reply.json()["version"]}"'


# -- who may ---------------------------------------------------------------------------------------


def test_a_route_without_a_permission_that_exists_can_not_be_made() -> None:
    for permission in ("", "keys", "keys.delete"):
        with pytest.raises(ValueError, match="no permission"):
            Route("GET", "/x", permission, lambda: None)


def test_without_the_token_every_route_is_closed(stack: Stack) -> None:
    for route in ROUTES:
        path = route.path.replace("{", "").replace("}", "")
        found = problem(asked(stack, route.method, path, token=None), 401, "unauthorized")
        assert "Bearer" in found["fix"]


@pytest.mark.parametrize("held", sorted(PERMISSIONS))
def test_a_permission_opens_its_routes_and_no_others(held: str) -> None:
    caller = Caller(name="somebody", permissions=frozenset((held,)))
    for route in ROUTES:
        if route.permission == held:
            may(caller, route.permission)
            continue
        with pytest.raises(ProblemError) as refused:
            may(caller, route.permission)
        assert (refused.value.status, refused.value.code) == (403, "forbidden")
    # What is no route of the API, and takes a permission like them: /metrics, /scim/v2.
    assert held in ("metrics.read", "scim.write") or any(
        route.permission == held for route in ROUTES
    )


# -- lists -----------------------------------------------------------------------------------------


def test_pages_stay_whole_while_calls_come_in(stack: Stack) -> None:
    whole = [row["request_id"] for row in asked(stack, "GET", "/calls").json()["data"]]
    found, cursor = [], ""
    while cursor is not None:
        page = asked(stack, "GET", f"/calls?limit=3&cursor={cursor}").json()
        assert len(page["data"]) <= 3
        found += [row["request_id"] for row in page["data"]]
        cursor = page["next"]
        stack.row(stack.chat("lab/sim"))
    assert found == whole


def test_a_cursor_goes_with_its_own_question(stack: Stack) -> None:
    cursor = asked(stack, "GET", "/calls?limit=2&model=fast").json()["next"]
    assert asked(stack, "GET", f"/calls?model=fast&cursor={cursor}").status == 200
    for path in (
        f"/calls?cursor={cursor}",
        f"/calls?model=lab/sim&cursor={cursor}",
        f"/runs?model=fast&cursor={cursor}",
        f"/calls?model=fast&cursor={cursor[:-2]}",
        f"/calls?model=fast&cursor=A{cursor}",
        "/calls?cursor=ä",
    ):
        problem(asked(stack, "GET", quote(path, safe="/?=&")), 400, "invalid_cursor")


def test_runs_have_sums_and_pages(stack: Stack) -> None:
    first = asked(stack, "GET", "/runs?limit=1").json()
    second = asked(stack, "GET", f"/runs?limit=1&cursor={first['next']}").json()
    [one], [two] = first["data"], second["data"]
    assert (one["run"], one["calls"], one["errors"]) == ("run-1", 4, 1)
    assert (two["run"], two["calls"], two["errors"]) == ("run-0", 4, 0)
    assert second["next"] is None
    assert one["began"] <= one["ended"]
    assert float(two["cost_usd"]) > 0
    whole = asked(stack, "GET", "/runs/run-0").json()
    assert (whole["run"], whole["calls"], len(whole["data"])) == ("run-0", 4, 4)
    assert whole["cost_usd"] == two["cost_usd"]
    problem(asked(stack, "GET", "/runs/none"), 404, "run_not_found")


# -- keys ------------------------------------------------------------------------------------------


def test_a_key_is_made_once_for_an_idempotency_key(stack: Stack) -> None:
    once = {"idempotency_key": "0b4fb6ce-6d1c-4b7e-8f2c-2f8d1a1d4c55"}
    first = asked(stack, "POST", "/keys", {"name": "once"}, **once)
    assert first.status == 201
    again = asked(stack, "POST", "/keys", {"name": "once"}, **once)
    assert again.json() == first.json()
    other = asked(stack, "POST", "/keys", {"name": "twice"}, **once)
    problem(other, 422, "idempotency_key_reused")
    stack.restart()  # nothing of it is in memory
    assert asked(stack, "POST", "/keys", {"name": "once"}, **once).json() == first.json()
    assert len(asked(stack, "GET", "/keys?name=once").json()["data"]) == 1
    weak = asked(stack, "POST", "/keys", {"name": "weak"}, idempotency_key="1")
    problem(weak, 400, "invalid_header")


def test_a_rotated_key_works_on_for_the_overlap(stack: Stack, client: Client) -> None:
    def status(key: str) -> int:
        return stack.get("/v1/models", key).status

    old = client.create_key(NewKey(name="rotates", team="red", tags=["a"], expires_in="30d"))
    new = client.rotate_key("rotates", Rotation(overlap=3))
    assert new.id != old.id
    assert (new.name, new.team, new.tags, new.expires_at) == (
        "rotates", "red", ("a",), old.expires_at)  # fmt: skip
    until(lambda: status(new.key) == 200, "the new key")
    until(lambda: status(old.key) == 401, "the end of the old one")
    assert client.key(old.id).state == "expired"
    assert client.key(new.id).state == "active"
    third = client.rotate_key("rotates", Rotation(overlap=0))
    until(lambda: (status(new.key), status(third.key)) == (401, 200), "the change")
    assert client.key(new.id).state == "revoked"
    with pytest.raises(ApiError, match="revoked") as refused:
        client.rotate_key(new.id, Rotation())
    assert (refused.value.status, refused.value.code) == (400, "invalid_key_field")


# -- the client ------------------------------------------------------------------------------------


def test_the_client_is_typed(stack: Stack, client: Client) -> None:
    key = client.create_key(NewKey(name="typed"), once="a-text-nobody-knows")
    assert client.change_key(key.id, KeyChange(team="blue")).team == "blue"
    assert [each.id for each in client.keys(name="typed")] == [key.id]
    page = client.calls(limit=2, model="fast")
    assert page.next
    first = page.data[0]
    assert client.call(first.request_id).time == first.time
    assert client.call(first.request_id).cost == client.cost(first.request_id)
    assert client.content(first.request_id).status == 200
    assert client.feedback(first.request_id) == client.sinks() == []
    status, now = client.status(), client.now()
    until(lambda: client.status().planes[0].keys_current, "the data plane knows the new key")
    assert [each.current for each in status.planes] == [True]
    assert status.ledger.calls >= CALLS and status.ledger.failing is None
    assert (now.under_way, now.running) == (0, []) and now.calls >= CALLS
    offers = {each.target: each.here for each in client.offers(first.request_id)}
    assert offers == {"lab/sim": True, "lab/sim-2": False}
    kept = client.save_view("dear", "min_usd=0.5&since=7d")
    assert client.views() == [kept] and client.forget_view("dear") == []
    assert client.guards_said().data == [] and client.sign_out().sessions == 0
    found = until(lambda: client.alerts().data, "an alert")
    [alert] = [each for each in found if each.rule == "disk_low"]
    assert alert.id in [each.id for each in client.alert_history(limit=9).data]
    assert [each.name for each in client.alerts().channels] == ["ops"]
    assert client.run("run-0").calls == 4
    assert client.usage(by="model", since="1d").total.calls > CALLS
    assert next(client.models(text="fast")).name == "fast"
    assert [each.state for each in client.providers() if each.name == "lab"] == ["well"]
    stack.chat("lab/sim")
    assert any(each.measure == "requests" for each in client.limits())
    assert client.explain(Explain(request={"model": "fast", "messages": []}))["model"] == "fast"
    assert client.cache().cache.answers == 0
    columns, *rows, end = client.export("calls", model="fast")
    assert (end["rows"], len(rows)) == (CALLS, CALLS)
    assert "request_id" in columns["columns"]
    with pytest.raises(ApiError) as refused:
        client.change_config("PUT", "models/fast", {"targets": ["lab/q"]}, expect=999)
    assert (refused.value.status, refused.value.code) == (412, "version_conflict")


# -- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "said"),
    [
        ("POST", "/keys", {"nmae": "x"}, 400, "invalid_body", "Did you mean name?"),
        ("POST", "/keys", {"name": "x", "colour": 1}, 400, "invalid_body", "expires_at"),
        ("GET", "/usage?sinec=7d", None, 400, "invalid_query", "Did you mean since?"),
        ("GET", "/calls?modle=x", None, 400, "invalid_query", "Did you mean model?"),
        ("GET", "/journal?x=1", None, 400, "invalid_query", "none"),
        ("GET", "/calls?limit=1001", None, 400, "invalid_query", "1 to 1000"),
        ("GET", "/calls?model=a&model=b", None, 400, "invalid_query", "once"),
        ("GET", "/calls?model=a%00b", None, 400, "invalid_query", "NUL"),
        ("GET", "/keys/a%00b", None, 400, "invalid_path", "NUL"),
        ("POST", "/keys//leaked", {"where": "x", "revoke": False}, 404, "not_found", "//leaked"),
        ("GET", "/config/versions/x", None, 400, "invalid_path", "number"),
        ("GET", "/calls/req_none", None, 404, "call_not_found", "req_none"),
        ("GET", "/calls?min_usd=abc", None, 400, "invalid_query", "min_usd: give a number"),
        ("GET", "/calls?max_score=2", None, 400, "invalid_query", "from -1 to 1"),
        ("PUT", "/views/x", {"query": "modle=fast"}, 400, "invalid_view", "modle"),
        ("DELETE", "/views/none", None, 404, "view_not_found", "none"),
        ("GET", "/prices?model=nobody", None, 404, "model_not_found", "nobody"),
        ("POST", "/explain", {"request": {}, "path": "/v1/x"}, 404, "refused_by_gateway", "/v1/x"),
        ("POST", "/explain", {"request": []}, 400, "invalid_body", "request"),
        ("POST", "/usage", None, 405, "method_not_allowed", "POST"),
        ("GET", "/nothing", None, 404, "not_found", "/nothing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_would_be_right(
    stack: Stack, method: str, path: str, body: object, status: int, code: str, said: str
) -> None:
    found = problem(asked(stack, method, path, body), status, code)
    assert said in found["detail"] + found["fix"]


SLOW = ("config.write", "vault.write")  # each starts a process: their own tests have them
TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["", "-", "0", "-1", "30d", "99999999999999999999", "1e400", "9999-12-31T23:59:59-23:59",
     "0001-01-01T00:00+23:59", "\0", "é/..", "a" * 3000, "day,key", "metadata.x", "true"]
)  # fmt: skip
FLAT = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = FLAT | st.lists(FLAT, max_size=3) | st.dictionaries(TEXT, FLAT, max_size=3)


@settings(
    max_examples=250, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data())
def test_nothing_that_is_sent_makes_it_fail(stack: Stack, data: st.DataObject) -> None:
    document = openapi.document()
    route = data.draw(st.sampled_from([r for r in ROUTES if r.permission not in SLOW]))
    operation = document["paths"][PREFIX + route.path][route.method.lower()]
    path, query, headers = route.path, {}, {}
    for each in operation["parameters"]:
        if each["in"] == "path":
            value = data.draw(TEXT)
            path = path.replace(f"{{{each['name']}}}", quote(value or "x", safe=""))
        elif data.draw(st.booleans()):
            name = each["name"] if each["name"] != "where" else data.draw(TEXT)
            if each["in"] == "query":
                query[name] = data.draw(TEXT)
            else:
                letters = string.ascii_letters + string.digits + '"*-'
                headers[name] = data.draw(st.text(letters, max_size=40))
    body = None
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        fields = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
        some = st.dictionaries(st.sampled_from(sorted(fields)) | TEXT, JSON, max_size=4)
        body = json.dumps(data.draw(some | JSON)).encode()
    reply = asked(stack, route.method, f"{path}?{urlencode(query)}", body, **headers)
    if reply.status < 400:
        assert reply.status == route.status
    else:
        found = problem(reply, reply.status, reply.json()["code"])
        assert reply.status < 500 or found["code"] in ("no_gateway",), (route, reply.body)
