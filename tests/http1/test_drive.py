"""Coroutines stepped without a task."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from ferryman.http1.drive import Drive, Gate
from tests.http1.scene import on_loop


class Run:
    """A driven coroutine and what became of it."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.errors: list[BaseException] = []
        self.drive = Drive(coroutine, self.errors.append)


def test_a_coroutine_runs_at_once_to_its_first_wait_and_is_resumed_by_the_gate() -> None:
    gate: Gate[int] = Gate()
    said: list[Any] = []

    async def play() -> None:
        said.append("begun")
        said.append(await gate)
        said.append("over")

    run = Run(play())
    assert said == ["begun"]
    assert not gate.opened
    gate.open(5)
    assert said == ["begun", 5, "over"]
    assert gate.opened
    gate.open(6)
    assert said == ["begun", 5, "over"]
    assert run.errors == []


def test_an_open_gate_is_no_wait() -> None:
    gate: Gate[int] = Gate()
    gate.open(1)
    gate.open(2)
    said: list[int] = []

    async def play() -> None:
        for _ in range(3):
            said.append(await gate)

    Run(play())
    assert said == [1, 1, 1]


def test_gates_in_a_row_may_be_opened_from_within() -> None:
    gates: list[Gate[int]] = [Gate() for _ in range(50)]
    said: list[int] = []

    async def play() -> None:
        for number, gate in enumerate(gates):
            said.append(await gate)
            if number % 2 == 0 and number + 1 < len(gates):
                gates[number + 1].open(number + 1)  # before it is waited for

    Run(play())
    for number in range(0, 50, 2):
        gates[number].open(number)
    assert said == list(range(50))


def test_one_drive_may_open_the_gate_of_another() -> None:
    first: Gate[None] = Gate()
    second: Gate[None] = Gate()
    said: list[str] = []

    async def one() -> None:
        await first
        said.append("one")
        second.open(None)
        said.append("one on")

    async def two() -> None:
        await second
        said.append("two")

    Run(two())
    Run(one())
    first.open(None)
    assert said == ["one", "two", "one on"]


def test_an_exception_reaches_on_error_and_not_who_opened_the_gate() -> None:
    gate: Gate[None] = Gate()

    async def play() -> None:
        await gate
        raise ZeroDivisionError

    run = Run(play())
    gate.open(None)
    assert [type(error) for error in run.errors] == [ZeroDivisionError]

    async def at_once() -> None:
        raise KeyError

    assert [type(error) for error in Run(at_once()).errors] == [KeyError]


def test_what_must_stop_the_process_is_not_caught() -> None:
    async def play() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(play())


@on_loop
async def test_futures_resume_it_through_the_loop() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    failing: asyncio.Future[int] = loop.create_future()
    gate: Gate[int] = Gate()
    said: list[Any] = []

    async def inner() -> int:
        return await future + await gate

    async def play() -> None:
        said.append(await inner())
        try:
            await failing
        except OSError as error:
            said.append(str(error))
        said.append(await asyncio.gather(asyncio.sleep(0.001, "slept"), asyncio.sleep(0, "too")))
        done, _ = await asyncio.wait((loop.create_task(asyncio.sleep(0.001, 3)),))
        said.append(done.pop().result())
        said.append(await loop.run_in_executor(None, lambda: "threaded"))

    run = Run(play())
    future.set_result(1)
    assert said == []
    await asyncio.sleep(0)
    gate.open(2)
    assert said == [3]
    failing.set_exception(OSError("broken"))
    for _ in range(1000):
        if len(said) == 5:
            break
        await asyncio.sleep(0.002)
    assert said == [3, "broken", ["slept", "too"], 3, "threaded"]
    assert run.errors == []


@on_loop
async def test_a_cancelled_future_is_an_error_of_the_coroutine() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def play() -> None:
        await future

    run = Run(play())
    future.cancel()
    await asyncio.sleep(0)
    assert [type(error) for error in run.errors] == [asyncio.CancelledError]


class Foreign:
    def __await__(self) -> Any:
        yield "something of another library"


def test_what_cannot_be_awaited_is_told_to_the_coroutine_which_may_clean_up() -> None:
    said: list[str] = []

    async def play() -> None:
        try:
            await Foreign()
        except RuntimeError as error:
            said.append(str(error))
        finally:
            said.append("clean")

    run = Run(play())
    assert len(said) == 2
    assert "something of another library" in said[0]
    assert run.errors == []

    async def careless() -> None:
        await Foreign()

    assert [type(error) for error in Run(careless()).errors] == [RuntimeError]


def test_a_coroutine_may_go_on_after_it_was_told() -> None:
    gate: Gate[str] = Gate()
    said: list[str] = []

    async def play() -> None:
        try:
            await Foreign()
        except RuntimeError:
            said.append(await gate)

    Run(play())
    gate.open("on")
    assert said == ["on"]


def test_a_coroutine_that_does_not_listen_is_closed() -> None:
    said: list[str] = []

    async def play() -> None:
        try:
            while True:
                try:
                    await Foreign()
                except RuntimeError:
                    said.append("told")
        finally:
            said.append("closed")

    run = Run(play())
    assert said == ["told", "closed"]
    assert [type(error) for error in run.errors] == [RuntimeError]


def test_two_coroutines_cannot_wait_for_one_gate() -> None:
    gate: Gate[int] = Gate()
    said: list[int] = []

    async def play() -> None:
        said.append(await gate)

    first, second = Run(play()), Run(play())
    assert [type(error) for error in second.errors] == [RuntimeError]
    gate.open(1)
    assert said == [1]
    assert first.errors == []


def test_a_finished_drive_leaves_nothing_behind() -> None:
    def alive() -> int:
        return sum(isinstance(thing, Drive | Gate) for thing in gc.get_objects())

    async def play(gate: Gate[int]) -> None:
        await gate

    gc.collect()
    before = alive()
    gc.disable()
    try:
        for _ in range(10):
            gate: Gate[int] = Gate()
            Drive(play(gate), lambda error: None)
            gate.open(1)
            del gate
        assert alive() == before
    finally:
        gc.enable()
