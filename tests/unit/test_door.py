"""The door before the database, with a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio

import pytest

from tallystick.db.door import Door
from tallystick.errors import DatabaseUnavailableError, OverloadedError


class Clock:
    """Seconds since its making."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Visitors:
    """Requests before a door; each holds its turn until it is told to leave."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.inside: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._leaving: dict[int, asyncio.Event] = {}

    async def come(self, *numbers: int) -> None:
        for number in numbers:
            self._leaving[number] = asyncio.Event()
            self.tasks[number] = asyncio.create_task(self._visit(number))
        await settled()

    async def leave(self, number: int) -> None:
        self._leaving[number].set()
        await self.tasks[number]
        await settled()

    async def _visit(self, number: int) -> None:
        async with self._door.turn():
            self.inside.append(number)
            await self._leaving[number].wait()
            self.inside.remove(number)


async def settled() -> None:
    """All that can go on without the clock has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_turns_are_given_in_the_order_of_coming() -> None:
    visitors = Visitors(Door(2, wait_s=60, still_s=10))
    await visitors.come(*range(6))
    assert visitors.inside == [0, 1]
    await visitors.leave(1)
    assert visitors.inside == [0, 2]
    await visitors.come(6)
    for leaving, inside in ((0, [2, 3]), (3, [2, 4]), (2, [4, 5]), (4, [5, 6])):
        await visitors.leave(leaving)
        assert visitors.inside == inside
    await visitors.leave(5)
    await visitors.leave(6)
    await visitors.come(7, 8)
    assert visitors.inside == [7, 8], "all places are free again"
    await visitors.leave(7)
    await visitors.leave(8)


async def test_one_that_goes_away_is_passed_over_and_takes_no_place_with_it() -> None:
    visitors = Visitors(Door(1, wait_s=60, still_s=10))
    await visitors.come(0, 1, 2, 3)
    visitors.tasks[1].cancel()
    await settled()
    visitors._leaving[0].set()
    await visitors.tasks[0]
    visitors.tasks[2].cancel()  # it has been given its turn, and does not know yet
    await settled()
    assert visitors.inside == [3]
    await visitors.leave(3)
    await visitors.come(4)
    assert visitors.inside == [4]
    await visitors.leave(4)


async def test_who_would_wait_too_long_hears_it_at_once() -> None:
    clock = Clock()
    visitors = Visitors(Door(1, wait_s=10, still_s=10, clock=clock))
    await visitors.come(*range(12))
    clock.now = 1.0
    await visitors.leave(0)
    await visitors.come(12)  # one slow turn says nothing
    for number in range(1, 4):
        clock.now += 2.0
        await visitors.leave(number)  # a turn each two seconds, and eight that wait
    with pytest.raises(OverloadedError) as caught:
        async with asyncio.timeout(1), visitors._door.turn():
            pass
    assert (caught.value.status, caught.value.retry_after) == (503, 14)
    for number in range(4, 13):
        await visitors.leave(number)
    await visitors.come(*range(20, 40))
    assert visitors.inside == [20], "the line was gone: what was known of it does not hold any more"
    for number in range(20, 40):
        await visitors.leave(number)


async def test_a_line_that_stands_still_is_told_so() -> None:
    visitors = Visitors(Door(1, wait_s=60, still_s=0.05))
    await visitors.come(0, 1, 2)
    for number in (1, 2):
        with pytest.raises(DatabaseUnavailableError):
            await visitors.tasks[number]
    await visitors.leave(0)
    await visitors.come(3)
    assert visitors.inside == [3]
    await visitors.leave(3)


async def test_nobody_waits_for_ever_in_a_line_that_moves() -> None:
    visitors = Visitors(Door(1, wait_s=0.05, still_s=10))
    await visitors.come(0, 1)
    with pytest.raises(OverloadedError):
        await visitors.tasks[1]
    await visitors.leave(0)
