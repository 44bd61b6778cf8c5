"""docs/audit.md: its example is run, and what it promises of refusals, sinks and tampering."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from ferryman.flow.refusals import MOST, Refusals
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import Refused
from tests.flow.test_costs_page import FERRYMAN, finding
from tests.flow.test_docs import needs_curl
from tests.gateway import Stack
from tests.processes import until
from tests.store.test_journal import read_all
from tests.test_readme import blocks

PAGE = "docs/audit.md"
CONFIG = """
providers: { lab: { base_url: SIM/v1, format: openai_chat } }
logs: { sinks: [{ kind: file, path: lines.log }], audit: true }
ledger: { audit: 400d }
guards: { birds: { kind: words, words: [blue heron], action: block } }
limits: [{ name: few, when: { end_user: greedy }, requests: { most: 1, per: day } }]
policies: [{ when: { end_user: banned }, forbid: You are not let in. }]
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("audit"), CONFIG).served() as running:
        yield running


def ferryman(stack: Stack, *command: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ferryman", *command], env=finding(stack), capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def entries(stack: Stack, **query: str) -> list[dict[str, Any]]:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    found: list[dict[str, Any]] = stack.admin("GET", f"/api/v1/audit?{text}").json()["data"]
    return found


def rows(text: str) -> list[str]:
    """Of a table of entries, without what is another each time: numbers, times, ids."""
    lines = re.findall(r"^ *\d+ +[\d:-]+(?: [\d:]+)? +((?:admin|ferryman|unknown) .*)$", text, re.M)
    return [re.sub(r"key_\w+", "key_", re.sub(" +", " ", line.strip())) for line in lines]


def address(stack: Stack) -> str:
    return (stack.data / "admin-url").read_text().strip()


@needs_curl
def test_the_example(stack: Stack, tmp_path: Path) -> None:
    [command] = blocks("sh", PAGE)
    [shown] = blocks("text", PAGE)
    command = re.sub(r"^ferryman ", f"{FERRYMAN} ", command, flags=re.MULTILINE)
    done = subprocess.run(
        ["sh", "-ec", command], env=finding(stack, ADMIN=address(stack)), cwd=tmp_path,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    assert rows(done.stdout) == rows(shown)
    assert re.fullmatch(r"\d+ entries, none touched\.", done.stdout.strip().splitlines()[-1])
    head = json.loads((tmp_path / "head.json").read_text())
    assert head["seq"] >= 4
    assert len(rows(shown)) == 4


def test_refusals_and_sign_ins_say_from_where_and_lines_go_to_the_sink(stack: Stack) -> None:
    url = address(stack)
    same = {"origin": url, "user-agent": "a browser"}
    wrong = httpx.post(f"{url}/enter", data={"token": "no"}, headers=same)
    assert wrong.status_code == 401
    [refused] = entries(stack, action="session.begin", outcome="refused")
    assert (refused["actor"], refused["address"], refused["client"], refused["target"]) == (
        "unknown", "127.0.0.1", "a browser", "POST /enter",
    )  # fmt: skip
    link = stack.admin("POST", "/api/v1/links").json()["token"]
    with httpx.Client(base_url=url, headers=same) as visitor:
        assert visitor.post("/enter", data={"token": link}).status_code == 303
        page = visitor.get("/audit?action=session.begin").text
        assert "a browser" in page
        assert "refused" in page
        proof = re.search(r'name="proof" value="([^"]+)"', page)
        assert proof is not None
        form = {"proof": proof[1], "name": "<b>from a page</b>"}
        assert visitor.post("/keys", data=form).status_code == 200
        assert visitor.post("/keys", data=form | {"proof": "x"}).status_code == 403
        assert "<b>from" not in visitor.get("/audit?action=key").text
    [made] = entries(stack, action="key.create", limit="1")
    assert re.fullmatch("session [0-9a-f]{8}", made["actor"])
    [begun] = entries(stack, action="session.begin", outcome="done")
    assert begun["actor"] == made["actor"]
    assert made["after"]["name"] == "<b>from a page</b>"
    [foreign] = entries(stack, action="access", target="POST /keys".replace(" ", "%20"))
    assert foreign["outcome"] == "refused"
    log = stack.data / "logs" / "lines.log"
    sought = b'"session.begin"'
    until(lambda: log.exists() and sought in log.read_bytes(), "lines of the audit log")
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert {line["event"] for line in lines} == {"audit"}
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))


def test_a_storm_of_refusals_is_bounded(stack: Stack) -> None:
    with httpx.Client() as client:
        for _ in range(90):
            assert client.get(f"{address(stack)}/api/v1/keys").status_code == 401
    assert 30 < len(entries(stack, action="access", limit="1000")) <= 120, "at most two minutes'"


def test_whom_the_gateway_refuses_is_counted_by_address_and_reason(stack: Stack) -> None:
    made = {name: stack.admin("POST", "/api/v1/keys", {"name": name}).json() for name in "ab"}
    stack.admin("DELETE", f"/api/v1/keys/{made['a']['id']}")
    until(lambda: tried(stack, made["a"]["key"]) == 401, "the key to be shut out")
    assert [tried(stack, "fm-nobody's") for _ in range(30)] == [401] * 30
    assert tried(stack, made["b"]["key"]) == 403

    def found() -> dict[tuple[str, str], int]:
        all_of: dict[tuple[str, str], int] = {}
        for each in entries(stack, action="call", limit="1000"):
            assert (each["address"], each["client"]) == ("127.0.0.1", "a test")
            who = (each["actor"], each["target"])
            all_of[who] = all_of.get(who, 0) + each["after"]["count"]
        return all_of

    last = (made["b"]["id"], "forbidden_by_policy")  # "a" may have been refused so too, before
    until(lambda: last in found(), "the refusals in the log")
    counts = found()
    assert counts.pop(("unknown", "key unknown")) == 30
    assert counts.pop(last) == 1
    assert counts.pop((made["a"]["id"], "key revoked")) >= 1
    assert "fm-" not in json.dumps(entries(stack, action="call")), "what was sent is no name"


def tried(stack: Stack, key: str) -> int:
    body = {"model": "lab/a", "user": "banned", "messages": [{"role": "user", "content": "x"}]}
    headers = {"authorization": f"Bearer {key}", "user-agent": "a test"}
    return httpx.post(f"{stack.url}/v1/chat/completions", json=body, headers=headers).status_code


def test_what_guards_stop_is_there_and_counted(stack: Stack) -> None:
    agent = {"user-agent": "a bird watcher"}
    for _ in range(3):
        said = [{"role": "user", "content": "The blue heron"}]
        assert stack.chat("lab/a", messages=said, headers=agent).status == 400

    def found() -> int:
        acts = entries(stack, action="call", outcome="refused", limit="1000")
        stopped = [act for act in acts if act["target"] == "guardrail_blocked"]
        assert all(act["actor"].startswith("key_") for act in stopped)
        assert all(act["client"] == "a bird watcher" for act in stopped)
        assert "heron" not in json.dumps(stopped), "what was said is nobody's business here"
        return sum(act["after"]["count"] for act in stopped)

    until(lambda: found() == 3, "what was stopped in the log")


def test_what_limits_refuse_is_there_and_counted(stack: Stack) -> None:
    greedy = {"user": "greedy", "messages": [{"role": "user", "content": "x"}]}
    assert [stack.chat("lab/a", **greedy).status for _ in range(4)] == [200, 429, 429, 429]

    def found() -> int:
        acts = entries(stack, action="call", outcome="refused", limit="1000")
        limited = [act for act in acts if act["target"] == "limit few"]
        assert all(act["actor"].startswith("key_") for act in limited)
        return sum(act["after"]["count"] for act in limited)

    until(lambda: found() > 0, "the limit's refusals in the log")
    assert found() <= 3


def test_refusals_by_limits_take_no_room_of_others(tmp_path: Path) -> None:
    refusals = Refusals()
    for name in range(MOST + 5):
        limit = GatewayError(402, ErrorKind.BUDGET, "", reason=f"limit {name}")
        refusals.note(limit, "192.0.2.1", "key_1", "", "m")
    forbidden = GatewayError(403, ErrorKind.FORBIDDEN, "")
    refusals.note(forbidden, "192.0.2.2", "key_2", "", "m")
    journal = JournalWriter(tmp_path / "plane")
    refusals.write(journal)
    refusals.note(limit, "192.0.2.1", "key_1", "", "m")
    refusals.note(forbidden, "192.0.2.2", "key_2", "", "m")
    refusals.write(journal)
    refusals.write(journal, last=True)
    journal.close()
    payloads = [payload for _, payload in read_all(tmp_path / "plane")]
    addresses = [msgspec.msgpack.decode(each, type=Refused).address for each in payloads]
    assert addresses[0] == "192.0.2.2"
    assert addresses[1 : 1 + MOST] == ["192.0.2.1"] * MOST
    assert addresses[1 + MOST : -2] == [""] * 5, "of what is beyond, the reason alone"
    assert addresses[-2:] == ["192.0.2.2", "192.0.2.1"], "limits wait for their time, or the end"


def test_a_leaked_key_is_shut_out_told_and_written_down(stack: Stack) -> None:
    made = [stack.admin("POST", "/api/v1/keys", {"name": name}).json() for name in ("c", "d")]
    path = f"/api/v1/keys/{made[0]['id']}/leaked"
    reply = stack.admin("POST", path, {"where": "a paste"})
    assert (reply.status, reply.json()["state"]) == (200, "revoked")
    until(lambda: tried(stack, made[0]["key"]) == 401, "the key to be shut out")
    told = {"where": "a mail", "revoke": False}
    assert stack.admin("POST", path.replace(made[0]["id"], "d"), told).json()["state"] == "active"
    acts = [(each["action"], each["target"]) for each in entries(stack, action="key", limit="3")]
    assert acts[:2] == [("key.leaked", made[1]["id"]), ("key.revoke", made[0]["id"])]
    assert stack.admin("POST", path, {"where": ""}).status == 400
    alerts = stack.admin("GET", "/api/v1/alerts").json()["data"]
    assert ("key_leaked", made[1]["id"]) in [(each["rule"], each["subject"]) for each in alerts]


def test_a_permission_that_is_not_there_is_written_with_the_tokens_name(stack: Stack) -> None:
    made = stack.admin("POST", "/api/v1/tokens", {"name": "eye", "role": "viewer"}).json()
    bearer = {"authorization": f"Bearer {made['token']}"}
    for method, path in (("POST", "keys"), ("GET", "audit")):
        reply = httpx.request(method, f"{address(stack)}/api/v1/{path}", headers=bearer)
        assert reply.status_code == 403
    stack.admin("DELETE", f"/api/v1/tokens/{made['id']}")
    found = entries(stack, actor=made["id"])
    assert [(each["target"], each["outcome"]) for each in found] == [
        ("GET /api/v1/audit", "refused"), ("POST /api/v1/keys", "refused"),
    ]  # fmt: skip
    acts = entries(stack, action="token")
    assert [each["action"] for each in acts] == ["token.revoke", "token.create"]
    assert made["token"] not in json.dumps(acts)


def test_each_change_of_the_configuration_is_there(stack: Stack) -> None:
    stack.admin("PUT", "/api/v1/config/models/m", {"targets": ["lab/a"]})
    [entry] = entries(stack, action="config.change", limit="1")
    assert entry["after"]["changes"] == ["models/m: added"]
    assert entry["after"]["version"] == entry["before"]["version"] + 1


def test_whoever_touches_the_database_is_found(stack: Stack, tmp_path: Path) -> None:
    """The last test: the log is broken afterwards. Nobody adds to it meanwhile."""
    assert stack.up.stop() == 0
    lines = [json.loads(line) for line in ferryman(stack, "audit", "export").splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    last = lines[-1]
    assert (last["action"], last["after"]) == ("audit.export", {"behind": 0}), "it is one, too"
    assert "audit export" in last["client"]
    kept = tmp_path / "head.json"
    kept.write_text(ferryman(stack, "audit", "head"))
    seq = json.loads(kept.read_text())["seq"]
    assert "none touched" in ferryman(stack, "audit", "verify", "--head", str(kept))
    with sqlite3.connect(stack.data / "ferryman.db") as database:
        database.execute("UPDATE audit_log SET actor = 'nobody' WHERE seq = 2")
        database.execute("DELETE FROM audit_log WHERE seq >= ?", [seq])
    told = ferryman(stack, "audit", "verify", "--head", str(kept), code=1)
    assert "entry 2: this entry, or its place, was changed" in told
    assert f"cut off: a kept head names entry {seq}" in told
    wrong = ferryman(stack, "audit", "list", "--data-dir", str(tmp_path / "no"), code=1)
    assert "is --data-dir right?" in wrong
    assert not (tmp_path / "no").exists()
