"""docs/tenants.md: its example is run. Limits that are handed down hold for calls at every level,
and tenants set and see their own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flow.test_docs import answers, typed
from tests.gateway import Stack, asked, error_of
from tests.processes import Reply, environment, request, until
from tests.test_readme import blocks

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, auth: none, prices: { sim: { input: 0, output: 0, request: 1 } } }
models:
  plain: lab/sim
limits:
  - { name: each-team, by: [organisation, team], requests: 900/minute }
  - { name: each-key, by: key, budget: { usd: 2, per: month } }
  - { name: everybody, requests: 9000/minute }
alerts: { rules: [{ on: budget, percent: 50 }] }
"""
SET = "/limits/delegated"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("tenants"), CONFIG).served() as running:
        yield running


def ask(stack: Stack, method: str, path: str, body: Any = None, *, token: str = "") -> Reply:
    url = (stack.data / "admin-url").read_text().strip()
    token = token or (stack.data / "secrets" / "admin-token").read_text().strip()
    sent = None if body is None else json.dumps(body)
    return request(url, method, f"/api/v1{path}", token=token, body=sent)


def token(stack: Stack, **whose: str) -> str:
    made = ask(stack, "POST", "/tokens", {"name": "t", "role": "admin", **whose})
    assert made.status == 201, made.body
    found: str = made.json()["token"]
    return found


def key(stack: Stack, by: str = "", **facts: str) -> tuple[str, str]:
    """Id and secret of a new key that serves."""
    made = ask(stack, "POST", "/keys", {"name": "k", **facts}, token=by)
    assert made.status == 201, made.body
    until(lambda: stack.get("/v1/models", made.json()["key"]).status == 200, "the key")
    return made.json()["id"], made.json()["key"]


def budget(most: float, per: str = "month") -> dict[str, Any]:
    return {"budget": [{"usd": most, "per": per}]}


def put(stack: Stack, whose: str, body: Any, *, token: str = "") -> tuple[int, str]:
    reply = ask(stack, "PUT", f"{SET}?{whose}", body, token=token)
    return reply.status, reply.json().get("code", "")


def call(stack: Stack, secret: str) -> Any:
    return stack.post(asked("plain"), key=secret)


def names(reply: Reply) -> set[str]:
    assert reply.status == 200, reply.body
    return {row["name"] for row in reply.json()["data"]}


def test_the_page(stack: Stack) -> None:
    """First of all: it makes the organisation that the other tests go on with."""
    command = blocks("sh", "docs/tenants.md")[0]
    shell = f'unset FERRYMAN_ADMIN_PORT\nferryman() {{ {sys.executable} -m ferryman "$@"; }}\n'
    said = typed(stack, ["sh", "-ec", f"cd {stack.data.parent}\n{shell}{command}"], stack.data)
    [shown] = blocks("text", "docs/tenants.md")
    assert answers(shown, said), said
    secret = (stack.data.parent / "key").read_text().strip()
    until(lambda: stack.get("/v1/models", secret).status == 200, "the key")
    held = {row["key"] for row in until(lambda: _standing(stack, secret), "a call's limits")}
    assert {"organisation:acme", "team:acme/red"} < held
    assert [name for name in held if name.startswith("key:key_")]
    told = commands(
        stack, "limits list", "organisations list", "teams list --organisation acme",
        "teams set red --organisation acme --title Reds", "teams archive red --organisation acme",
        "organisations set acme --restore --json", "limits remove --organisation acme",
    )  # fmt: skip
    assert "100 USD per month" in told
    for said in ("Acme Corporation", "Changed red (active)", "Removed.", '"state": "active"'):
        assert said in told, told
    assert "1 keys and 0 tokens of the team 'red' of 'acme' work" in told


def commands(stack: Stack, *lines: str) -> str:
    """What several commands print, in one process: each on its own takes a second to start."""
    code = (
        "import sys\nfrom ferryman.cli.commands import app\nfrom ferryman.client import ApiError\n"
        "for line in sys.argv[1:]:\n try:\n  app(line.split(), standalone_mode=False)\n"
        " except ApiError as error:\n  print(error)\n"
    )
    env = environment(stack.data)
    del env["FERRYMAN_ADMIN_PORT"]
    done = subprocess.run(
        [sys.executable, "-c", code, *lines], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _standing(stack: Stack, secret: str) -> list[dict[str, Any]]:
    assert call(stack, secret).status == 200
    found: list[dict[str, Any]] = ask(stack, "GET", "/limits").json()["data"]
    return found


def test_every_level_holds_for_a_call_whatever_the_one_below_says(stack: Stack) -> None:
    """A budget of 3 for the organisation, 2 for each of two teams: three calls pass, not four."""
    assert ask(stack, "POST", "/organisations", {"name": "deep"}).status == 201
    for team in ("one", "two"):
        assert ask(stack, "POST", "/organisations/deep/teams", {"name": team}).status == 201
        assert put(stack, f"organisation=deep&team={team}", budget(2)) == (200, "")
    assert put(stack, "organisation=deep", budget(1)) == (409, "children_have_more")
    assert put(stack, "organisation=deep", budget(3)) == (200, "")
    assert put(stack, "organisation=deep&team=one", budget(4)) == (409, "beyond_parent")
    ident, one = key(stack, organisation="deep", team="one")
    until(lambda: "organisation:deep" in _applying(stack, ident), "the limits")
    _, again = key(stack, organisation="deep", team="one")
    _, two = key(stack, organisation="deep", team="two")
    assert [call(stack, secret).status for secret in (one, again)] == [200, 200]
    refused = call(stack, one)
    assert (refused.status, error_of(refused)["code"]) == (402, "budget_exceeded")
    assert "'team:deep/one' is 2 USD per month" in error_of(refused)["message"]
    assert call(stack, two).status == 200
    refused = call(stack, two)
    assert "'organisation:deep' is 3 USD per month" in error_of(refused)["message"]
    until(
        lambda: "organisation:deep" in {
            alert["facts"].get("key") for alert in ask(stack, "GET", "/alerts").json()["data"]
        }, "an alert on its threshold",
    )  # fmt: skip
    # Raised, it holds at once; lowered, with all that is below.
    assert put(stack, "organisation=deep", budget(10)) == (200, "")
    until(lambda: call(stack, two).status == 200, "more")
    lowered = ask(stack, "PUT", f"{SET}?organisation=deep&lower=true", budget(1)).json()
    assert lowered["lowered"] == ["team:deep/one", "team:deep/two"]
    rows = {row["name"]: row["limits"] for row in ask(stack, "GET", SET).json()["data"]}
    assert rows["team:deep/two"]["budget"][0]["usd"] == "1"
    until(lambda: call(stack, two).status == 402, "less")


def _applying(stack: Stack, ident: str) -> set[str]:
    """What limits a call with a key would take of."""
    said = ask(stack, "POST", "/explain", {"request": asked("plain"), "key": ident}).json()
    return {row["key"] for row in said["limits"]}


def test_a_tenant_sets_limits_below_itself_and_nowhere_else(stack: Stack) -> None:
    for name in ("ours", "theirs"):
        assert ask(stack, "POST", "/organisations", {"name": name}).status == 201
        ask(stack, "POST", f"/organisations/{name}/teams", {"name": "red"})
        assert put(stack, f"organisation={name}", {"requests": "60/minute"}) == (200, "")
    whole, team = token(stack, organisation="ours"), token(stack, organisation="ours", team="red")
    mine, _ = key(stack, organisation="ours", team="red")
    other, _ = key(stack, organisation="theirs", team="red")
    less, more = {"requests": "6/minute"}, {"requests": "61/minute"}
    assert put(stack, "organisation=ours", less, token=whole) == (403, "forbidden")
    assert put(stack, "team=red", less, token=team) == (403, "forbidden")
    assert put(stack, "organisation=theirs&team=red", less, token=whole) == (403, "forbidden")
    assert put(stack, "organisation=-&team=red", less, token=whole) == (403, "forbidden")
    assert put(stack, "team=blue", less, token=team) == (403, "forbidden")
    assert put(stack, f"key={other}", less, token=whole) == (404, "key_not_found")
    assert put(stack, "team=nosuch", less, token=whole) == (404, "tenant_not_found")
    assert put(stack, "team=red", more, token=whole) == (409, "beyond_parent")
    assert put(stack, "team=red", less, token=whole) == (200, "")
    assert put(stack, "user=ann", more, token=team) == (409, "beyond_parent")
    assert put(stack, "user=ann", {"requests": "3/minute"}, token=team) == (200, "")
    assert put(stack, f"key={mine}", {"requests": "2/minute"}, token=team) == (200, "")
    own = {"organisation:ours", "team:ours/red", "user:ours/red/ann", f"key:{mine}"}
    assert names(ask(stack, "GET", SET, token=whole)) == own
    assert names(ask(stack, "GET", SET, token=team)) == own, "and what holds for it"
    loose = token(stack, team="red")
    assert names(ask(stack, "GET", SET, token=loose)) == set()
    # A key keeps within what is above it, wherever it goes.
    assert put(stack, "organisation=theirs", {"requests": "1/minute"}) == (200, "")
    moved = ask(stack, "PATCH", f"/keys/{mine}", {"organisation": "theirs"})
    assert (moved.status, moved.json()["code"]) == (409, "beyond_parent")
    new = ask(stack, "POST", f"/keys/{mine}/rotate", {"overlap": 0}, token=team).json()["id"]
    assert f"key:{new}" in names(ask(stack, "GET", SET))
    for gone, code in ((f"key={new}", 200), (f"key={new}", 404), ("team=red", 403)):
        assert ask(stack, "DELETE", f"{SET}?{gone}", token=team).status == code
    assert ask(stack, "DELETE", f"{SET}?organisation=theirs", token=whole).status == 403


@pytest.mark.parametrize(
    ("whose", "body", "said"),
    [
        ("", {"requests": "6/minute"}, "Say whose"),
        ("key=k&team=red", {"requests": "6/minute"}, "not both"),
        ("user=x", {}, "limits nothing"),
        ("user=x", {"requests": "6/year"}, "requests"),
        ("user=x", {"requests": {"most": 0, "per": "day"}}, "requests"),
        ("user=x", {"budget": [{"per": "day"}]}, "budget[0]: neither usd nor tokens is given"),
        ("user=x", {"budget": [{"usd": 1, "tokens": 1, "per": "day"}]}, "both usd and tokens"),
        ("user=x", {"budget": [{"usd": -1, "per": "day"}]}, "usd"),
        ("user=x", {"budget": [{"usd": 0.0000001, "per": "day"}]}, "usd"),
        ("user=x", {"budget": [{"usd": "NaN", "per": "day"}]}, "usd"),
        ("user=x", {"budget": [{"usd": 1, "per": "day", "zone": "Mars"}]}, "time zone"),
        ("user=x", {"rpm": 6}, "rpm"),
        ("user=x", {"by": ["keys"], "requests": "6/minute"}, "by[0]: expected organisation, team"),
        (
            "user=x",
            {"by": ["key", "key"], "requests": "6/minute"},
            "by: the same stands here twice",
        ),
        (
            "user=x",
            {"budget": [{"usd": 1, "per": "day", "rolling": True, "carry_over": True}]},
            "no period to carry anything over",
        ),
        (
            "user=x",
            {"budget": [{"usd": 1, "per": "day", "increase": {"usd": 1, "until": "soon"}}]},
            "budget[0].increase.until: expected a date",
        ),
        (
            "user=x",
            {"budget": [{"usd": 1, "per": "day", "increase": {"usd": 1, "until": "2026-02-30"}}]},
            "no such day",
        ),
        (
            "user=x",
            {
                "budget": [
                    {"usd": 1, "per": "day", "increase": {"tokens": 1, "until": "2026-02-03"}}
                ]
            },
            "the budget is in usd",
        ),
    ],
)
def test_what_is_no_limit_is_refused(stack: Stack, whose: str, body: Any, said: str) -> None:
    reply = ask(stack, "PUT", f"{SET}?{whose}", body)
    assert reply.status == 400, reply.body
    assert said in reply.json()["detail"]


def test_limits_for_each_increases_and_what_is_carried_over_as_configured_ones_have_them(
    stack: Stack,
) -> None:
    """A call costs 1: only with the increase is there enough for one, of each key."""
    assert ask(stack, "POST", "/organisations", {"name": "each"}).status == 201
    ask(stack, "POST", "/organisations/each/teams", {"name": "red"})
    red, until_day = "organisation=each&team=red", "2999-12-24"
    one, first = key(stack, organisation="each", team="red")
    two, second = key(stack, organisation="each", team="red")
    for_each = {"by": ["key"], "status": 403,
                "budget": [{"usd": 0.5, "per": "month", "carry_over": True}]}  # fmt: skip
    assert put(stack, red, budget(9)) == (200, "")
    assert put(stack, red, for_each) == (200, "")
    more = {"usd": 0.5, "per": "month", "zone": "Europe/Berlin",
            "increase": {"usd": 0.5, "until": until_day}}  # fmt: skip
    assert put(stack, f"key={one}", {"budget": [more]}) == (409, "beyond_parent")
    for_each["budget"] = [more]
    assert put(stack, red, for_each) == (200, "")
    assert put(stack, f"key={one}", {"budget": [more]}) == (200, "")
    later = {"budget": [more | {"increase": {"usd": 0.5, "until": "2999-12-25"}}]}
    assert put(stack, f"key={one}", later) == (409, "beyond_parent")
    assert put(stack, f"key={one}", {"budget": [more | {"carry_over": True}]})[0] == 409
    until(lambda: "team:each/red:key" in {name.partition("|")[0] for name in _applying(stack, two)},
          "the limits")  # fmt: skip
    rows = {row["name"]: row["limits"] for row in ask(stack, "GET", SET).json()["data"]}
    assert rows["team:each/red:key"]["by"] == ["key"]
    assert rows[f"key:{one}"]["budget"] == [
        {"usd": "0.5", "per": "month", "zone": "Europe/Berlin",
         "increase": {"usd": "0.5", "until": "2999-12-23T23:00:00Z"}},
    ]  # fmt: skip
    assert (
        ask(stack, "PUT", f"{SET}?key={one}", rows[f"key:{one}"]).json()["limits"]
        == (rows[f"key:{one}"])
    ), "what is told is taken back"
    assert [call(stack, secret).status for secret in (first, second)] == [200, 200]
    refused = call(stack, second)
    assert refused.status == 403, "each key for itself"
    assert "'team:each/red:key' is 1 USD per month" in error_of(refused)["message"]
    whole = token(stack, organisation="each", team="red")
    seen = {row["key"] for row in ask(stack, "GET", "/limits", token=whole).json()["data"]}
    assert {f"team:each/red:key|{one}", f"team:each/red:key|{two}"} <= seen
    gone = ask(stack, "DELETE", f"{SET}?{red}&by=key")
    assert gone.status == 200
    assert "team:each/red" in names(gone)
    assert "team:each/red:key" not in names(gone)
    told = commands(
        stack, f"limits set --key {two} --by model,endpoint --budget 1/day --carry-over",
        f"limits set --key {two} --budget 2/day --increase 1/{until_day}", "limits list",
        f"limits remove --key {two} --by endpoint,model",
    )  # fmt: skip
    assert f"key:{two}:model,endpoint: for each model and endpoint: 1 USD per day, carried" in told
    assert "2 USD per day, 1 USD more until 2999-12-24T00:00:00Z" in told


def test_tenants_meet_how_their_own_limits_stand_and_alerts_of_these(stack: Stack) -> None:
    for name in ("east", "west"):
        assert ask(stack, "POST", "/organisations", {"name": name}).status == 201
        assert put(stack, f"organisation={name}", budget(2)) == (200, "")
    keys = {name: key(stack, organisation=name, team="x") for name in ("east", "west")}
    for name, (ident, secret) in keys.items():
        until(lambda n=name, i=ident: f"organisation:{n}" in _applying(stack, i), "the limits")
        assert call(stack, secret).status == 200
    every = {row["key"] for row in ask(stack, "GET", "/limits").json()["data"]}
    assert {"everybody", "organisation:east", "each-team|west|x"} <= every
    for name, (ident, _) in keys.items():
        whole = token(stack, organisation=name)
        seen = {row["key"] for row in ask(stack, "GET", "/limits", token=whole).json()["data"]}
        assert seen == {f"organisation:{name}", f"each-team|{name}|x", f"each-key|{ident}"}
        of_team = token(stack, organisation=name, team="x")
        seen = {row["key"] for row in ask(stack, "GET", "/limits", token=of_team).json()["data"]}
        assert seen == {f"each-team|{name}|x", f"each-key|{ident}"}

        def about(of: str, path: str = "/alerts") -> set[str]:
            rows = ask(stack, "GET", path, token=of).json()["data"]
            return {row["facts"]["key"] for row in rows}

        own = {f"organisation:{name}", f"each-key|{ident}"}
        until(lambda w=whole, o=own: about(w) == o, f"the alerts of {name}")
        assert about(of_team) == {f"each-key|{ident}"}
        assert about(whole, "/alerts/history?limit=1") < own
        assert about(whole, "/alerts/history") == own
        told = ask(stack, "GET", "/alerts", token=whole).json()
        assert (told["silences"], told["channels"]) == ([], [])
        assert about(token(stack, team="x")) == set()


def test_teams_are_their_organisations_to_make(stack: Stack) -> None:
    for name in ("here", "there"):
        assert ask(stack, "POST", "/organisations", {"name": name}).status == 201
    whole = token(stack, organisation="here")
    made = ask(stack, "POST", "/organisations/here/teams", {"name": "a b"}, token=whole)
    assert (made.status, made.json()["created_by"][:4]) == (201, "tok_")
    ask(stack, "POST", "/organisations/here/teams", {"name": "c"})
    team = token(stack, organisation="here", team="a b")
    assert names(ask(stack, "GET", "/organisations", token=team)) == {"here"}
    assert names(ask(stack, "GET", "/organisations/here/teams", token=whole)) == {"a b", "c"}
    assert names(ask(stack, "GET", "/organisations/here/teams", token=team)) == {"a b"}
    path = "/organisations/here/teams/a%20b"
    assert ask(stack, "PATCH", path, {"title": "x"}, token=whole).json()["title"] == "x"
    assert ask(stack, "PATCH", path, {"title": "y"}, token=team).status == 403
    assert ask(stack, "POST", "/organisations/here/teams", {"name": "d"}, token=team).status == 403
    assert ask(stack, "DELETE", "/organisations/here/teams/c", token=team).status == 404
    assert ask(stack, "DELETE", path, token=whole).json()["code"] == "tenant_in_use"
    gone = ask(stack, "DELETE", "/organisations/here/teams/c", token=whole)
    assert gone.json()["state"] == "archived"
    for method, at, body in (
        ("GET", "/organisations/there", None), ("GET", "/organisations/there/teams", None),
        ("POST", "/organisations/there/teams", {"name": "x"}),
        ("GET", "/organisations/nowhere", None), ("GET", "/organisations/here/teams/no", None),
    ):  # fmt: skip
        assert ask(stack, method, at, body, token=whole).status == 404, at
    for method, at in (("PATCH", "/organisations/here"), ("DELETE", "/organisations/here"),
                       ("POST", "/organisations")):  # fmt: skip
        assert ask(stack, method, at, {"name": "n"}, token=whole).status == 403
    taken = ask(stack, "POST", "/organisations", {"name": "here"})
    assert taken.json()["code"] == "name_taken"
    assert ask(stack, "POST", "/organisations", {"name": "a/b"}).status == 400
    assert ask(stack, "POST", "/keys", {"name": "k", "organisation": "nowhere"}).status == 400
    refused = ask(stack, "POST", "/tokens", {"name": "t", "role": "admin", "team": "c",
                                             "organisation": "here"})  # fmt: skip
    assert "team 'c' of 'here' is archived" in refused.json()["detail"]
    acts = {row["action"] for row in ask(stack, "GET", "/audit?limit=1000").json()["data"]}
    assert {"organisation.create", "team.create", "team.change", "limits.set"} <= acts
