"""Data planes whose clocks are minutes off: it is said, the live page is right, nothing is lost."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ferryman.control.feed import Seen, clock_of
from ferryman.store.journal import JournalWriter
from tests.control.conftest import Control
from tests.processes import request, until
from tests.store import samples

OFF = {"early": 600, "late": -600, "right": 0}
"""Data planes and seconds that they are ahead."""


def told(control: Control, plane: str, now: str) -> int:
    """A data plane asks, and says what its clock says; the status of the answer."""
    path = f"/internal/feed?snapshot=&keys=0&wait=0&plane={plane}&now={now}"
    return request(control.url, "GET", path, token=control.secret("feed-token")).status


def page(control: Control, path: str) -> str:
    token = control.admin("POST", "/api/v1/links").json()["token"]
    form = {"content-type": "application/x-www-form-urlencoded", "origin": control.url}
    entered = request(control.url, "POST", "/enter", body=urlencode({"token": token}), headers=form)
    cookie = {"cookie": entered.headers["set-cookie"].partition(";")[0]}
    return re.sub(r"\s+", " ", request(control.url, path=path, headers=cookie).body.decode())


def test_clocks_that_are_minutes_off(control: Control) -> None:
    for plane, off in OFF.items():
        now = time.time()
        for _ in range(2):
            assert told(control, plane, f"{now + off:.3f}") == 200
        calls = [
            samples.call(f"req_{plane}_{n}", at_us=round((now + off - n) * 1e6)) for n in range(50)
        ]
        writer = JournalWriter(control.data / "journal" / plane)
        samples.put(writer, calls)
        writer.close()
    for off in (-600, 0):  # a request that took ten minutes
        assert told(control, "slow", f"{time.time() + off:.3f}") == 200
    for wrong in ("soon", "nan", "-1", "1e99"):
        assert told(control, "early", wrong) == 400
    usage = "/api/v1/usage?by=plane"

    def whole() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = control.admin("GET", usage).json()["data"]
        return rows if sum(row["calls"] for row in rows) == 150 else []

    rows = until(whole, "every call is in the ledger")
    assert {row["plane"]: row["calls"] for row in rows} == dict.fromkeys(OFF, 50)

    shown = page(control, "/")
    assert "150 calls in 5 min" in shown
    listed = re.findall(r'data-key="req_(\w+)_(\d+)"', shown)
    assert len(listed) == 40
    assert {plane for plane, _ in listed} == set(OFF), "none hides the others"
    assert max(int(number) for _, number in listed) < 20, "the newest of each"
    assert "early is 600 s ahead" in shown and "late is 600 s behind" in shown
    assert "right is" not in shown and "slow is" not in shown
    settings = page(control, "/settings")
    assert "10 m 00 s behind" in settings and "10 m 00 s ahead" in settings

    planes = control.admin("GET", "/api/v1/journal").json()["planes"]
    ahead = {each["plane"]: each["clock_ahead_seconds"] for each in planes}
    assert {plane: round(seconds / 60) for plane, seconds in ahead.items()} == {
        "early": 10, "late": -10, "right": 0,
    }  # fmt: skip
    found = request(
        control.url, path="/metrics", token=control.secret("metrics-token")
    ).body.decode()
    assert re.search(r'ferryman_plane_clock_ahead_seconds\{plane="late"\} -(600|599)\.', found)
    env = os.environ | {"FERRYMAN_DATA_DIR": str(control.data)}
    done = subprocess.run(
        [sys.executable, "-m", "ferryman", "journal"], env=env, cwd=Path.cwd(), check=True,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "+600 s" in done.stdout and "let NTP set it" in done.stdout, done.stdout
    logged = [line for line in control.process.lines if "the clock of data plane" in line]
    assert len(logged) == 2


@pytest.mark.parametrize(
    ("ahead", "words"), [(None, ""), (4.9, ""), (-4.9, ""), (61.2, "61 s ahead"),
                         (-7200.0, "7,200 s behind")],
)  # fmt: skip
def test_a_clock_in_words(ahead: float | None, words: str) -> None:
    assert clock_of(Seen(plane="a", version="", keys_seq=1, at=0.0, ahead=ahead)) == words
