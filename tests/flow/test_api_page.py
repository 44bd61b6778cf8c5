"""docs/api.md: its examples are run, its table has every route, and no page does what none does."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman.control.api.route import describe
from ferryman.control.api.serve import ROUTES
from ferryman.control.dashboard.ways import WAYS
from ferryman.control.problem import FIXES
from tests import tree
from tests.flow.test_docs import needs_curl, typed
from tests.gateway import Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/api.md"


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("page"), "{}\n").served() as running:
        yield running


def test_the_table_has_every_route() -> None:
    text = (tree.ROOT / PAGE).read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z]+) (\S+)` \| `(\S+)` \| (.*) \|$", text, re.MULTILINE)
    assert rows == [(r.method, r.path, r.permission, describe(r)[0]) for r in ROUTES]


SAME: dict[str, str] = {
    "GET /": "GET /now, GET /calls, GET /usage, GET /providers",
    "POST /": "PUT /config/{section}/{name}",
    "GET /calls": "GET /calls",
    "GET /calls/export.csv": "GET /export/calls",
    "POST /calls/views": "GET /views, PUT /views/{name}, DELETE /views/{name}",
    "GET /calls/{request_id}": "GET /calls/{ident}, GET /calls/{ident}/offers, GET /runs/{ident}, "
    "GET /calls/{request_id}/content, GET /calls/{request_id}/feedback",
    "GET /costs": "GET /usage, GET /usage/forecast, GET /limits",
    "GET /costs/table.csv": "GET /usage",
    "GET /costs/focus.csv": "GET /export/focus",
    "GET /models": "GET /models, GET /providers, GET /latencies",
    "GET /models/compare": "GET /models, GET /latencies, GET /usage, GET /prices",
    "GET /routes": "GET /config, GET /providers",
    "GET /routes/edit": "GET /config",
    "POST /routes/edit": "PUT /config",
    "POST /routes/check": "PUT /config",
    "POST /routes/weights": "PATCH /config/{section}/{name}",
    "GET /routes/versions": "GET /config/versions",
    "GET /routes/versions/{number}": "GET /config/versions/{number}, GET /config/diff",
    "POST /routes/rollback": "POST /config/rollback",
    "GET /routes/explain": "POST /explain",
    "GET /teams": "GET /organisations, GET /organisations/{organisation}/teams, GET /keys, "
    "GET /usage, GET /limits/delegated",
    "POST /teams/assign": "PATCH /keys/{key}",
    "POST /teams/records": "POST /organisations, POST /organisations/{organisation}/teams",
    "POST /teams/archive": "DELETE /organisations/{organisation}, "
    "DELETE /organisations/{organisation}/teams/{team}",
    "POST /teams/limits": "PUT /limits/delegated, DELETE /limits/delegated",
    "GET /limits": "GET /limits, GET /limits/delegated",
    "POST /limits/raise": "PUT /config",
    "GET /guardrails": "GET /config, GET /guards/said",
    "GET /keys": "GET /keys",
    "POST /keys": "POST /keys",
    "POST /keys/bounds": "PATCH /keys/{key}",
    "POST /keys/rotate": "POST /keys/{key}/rotate",
    "POST /keys/revoke": "DELETE /keys/{key}",
    "GET /vault": "GET /vault",
    "POST /vault": "PUT /vault/secrets/{name}",
    "POST /vault/intake": "POST /vault/intake",
    "POST /vault/remove": "DELETE /vault/secrets/{name}",
    "POST /vault/rotate": "POST /vault/rotate",
    "POST /vault/verify": "POST /vault/verify",
    "GET /alerts": "GET /alerts, GET /alerts/history",
    "POST /alerts/acknowledge": "POST /alerts/{alert}/acknowledge",
    "POST /alerts/silence": "POST /alerts/silences",
    "POST /alerts/unsilence": "DELETE /alerts/silences/{silence}",
    "POST /alerts/test": "POST /alerts/channels/{channel}/test",
    "GET /users": "GET /users, GET /tokens, GET /roles",
    "POST /users": "POST /users",
    "POST /users/change": "PATCH /users/{user}, DELETE /users/{user}",
    "POST /users/password": "PUT /users/{user}/password",
    "POST /users/tokens": "POST /tokens",
    "POST /users/revoke": "DELETE /tokens/{token}",
    "GET /audit": "GET /audit",
    "GET /playground": "GET /models",
    "GET /playground/outcome/{request_id}": "GET /calls/{ident}",
    "GET /settings": "GET /status, GET /journal, GET /config, GET /vault",
    "POST /settings/link": "POST /links",
    "POST /settings/alone": "DELETE /sessions",
    "GET /reference": "GET /openapi.json",
}
"""Each page and form → what of the admin API says or does the same."""
PAGES_ONLY = {
    "GET /live": "keeps the page Now true; GET /now can be asked as often",
    "GET /welcome": "a form alone",
    "POST /playground/run": "a call, made at the gateway by a virtual key",
    "POST /playground/feedback": "feedback, given there in the same way",
}
"""What the admin API has no part in, and why."""


def test_the_api_does_all_that_the_dashboard_does() -> None:
    ways = {f"{way.method} {way.path}" for way in WAYS}
    assert ways == SAME.keys() | PAGES_ONLY.keys(), "add it here, with the route that does the same"
    routes = {f"{route.method} {route.path}": route for route in ROUTES}
    for said in SAME.values():
        assert not [name for name in said.split(", ") if name not in routes], said
    changes = {way for way in SAME if way.startswith("POST") and way != "POST /routes/check"}
    for way in changes:
        assert any(not name.startswith("GET") for name in SAME[way].split(", ")), way


def test_what_the_api_writes_down_the_dashboard_does_too() -> None:
    acts = {f"{route.method} {route.path}": route.act for route in ROUTES}
    for way in WAYS:
        same = SAME.get(f"{way.method} {way.path}", "").split(", ")
        wanted = {acts[name] for name in same if acts.get(name)}
        if way.path == "/calls/views":
            assert wanted == {"view.save", "view.forget"}, "the form says which"
        elif wanted:
            assert way.act in wanted, way.path
        assert not way.download or way.act, way.path


def test_every_code_that_is_raised_has_a_fix() -> None:
    files = [path for path in tree.python(tree.SRC / "control") if path.name != "problem.py"]
    whole = "\n".join(path.read_text("utf-8") for path in files)
    assert set(re.findall(r"ProblemError\(\s*[\w.]+,\s*\"(\w+)\"", whole)) <= set(FIXES)
    assert not [code for code in FIXES if f'"{code}"' not in whole], "nobody raises these"
    shown = json.loads(blocks("json", PAGE)[0])
    assert shown["fix"] == FIXES[shown["code"]]


@needs_curl
def test_the_requests(paged: Stack, tmp_path: Path) -> None:
    [command] = blocks("sh", PAGE)
    command = f"FERRYMAN_DATA_DIR={paged.data}\n{command}"
    first, second = (typed(paged, ["sh", "-ec", command], tmp_path) for _ in range(2))
    [made, used], [again, _] = (list(_documents(said)) for said in (first, second))
    assert (made["name"], made["team"], made["state"]) == ("web shop", "sales", "active")
    assert again == made
    assert used["by"] == ["team"]


def _documents(said: str) -> Iterator[dict[str, object]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(said.rstrip()):
        found, at = decoder.raw_decode(said, at)
        yield found


def test_the_client(paged: Stack) -> None:
    [code] = blocks("python", PAGE)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(paged.data), capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    old, new, refused = done.stdout.splitlines()
    assert "active" in old and "active" in new
    assert refused == "404 key_not_found"
