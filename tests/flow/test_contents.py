"""Prompts and answers are kept where the configuration says so, and feedback on calls."""

import json
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman.edge.feedback import MOST_A_MINUTE
from tests.flow.test_costs_page import ferryman
from tests.gateway import Stack, asked, events
from tests.processes import Reply, until
from tests.simulator import wire

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, key: env:LAB_KEY }
  canned: { base_url: CANNED/v1, auth: none }
  messages: { format: anthropic_messages, base_url: SIM/v1, key: env:LAB_KEY, auth: x-api-key }
guards:
  personal: { kind: pii, action: log, always: false }
content: { store: errors, keep: 30d, max_size: 4KB }
policies:
  - { name: clean, when: { tags: clean }, content: { store: all, redact: [personal] } }
  - { name: dear, when: { tags: dear }, content: all }
  - { name: secret, when: { tags: secret }, content: none }
  - { name: some, when: { tags: some }, content: { store: all, sample: 0.3 } }
"""


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("contents"), CONFIG).served() as running:
        yield running


def tagged(*tags: str) -> dict[str, str]:
    return {"x-ferryman-tags": ",".join(tags)}


def ident(reply: wire.Reply) -> str:
    return str(reply.header("x-ferryman-request-id"))


def content(stack: Stack, reply: wire.Reply, team: str = "") -> Reply:
    stack.row(reply)
    return stack.admin("GET", f"/api/v1/calls/{ident(reply)}/content?team={team}")


def test_what_is_kept_is_what_was_sent_and_what_came(keeping: Stack) -> None:
    body = asked("lab/sim")
    whole = keeping.post(body, headers=tagged("dear"))
    found = content(keeping, whole).json()
    assert json.loads(found["request"]) == body
    assert found["reply"].encode() == whole.body
    assert found["text"] == whole.json()["choices"][0]["message"]["content"]
    assert (found["cut"], found["whole"], found["status"]) == (False, True, 200)
    assert keeping.row(whole)["content"] == "kept"
    stream = keeping.stream("messages/sim-tokens=9", headers=tagged("dear"))
    told = content(keeping, stream).json()
    assert told["reply"].encode() == stream.body
    assert len(told["text"].split()) >= 5
    printed = ferryman(keeping, "content", ident(stream))
    assert told["text"] in printed
    assert "Good morning, dear ferry" in printed


MAIL = "ann.canary@example.org"


@pytest.mark.parametrize("stream", [False, True])
def test_what_guards_redact_of_contents_is_not_kept(keeping: Stack, stream: bool) -> None:
    body = {"model": "lab/sim-echo", "messages": [{"role": "user", "content": f"To {MAIL}."}]}
    reply = keeping.post(body | {"stream": stream, "unheard": MAIL}, headers=tagged("clean"))
    assert MAIL.encode() in keeping.last_body(), "of the call itself nothing is redacted"
    found = content(keeping, reply).json()
    assert found["text"] == "To [EMAIL]."
    assert json.loads(found["request"])["messages"][0]["content"] == "To [EMAIL]."
    assert MAIL not in found["request"] + found["reply"]
    assert (found["cut"], found["whole"], found["status"]) == (False, True, 200)


def test_only_what_is_asked_for_is_kept(keeping: Stack) -> None:
    fine = keeping.chat("lab/sim")
    failed = keeping.chat("lab/sim-500")
    hidden = keeping.chat("lab/sim-500", headers=tagged("secret"))
    refused = keeping.chat("nobody/there")
    assert content(keeping, fine).status == 404
    assert "configuration does not ask" in content(keeping, fine).json()["detail"]
    assert content(keeping, hidden).status == 404
    assert content(keeping, failed).json()["status"] == failed.status
    assert "nobody/there" in content(keeping, refused).json()["reply"]
    some = [keeping.chat("lab/sim", headers=tagged("some")) for _ in range(40)]
    kept = [reply for reply in some if keeping.row(reply)["content"] == "kept"]
    assert 0 < len(kept) < 40


def test_what_is_too_long_is_cut_and_what_breaks_off_is_kept_so_far(keeping: Stack) -> None:
    long = "word " * 1000
    reply = keeping.chat("lab/sim", headers=tagged("dear"), user="a", stop=[long])
    found = content(keeping, reply).json()
    assert (len(found["request"]), found["cut"]) == (4000, True)
    assert found["request_bytes"] > 5000
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"So far"}}]}\n\n'

    def break_off(link: socket.socket) -> bool:
        link.sendall(events(chunk, end=False))
        return False

    keeping.canned.answers.append(break_off)
    broken = keeping.stream("canned/m")
    told = content(keeping, broken).json()
    assert told["text"] == "So far"
    assert "upstream_stream_truncated" in told["reply"]


def test_it_is_encrypted_wherever_it_lies(keeping: Stack) -> None:
    word = "xylophone-of-the-canary"
    reply = keeping.chat("lab/sim", headers=tagged("dear"), user=word, metadata={"a": word * 9})
    assert word in content(keeping, reply).json()["request"]
    with sqlite3.connect(keeping.data / "ferryman.db") as database:
        [[sealed]] = database.execute(
            "SELECT sealed FROM contents WHERE request_id = ?", (ident(reply),)
        )
    assert word.encode() not in sealed
    for path in (keeping.data / "content").rglob("*"):
        assert path.is_dir() or word.encode() not in path.read_bytes()
        assert not path.stat().st_mode & 0o077


def test_exports_are_examples_for_fine_tuning(keeping: Stack, tmp_path: Path) -> None:
    key = keeping.admin("POST", "/api/v1/keys", {"name": "red one", "team": "red"}).json()["key"]
    until(lambda: keeping.post(asked("lab/sim"), key=key).status == 200, "the key works")
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    sent = {**asked("messages/sim-tokens=4"), "stream": True, "tools": tools}
    good = keeping.post(sent, key=key, headers=tagged("dear"))
    poor = keeping.post(asked("lab/sim"), key=key, headers=tagged("dear"))
    for reply, score in ((good, 0.75), (poor, -1)):
        said = {"request_id": ident(reply), "score": score, "tags": ["checked"]}
        assert keeping.post(said, "/v1/feedback", key=key).status == 202
        assert content(keeping, reply, "red").status == 200
        assert content(keeping, reply, "blue").status == 404
    file = tmp_path / "set.jsonl"
    ferryman(keeping, "export", "content", str(file), "--where", "team=red", "--min-score", "0")
    [row] = [json.loads(line) for line in file.read_text().splitlines()]
    *messages, answer = row["messages"]
    assert messages == sent["messages"]
    assert (answer["role"], bool(answer["content"])) == ("assistant", True)
    assert row["tools"][0]["function"]["name"] == "look"
    about = row["metadata"]
    assert (about["request_id"], about["score"], about["team"]) == (ident(good), 0.75, "red")
    assert about["feedback"][0]["tags"] == ["checked"]
    ferryman(keeping, "export", "content", str(file), "--where", "team=red", "--shape", "raw")
    raw = [json.loads(line) for line in file.read_text().splitlines()]
    assert {each["metadata"]["request_id"] for each in raw} == {ident(good), ident(poor)}
    assert good.body.decode() in [each["reply"] for each in raw]


def given(stack: Stack, reply: wire.Reply) -> list[dict[str, Any]]:
    path = f"/api/v1/calls/{ident(reply)}/feedback"
    found: list[dict[str, Any]] = stack.admin("GET", path).json()["data"]
    return found


def test_feedback_counts_if_it_is_of_the_caller_or_its_team_and_the_last_word_holds(
    keeping: Stack,
) -> None:
    keys = {}
    for name, team in (("one", "blue"), ("two", "blue"), ("other", "green"), ("alone", None)):
        made = keeping.admin("POST", "/api/v1/keys", {"name": name, "team": team}).json()
        keys[name] = made["key"]
        until(lambda: keeping.get("/v1/models", keys[name]).status == 200, "the key works")  # noqa: B023
    run = {"x-ferryman-run-id": "run-of-the-test"}

    reply = keeping.post(asked("lab/sim-tokens=2"), key=keys["one"], headers=run)

    def say(who: str, **said: Any) -> int:
        about = {} if "run_id" in said else {"request_id": ident(reply)}
        return keeping.post(about | said, "/v1/feedback", key=keys[who]).status

    assert say("one", thumb="down", comment="<b>bad</b>") == 202
    assert say("one", thumb="up", tags=["right"], comment="good after all") == 202
    assert say("two", score=0.5) == 202
    assert say("other", score=-1) == 202
    assert say("alone", score=-1) == 202
    assert say("two", run_id="run-of-the-test", score=-0.25) == 202
    keeping.row(reply)
    found = [(each["about"], each["key"], each["score"]) for each in given(keeping, reply)]
    assert sorted(found) == [("call", "one", 1), ("call", "two", 0.5), ("run", "two", -0.25)]
    assert [each["comment"] for each in given(keeping, reply) if each["comment"]] == [
        "good after all"
    ]
    rows = keeping.admin("GET", "/api/v1/usage?by=model").json()["data"]
    scores = {row["model"]: (row["scored"], row["score"]) for row in rows}
    assert scores["lab/sim-tokens=2"] == (2, 0.75)
    assert "+0.75" in ferryman(keeping, "usage", "--by", "model")


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"score": 1}, "request_id"),
        ({"request_id": "req_1"}, "Say something"),
        ({"request_id": "req_1", "run_id": "r", "score": 1}, "or run_id"),
        ({"request_id": "req_1", "score": 1.5}, "$.score"),
        ({"request_id": "req_1", "score": "NaN"}, "$.score"),
        ({"request_id": "req_1", "score": 1, "thumb": "up"}, "not both"),
        ({"request_id": "req_1", "tags": ["a" * 65]}, "$.tags"),
        ({"request_id": "req_1", "comment": "a" * 2001}, "$.comment"),
        ({"request_id": "r" * 201, "score": 1}, "$.request_id"),
        ({"request_id": "req_1", "vote": 1}, "vote"),
        (b"[", "object"),
    ],
)
def test_feedback_that_cant_be_taken_says_why(keeping: Stack, said: Any, word: str) -> None:
    reply = keeping.post(said, "/v1/feedback")
    assert reply.status == 400
    assert word in reply.json()["error"]["message"]


def test_feedback_needs_a_key_and_a_post(keeping: Stack) -> None:
    said = {"request_id": "req_1", "score": 1}
    assert keeping.post(said, "/v1/feedback", key="fm-wrong").status == 401
    assert keeping.get("/v1/feedback").status == 405
    page = keeping.get("/metrics").body
    assert b'ferryman_contents_total{outcome="kept"}' in page


def test_of_feedback_a_key_sends_so_much_a_minute_and_others_go_on(keeping: Stack) -> None:
    made = keeping.admin("POST", "/api/v1/keys", {"name": "eager"}).json()
    until(lambda: keeping.get("/v1/models", made["key"]).status == 200, "the key works")
    said = {"run_id": "judged-by-a-loop", "score": 1}
    # More than two minutes' worth: wherever a minute ends, one of them is full.
    answers = (
        keeping.post(said, "/v1/feedback", key=made["key"]) for _ in range(2 * MOST_A_MINUTE + 1)
    )
    refused = next(each for each in answers if each.status != 202)
    assert (refused.status, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.header("retry-after") or 0) <= 60
    assert keeping.post(said, "/v1/feedback").status == 202
