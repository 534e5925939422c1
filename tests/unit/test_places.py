"""Who gets a place of a worker, and who must not keep others from one."""

from collections.abc import Iterator

import pytest

from keepstep.dispatch.places import LONG, STILL, Places
from keepstep.dispatch.queue import INTERACTIVE, QUEUES, STRUGGLING

ORDINARY = [queue for queue in QUEUES if queue != STRUGGLING]


class Watch:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Watch:
    return Watch()


@pytest.fixture
def places(clock: Watch) -> Places:
    """Two places."""
    return Places(2, clock=clock)


def taken(places: Places, *runs: int, queue: str = "scheduled") -> None:
    for run in runs:
        places.take(run, run, queue)


def in_the_way(places: Places) -> Iterator[int]:
    while (run := places.in_the_way()) is not None:
        yield run


def test_every_place_is_for_everybody_but_the_last_which_is_for_what_somebody_waits_for(places: Places) -> None:
    assert places.open_to(QUEUES) == [*ORDINARY, STRUGGLING]
    taken(places, 1, 2)
    assert places.open_to(QUEUES) == [INTERACTIVE, STRUGGLING]
    taken(places, 3, queue=INTERACTIVE)
    assert places.open_to(QUEUES) == [STRUGGLING]
    places.leave(1)
    places.leave(2)
    assert places.open_to(QUEUES) == [*ORDINARY, STRUGGLING]


def test_a_run_that_stands_still_leaves_its_place_to_another_until_it_moves_again(places: Places, clock: Watch) -> None:
    taken(places, 1, 2)
    clock.now = STILL
    assert places.open_to(QUEUES) == [*ORDINARY, STRUGGLING]
    places.heard(1)
    places.heard(2)
    assert places.open_to(QUEUES) == [INTERACTIVE, STRUGGLING]


def test_an_answer_of_upstream_is_a_sign_of_life(places: Places, clock: Watch) -> None:
    answers = [0]
    taken(places, 1, 2)
    places.watch(1, lambda: answers[0])
    places.watch(2, lambda: answers[0])
    clock.now, answers[0] = STILL, 1
    assert places.open_to(QUEUES) == [INTERACTIVE, STRUGGLING]
    clock.now = 2 * STILL
    assert places.open_to(QUEUES) == [*ORDINARY, STRUGGLING]


def test_those_that_struggle_take_their_own_places_only(places: Places, clock: Watch) -> None:
    taken(places, *range(places.aside), queue=STRUGGLING)
    clock.now = 100.0
    assert places.open_to(QUEUES) == ORDINARY
    assert list(in_the_way(places)) == []


def test_only_so_many_stand_aside_and_who_has_stood_longest_is_in_the_way(places: Places, clock: Watch) -> None:
    for run in (1, 2, 3, 4):
        clock.now = run
        taken(places, run)
    clock.now = 4 + STILL
    assert places.open_to(QUEUES) == [INTERACTIVE, STRUGGLING]
    assert list(in_the_way(places)) == []
    clock.now = 4 + LONG
    assert list(in_the_way(places)) == [1, 2]
    places.leave(1)
    assert list(in_the_way(places)) == []
    assert places.open_to(QUEUES) == [*ORDINARY, STRUGGLING]


def test_what_need_not_go_is_asked_again_only_after_a_while(places: Places, clock: Watch) -> None:
    taken(places, 1, 2, 3)
    clock.now = LONG
    assert list(in_the_way(places)) == [1]
    clock.now = 2 * LONG - 0.1
    assert list(in_the_way(places)) == []
    clock.now = 2 * LONG
    assert list(in_the_way(places)) == [1]


def test_who_goes_is_not_told_twice_however_long_it_takes(places: Places, clock: Watch) -> None:
    taken(places, 1, 2, 3)
    clock.now = LONG
    assert list(in_the_way(places)) == [1]
    places.sent_away(1)
    clock.now = 5 * LONG
    assert list(in_the_way(places)) == []


def test_runs_that_work_are_never_in_the_way(places: Places, clock: Watch) -> None:
    taken(places, 1, 2, 3)
    for _ in range(100):
        clock.now += STILL / 2
        for run in (1, 2, 3):
            places.heard(run)
        assert list(in_the_way(places)) == []
