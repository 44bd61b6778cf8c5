"""References to the vault: what is there goes on sealed, what is not stays a reference."""

from pathlib import Path

from msgspec import msgpack
from msgspec.structs import replace

from ferryman.config.compile import compile_snapshot
from ferryman.config.seal import derive_for
from ferryman.config.secret import SEALED, VAULT, activate, localise
from ferryman.config.vaulted import filled, names
from tests.config.catalogue import loaded

KEY = derive_for("seal key", "sealed secrets")
CONFIG = """\
providers:
  lab:
    base_url: http://127.0.0.1:9/v1
    keys: [vault:one, { key: vault:two, weight: 3 }]
    headers: { X-Team: vault:team, X-Plain: text }
  open: { base_url: "http://127.0.0.1:9/v1", auth: none, headers: { X-Team: vault:gone } }
alerts: { channels: { ops: { webhook: "https://example.org/", secret: vault:hook } } }
telemetry: { otlp: { endpoint: "http://127.0.0.1:9", headers: { x-key: vault:otlp } } }
"""
TEXTS = {name: f"canary-{name}" for name in ("one", "two", "team", "hook", "otlp")}


def test_secrets_of_the_vault_are_sealed_wherever_they_stand(tmp_path: Path) -> None:
    found = loaded(tmp_path, CONFIG)
    assert not found.problems
    assert names(found.config) == {*TEXTS, "gone"}
    with_texts = replace(found, config=filled(found.config, TEXTS, KEY))
    snapshot = compile_snapshot(with_texts, seal_key=KEY, env={})
    assert b"canary" not in msgpack.encode(snapshot), "no header either, whatever its name"
    assert "canary" not in repr(with_texts.config)
    lab = snapshot.providers["lab"]
    assert [(key.kind, key.weight) for key in lab.keys] == [(SEALED, 1.0), (SEALED, 3.0)]
    assert activate(lab, {}, KEY) == ["canary-one", "canary-two"]
    sent = dict(localise(snapshot, {}, KEY).providers["lab"].headers)
    assert (sent["X-Team"], sent["X-Plain"]) == ("canary-team", "text")
    assert activate(lab, {}, derive_for("another", "sealed secrets")) is None
    assert activate(snapshot.providers["open"], {}, KEY) is None, "never without its header"


def test_what_is_not_in_the_vault_stays_a_reference(tmp_path: Path) -> None:
    found = loaded(tmp_path, CONFIG)
    snapshot = compile_snapshot(found, seal_key=KEY, env={})
    lab = snapshot.providers["lab"]
    assert [(key.kind, key.value) for key in lab.keys] == [(VAULT, "one"), (VAULT, "two")]
    assert activate(lab, {"one": "x"}, KEY) is None


OWNED = """\
providers:
  lab: { base_url: "http://127.0.0.1:9/v1", key: vault:lab }
  acme-lab:
    base_url: http://127.0.0.1:9/v1
    keys: [vault:Acme Inc./a, { key: vault:Acme Inc./b }]
"""


def test_a_key_of_an_organisation_is_sealed_for_it(tmp_path: Path) -> None:
    found = loaded(tmp_path, OWNED)
    assert not found.problems
    texts = {name: f"canary-{name[-1]}" for name in ("lab", "Acme Inc./a", "Acme Inc./b")}
    assert names(found.config) == texts.keys()
    with_texts = replace(found, config=filled(found.config, texts, KEY))
    providers = compile_snapshot(with_texts, seal_key=KEY, env={}).providers
    lab, theirs = providers["lab"], providers["acme-lab"]
    assert (lab.owner, theirs.owner) == ("", "Acme Inc.")
    assert activate(theirs, {}, KEY) == ["canary-a", "canary-b"]
    for owner in ("", "Globex"):  # as where nobody knows of owners, or a snapshot was changed
        assert activate(replace(theirs, owner=owner), {}, KEY) is None
    assert activate(replace(lab, owner="Globex"), {}, KEY) is None
    unfilled = compile_snapshot(found, seal_key=KEY, env={}).providers["acme-lab"]
    assert (unfilled.owner, activate(unfilled, {}, KEY)) == ("Acme Inc.", None)
