"""What is kept of prompts and answers: from the data plane's thread into the database, and out."""

import time
from pathlib import Path

import sqlalchemy as sa

from ferryman.config.model import Retention
from ferryman.control.bodies import BodyIntake
from ferryman.store import retention
from ferryman.store.bodies import MOST_WAITING, Body, BodyWriter, Kept
from ferryman.store.contents import Contents, Mark

KEY, OTHER = bytes(32), bytes([1] * 32)
DAY = 86_400_000_000


def body(text: str) -> Body:
    data = text.encode()
    return Body(request=data, reply=b"b", request_bytes=len(data), reply_bytes=1)


def written(folder: Path, *calls: tuple[str, int, str], key: bytes = KEY) -> BodyWriter:
    """A writer that has kept what these (call, time, text) said, and has ended."""
    writer = BodyWriter(folder / "plane", key, print)
    for name, at_us, text in calls:
        assert writer.reserve(100)
        writer.save(Kept(name, at_us, "key_1", "red", body(text), 100))
    writer.close()
    return writer


def test_all_of_it_arrives_once_and_only_with_the_right_key(
    engine: sa.Engine, tmp_path: Path
) -> None:
    contents = Contents(engine, KEY)
    written(tmp_path, ("a", 5, "first"), ("b", 6, "second"))
    for _ in range(2):  # a control plane that starts anew reads it again
        BodyIntake(contents, tmp_path).step()
    assert contents.load("a") == body("first")
    assert contents.load("a", "red") == body("first")
    assert contents.load("a", "blue") is None
    assert Contents(engine, OTHER).load("a") is None
    [first] = contents.marks(Mark(0, ""), 100, 1)
    [second] = contents.marks(first, 100, 5)
    assert (first.request_id, second.request_id) == ("a", "b")
    assert contents.load_all(["a", "b", "c"]) == {"a": body("first"), "b": body("second")}


def test_full_segments_are_deleted_and_damage_costs_what_it_hits(
    engine: sa.Engine, tmp_path: Path
) -> None:
    contents = Contents(engine, KEY)
    for name in ("a", "b", "c"):
        written(tmp_path, (name, 5, name))
    first, second, third = sorted((tmp_path / "plane").glob("*.fj"))
    second.write_bytes(second.read_bytes()[:-3])
    intake = BodyIntake(contents, tmp_path)
    for _ in range(3):
        intake.step()
    assert [contents.load(name) for name in ("a", "b", "c")] == [body("a"), None, body("c")]
    assert [path.exists() for path in (first, second, third)] == [False, False, True]


def test_what_is_old_goes_and_does_not_come_back(engine: sa.Engine, tmp_path: Path) -> None:
    contents = Contents(engine, KEY)
    now = time.time_ns() // 1000
    written(tmp_path, ("old", now - 9 * DAY, "old"), ("new", now, "new"))
    BodyIntake(contents, tmp_path).step()
    assert contents.load("old") == body("old")
    retention.raise_floors(engine, Retention(content=7 * 86_400), now / 1e6)
    while retention.sweep(engine):
        pass
    BodyIntake(contents, tmp_path).step()
    assert contents.load("old") is None
    assert contents.load("new") == body("new")


def test_it_waits_for_nobody_and_keeps_nothing_that_was_not_redacted(tmp_path: Path) -> None:
    said: list[str] = []
    writer = BodyWriter(tmp_path / "plane", KEY, said.append)

    def broken(_body: Body) -> Body:
        raise ValueError("no")

    assert writer.reserve(MOST_WAITING)
    assert not writer.reserve(1)
    for _ in range(2):
        writer.save(Kept("a", 5, "key_1", "", body("secret"), MOST_WAITING // 2, broken))
    writer.close()
    assert writer.counts == {"kept": 0, "dropped": 1, "failed": 2}
    assert [each.partition(":")[0] for each in said] == ["contents of calls can't be kept"]
    assert writer.reserve(MOST_WAITING)
    assert not list(tmp_path.rglob("*.fj"))
