"""Rings are given out at once where batches are quick, and gathered where they are slow."""

from __future__ import annotations

import asyncio

from tallystick.pipeline.hand import Hand
from tallystick.pipeline.queue import Ring

FULL = 3


def rings(*numbers: int) -> list[Ring]:
    return [Ring("events:0", f"{number}-0", f"evt_{number}") for number in numbers]


def after_slow_batches() -> Hand:
    """Batches took a minute lately, so that nothing but a full batch or the end is waited for in a test."""
    hand = Hand(room=FULL, longest_pace_s=60.0)
    for _ in range(50):
        hand.took(60.0)
    return hand


async def settled(task: asyncio.Task[list[Ring]]) -> bool:
    """Whether it is done once everything that can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


async def test_the_first_after_a_rest_is_given_out_at_once() -> None:
    hand = after_slow_batches()
    await hand.put(rings(1))
    assert await hand.take(FULL) == rings(1)


async def test_where_batches_are_quick_none_waits_for_others() -> None:
    hand = Hand(room=FULL, longest_pace_s=60.0)
    for number in (1, 2, 3):
        await hand.put(rings(number))
        assert await hand.take(FULL) == rings(number)
        hand.took(0.0)


async def test_where_batches_are_slow_the_next_gathers_until_it_is_full() -> None:
    hand = after_slow_batches()
    await hand.put(rings(1))
    await hand.take(FULL)
    await hand.put(rings(2, 3))
    taking = asyncio.create_task(hand.take(FULL))
    assert not await settled(taking)
    await hand.put(rings(4))
    assert await taking == rings(2, 3, 4)


async def test_what_was_gathered_is_given_out_at_the_end() -> None:
    hand = after_slow_batches()
    await hand.put(rings(1))
    await hand.take(FULL)
    await hand.put(rings(2))
    taking = asyncio.create_task(hand.take(FULL))
    assert not await settled(taking)
    await hand.close()
    assert await taking == rings(2)
    assert await hand.take(FULL) == []


async def test_readers_wait_while_the_hand_is_full() -> None:
    hand = Hand(room=FULL, longest_pace_s=60.0)
    await hand.put(rings(1, 2, 3))
    room = asyncio.create_task(hand.has_room())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not room.done()
    await hand.take(1)
    await room
