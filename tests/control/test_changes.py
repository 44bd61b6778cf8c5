"""The configuration changed through the admin API: versions, what wins, and what is refused."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ferryman.config.snapshot import Snapshot
from tests.control.conftest import Control, Start
from tests.processes import Reply, request, until

CONFIG = "/api/v1/config"
FILE = """\
providers:
  lab: { base_url: "http://127.0.0.1:9/v1", auth: none }
models:
  fast: { targets: [lab/a, lab/b], strategy: weighted, weights: { lab/a: 9 } }
  slow: lab/c
"""
SECRET = "sk-a-literal-secret-0123456789"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ferryman.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def control(start: Start, file: Path) -> Control:
    return start(FERRYMAN_CONFIG=str(file)).ready()


def snapshot(control: Control) -> Snapshot:
    return msgspec.msgpack.decode(control.feed().snapshot, type=Snapshot)


def yaml(control: Control, method: str, path: str, body: str, **headers: str) -> Reply:
    token = control.secret("admin-token")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return request(
        control.url, method, CONFIG + path, token=token, body=body.encode(), headers=sent
    )


def shown(control: Control) -> dict[str, Any]:
    reply = control.admin("GET", CONFIG)
    assert reply.status == 200
    found: dict[str, Any] = reply.json()
    assert reply.headers["etag"] == f'"{found["version"]}"'
    return found


def done(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json()
    return found


# -- changes -----------------------------------------------------------------------------------


def test_entries_are_changed_made_and_removed(control: Control) -> None:
    assert shown(control)["version"] == 1
    said = done(control.admin("PATCH", CONFIG + "/models/fast", {"weights": {"lab/b": 3}}))
    assert (said["version"], said["applied"], said["changes"]) == (
        2,
        True,
        ["models/fast: changed"],
    )
    assert snapshot(control).version == said["snapshot"], "the data planes have it"
    assert snapshot(control).routes["fast"].weights == (9.0, 3.0)
    done(control.admin("PUT", CONFIG + "/models/gpt/4", "lab/x"))
    done(control.admin("PUT", CONFIG + "/providers/spare", {"base_url": "http://127.0.0.1:8/v1"}))
    done(control.admin("PATCH", CONFIG + "/models/slow", {"fallbacks": ["spare/c"]}))
    routes = snapshot(control).routes
    assert routes["gpt/4"].targets == (("lab", "x"),)
    assert (routes["slow"].targets, routes["slow"].fallbacks) == (
        (("lab", "c"),), (("spare", "c"),))  # fmt: skip
    done(control.admin("DELETE", CONFIG + "/models/fast"))
    assert set(snapshot(control).routes) == {"gpt/4", "slow"}
    overlay = {each["entry"]: each["version"] for each in shown(control)["overlay"]}
    assert overlay == {"models/fast": 6, "models/gpt/4": 3, "providers/spare": 4, "models/slow": 5}


def test_the_whole_is_replaced_and_back_to_the_file(control: Control) -> None:
    body = "providers: { new: { base_url: 'http://127.0.0.1:7/v1' } }\nmodels: { only: new/x }\n"
    said = done(yaml(control, "PUT", "?note=moving", body))
    assert set(said["changes"]) == {
        "providers/lab: removed", "models/fast: removed", "models/slow: removed",
        "providers/new: added", "models/only: added",
    }  # fmt: skip
    assert set(snapshot(control).routes) == {"only"}
    again = done(yaml(control, "PUT", "", shown(control)["text"]))
    assert (again["version"], again["applied"]) == (2, False), "what is shown is what is in force"
    done(control.admin("DELETE", CONFIG))
    assert set(snapshot(control).routes) == {"fast", "slow"}
    assert shown(control)["overlay"] == []
    versions = control.admin("GET", CONFIG + "/versions").json()["data"]
    assert [(v["version"], v["by"], v["note"]) for v in versions] == [
        (3, "api", "back to the file"), (2, "api", "moving"), (1, "file", ""),
    ]  # fmt: skip


def test_a_trial_changes_nothing_and_shows_everything(control: Control) -> None:
    before = shown(control)
    said = done(control.admin("PUT", CONFIG + "/models/fast?check=1", "lab/z"))
    assert (said["version"], said["applied"]) == (1, False)
    assert "fast: lab/z" in said["text"]
    assert shown(control) == before
    assert len(control.admin("GET", CONFIG + "/versions").json()["data"]) == 1


def test_rollback_makes_a_new_version_of_an_old_one(control: Control) -> None:
    first = snapshot(control).version
    for weight in (1, 2, 3):
        done(control.admin("PATCH", CONFIG + "/models/fast", {"weights": {"lab/a": weight}}))
    said = done(control.admin("POST", CONFIG + "/rollback", {"version": 1}))
    assert (said["version"], said["snapshot"]) == (5, first)
    said = done(control.admin("POST", CONFIG + "/rollback", {"version": 3}))
    assert snapshot(control).routes["fast"].weights == (2.0, 1.0)
    text = control.admin("GET", CONFIG + "/versions/3").json()["text"]
    assert text == shown(control)["text"]
    assert control.admin("POST", CONFIG + "/rollback", {"version": 77}).status == 404


# -- the file and the rest ---------------------------------------------------------------------


def test_changes_survive_a_restart_and_edits_of_other_entries(
    start: Start, control: Control, file: Path
) -> None:
    done(control.admin("PATCH", CONFIG + "/models/fast", {"weights": {"lab/a": 5}}))
    file.write_text(FILE.replace("slow: lab/c", "slow: lab/d"))
    until(lambda: snapshot(control).routes["slow"].targets == (("lab", "d"),), "the file's change")
    assert snapshot(control).routes["fast"].weights == (5.0, 1.0)
    os.kill(control.process.popen.pid, signal.SIGKILL)
    control.process.wait()
    again = start(FERRYMAN_CONFIG=str(file)).ready()
    assert snapshot(again).routes["fast"].weights == (5.0, 1.0)
    assert shown(again)["version"] == 3, "nothing new: no version"
    again.process.wait_for(r"in force over the file: models/fast \(version 2\)")


def test_the_later_word_on_an_entry_is_the_files(
    start: Start, control: Control, file: Path
) -> None:
    done(control.admin("PATCH", CONFIG + "/models/fast", {"weights": {"lab/a": 5}}))
    done(control.admin("PUT", CONFIG + "/models/new", "lab/n"))
    file.write_text(FILE.replace("lab/a: 9", "lab/a: 7"))
    until(lambda: snapshot(control).routes["fast"].weights == (7.0, 1.0), "the file's change")
    control.process.wait_for(r"models/fast: changed in the file, which holds .*api .* version 2")
    assert [each["entry"] for each in shown(control)["overlay"]] == ["models/new"]
    # The same while nobody looks.
    done(control.admin("PATCH", CONFIG + "/models/fast", {"weights": {"lab/a": 6}}))
    control.process.stop()
    file.write_text(FILE.replace("lab/a: 9", "lab/a: 8"))
    again = start(FERRYMAN_CONFIG=str(file)).ready()
    assert snapshot(again).routes["fast"].weights == (8.0, 1.0)
    assert "new" in snapshot(again).routes


def test_a_file_that_no_longer_fits_is_refused_and_holds_alone_after_a_start(
    start: Start, control: Control, file: Path
) -> None:
    done(control.admin("PUT", CONFIG + "/models/extra", {"targets": ["slow"]}))
    before = control.settled()
    file.write_text(FILE.replace("slow: lab/c", "slower: lab/c"))
    control.process.wait_for(r"\(version 2, by api\):1:\d+: error: models.extra.targets\[0\]")
    assert control.settled() == before
    done(control.admin("PUT", CONFIG + "/models/other", "lab/o")), "on what is in force"
    control.process.stop()
    again = start(FERRYMAN_CONFIG=str(file)).ready()
    again.process.wait_for(r"\(models/extra, models/other\) does not fit the file any more")
    assert set(snapshot(again).routes) == {"fast", "slower"}


def test_a_file_with_mistakes_keeps_no_change_away(control: Control, file: Path) -> None:
    file.write_text("models: {")
    control.process.wait_for("not used: 1 error")
    done(control.admin("PUT", CONFIG + "/models/urgent", "lab/u"))
    assert set(snapshot(control).routes) == {"fast", "slow", "urgent"}


def test_without_a_file_everything_is_changed_here(start: Start) -> None:
    control = start().ready()
    done(yaml(control, "PUT", "", FILE))
    control.process.stop()
    assert set(snapshot(start().ready()).routes) == {"fast", "slow"}


# -- secrets -----------------------------------------------------------------------------------


def test_a_literal_key_is_stored_shown_and_logged_nowhere(start: Start, control: Control) -> None:
    lab = {"base_url": "http://127.0.0.1:9/v1", "keys": [SECRET], "headers": {"X-Token": SECRET}}
    said = control.admin("PUT", CONFIG + "/providers/lab", lab)
    assert [problem["severity"] for problem in done(said)["problems"]] == ["warning", "warning"]
    bodies = [
        said.body,
        *(
            control.admin("GET", path).body
            for path in (CONFIG, CONFIG + "/versions", CONFIG + "/versions/2")
        ),
    ]
    before = snapshot(control)
    done(yaml(control, "PUT", "?note=x", shown(control)["text"] + "timeouts: { total: 5s }\n"))
    assert snapshot(control).providers["lab"] == before.providers["lab"], "it came back as shown"
    done(control.admin("POST", CONFIG + "/rollback", {"version": 2}))
    assert snapshot(control) == before
    control.process.stop()
    again = start(FERRYMAN_CONFIG=str(control.data.parent / "ferryman.yaml")).ready()
    assert snapshot(again) == before
    again.process.stop()
    files = [path.read_bytes() for path in control.data.rglob("*") if path.is_file()]
    logs = "\n".join(control.process.lines + again.process.lines).encode()
    assert not [data for data in (*bodies, *files, logs) if SECRET.encode() in data]


def test_a_sealed_key_opens_for_its_own_provider_only(control: Control) -> None:
    done(control.admin("PATCH", CONFIG + "/providers/lab", {"auth": None, "key": SECRET}))
    [there] = shown(control)["overlay"]
    sealed = there["text"].partition("key: ")[2].rstrip(" }")
    assert sealed.startswith("sealed:")
    other = {"base_url": "http://127.0.0.1:6/v1", "key": sealed}
    reply = control.admin("PUT", CONFIG + "/providers/other", other)
    assert reply.status == 422
    assert "where it was sealed" in reply.json()["detail"]


# -- conflicts and kills -----------------------------------------------------------------------


def at_once(count: int, what: Callable[[int], Reply]) -> list[Reply]:
    replies: list[Reply] = []
    barrier = threading.Barrier(count)

    def one(number: int) -> None:
        barrier.wait()
        replies.append(what(number))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


@pytest.mark.parametrize(("headers", "status"), [({}, 409), ({"if_match": '"1"'}, 412)])
def test_of_two_at_once_one_wins(control: Control, headers: dict[str, str], status: int) -> None:
    replies = at_once(
        4,
        lambda n: yaml(control, "PUT", "", FILE + f"timeouts: {{ total: {n + 5}s }}\n", **headers),
    )
    statuses = sorted(reply.status for reply in replies)
    assert statuses == [200, status, status, status]
    lost = next(reply for reply in replies if reply.status == status).json()
    assert (lost["code"], lost["version"]) == ("version_conflict", 2)
    assert shown(control)["version"] == 2


def test_changes_of_single_entries_wait_for_each_other(control: Control) -> None:
    replies = at_once(4, lambda n: control.admin("PUT", f"{CONFIG}/models/m{n}", "lab/x"))
    assert sorted(done(reply)["version"] for reply in replies) == [2, 3, 4, 5]
    assert set(snapshot(control).routes) == {"fast", "slow", "m0", "m1", "m2", "m3"}


def test_another_version_than_the_one_in_force_is_told(control: Control) -> None:
    done(
        yaml(control, "PATCH", "/models/fast", "{ strategy: null, weights: null }", if_match='"1"')
    )
    for given in ('"1"', "1", '"7"'):
        reply = yaml(control, "DELETE", "/models/fast", "", if_match=given)
        assert (reply.status, reply.json()["code"]) == (412, "version_conflict"), given
    assert yaml(control, "DELETE", "/models/fast", "", if_match="W/x").status == 400
    done(yaml(control, "DELETE", "/models/fast", "", if_match="*"))


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6])
def test_killed_in_the_middle_it_has_the_old_or_the_new(
    start: Start, control: Control, file: Path, pause: float
) -> None:
    before = snapshot(control)
    body = FILE.replace("slow: lab/c", "new: lab/n").replace("lab/a: 9", "lab/a: 2")

    def change() -> None:
        try:
            yaml(control, "PUT", "", body)
        except OSError:
            return

    thread = threading.Thread(target=change)
    thread.start()
    thread.join(pause)
    os.kill(control.process.popen.pid, signal.SIGKILL)
    control.process.wait()
    thread.join()
    again = start(FERRYMAN_CONFIG=str(file)).ready()
    found = snapshot(again)
    if shown(again)["version"] == 1:
        assert found == before
        assert shown(again)["overlay"] == []
    else:
        assert set(found.routes) == {"fast", "new"}
        assert found.routes["fast"].weights == (2.0, 1.0)
        assert len(shown(again)["overlay"]) == 3
        assert again.admin("GET", CONFIG + "/versions/2").json()["text"] == shown(again)["text"]


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("PUT", "", "", 400, "{} is one with nothing in it"),
        ("PUT", "", "# nothing\n", 422, "nothing in it"),
        ("PUT", "", "[]", 422, "expected a mapping"),
        ("PUT", "", "models: {", 422, "line 1"),
        ("PUT", "", "models: { a: lab/x }", 422, "no provider `lab`"),
        ("PUT", "", "modells: {}", 422, "models"),
        ("PUT", "", "models: 5", 422, "expected a mapping"),
        ("PUT", "", "models: { a: a, a: b }", 422, "a second time"),
        ("PUT", "", "\x00", 422, "control character"),
        ("PUT", "/models/fast", "", 422, "found nothing"),
        ("PUT", "/models/fast", "{ targets: [nowhere/x] }", 422, "nowhere"),
        ("PUT", "/models/fast", "{ targets: [lab/a], weights: { lab/a: 0 } }", 422, "0.001"),
        ("PUT", "/models/fast", "{ targets: { a: b } }", 422, "a list"),
        ("PUT", "/models/a%20b", "lab/x", 422, "no spaces"),
        ("PUT", "/models/fast", "{ targets: [fast] }", 422, "leads back"),
        ("PATCH", "/models/fast", '{"weights": {"lab/zzz": 1}}', 422, "not among the targets"),
        ("PATCH", "/models/fast", '{"weights": "many"}', 422, "found the text"),
        ("PATCH", "/models/absent", "{}", 404, "no models/absent"),
        ("DELETE", "/models/absent", "", 404, "no models/absent"),
        ("DELETE", "/providers/lab", "", 422, "no provider `lab`"),
        ("PUT", "/providers/BAD", "{ base_url: 'http://h' }", 422, "small letters"),
        ("PUT", "/timeouts/x", "{}", 404, "models/NAME"),
        ("POST", "/rollback", '{"version": "x"}', 400, "version"),
        ("POST", "/rollback", '{"version": 0}', 400, "version"),
        ("POST", "/rollback", "{}", 400, "version"),
        ("GET", "/versions/99999999999999999999999", "", 404, "no version"),
        ("GET", "/versions?limit=0", "", 400, "limit"),
        ("PUT", "/models/fast?note=" + "x" * 501, "lab/a", 400, "note"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(
    bad: Control, method: str, path: str, body: str, status: int, said: str
) -> None:
    reply = yaml(bad, method, path, body, content_type="application/json")
    assert reply.status == status, reply.body
    problem = reply.json()
    assert said in problem["detail"] + str(problem.get("problems", "")), problem
    if status == 422:
        assert all(each["fix"] for each in problem["problems"] if each["severity"] == "error")
        assert reply.headers["content-type"] == "application/problem+json"
    assert shown(bad)["version"] == 1


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "ferryman.yaml").write_text(FILE)
    control = Control(folder / "data", FERRYMAN_CONFIG=str(folder / "ferryman.yaml")).ready()
    yield control
    control.process.end()


def test_bodies_end_at_a_megabyte_and_bombs_do_not_go_off(bad: Control) -> None:
    reply = yaml(bad, "PUT", "", "models: { a: lab/x }\n#" + "x" * 1_000_000)
    assert (reply.status, reply.json()["code"]) == (413, "body_too_large")
    bomb = 'policies:\n- &a { when: { metadata.x: 1 }, forbid: "' + "x" * 300_000 + '" }\n'
    reply = yaml(bad, "PUT", "", bomb + "- *a\n" * 40)
    assert reply.status == 422
    assert shown(bad)["version"] == 1


def test_nothing_is_to_be_changed_where_nothing_good_is_in_force(start: Start, file: Path) -> None:
    file.write_text("models: {")
    control = start(FERRYMAN_CONFIG=str(file), FERRYMAN_RESTARTED="1").ready()
    reply = control.admin("PUT", CONFIG + "/models/x", "lab/y")
    assert (reply.status, reply.json()["code"]) == (409, "no_configuration")
    assert control.admin("GET", CONFIG).status == 404
