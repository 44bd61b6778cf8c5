"""A secret and a prompt, sent through every endpoint, whole and streamed, well and badly, appear in
no log, metric, table, file or page, but where contents are kept, and there not in the clear."""

import base64
import contextlib
import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ferryman.control.api.serve import ROUTES
from ferryman.control.dashboard.ways import WAYS
from ferryman.edge.routes import CALLS, V2
from tests.control.receiver import Receiver
from tests.flow.test_vault_page import ferryman
from tests.gateway import Stack, whole
from tests.processes import request, until
from tests.store import postgres

PROMPT = "canary-prompt-qzv"
SECRET = "sk-canary-secret-qzv"
CONFIG = """\
providers:
  lab: { base_url: SIM/v1, key: env:LAB_KEY, prices: { sim-echo: { input: 1, output: 1 } } }
  messages: { format: anthropic_messages, base_url: SIM/v1, key: env:LAB_KEY, auth: x-api-key }
  generate: { format: gemini_generate, base_url: SIM/v1beta, key: env:LAB_KEY,
    auth: "header:x-goog-api-key" }
  canned: { base_url: CANNED/v1, key: env:LAB_KEY }
responses: { keep: 1h }
cache: { ttl: 1m, store: sqlite }
idempotency: { keep: 1h, store: sqlite }
logs: { sinks: [stdout, { kind: file, path: calls.log }] }
content: { store: CONTENT }
"""
MESSAGES = [{"role": "user", "content": PROMPT}]
BODIES: dict[str, Any] = {
    "chat.completions": {"messages": MESSAGES},
    "messages": {"messages": MESSAGES, "max_tokens": 99},
    "count_tokens": {"messages": MESSAGES},
    "responses": {"input": PROMPT},
    "completions": {"prompt": PROMPT},
    "embeddings": {"input": PROMPT},
    "moderations": {"input": PROMPT},
    "rerank": {"query": PROMPT, "documents": [PROMPT]},
    "embed": {"texts": [PROMPT], "input_type": "search_query"},
    "images.generations": {"prompt": PROMPT},
    "audio.speech": {"input": PROMPT, "voice": "alloy"},
}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
GEMINI: dict[str, Any] = {
    "generateContent": CONTENTS,
    "streamGenerateContent": CONTENTS,
    "countTokens": CONTENTS,
    "embedContent": {"content": {"parts": [{"text": PROMPT}]}},
    "batchEmbedContents": {
        "requests": [{"model": "models/sim", "content": {"parts": [{"text": PROMPT}]}}]
    },
}
FORM = "\r\n".join([
    *("--fence", 'Content-Disposition: form-data; name="model"', "", "MODEL"),
    *("--fence", 'Content-Disposition: form-data; name="prompt"', "", PROMPT),
    *("--fence", 'Content-Disposition: form-data; name="file"; filename="a.wav"', "", PROMPT),
    *("--fence", 'Content-Disposition: form-data; name="image"; filename="a.png"', "", PROMPT),
    "--fence--",
    "",
])  # fmt: skip
MODELS = ("lab/sim-echo", "messages/sim-echo", "lab/sim-500", "lab/sim-401", "lab/sim-close",
          "lab/sim-echo-cut=3", "nobody/here")  # fmt: skip


def call_all(stack: Stack, key: str, models: Sequence[str] = MODELS) -> set[int]:
    """Every endpoint with every one of the models; the statuses that came."""
    statuses = set()
    paths = {f"/v1{path.decode()}": name for path, name in CALLS.items()}
    paths |= {path.decode(): name for path, name in V2.items()}
    for path, name in paths.items():
        for model in models:
            if name in BODIES:
                streams = (False, True) if "lab" in model else (False,)
                for stream in streams:
                    body = {"model": model, **BODIES[name]} | ({"stream": True} if stream else {})
                    statuses.add(stack.post(body, path, key=key).status)
            elif model in MODELS[:3]:
                kind = {"Content-Type": "multipart/form-data; boundary=fence"}
                form = FORM.replace("MODEL", model).encode()
                statuses.add(stack.post(form, path, key=key, headers=kind).status)
        broken = f'{{"model": "lab/sim", "{PROMPT}": '.encode()
        statuses.add(stack.post(broken, path, key=key).status)
    for method, body in GEMINI.items():
        for model in ("generate/sim-echo", "lab/sim-echo", "generate/sim-500"):
            path = f"/v1beta/models/{model}:{method}"
            statuses.add(stack.post(body, path, key=key).status)
    for wrong in ("fm-" + SECRET, SECRET):
        statuses.add(stack.post({"model": "lab/sim-echo", **BODIES["responses"]}, key=wrong).status)
    return statuses


def entered(stack: Stack) -> tuple[str, dict[str, str]]:
    """The control plane's address, and the headers of somebody who is signed in there."""
    url = (stack.data / "admin-url").read_text().strip()
    token = stack.admin("POST", "/api/v1/links").json()["token"]
    form = {"content-type": "application/x-www-form-urlencoded", "origin": url}
    entry = request(url, "POST", "/enter", body=urlencode({"token": token}), headers=form)
    return url, {"cookie": entry.headers["set-cookie"].partition(";")[0], "origin": url}


def played(stack: Stack) -> None:
    """The prompt, through the playground."""
    url, signed_in = entered(stack)
    page = request(url, path="/playground", headers=signed_in).body.decode()
    found = re.search(r'data-proof="([^"]+)"', page)
    assert found
    body = json.dumps({"model": "lab/sim-echo", "messages": MESSAGES}).encode()
    headers = signed_in | {"x-ferryman-proof": found[1], "content-type": "application/json"}
    reply = request(url, "POST", "/playground/run", body=body, headers=headers)
    assert (reply.status, PROMPT.encode() in reply.body) == (200, True), reply.body


def echoed(stack: Stack, key: str) -> None:
    """Providers whose errors repeat the prompt and the key that they were given."""
    said = json.dumps({"error": {"message": f"what is {PROMPT}? {SECRET}", "code": PROMPT}})
    for status in (b"400 Bad Request", b"401 Unauthorized", b"429 Too Many", b"500 Broken"):
        stack.canned.answers.append(whole(said.encode(), status=status))
        body = {"model": "canned/m", **BODIES["chat.completions"]}
        assert stack.post(body, key=key).status >= 400


NAMED = {"organisation": "acme", "team": "red", "user": "ann", "key": "canary", "number": "1"}
"""What stands in addresses, and calls' ids."""
ASKED = {"/routes/explain": "model=lab/sim-echo", "/config/diff": "old=1",
         "/usage": "by=model,error", "/prices": "model=lab/sim-echo"}  # fmt: skip
"""What has to be said for there to be something to see."""


def addresses(paths: Iterable[str], idents: Sequence[str]) -> Iterator[str]:
    """Each of the paths, with what stands in its braces put in."""
    for path in paths:
        calls = idents if re.search(r"{(request_id|ident)}", path) else idents[:1]
        for ident in calls:
            found = NAMED | {"request_id": ident, "ident": ident}
            filled = re.sub(r"{(\w+)}", lambda name: found[name[1]], path)  # noqa: B023
            yield f"{filled}?{ASKED[path]}" if path in ASKED else filled


def pages(stack: Stack) -> bytes:
    """Everything that the control plane and the metrics show: each page, what is sent to the live
    one, and each read of the admin API."""
    url, signed_in = entered(stack)
    listed = stack.admin("GET", "/api/v1/calls?limit=1000")
    rows = listed.json()["data"]
    idents = [row["request_id"] for row in rows[:: max(len(rows) // 25, 1)]]
    token = {"authorization": f"Bearer {stack.metrics_token}"}
    replies = [request(each, path="/metrics", headers=token) for each in (stack.url, url)]
    assert [reply.status for reply in replies] == [200, 200]
    found = [reply.body for reply in (listed, *replies)]
    ways = [way.path for way in WAYS if way.method == "GET" and way.view is not None]
    for path in addresses(ways, idents):
        page = request(url, path=path, headers=signed_in)
        assert page.status == 200, (path, page.status)
        found.append(page.body)
    with contextlib.closing(HTTPConnection(*url.removeprefix("http://").split(":"))) as live:
        live.request("GET", "/live", headers=signed_in)
        answer = live.getresponse()
        told = b""
        while b"live-calls" not in told or b"live-figures" not in told:
            told += answer.readline()
        found.append(told)
    reads = [route.path for route in ROUTES if route.method == "GET"]
    for path in addresses(reads, idents[:5]):
        reply = stack.admin("GET", f"/api/v1{path}")
        nothing = 404 if path.endswith("/content") else 200
        assert reply.status in (200, nothing), (path, reply.status, reply.body)
        found.append(reply.body)
    return b"\n".join(found)


def files(folder: Path) -> bytes:
    """Every file of a data directory but the secrets' own, and every value of every table."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            found += [path.name.encode(), path.read_bytes()]
    for path in folder.glob("*.db"):
        with sqlite3.connect(path) as database:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (name,) in names.fetchall():
                rows = database.execute(f"SELECT * FROM {name}").fetchall()
                found.append(repr(rows).encode())
    return b"\n".join(found)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.end()


def test_nothing_that_was_said_and_no_secret_appears_anywhere(
    tmp_path: Path, receiver: Receiver
) -> None:
    config = CONFIG.replace("CONTENT", "none")
    config += f"telemetry: {{ otlp: {{ endpoint: '{receiver.url}', metrics_every: 1s }} }}\n"
    with Stack(
        tmp_path, config, LAB_KEY=SECRET, FERRYMAN_KEY=SECRET + "-of-callers"
    ).served() as stack:
        made = stack.admin("POST", "/api/v1/keys", {"name": "canary"}).json()["key"]
        body = {"model": "lab/sim-echo", **BODIES["chat.completions"]}
        until(lambda: PROMPT.encode() in stack.post(body, key=made).body, "the key works")
        organisation = stack.admin("POST", "/api/v1/organisations", {"name": NAMED["organisation"]})
        assert organisation.status == 201
        teams = f"/api/v1/organisations/{NAMED['organisation']}/teams"
        assert stack.admin("POST", teams, {"name": NAMED["team"]}).status == 201
        person = {"name": NAMED["user"], "role": "viewer"}
        assert stack.admin("POST", "/api/v1/users", person).status == 201
        statuses = call_all(stack, made)
        played(stack)
        echoed(stack, made)
        assert {200, 400, 401, 404} < statuses
        assert any(status >= 500 for status in statuses)
        rows = stack.admin("GET", "/api/v1/calls?limit=1000").json()["data"]
        assert len({row["endpoint"] for row in rows}) >= len(BODIES) + len(GEMINI)

        until(lambda: receiver.logs() and receiver.metrics() and "chat canned/m" in
              {span.name for span in receiver.spans()}, "telemetry")  # fmt: skip

        def everything() -> bytes:
            spans = b"".join(message.SerializeToString() for _, message in receiver.messages)
            return pages(stack) + files(stack.data) + spans + "\n".join(stack.up.lines).encode()

        whole = everything()
        assert b'"event":"call"' in whole, "is the log there?"
        for word in (PROMPT, SECRET, made):
            assert word.encode() not in whole, word
            assert json.dumps(word).encode() not in whole

        stack.write(config.replace("store: none", "store: all"))

        def kept() -> str:
            reply = stack.post(body, key=made, headers={"cache-control": "no-store"})
            ident = str(reply.header("x-ferryman-request-id"))
            return ident if stack.row(ident)["content"] == "kept" else ""

        ident = until(kept, "contents are kept")
        path = f"/api/v1/calls/{ident}/content"
        assert PROMPT in stack.admin("GET", path).json()["text"]
        stack.up.stop()
        assert PROMPT.encode() not in files(stack.data), "in the clear"
        assert PROMPT not in "\n".join(stack.up.lines)


VAULTED = "sk-canary-vaulted-qzv-0123456789"


def test_a_dump_of_postgresql_its_files_and_logs_reveal_no_secret_and_no_prompt(
    tmp_path: Path,
) -> None:
    config = CONFIG.replace("CONTENT", "all")
    config = config.replace("key: env:LAB_KEY, prices", "key: vault:lab, prices")
    place = Path(tempfile.mkdtemp(prefix="pg-"))  # short: sockets have a limit
    try:
        with postgres.server(place) as url:
            env = {"LAB_KEY": SECRET, "FERRYMAN_DATABASE_URL": url}
            with Stack(tmp_path, config, **env).served() as stack:
                command = f"ferryman vault init; printf %s {VAULTED} | ferryman vault set lab"
                ferryman(stack, command)
                made = stack.admin("POST", "/api/v1/keys", {"name": "canary"}).json()["key"]
                body = {"model": "lab/sim-echo", **BODIES["chat.completions"]}
                until(lambda: PROMPT.encode() in stack.post(body, key=made).body, "the keys work")
                assert {200, 400, 401} < call_all(stack, made, ("lab/sim-echo",))
                reply = stack.post(body, key=made, headers={"cache-control": "no-store"})
                assert stack.row(reply)["content"] == "kept"
                stack.up.stop()
                dump = postgres.dump(url)
            raw = files(place / "data")
            whole = dump + raw + files(stack.data) + "\n".join(stack.up.lines).encode()
    finally:
        shutil.rmtree(place)
    for table in (rb"calls_2\d+_\d+", b"contents", b"vault", b"virtual_keys"):
        rows = rb"\nCOPY public\.%b .*\n[^\\]" % table
        assert re.search(rows, dump), "the look finds what is there"
    assert b"lab/sim-echo" in dump and b"lab/sim-echo" in raw
    for word in (PROMPT, SECRET, made, VAULTED):
        text = word.encode()
        assert text not in whole, word
        assert text.hex().encode() not in dump, f"{word}, in a column of bytes"
        assert base64.b64encode(text)[:-4] not in whole, word
