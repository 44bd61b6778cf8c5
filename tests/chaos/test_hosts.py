"""Two hosts with PostgreSQL and Valkey are one installation, whoever of them dies."""

from pathlib import Path

import pytest
import uvloop
from soak import counting, hosts
from soak.plant import plant, postgresql

from tests.valkey import Server


@pytest.mark.timeout(400)
def test_two_hosts_hold_limits_together_refuse_what_is_revoked_and_lose_nothing(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path, kept=True)
    try:
        with (
            postgresql() as url,
            plant(counting.settings(server.url, hosts.MODE), url) as place,
        ):
            run = hosts.run(hosts.Hosts(place), server, kills=5, seed=3, callers=4)
            found = uvloop.run(run)
    finally:
        server.end()
    assert found.kills == dict.fromkeys(hosts.VICTIMS, 1)
    assert found.by_host.keys() == {"east", "west"}
    assert min(found.by_host.values()) > 20
    assert len(found.revoked) == 5
    assert found.reached > 0, "no budget was used up: that proves little"
