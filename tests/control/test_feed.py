"""The snapshot feed, over HTTP, from a real control plane."""

import threading

import msgspec
import pytest

from ferryman.config.feed import Feed, mark
from ferryman.config.seal import SealError
from ferryman.config.snapshot import Snapshot
from ferryman.config.wrapping import pair, unwrapped
from ferryman.control.feed import Latest
from ferryman.meter.keys import digest
from ferryman.meter.keytable import KeyTable
from tests.control.conftest import Control, Start
from tests.processes import request


class _Waiter(threading.Thread):
    """A data plane that waits for news for a long while."""

    def __init__(self, control: Control, version: str, seq: int) -> None:
        super().__init__(daemon=True)
        self._ask = (control, version, seq)
        self.answer: Feed | None = None
        self.start()

    def run(self) -> None:
        control, version, seq = self._ask
        self.answer = control.feed(version, seq, wait=60)

    def result(self) -> Feed:
        """The answer; the wait's own end lies behind that of the test."""
        self.join(25)
        assert self.answer is not None, "nobody woke the waiting data plane"
        return self.answer


def test_a_new_data_plane_gets_a_snapshot_and_the_whole_key_table(control: Control) -> None:
    feed = control.feed()
    snapshot = msgspec.msgpack.decode(feed.snapshot, type=Snapshot)
    assert snapshot.version
    assert snapshot.providers
    first = (control.data / "first-key").read_text().strip()
    table = KeyTable(feed.keys_full)
    assert table.get(digest(control.secret("pepper").encode(), first.encode()))
    assert feed.keys_delta == b""


def test_nothing_new_is_an_empty_answer(control: Control) -> None:
    version, seq = control.settled()
    assert control.feed(version, seq, wait=0.05) == Feed(keys_seq=seq)


def test_a_key_made_or_revoked_wakes_everybody_at_once(control: Control) -> None:
    version, seq = control.settled()
    waiters = [_Waiter(control, version, seq) for _ in range(20)]
    made = control.admin("POST", "/api/v1/keys", {"name": "x"}).json()
    answers = [waiter.result() for waiter in waiters]
    assert all(len(answer.keys_delta) == 64 for answer in answers)
    assert all(not answer.snapshot and not answer.keys_full for answer in answers)
    hashed = digest(control.secret("pepper").encode(), made["key"].encode())
    assert answers[0].keys_delta[:32] == hashed
    assert answers[0].keys_delta[32:56].rstrip(b"\0").decode() == made["id"]
    assert answers[0].keys_delta[60:] == b"\0\0\0\0"

    waiter = _Waiter(control, version, answers[0].keys_seq)
    assert control.admin("DELETE", f"/api/v1/keys/{made['id']}").status == 200
    assert waiter.result().keys_delta[60:] == b"\1\0\0\0"


def test_revoking_again_leaves_waiting_data_planes_with_an_answer_worth_its_wait(
    control: Control,
) -> None:
    control.admin("DELETE", "/api/v1/keys/first")
    version, seq = control.settled()
    control.admin("DELETE", "/api/v1/keys/first")
    assert control.feed(version, seq, wait=0.05) == Feed(keys_seq=seq), "nothing changed"


def test_a_data_plane_ahead_of_a_restored_database_gets_the_whole_table(control: Control) -> None:
    version, seq = control.settled()
    feed = control.feed(version, seq + 1000, wait=20)
    assert feed.keys_seq == seq
    assert len(feed.keys_full) == 64


def test_changes_since_a_number_come_together(control: Control) -> None:
    version, seq = control.settled()
    for name in ("a", "b", "c"):
        control.admin("POST", "/api/v1/keys", {"name": name})
    feed = control.feed(version, seq, wait=20)
    assert len(feed.keys_delta) == 3 * 64
    assert control.feed(version, feed.keys_seq, wait=0.05) == Feed(keys_seq=feed.keys_seq)


def test_the_end_of_the_control_plane_answers_who_waits(control: Control) -> None:
    version, seq = control.settled()
    waiter = _Waiter(control, version, seq)
    # The server answers a second request, so the first one waits in it by now.
    control.feed(version, seq, wait=0.2)
    assert control.process.stop() == 0
    assert waiter.result() == Feed(keys_seq=seq)


@pytest.mark.parametrize("query", ["keys=x", "keys=-1", "keys=1&wait=soon", "keys=1&wait=nan"])
def test_a_bad_query_is_told(shared: Control, query: str) -> None:
    path = f"/internal/feed?{query}"
    reply = request(shared.url, path=path, token=shared.secret("feed-token"))
    assert (reply.status, reply.json()["code"]) == (400, "invalid_query")


SEAL = "/internal/feed?keys=1"
LOW = "01" + "00" * 31
"""A point of small order: everybody knows what is agreed on with it."""


@pytest.mark.parametrize(
    "public", ["", "x", "00" * 32, LOW, "AA" * 32, "ab" * 31, "ab" * 33, "ab" * 4000, "%C3%BC" * 32,
               "%20" * 64, "_" * 64, "0x" + "ab" * 31],
)  # fmt: skip
def test_a_public_key_that_is_none_is_told(shared: Control, public: str) -> None:
    token = shared.secret("feed-token")
    reply = request(shared.url, path=f"{SEAL}&plane=a&public={public}", token=token)
    assert (reply.status, reply.json()["code"]) == (400, "invalid_query")
    assert "64 hexadecimal digits" in reply.json()["detail"]


def test_what_opens_secrets_needs_a_name_to_be_bound_to(shared: Control) -> None:
    token = shared.secret("feed-token")
    for path in (f"{SEAL}&public={'ab' * 32}", f"{SEAL}&plane=&public={'ab' * 32}"):
        assert request(shared.url, path=path, token=token).status == 400
    reply = request(shared.url, path="/internal/feed?plane=a", token=token)
    assert msgspec.msgpack.decode(reply.body, type=Feed).seal is None, "it did not ask for any"


def test_it_is_handed_out_once_and_a_plane_with_another_key_is_told_of(control: Control) -> None:
    version, seq = control.settled()

    def ask(public: bytes, has: str = "", wait: float = 20) -> Feed:
        path = f"/internal/feed?snapshot={version}&keys={seq}&plane=a&wait={wait}"
        path += f"&public={public.hex()}&seal={has}"
        reply = request(control.url, path=path, token=control.secret("feed-token"))
        assert reply.status == 200, reply.body
        return msgspec.msgpack.decode(reply.body, type=Feed)

    (mine, private), (other, others) = pair(), pair()
    first = ask(mine).seal
    assert first is not None
    key = unwrapped(first.wrapped, "a", private)
    assert first.mark == mark(key)
    assert ask(mine, first.mark, 0.05) == Feed(keys_seq=seq), "it has it"
    again = ask(mine, "another").seal
    assert again is not None, "a question that is sent again opens no more than the first time"
    assert unwrapped(again.wrapped, "a", private) == key
    for _ in range(2):
        for public, opens in ((other, others), (mine, private)):
            found = ask(public).seal
            assert found is not None, "both are served"
            assert unwrapped(found.wrapped, "a", opens) == key
            with pytest.raises(SealError):
                unwrapped(found.wrapped, "a", private if opens is others else others)
    control.process.wait_for("came with another key")
    told = [line for line in control.process.lines if "came with another key" in line]
    assert len(told) == 1, "once"
    assert mark(other) in told[0]
    [entry] = control.admin("GET", "/api/v1/audit?action=plane.key").json()["data"]
    assert entry["target"] == "a"


def test_the_feed_needs_its_own_token(shared: Control) -> None:
    replies = [
        request(shared.url, path="/internal/feed", token=token)
        for token in (None, "", "wrong", shared.secret("admin-token"))
    ]
    assert {reply.status for reply in replies} == {401}
    assert len({reply.body for reply in replies}) == 1


def test_keys_survive_a_restart_and_the_first_is_made_once(start: Start) -> None:
    control = start().ready()
    before = control.settled()
    assert control.process.stop() == 0
    again = start().ready()
    assert again.settled() == before


def test_a_fixed_key_is_the_first_one_and_replacing_it_shuts_the_old_one_out(start: Start) -> None:
    control = start(FERRYMAN_KEY="a-key-for-tests-number-one").ready()
    assert not (control.data / "first-key").exists()
    [key] = control.admin("GET", "/api/v1/keys").json()["data"]
    assert (key["name"], key["fixed"], key["state"]) == ("first", True, "active")
    assert "number" not in key["hint"]
    hashed = digest(control.secret("pepper").encode(), b"a-key-for-tests-number-one")
    assert control.feed().keys_full[:32] == hashed
    control.process.stop()

    control = start(FERRYMAN_KEY="a-key-for-tests-number-two").ready()
    states = [key["state"] for key in control.admin("GET", "/api/v1/keys").json()["data"]]
    assert sorted(states) == ["active", "revoked"]


def test_a_number_that_was_read_long_ago_does_not_come_back() -> None:
    reading, read = threading.Event(), threading.Event()
    numbers = iter([1, 1, 2, 2])

    def slowly() -> int:
        found = next(numbers)
        if threading.current_thread() is late:
            reading.set()
            read.wait(25)
        return found

    late = threading.Thread(target=lambda: latest.look())
    latest = Latest(slowly)
    late.start()
    assert reading.wait(25)
    assert latest.look()
    read.set()
    late.join(25)
    assert latest.number == 2
    assert not list(numbers), "what was read too late is read again"
