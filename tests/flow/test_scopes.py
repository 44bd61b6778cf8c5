"""Whose a call is: what its key says of team and user, for limits and policies."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flow.test_explain import typed
from tests.gateway import Stack, asked, error_of
from tests.processes import until

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, auth: none, prices: { sim: { input: 0, output: 0, request: 1 } } }
models:
  plain: lab/sim
limits:
  - name: teams
    when: { team: { exists: true } }
    by: [organisation, team]
    budget: { usd: 2, per: month }
  - { name: tagged, when: { tags: slow }, by: user, requests: { most: 1, per: day } }
  - { name: runs, when: { run: { exists: true } }, by: run, requests: { most: 2, per: day } }
  - name: ends
    when: { end_user: { regex: "^e-" } }
    by: end_user
    requests: { most: 1, per: day }
policies:
  - { name: sales, when: { team: sales, user: { ne: boss } }, forbid: "not for sales" }
"""


@pytest.fixture(scope="module")
def scoped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("scopes"), CONFIG).served() as running:
        yield running


def made(stack: Stack, **facts: Any) -> tuple[str, str]:
    """Id and secret of a new key that serves already."""
    reply = stack.admin("POST", "/api/v1/keys", {"name": "k", **facts})
    assert reply.status == 201, reply.body
    key = reply.json()
    until(lambda: stack.get("/v1/models", key=key["key"]).status == 200, "it holds")
    return key["id"], key["key"]


def call(stack: Stack, key: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    return stack.post(asked("plain", **more), key=key, headers=headers)


def test_keys_of_a_team_share_its_budget_whatever_they_say(scoped: Stack) -> None:
    _, one = made(scoped, organisation="acme", team="research")
    _, two = made(scoped, organisation="acme", team="research")
    _, other = made(scoped, organisation="zoo", team="research")
    lies = {"x-ferryman-metadata": json.dumps({"team": "rich", "organisation": "zoo"})}
    assert [call(scoped, one, lies).status, call(scoped, two, lies).status] == [200, 200]
    refused = call(scoped, two, lies)
    assert (refused.status, error_of(refused)["code"]) == (402, "budget_exceeded")
    assert call(scoped, other).status == 200


def test_what_a_key_says_holds_at_once_when_it_is_changed_and_after_a_restart(
    scoped: Stack,
) -> None:
    key, secret = made(scoped, tags=["batch"])
    assert call(scoped, secret).status == 200
    path = f"/api/v1/keys/{key}"
    changed = scoped.admin("PATCH", path, {"team": "sales"}).json()
    assert (changed["team"], changed["tags"]) == ("sales", ["batch"])
    until(lambda: call(scoped, secret).status == 403, "it holds")
    scoped.admin("PATCH", path, {"user": "boss"})
    until(lambda: call(scoped, secret).status == 200, "it holds")
    put = f"/api/v1/limits/delegated?key={key}"
    assert scoped.admin("PUT", put, {"requests": "2/day"}).status == 200
    scoped.restart()
    assert call(scoped, secret).status == 200
    asks = {"request": asked("plain"), "key": key}
    rows = scoped.admin("POST", "/api/v1/explain", asks).json()["limits"]
    assert f"key:{key}" in {row["key"] for row in rows}, "what was set holds, too"
    assert scoped.admin("DELETE", put).json()["data"] == []
    assert scoped.admin("PATCH", path, {"user": None}).json()["user"] is None
    until(lambda: call(scoped, secret).status == 403, "it holds")
    assert scoped.admin("PATCH", path, {"team": "", "tags": []}).json()["tags"] == []
    until(lambda: call(scoped, secret).status == 200, "it holds")


def test_tags_of_a_key_can_not_be_taken_away_and_users_are_counted_over_their_keys(
    scoped: Stack,
) -> None:
    _, one = made(scoped, user="ada", tags=["slow"])
    _, two = made(scoped, user="ada", tags=["slow", "x"])
    _, free = made(scoped, user="ada")
    said = {"x-ferryman-tags": "fast"}
    assert [call(scoped, key, said).status for key in (one, two)] == [200, 429]
    assert [call(scoped, free, said).status, call(scoped, free, said).status] == [200, 200]


def test_runs_and_end_users_are_the_callers_to_name(scoped: Stack) -> None:
    _, key = made(scoped)
    run = {"x-ferryman-run-id": "r-1"}
    assert [call(scoped, key, run).status for _ in range(3)] == [200, 200, 429]
    assert call(scoped, key, {"x-ferryman-run-id": "r-2"}).status == 200
    assert [call(scoped, key, user="e-1").status for _ in range(2)] == [200, 429]
    assert call(scoped, key, safety_identifier="e-2").status == 200


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"team": "x" * 101}, "team"),
        ({"user": " ada"}, "user"),
        ({"organisation": "a\nb"}, "organisation"),
        ({"tags": ["a,b"]}, "tags"),
        ({"tags": [f"t{i}" for i in range(65)]}, "tags"),
        ({"teams": "x"}, "teams"),
        ({"team": 7}, "team"),
    ],
)
def test_what_can_be_no_name_is_refused(scoped: Stack, facts: dict[str, Any], word: str) -> None:
    key, _ = made(scoped)
    for method, path in (("POST", "/api/v1/keys"), ("PATCH", f"/api/v1/keys/{key}")):
        reply = scoped.admin(method, path, {"name": "n", **facts} if method == "POST" else facts)
        assert reply.status == 400
        assert word in reply.json()["detail"]
    assert scoped.admin("PATCH", "/api/v1/keys/nobody", {"team": "x"}).status == 404


def test_explanations_show_the_limits_that_a_call_falls_under(scoped: Stack) -> None:
    key, secret = made(scoped, organisation="acme", team="explained", user="eve", tags=["slow"])
    explained = call(scoped, secret, {"x-ferryman-explain": "1"})
    said = json.loads(explained.header("x-ferryman-explain"))["limits"]
    assert said == [
        {"key": "teams|acme|explained", "measure": "usd", "per": "month", "most": "2", "left": "1"},
        {"key": "tagged|eve", "measure": "requests", "per": "day", "most": 1, "left": 0},
    ]
    arguments = ["explain", "--model", "plain", "--key", key]
    rows = json.loads(typed(scoped, *arguments, "--json"))["limits"]
    assert [(row["key"], row["takes"], row["passes"]) for row in rows] == [
        ("teams|acme|explained", "1", True), ("tagged|eve", 1, False),
    ]  # fmt: skip
    drawn = typed(scoped, *arguments)
    assert "tagged|eve" in drawn
    told = json.loads(typed(scoped, "limits", "--json"))
    assert "teams|acme|explained" in {row["key"] for row in told}


def test_the_commands_set_and_show_whose_a_key_is(scoped: Stack) -> None:
    secret = typed(
        scoped, "keys", "create", "bot", "--team", "crew", "--tag", "a", "--tag", "b"
    ).strip()
    assert secret.startswith("fm-")
    assert "team crew; tags a, b" in typed(scoped, "keys", "set", "bot", "--team", "crew")
    assert "user ada" in typed(scoped, "keys", "set", "bot", "--user", "ada", "--tag", "")
    [row] = [
        each
        for each in json.loads(typed(scoped, "keys", "list", "--json"))
        if each["name"] == "bot"
    ]
    assert (row["team"], row["user"], row["tags"]) == ("crew", "ada", [])
    assert "crew" in typed(scoped, "keys", "list")
