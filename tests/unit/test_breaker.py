"""The circuit breaker, with a clock that stands still until it is moved."""

from __future__ import annotations

import pytest

from tallystick.stripe_gateway.breaker import LONGEST_PAUSE_S, Breaker, BreakerOpenError, BreakerState


class Clock:
    """Seconds since its making."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(threshold=3, window_s=10, pause_s=5, clock=clock)


def state(breaker: Breaker) -> BreakerState:
    return breaker.state


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(breaker.admit())


def succeed(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.succeeded(breaker.admit())


def test_it_opens_at_the_threshold_and_says_when_to_try_again(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 2)
    assert state(breaker) is BreakerState.CLOSED
    fail(breaker)
    assert state(breaker) is BreakerState.OPEN
    clock.now = 1.5
    with pytest.raises(BreakerOpenError) as caught:
        breaker.admit()
    assert caught.value.retry_after == 4


def test_old_outages_are_forgotten(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 2)
    clock.now = 10
    fail(breaker, 2)
    assert state(breaker) is BreakerState.CLOSED
    fail(breaker)
    assert state(breaker) is BreakerState.OPEN


def test_a_few_outages_among_many_answers_leave_it_closed(breaker: Breaker) -> None:
    succeed(breaker, 6)
    fail(breaker, 5)
    assert state(breaker) is BreakerState.CLOSED
    fail(breaker)
    assert state(breaker) is BreakerState.OPEN


def test_half_open_lets_one_probe_pass(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now = 5
    assert state(breaker) is BreakerState.HALF_OPEN
    probe = breaker.admit()
    assert probe
    with pytest.raises(BreakerOpenError) as caught:
        breaker.admit()
    assert caught.value.retry_after == 1
    breaker.succeeded(probe)
    assert state(breaker) is BreakerState.CLOSED
    fail(breaker, 2)
    assert state(breaker) is BreakerState.CLOSED


def test_each_failed_probe_doubles_the_pause_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    pauses = []
    for _ in range(6):
        with pytest.raises(BreakerOpenError) as caught:
            breaker.check()
        pauses.append(caught.value.retry_after)
        clock.now += caught.value.retry_after
        fail(breaker)
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert pauses[-1] == LONGEST_PAUSE_S
    clock.now += 60
    succeed(breaker)
    fail(breaker, 3)
    with pytest.raises(BreakerOpenError) as caught:
        breaker.check()
    assert caught.value.retry_after == 5


def test_a_probe_that_is_given_up_makes_room_for_the_next(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now = 5
    breaker.given_up(breaker.admit())
    succeed(breaker)
    assert state(breaker) is BreakerState.CLOSED


def test_tries_that_began_before_it_opened_do_not_change_it(breaker: Breaker, clock: Clock) -> None:
    late = [breaker.admit() for _ in range(2)]
    fail(breaker, 3)
    breaker.failed(late[0])
    breaker.succeeded(late[1])
    assert state(breaker) is BreakerState.OPEN
    clock.now = 5
    assert state(breaker) is BreakerState.HALF_OPEN
