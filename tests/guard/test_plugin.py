"""Guards of installed packages judge, and where they fail, they fail as they were told to."""

import sys
from pathlib import Path

import pytest

from ferryman.config.guard_row import Guard
from ferryman.guard.engine import REQUEST, BlockedError, Engine, Session, TextCheck

CODE = """
def judge(text):
    if "fail" in text:
        raise RuntimeError("no")
    return (0.9, ["team-rule", "quotes the text"]) if "secret plan" in text else (0.0, [])
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with an entry point, as an installer leaves it."""
    (tmp_path / "house_rules_guard.py").write_text(CODE)
    info = tmp_path / "house_rules-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house-rules\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[ferryman.guards]\nhouse-rules = house_rules_guard:judge\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("house_rules_guard", None)


def checked(guard: Guard, text: str) -> Session:
    session = Session(Engine([guard], ()), [guard.name])
    TextCheck(session, REQUEST, answer=False, main=True).whole(text)
    return session


@pytest.mark.usefixtures("installed")
def test_a_plugin_judges() -> None:
    guard = Guard(name="own", kind="plugin", plugin="house-rules", action="log")
    [verdict] = checked(guard, "This is our secret plan.").verdicts()
    assert (verdict[2], *verdict[5:]) == ("logged", 0.9, ("team-rule",))
    [verdict] = checked(guard, "Nothing.").verdicts()
    assert (verdict[2], verdict[5]) == ("allowed", 0.0)


@pytest.mark.usefixtures("installed")
def test_it_fails_closed_or_open() -> None:
    closed = Guard(name="own", kind="plugin", plugin="house-rules", action="block")
    with pytest.raises(BlockedError, match="unanswered"):
        checked(closed, "fail")
    missing = Guard(name="own", kind="plugin", plugin="none", action="block", on_error="allow")
    [verdict] = checked(missing, "fail").verdicts()
    assert (verdict[2], verdict[6]) == ("allowed", ("unanswered",))
