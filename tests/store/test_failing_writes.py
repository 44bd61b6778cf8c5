"""The database fails at one write after the other (``soak/writes.py``)."""

from pathlib import Path

import pytest
from soak import writes


@pytest.mark.parametrize("unheard", [False, True], ids=["refused", "done-but-unheard"])
def test_whichever_write_fails_every_call_is_there_once(
    url: str, tmp_path: Path, unheard: bool
) -> None:
    # All of them with PostgreSQL: make soak ARGS=writes.
    step = 4 if url.startswith("postgresql") and not unheard else 1
    assert writes.run(url, tmp_path, unheard=unheard, step=step) > (2 if unheard else 10)


def test_whichever_step_of_tidying_fails_what_is_to_go_goes_whole(tmp_path: Path) -> None:
    # All of them, and PostgreSQL: make soak ARGS=writes.
    assert writes.tidying(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path, step=40) > 1
