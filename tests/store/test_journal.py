"""The journal with real files, real processes and real signals."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.store.journal import (
    BAD,
    FRAME_BYTES,
    HEADER_BYTES,
    MAX_PAYLOAD,
    Frame,
    JournalError,
    JournalWriter,
    boot_of,
    damages,
    next_frame,
    read_segment,
    segments,
)

records = st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=300)), max_size=30)


def read_all(directory: Path, limit: int = 1 << 20) -> list[tuple[int, bytes]]:
    """Every record of every segment, read like the ingester reads them."""
    found = []
    for _, path in segments(directory):
        offset = 0
        while True:
            frames, _ = read_segment(path, offset, limit=limit)
            found += [(frame.kind, frame.payload) for frame in frames]
            if not frames:
                break
            offset = frames[-1].end
    return found


@settings(deadline=None, max_examples=50)
@given(records, st.integers(1, 2000), st.integers(20, 2000))
def test_what_is_written_is_read_whatever_the_pieces(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[tuple[int, bytes]],
    limit: int,
    segment_bytes: int,
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    writer = JournalWriter(directory, segment_bytes=segment_bytes)
    for kind, payload in written:
        writer.append(kind, payload)
    writer.close()
    assert read_all(directory, limit) == written


def test_segments_rotate_and_carry_the_boot_id(tmp_path: Path) -> None:
    with_room_for_two = HEADER_BYTES + 2 * (FRAME_BYTES + 10)
    writer = JournalWriter(tmp_path, segment_bytes=with_room_for_two)
    for number in range(10):
        writer.append(1, b"%010d" % number)
    writer.close()
    found = segments(tmp_path)
    assert [number for number, _ in found] == [1, 2, 3, 4, 5]
    assert {boot_of(path) for _, path in found} == {writer.boot_id}
    assert [payload for _, payload in read_all(tmp_path)] == [b"%010d" % n for n in range(10)]
    assert all(path.stat().st_mode & 0o777 == 0o600 for _, path in found)


def test_records_of_a_crowd_are_written_together_and_those_of_a_lone_call_at_once(
    tmp_path: Path,
) -> None:
    writer = JournalWriter(tmp_path)
    writer.grouped = True

    def seen() -> bytes:
        return b"".join(payload for _, payload in read_all(tmp_path))

    writer.append(1, b"a", "a call")
    assert seen() == b"a"
    writer.append(1, b"b", "a call")
    writer.append(1, b"c", "another")
    assert seen() == b"a"
    writer.append(1, b"-")
    assert seen() == b"a-", "nobody's record waits for nobody"
    writer.flush()
    assert seen() == b"a-bc"
    writer.append(1, b"d", "a call")
    assert seen() == b"a-bc", "one of a crowd, it may be"
    writer.flush()
    writer.append(1, b"e", "a call")
    assert seen() == b"a-bcde"
    writer.append(1, b"f", "another")
    writer.close()
    assert seen() == b"a-bcdef"


@contextlib.contextmanager
def limited(size: int) -> Iterator[None]:
    """No file may be larger: writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("taken", range(4))
def test_who_of_a_crowd_is_not_recorded_on_a_full_disk_can_be_told(
    tmp_path: Path, taken: int
) -> None:
    writer = JournalWriter(tmp_path)
    writer.grouped = True
    writer.append(1, b"a", 0)
    crowd = [b"x" * (number + 1) for number in range(4)]
    for owner, payload in enumerate(crowd, start=1):
        writer.append(1, payload, owner)
    room = HEADER_BYTES + FRAME_BYTES + 1 + sum(FRAME_BYTES + len(each) for each in crowd[:taken])
    with limited(room + 1):
        with pytest.raises(JournalError):
            writer.flush()
        assert writer.lost == [1, 2, 3, 4][taken:]
        assert [each for _, each in read_all(tmp_path)] == [b"a", *crowd[:taken]]
    with limited(0):
        for _ in range(2):  # each is told by itself
            with pytest.raises(JournalError):
                writer.append(1, b"refused", 5)
            writer.flush()
    writer.append(1, b"d", 6)
    writer.append_all(1, [b"e", b"f"])
    writer.close()
    found = [each for _, each in read_all(tmp_path)]
    assert found == [b"a", *crowd[:taken], b"d", b"e", b"f"]
    assert writer.lost == [1, 2, 3, 4][taken:]


def test_several_that_are_written_at_once_tell_how_many_a_disk_took(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    payloads = [b"%d" % number for number in range(8)]
    with limited(HEADER_BYTES + 5 * (FRAME_BYTES + 1) + 3):
        assert writer.append_all(1, payloads) == 5
    with limited(0), pytest.raises(JournalError):
        writer.append_all(1, payloads[5:])
    assert writer.append_all(1, payloads[5:]) == 3
    writer.close()
    assert [each for _, each in read_all(tmp_path)] == payloads


def test_no_record_overtakes_those_that_wait(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.grouped, writer._lonely = True, False
    writer.append(1, b"opened", "a call")
    with limited(0), pytest.raises(JournalError):
        writer.append(2, b"nobody's")
    writer.append(3, b"closed", "a call")
    writer.close()
    assert [each for _, each in read_all(tmp_path)] == [b"opened", b"closed"]


def test_a_new_writer_takes_a_new_segment_and_leaves_old_ones_alone(tmp_path: Path) -> None:
    first = JournalWriter(tmp_path)
    first.append(1, b"one")
    first.close()
    [(_, path)] = segments(tmp_path)
    with path.open("ab") as file:
        file.write(b"half a rec")
    before = path.read_bytes()
    second = JournalWriter(tmp_path)
    second.append(2, b"two")
    second.close()
    assert [number for number, _ in segments(tmp_path)] == [1, 2]
    assert path.read_bytes() == before
    assert first.boot_id != second.boot_id
    assert read_all(tmp_path) == [(1, b"one"), (2, b"two")]


def test_two_writers_cannot_share_a_directory(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    with pytest.raises(JournalError, match=rf"in use by process {os.getpid()}\b"):
        JournalWriter(tmp_path)
    code = (
        "import sys; from pathlib import Path; from ferryman.store.journal import *\n"
        "try: JournalWriter(Path(sys.argv[1]))\n"
        "except JournalError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"in use by process {os.getpid()}" in done.stdout
    assert len(segments(tmp_path)) == 1, "who is refused leaves nothing behind"
    writer.close()
    JournalWriter(tmp_path).close()


def written(directory: Path, payloads: list[bytes]) -> tuple[Path, list[int]]:
    """One segment with these records, and the offset at which each ends."""
    writer = JournalWriter(directory)
    for payload in payloads:
        writer.append(1, payload)
    writer.close()
    [(_, path)] = segments(directory)
    frames, torn = read_segment(path)
    assert not torn
    return path, [frame.end for frame in frames]


def test_a_record_torn_at_any_byte_is_left_out_alone(tmp_path: Path) -> None:
    path, ends = written(tmp_path, [b"first", b"second", b"the last record"])
    whole = path.read_bytes()
    for size in range(ends[1], ends[2]):
        path.write_bytes(whole[:size])
        frames, torn = read_segment(path)
        assert [frame.payload for frame in frames] == [b"first", b"second"]
        assert torn is (size > ends[1])


def test_a_torn_header_is_no_boot_id(tmp_path: Path) -> None:
    path, _ = written(tmp_path, [])
    whole = path.read_bytes()
    for size in range(HEADER_BYTES):
        path.write_bytes(whole[:size])
        assert boot_of(path) is None
        assert read_segment(path) == ([], False)
    path.write_bytes(b"X" + whole[1:])
    assert boot_of(path) is None


def test_no_flipped_bit_makes_a_record_of_its_own(tmp_path: Path) -> None:
    payloads = [b"first", b"second record", b"third"]
    path, ends = written(tmp_path, payloads)
    whole = path.read_bytes()
    for place in range(HEADER_BYTES, len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            frames, torn = read_segment(path)
            hit = next(number for number, end in enumerate(ends) if place < end)
            good = [frame.payload for frame in frames if frame.kind != BAD]
            assert good in (payloads[:hit], payloads[:hit] + payloads[hit + 1 :])
            assert torn or (frames[hit].kind, frames[hit].end) == (BAD, ends[hit])


def test_a_damaged_payload_costs_one_record_only(tmp_path: Path) -> None:
    path, ends = written(tmp_path, [b"first", b"second", b"third"])
    data = bytearray(path.read_bytes())
    data[ends[1] - 1] ^= 0xFF
    path.write_bytes(data)
    for limit in (1, 20, 1000):
        frames: list[Frame] = []
        torn = False
        while not torn:
            more, torn = read_segment(path, frames[-1].end if frames else 0, limit=limit)
            frames += more
            if not more:
                break
        assert [(frame.kind, frame.payload) for frame in frames] == [
            (1, b"first"),
            (BAD, b""),
            (1, b"third"),
        ]


@given(st.binary(max_size=500))
def test_rubbish_is_torn_and_never_an_error(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "rubbish.fj"
    path.write_bytes(b"FMJ1" + b"b" * 12 + rubbish)
    frames, torn = read_segment(path)
    assert (frames, torn) == ([], bool(rubbish))


RUIN = ["flip", "zero", "garbage", "longer", "shorter", "cut"]


def test_a_wrong_length_that_ends_where_another_frame_does_costs_one_record(tmp_path: Path) -> None:
    path, _ = written(tmp_path, [b"a" * 154, b"b" * 23, b"c"])
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES] ^= 32  # 32 bytes longer: over the whole of the second
    path.write_bytes(data)
    frames, torn = read_segment(path)
    assert ([frame.payload for frame in frames if frame.kind], torn) == ([b"b" * 23, b"c"], False)
    assert damages(path) == [(HEADER_BYTES, 163)]


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(RUIN), st.integers(0, 2**32))
def test_whatever_is_ruined_all_records_beside_it_are_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, ruin: str, seed: int
) -> None:
    draw = random.Random(seed)
    payloads = [b"%d|" % i + draw.randbytes(draw.randrange(200)) for i in range(20)]
    path, ends = written(tmp_path_factory.mktemp("journal"), payloads)
    whole = path.read_bytes()
    start = data.draw(st.integers(HEADER_BYTES, len(whole) - 1))
    stop = min(start + data.draw(st.integers(1, 400)), len(whole))
    made = {
        "flip": bytes([whole[start] ^ (1 << draw.randrange(8))]) + whole[start + 1 : stop],
        "zero": bytes(stop - start),
        "garbage": draw.randbytes(stop - start),
        "longer": draw.randbytes(draw.randrange(1, 3000)) + whole[start:stop],
        "shorter": b"",
        "cut": b"",
    }[ruin]
    rest = b"" if ruin == "cut" else whole[stop:]
    path.write_bytes(whole[:start] + made + rest)
    starts = [HEADER_BYTES, *ends[:-1]]
    untouched = {
        payload
        for payload, begin, end in zip(payloads, starts, ends, strict=True)
        if end <= start or (begin >= stop and ruin != "cut")
    }
    found, offset = [], 0
    while True:
        frames, torn = read_segment(path, offset, limit=500)
        found += [frame.payload for frame in frames if frame.kind]
        offset = frames[-1].end if frames else max(offset, HEADER_BYTES)
        sound = next_frame(path, offset) if torn else None
        if sound is None and not frames:
            break
        offset = offset if sound is None else sound
    assert untouched <= set(found) <= set(payloads), "no other record, and none made up"
    assert found == [payload for payload in payloads if payload in found], "once, in order"
    if ruin != "shorter" and len(found) < len(payloads) and payloads[-1] in found:
        assert damages(path), "what is missing is told"


def test_a_length_beyond_the_limit_is_torn_not_memory(tmp_path: Path) -> None:
    path, ends = written(tmp_path, [b"first"])
    with path.open("ab") as file:
        file.write(b"\xff\xff\xff\xff" + b"\0" * 5 + b"data")
        file.truncate(1 << 30)
    frames, torn = read_segment(path, ends[0])
    assert (frames, torn) == ([], True)


def test_a_read_is_bounded(tmp_path: Path) -> None:
    path, ends = written(tmp_path, [b"x" * 1000] * 100)
    frames, torn = read_segment(path, limit=10_500)
    assert len(frames) == 10
    assert not torn
    frames, torn = read_segment(path, ends[-1])
    assert (frames, torn) == ([], False)
    assert read_segment(path, ends[-1] + 1000) == ([], False)


def test_the_largest_record_fits_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.append(1, b"a" * MAX_PAYLOAD)
    with pytest.raises(JournalError, match="limit"):
        writer.append(1, b"a" * (MAX_PAYLOAD + 1))
    writer.append(2, b"after")
    writer.close()
    assert [(kind, len(payload)) for kind, payload in read_all(tmp_path)] == [
        (1, MAX_PAYLOAD),
        (2, 5),
    ]


def test_a_closed_writer_says_so(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.close()
    writer.close()
    for _ in range(2):
        with pytest.raises(JournalError, match="closed"):
            writer.append(1, b"late")
    assert read_all(tmp_path) == []


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="file/plane"):
        JournalWriter(tmp_path / "file" / "plane")


SHORT_WRITES = """
import resource, sys
from collections.abc import Iterator
from pathlib import Path
from ferryman.store.journal import JournalError, JournalWriter, segments

directory = Path(sys.argv[1])
writer = JournalWriter(directory)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

def put(text):
    writer.append(1, text.encode())

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

put("before")
limit(200)
failed = 0
for size in range(1, 200):  # every way of ending within a frame
    try:
        put("x" * size)
    except JournalError as error:
        failed += 1
        assert "ulimit -f" in str(error), error
limit(hard)
put("after")
writer.close()
assert failed
print(failed)
"""


def test_after_short_writes_everything_acknowledged_is_readable(tmp_path: Path) -> None:
    """A file size limit makes the kernel write part of a record, as a full disk does."""
    command = [sys.executable, "-c", SHORT_WRITES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    failed = int(done.stdout)
    found = [payload for _, payload in read_all(tmp_path)]
    kept = sorted({size for size in range(1, 200) if b"x" * size in found})
    assert len(kept) == 199 - failed
    assert found == [b"before", *(b"x" * size for size in kept), b"after"]
    for _, path in segments(tmp_path):
        frames, torn = read_segment(path)
        assert not torn
        assert path.stat().st_size <= 200 or frames[-1].payload == b"after"


def test_a_writer_that_cannot_rotate_writes_on(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, segment_bytes=100)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (psutil.Process().num_fds() + 10, hard))
    try:
        blocked = [os.dup(0) for _ in range(free_descriptors())]
        for number in range(20):
            writer.append(1, b"%020d" % number)
        for fd in blocked:
            os.close(fd)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [number for number, _ in segments(tmp_path)] == [1]
    writer.close()
    assert [payload for _, payload in read_all(tmp_path)] == [b"%020d" % n for n in range(20)]


def free_descriptors() -> int:
    """How many more files this process may open."""
    opened = []
    try:
        while True:
            opened.append(os.dup(0))
    except OSError:
        return len(opened)
    finally:
        for fd in opened:
            os.close(fd)


def test_sync_in_a_thread_bears_rotation(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    writer = JournalWriter(tmp_path, segment_bytes=500)
    over = threading.Event()
    errors: list[Exception] = []

    def keep_syncing() -> None:
        while not over.is_set():
            try:
                writer.sync()
            except JournalError as error:
                errors.append(error)

    thread = threading.Thread(target=keep_syncing)
    thread.start()
    for number in range(3000):
        writer.append(1, b"%050d" % number)
    over.set()
    thread.join()
    writer.close()
    assert not errors
    assert len(segments(tmp_path)) > 300
    assert [payload for _, payload in read_all(tmp_path)] == [b"%050d" % n for n in range(3000)]
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


WRITES_UNTIL_KILLED = """
import os, sys
from collections.abc import Iterator
from pathlib import Path
from ferryman.store.journal import JournalWriter

writer = JournalWriter(Path(sys.argv[1]), segment_bytes=20_000)
number = 0
while True:
    writer.append(1, b"%d " % number + b"x" * (number % 700))
    os.write(1, b"%d\\n" % number)  # acknowledged, as a reply to a caller would be
    number += 1
"""


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    draw = random.Random(7)
    for round_number in range(8):
        directory = tmp_path / str(round_number)
        command = [sys.executable, "-c", WRITES_UNTIL_KILLED, str(directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            killer = threading.Timer(draw.random() * 0.1, process.kill)
            killer.start()
            said += process.stdout.read()
            killer.join()
        assert process.returncode == -signal.SIGKILL
        acknowledged = int(said.split(b"\n")[-2])
        numbers = [int(payload.split()[0]) for _, payload in read_all(directory)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) in (acknowledged + 1, acknowledged + 2), "one may be on its way"
        JournalWriter(directory).close()  # the lock went with the process
