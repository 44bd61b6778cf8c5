"""A vault that can't be opened for a while costs no change that was made elsewhere."""

import base64
import subprocess
import sys
from pathlib import Path

from ferryman.config.intake import seal_for
from tests.control.conftest import Control, Start
from tests.processes import environment

FILE = """\
providers: { lab: { base_url: "http://127.0.0.1:9/v1", auth: none } }
models: { fast: lab/a }
"""


def entries(control: Control) -> set[str]:
    return {each["entry"] for each in control.admin("GET", "/api/v1/config").json()["overlay"]}


def test_a_vault_that_is_closed_for_a_while_costs_no_change(start: Start, tmp_path: Path) -> None:
    (tmp_path / "ferryman.yaml").write_text(FILE)
    variables = {"FERRYMAN_CONFIG": str(tmp_path / "ferryman.yaml")}
    control = start(**variables).ready()
    command = [sys.executable, "-m", "ferryman", "vault", "init"]
    subprocess.run(command, env=environment(control.data), check=True, capture_output=True)
    public = base64.b64decode(control.admin("POST", "/api/v1/vault/intake").json()["key"])
    sealed = base64.b64encode(seal_for(public, "own", "sk-0123456789")).decode()
    assert control.admin("PUT", "/api/v1/vault/secrets/own", {"sealed": sealed}).status == 200
    row = {"base_url": "http://127.0.0.1:9/v1", "key": "vault:own"}
    assert control.admin("PUT", "/api/v1/config/providers/own", row).status == 200
    assert entries(control) == {"providers/own"}
    before = control.settled()[0]
    assert control.process.stop() == 0

    key = control.data / "secrets" / "master-key"
    key.rename(key.with_name("away"))
    closed = start(**variables)
    assert closed.process.wait() != 0
    said = "\n".join(closed.process.lines)
    assert "the vault can't be used: the master key key-1-" in said
    assert "holds alone" not in said
    key.with_name("away").rename(key)
    again = start(**variables).ready()
    assert entries(again) == {"providers/own"}
    assert again.settled()[0] == before


def test_processes_that_hold_secrets_leave_no_core() -> None:
    program = (
        "import ctypes, resource\n"
        "from ferryman.control.vault.here import leave_no_core\n"
        "leave_no_core()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3))\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert said.stdout.decode().strip() == "(0, 0) 0"
