"""A full disk under the journal: refused is refused, recorded is recorded."""

import pytest
import uvloop
from soak import disk
from soak.plant import Plant


def test_what_can_not_be_recorded_is_not_served(running: Plant) -> None:
    full, room = disk.by_limit(running)
    found = uvloop.run(disk.run(running, full, room))
    assert found.squeezed_in == 0
    assert found.cut == found.failed == disk.STREAMS


def test_each_of_a_crowd_is_told(running: Plant) -> None:
    full, room = disk.by_limit(running)
    found = uvloop.run(disk.crowd(running, full, room))
    assert found.refused >= disk.TIMES * disk.CALLERS * 3
    assert found.settled


def test_calls_go_on_while_the_database_has_no_room(idle_plant: Plant) -> None:
    place = idle_plant.work / "ledger"
    try:
        with disk.small_disk(place, "2m"):
            idle_plant.move_database(place)
            full, room = disk.by_filling(place)
            assert uvloop.run(disk.database(idle_plant.up(), full, room)) == 300
            idle_plant.close()
    except disk.NotAllowedError as error:
        pytest.skip(f"needs the right to mount a file system: {error}")


def test_a_disk_that_is_really_full(idle_plant: Plant) -> None:
    place = idle_plant.data / "journal"
    try:
        with disk.small_disk(place):
            idle_plant.up()
            full, room = disk.by_filling(place)
            found = uvloop.run(disk.run(idle_plant, full, room))
            idle_plant.close()
    except disk.NotAllowedError as error:
        pytest.skip(f"needs the right to mount a file system: {error}")
    assert found.refused == disk.REFUSALS
