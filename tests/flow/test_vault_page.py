"""docs/vault.md: its example is run, and a stored key is nowhere but where it is needed."""

import base64
import hmac
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.config.catalogue import loaded
from tests.control.services import TOKEN, TransitServer
from tests.gateway import Stack
from tests.memory import holds
from tests.processes import environment, request, until
from tests.receivers import Hook
from tests.test_readme import blocks

PAGE = "docs/vault.md"
SECRETS = "/api/v1/vault/secrets"
CANARY = "sk-canary-" + os.urandom(16).hex()
SPARE = "sk-spare-" + os.urandom(16).hex()
MORE = """
alerts: { channels: { ops: { webhook: HOOK, private: true, secret: vault:hook } } }
"""


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[Stack]:
    """With the page's second configuration, which has all of the first."""
    config = blocks("yaml", PAGE)[1].replace("http://127.0.0.1:8090", "SIM")
    config += MORE.replace("HOOK", hook.url)
    with Stack(tmp_path_factory.mktemp("page"), config).served() as running:
        yield running


def ferryman(stack: Stack, command: str, *, code: int = 0, **more: str) -> str:
    """What the shell says of ``command``, without its lines' drawing and extra blanks."""
    env = environment(stack.data, **more)
    del env["FERRYMAN_ADMIN_PORT"]
    command = command.replace("ferryman vault", f"{sys.executable} -m ferryman vault")
    done = subprocess.run(
        ["sh", "-ec", command], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stdout + done.stderr
    return re.sub(r"[ ─]+", " ", done.stdout + done.stderr)


def asked(stack: Stack, model: str = "fast") -> str | None:
    """The key with which the provider was called, if it was."""
    if stack.chat(model).status != 200:
        return None
    return stack.last_headers()["authorization"].removeprefix("Bearer ")


def control_of(stack: Stack) -> int:
    return stack.process(b"ferryman.control")


def test_every_configuration_on_the_page_is_a_good_one(tmp_path: Path) -> None:
    for config in blocks("yaml", PAGE):
        assert not loaded(tmp_path, config).problems


def test_nothing_is_stored_without_a_master_key(paged: Stack) -> None:
    said = ferryman(paged, "printf %s x | ferryman vault set lab", code=1)
    assert "ferryman vault init" in said
    reply = paged.chat("fast")
    assert reply.status == 404
    assert b"ferryman vault set lab" in reply.body
    assert any("no secret lab in the vault" in line for line in paged.up.lines)


def test_the_example(paged: Stack) -> None:
    command = blocks("sh", PAGE)[0]
    said = ferryman(paged, command, LAB_KEY=CANARY)
    shown = re.escape(blocks("text", PAGE)[0].strip()).replace("…", r"\S+")
    got = "\n".join(line.strip() for line in said.splitlines() if line.strip())
    assert re.fullmatch(shown, got), said
    until(lambda: asked(paged) == CANARY, "the key is in force")


def test_some_models_have_a_key_of_their_own(paged: Stack) -> None:
    ferryman(paged, f"printf %s '{SPARE}' | ferryman vault set lab-tuned")
    until(lambda: asked(paged, "tuned") == SPARE, "the other key is in force")
    assert asked(paged) == CANARY
    ferryman(paged, "ferryman vault remove lab-tuned")


def test_what_alerts_are_signed_with_comes_from_the_vault(paged: Stack, hook: Hook) -> None:
    assert paged.admin("POST", "/api/v1/alerts/channels/ops/test").status == 502
    ferryman(paged, f"printf %s '{SPARE}' | ferryman vault set hook")
    assert paged.admin("POST", "/api/v1/alerts/channels/ops/test").status == 200
    _, headers, body = hook.got[-1]
    at, _, mark = headers["x-ferryman-signature"].removeprefix("t=").partition(",v1=")
    assert hmac.digest(SPARE.encode(), at.encode() + b"." + body, "sha256").hex() == mark


def test_the_page_s_program_stores_as_well(paged: Stack) -> None:
    url = (paged.data / "admin-url").read_text().strip()
    token = (paged.data / "secrets" / "admin-token").read_text().strip()
    env = environment(paged.data, LAB_KEY=SPARE, FERRYMAN_ADMIN_URL=url, FERRYMAN_ADMIN_TOKEN=token)
    program = [sys.executable, "-c", blocks("python", PAGE)[0]]
    done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "{'name': 'spare', 'in_force': True}", done.stderr
    names = [row["name"] for row in paged.admin("GET", "/api/v1/vault").json()["data"]]
    assert names == ["hook", "lab", "spare"]


def test_keys_are_rotated_while_calls_go_on(paged: Stack) -> None:
    ended, statuses = threading.Event(), list[int]()

    def call() -> None:
        while not ended.is_set():
            statuses.append(paged.chat("fast").status)

    before = paged.admin("GET", "/api/v1/vault").json()["data"]
    caller = threading.Thread(target=call)
    caller.start()
    assert "Rotated: 3 secrets" in ferryman(paged, blocks("sh", PAGE)[2])
    ferryman(paged, "ferryman vault rotate")
    ended.set()
    caller.join()
    assert set(statuses) == {200}
    after = paged.admin("GET", "/api/v1/vault").json()["data"]
    assert {row["master"][:6] for row in before} == {"key-1-"}
    assert {row["master"][:6] for row in after} == {"key-2-"}
    assert asked(paged) == CANARY
    assert "Good: 3 secrets. Not good: 0." in ferryman(paged, "ferryman vault verify")


def _pages(stack: Stack) -> bytes:
    """What the dashboard and the admin API show of secrets."""
    url = (stack.data / "admin-url").read_text().strip()
    token = stack.admin("POST", "/api/v1/links").json()["token"]
    form = {"content-type": "application/x-www-form-urlencoded", "origin": url}
    entered = request(url, "POST", "/enter", body=urlencode({"token": token}), headers=form)
    cookie = {"cookie": entered.headers["set-cookie"].partition(";")[0]}
    replies = [request(url, path=path, headers=cookie) for path in ("/settings", "/routes")]
    replies += [stack.admin("GET", f"/api/v1/{path}") for path in ("vault", "config")]
    assert {reply.status for reply in replies} == {200}
    assert b"sealed, of the vault or configuration" in replies[0].body
    return b"\n".join(reply.body for reply in replies)


def test_a_dump_of_everything_reveals_no_secret(paged: Stack) -> None:
    found = [_pages(paged), "\n".join(paged.up.lines).encode()]
    with sqlite3.connect(paged.data / "ferryman.db") as database:
        found.append("\n".join(database.iterdump()).encode())
    found += [path.read_bytes() for path in paged.data.rglob("*") if path.is_file()]
    names = {path.suffix for path in paged.data.rglob("*")} | {
        p.name for p in paged.data.rglob("*")
    }
    kept = {".fj", "snapshot.msgpack", "snapshot.seal"}
    assert kept <= names, "the journal and the gateway's snapshot, too"
    everything = b"\n".join(found)
    assert CANARY[-4:].encode() in everything, "its last four are shown: the right things are read"
    for secret in (CANARY.encode(), SPARE.encode()):
        for form in (secret, base64.b64encode(secret)[:-4], secret.hex().encode()):
            assert form not in everything
            assert form.upper() not in everything


def test_the_control_plane_s_memory_holds_no_provider_key(paged: Stack) -> None:
    assert paged.admin("POST", "/api/v1/config/reload").status == 200
    for _ in range(5):
        _pages(paged)
    assert asked(paged) == CANARY
    assert holds(paged.process(b"ferryman.edge"), CANARY.encode()), "the look finds what is there"
    assert holds(control_of(paged), b"ferryman.control")
    assert holds(control_of(paged), CANARY.encode()) == 0
    assert holds(paged.up.popen.pid, CANARY.encode()) == 0
    [master] = re.findall(r"2:(\S+)", (paged.data / "secrets" / "master-key").read_text())
    assert holds(control_of(paged), master.encode()) == 0
    assert holds(paged.process(b"ferryman.edge"), master.encode()) == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PUT", f"{SECRETS}/lab", {"value": CANARY}, 400, "sealed"),
        ("PUT", f"{SECRETS}/lab", {"sealed": "!"}, 400, "base64"),
        ("PUT", f"{SECRETS}/lab", {"sealed": base64.b64encode(CANARY.encode()).decode()}, 400,
         "does not open"),
        ("PUT", f"{SECRETS}/lab", {"sealed": 5}, 400, "sealed"),
        ("PUT", f"{SECRETS}/@manifest", {"sealed": "AAAA"}, 400, "does not open"),
        ("DELETE", f"{SECRETS}/nobody", None, 404, "no secret"),
        ("DELETE", f"{SECRETS}/@manifest", None, 404, "no secret"),
        ("GET", f"{SECRETS}/lab", None, 405, "not for"),
        ("POST", "/api/v1/vault/rotate", {"masters": True}, 400, "masters"),
    ],
)  # fmt: skip
def test_bad_questions_are_told_what_is_right(
    paged: Stack, method: str, path: str, body: Any, status: int, words: str
) -> None:
    reply = paged.admin(method, path, body)
    assert reply.status == status
    assert words in reply.json()["detail"]
    assert CANARY not in reply.body.decode()


def test_what_was_changed_in_the_database_is_not_put_into_force(paged: Stack) -> None:
    with sqlite3.connect(paged.data / "ferryman.db") as database:
        database.execute(
            "UPDATE vault SET (sealed, wrapped, serial) = (SELECT sealed, wrapped, serial FROM "
            "vault WHERE name = 'spare') WHERE name = 'lab'"
        )
    reply = paged.admin("POST", "/api/v1/config/reload")
    assert reply.status == 422
    assert "secret lab is not what was stored last" in reply.body.decode()
    said = ferryman(paged, "ferryman vault verify", code=1)
    assert "Good: 2 secrets. Not good: 1." in said
    assert "lab: the secret lab is not what was stored last" in said
    assert asked(paged) == CANARY, "the last good one stays in force"
    said = ferryman(paged, f"printf %s '{SPARE}' | ferryman vault set lab")
    assert "mistakes" not in said
    until(lambda: asked(paged) == SPARE, "stored anew, it is in force")


def test_a_removed_secret_is_out_of_force(paged: Stack) -> None:
    assert "Removed: lab" in ferryman(paged, "ferryman vault remove lab")
    until(lambda: asked(paged) is None, "its provider is inactive")


def test_a_changed_master_key_is_an_error_that_says_so(paged: Stack) -> None:
    path = paged.data / "secrets" / "master-key"
    kept = path.read_text()
    try:
        path.chmod(0o644)
        assert "chmod 600" in ferryman(paged, "ferryman vault verify", code=1)
        path.chmod(0o600)
        path.write_text("")
        said = ferryman(paged, "ferryman vault verify", code=1)
        assert re.search(r"master key key-2-[0-9a-f]{8}, which secrets in the vault need", said)
    finally:
        path.write_text(kept)
    assert "Good: 2 secrets" in ferryman(paged, "ferryman vault verify")


def test_calls_go_on_while_the_key_service_is_away(tmp_path: Path) -> None:
    service = TransitServer()
    env = {"FERRYMAN_KMS": f"transit:{service.url}/v1/transit/keys/ferryman", "VAULT_TOKEN": TOKEN}
    config = blocks("yaml", PAGE)[0].replace("http://127.0.0.1:8090", "SIM")
    with Stack(tmp_path, config, **env).served() as stack:
        ferryman(stack, f"printf %s '{CANARY}' | ferryman vault set lab")
        until(lambda: asked(stack) == CANARY, "the key is in force")
        before = len(service.asked)
        service.down = True
        assert asked(stack) == CANARY
        assert len(service.asked) == before, "no call asks it"
        assert "Vault is sealed" in ferryman(stack, "ferryman vault verify", code=1)
        assert stack.admin("POST", "/api/v1/config/reload").status == 422
        assert asked(stack) == CANARY, "what is in force stays so"
        service.down = False
        assert "Rotated: 1 secret." in ferryman(stack, "ferryman vault rotate")
        said = ferryman(stack, "ferryman vault rotate --master", code=1)
        assert "the one of FERRYMAN_KMS" in said
    service.server.shutdown()
    service.server.server_close()
