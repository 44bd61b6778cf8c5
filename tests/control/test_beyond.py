"""Whoever may write the configuration gives nobody more than they have, and gets at no secret."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from ferryman.config.options import Options
from ferryman.config.version import API
from ferryman.control.api.access import OWNER, ROLES, Caller
from ferryman.control.beyond import may_change
from ferryman.control.compiling import answers
from ferryman.control.orders import FILE, PATCH, TEXT, Compiled, Order
from ferryman.control.problem import ProblemError

CONFIG = """\
providers:
  safe: { base_url: "https://safe.example/v1", key: env:LAB_KEY }
  own: { base_url: "https://own.example/v1", key: sk-own-0123456789 }
roles: { ops: [config.read, config.write] }
"""
EVIL = "https://evil.example"
MORE = """\
providers:
  safe: { base_url: "https://safe.example/v2", region: eu, key: env:LAB_KEY }
  one: { base_url: "EVIL/v1", keys: [{ key: env:LAB_KEY }, { key: vault:lab }] }
  two: { base_url: "EVIL/v1", key: sk-new-0123456789, headers: { x: "file:/run/x" } }
  three: { base_url: "EVIL/v1", format: gemini_generate, auth: google }
telemetry: { otlp: { endpoint: "EVIL/otlp", headers: { x: env:OTHER } } }
alerts:
  channels:
    post: { email: { to: [a@example.org], from: b@example.org, host: evil.example, port: 465,
                     tls: implicit, user: u, password: env:MAIL } }
    hook: { webhook: "EVIL/hook", secret: env:HOOK }
roles: { ops: [config.read, config.write], more: [config.read] }
identity:
  issuers: [{ name: a, issuer: EVIL, audiences: f }]
  sign_in: { issuer: a, client_id: c, client_secret: env:CLIENT, url: "https://x.example",
             default: viewer }
  groups: { All: { role: developer } }
""".replace("EVIL", EVIL)
OPS = Caller(name="tok_1", permissions=frozenset(("config.read", "config.write")), role="ops")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Compiled]:
    folder: Path = tmp_path_factory.mktemp("beyond")
    (folder / "ferryman.yaml").write_text(CONFIG)
    options = Options(data_dir=folder / "data", config=folder / "ferryman.yaml")

    def made(kind: str = FILE, unit: str = "", body: str = "") -> Compiled:
        file = None if kind == FILE else CONFIG.encode()
        order = Order(kind=kind, unit=unit, body=body.encode(), by=API, file=file)
        *_, found = answers(options, order)
        assert isinstance(found, Compiled), found
        return found

    return made


def refused(caller: Caller, before: Compiled, after: Compiled) -> bool:
    try:
        may_change(caller, before, after)
    except ProblemError as error:
        assert (error.status, error.code) == (403, "forbidden")
        return True
    return False


def test_a_secret_goes_where_it_went_unless_one_may_have_it(
    compiled: Callable[..., Compiled],
) -> None:
    before, after = compiled(), compiled(TEXT, body=MORE)
    moved = compiled(PATCH, "providers/own", f'{{"base_url": "{EVIL}/v1"}}')
    new = {*after.uses} - {*before.uses}
    written = {use for use in new if use[0].startswith("sealed:")}
    assert new - written == {
        ("env:LAB_KEY", EVIL), ("vault:lab", EVIL), ("file:/run/x", EVIL),
        ("the machine's own (google)", EVIL), ("env:OTHER", EVIL), ("env:HOOK", EVIL),
        ("env:MAIL", "smtp://evil.example:465"), ("env:CLIENT", EVIL),
    }  # fmt: skip
    assert [place for _, place in written] == [EVIL]
    assert [place for _, place in {*moved.uses} - {*before.uses}] == [EVIL]
    assert refused(OPS, before, moved), "a key that nobody is shown, in the configuration itself"
    holder = replace(OPS, permissions=OPS.permissions | {"vault.write"})
    assert not refused(holder, before, moved)
    for use in new:
        assert refused(OPS, before, replace(before, uses=(*before.uses, use))) != (use in written)
    for caller in (OWNER, replace(OPS, permissions=ROLES["admin"])):
        assert not refused(caller, before, after) and not refused(caller, before, moved)

    # Who signs in, who may be by groups, and who calls.
    entered = replace(before, entrance=after.entrance, entered=after.entered)
    assert after.entered == ("developer", "viewer")
    called = replace(before, issuers=after.issuers)
    most = ROLES["developer"] | OPS.permissions
    for less, change in (
        ({"alerts.read"}, entered), ({"requests.explain"}, entered), ({"keys.write"}, called),
    ):  # fmt: skip
        assert refused(replace(OPS, permissions=most - less), before, change)
        assert not refused(replace(OPS, permissions=most), before, change)


def test_no_role_gets_what_whoever_writes_it_has_not(compiled: Callable[..., Compiled]) -> None:
    before = replace(compiled(), roles={"ops": ("config.write",), "strong": ("content.read",)})
    for name, roles in {
        "itself": {"ops": ("config.write", "vault.write")},
        "a new one": {"new": ("config.read", "content.read")},
        "another name": {"renamed": ("content.read",)},
    }.items():
        assert refused(OPS, before, replace(before, roles=before.roles | roles)), name
    less = {"strong": ("content.read",), "other": ("config.read", "config.write")}
    assert not refused(OPS, before, replace(before, roles=less))
    assert not refused(replace(OPS, permissions=frozenset()), before, before), "nothing is new"
