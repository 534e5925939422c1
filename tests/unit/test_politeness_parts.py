"""The parts of politeness, each on its own."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepstep.integrations.http import verdict_of
from keepstep.model.errors import Answer, AuthFailed, BreakerOpen, NotData, Permanent, RateLimited, Transient
from keepstep.reliability import budgets as headers
from keepstep.reliability.breaker import Breaker, Phase
from keepstep.reliability.budgets import Budget
from keepstep.reliability.news import News
from keepstep.reliability.pacing import Heard, Outcome, Verdict
from keepstep.reliability.politeness import Ask, Cause, Grant, Politeness, Report, Rules, Wait, decide, on_clock
from keepstep.reliability.ramp import Ramp
from keepstep.reliability.retry import decide_retry
from keepstep.reliability.sharing import Holder, share
from keepstep.reliability.standing import breaker_standing, duration, rate_standing, reason
from keepstep.reliability.windows import GRAIN, Sends, Window

NOW = 1_800_000_000.0


def failed(breaker: Breaker, count: int, now: float = NOW, holder: str = "a") -> Breaker:
    return breaker.heard(Verdict.FAILED, count, now, holder=holder, threshold=3, cooldown=60)


def test_a_breaker_counts_failures_in_a_row_only() -> None:
    two = failed(Breaker(), 2)
    assert two.phase(NOW) is Phase.CLOSED
    assert two.heard(Verdict.GOOD, 1, NOW, holder="a", threshold=3, cooldown=60) == Breaker()
    assert two.heard(Verdict.LIMITED, 5, NOW, holder="a", threshold=3, cooldown=60) == two
    assert two.heard(Verdict.UNCLEAR, 5, NOW, holder="a", threshold=3, cooldown=60) == two
    assert failed(two, 1).phase(NOW) is Phase.OPEN


def test_an_answer_that_comes_late_neither_closes_an_open_breaker_nor_prolongs_it() -> None:
    opened = failed(Breaker(), 3)
    assert opened.heard(Verdict.GOOD, 1, NOW + 1, holder="a", threshold=3, cooldown=60) == opened
    assert failed(opened, 1, NOW + 1) == opened


def test_a_probe_decides_and_the_moment_of_opening_is_kept() -> None:
    probing = failed(Breaker(), 3).probing("b")
    assert probing.phase(NOW + 60) is Phase.HALF_OPEN
    again = failed(probing, 1, NOW + 61, holder="b")
    assert (again.opened_at, again.reopens_at, again.failures, again.probe) == (NOW, NOW + 121, 4, None)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 4)), max_size=80))
def test_a_window_never_counts_less_than_was_sent_within_its_length(sent: list[tuple[float, int]]) -> None:
    window, now, sends, times = Window(50, 60.0), NOW, Sends(60.0), []
    for later, count in sent:
        now += later
        sends = sends.added(count, now)
        times += [now] * count
        truth = sum(1 for time in times if time > now - window.seconds)
        assert truth <= sends.count(now)
        assert sends.count(now) <= sum(1 for time in times if time > now - window.seconds * (1 + 1 / GRAIN))
    assert len(sends.log) <= GRAIN + 1
    free_at = sends.free_at(window, 0, now)
    assert free_at is not None
    assert free_at <= now or sends.count(free_at) < window.limit <= sends.count(free_at - 0.001)


def test_a_window_that_only_requests_on_their_way_fill_says_nothing_of_when() -> None:
    assert Sends(60.0).free_at(Window(2, 60.0), 2, NOW) is None
    assert Sends(60.0).free_at(Window(2, 60.0), 1, NOW) == NOW


def test_a_window_holds_for_a_day_after_it_was_told() -> None:
    told = Sends(60.0).told(Window(5, 60.0), NOW)
    assert told.holds(NOW + 86_000)
    assert not told.holds(NOW + 86_401)


def test_budgets_of_different_windows_stand_side_by_side_and_the_least_of_each_counts() -> None:
    found = headers.noted((), 50, 30, 40.0, 2, NOW)
    found = headers.noted(found, 500, 400, 3000.0, 2, NOW)
    found = headers.noted(found, 50, 29, 39.0, 0, NOW + 1)
    assert sorted((b.limit, b.remaining) for b in found) == [(50, 28), (500, 398)]
    assert headers.tightest(headers.spent(found, 20)) == Budget(50, 8, NOW + 41)
    assert headers.noted(found, 50, None, 1.0, 0, NOW) == found


def test_a_budget_whose_window_is_over_is_whole_again() -> None:
    [budget] = headers.current((Budget(50, 0, NOW),), NOW + 0.1)
    assert (budget.limit, budget.remaining) == (50, 50)
    assert headers.current((Budget(50, 0, NOW),), NOW + 100_000) == ()


def test_a_ramp_rises_by_one_for_each_round_and_is_halved_once_for_what_failed_together() -> None:
    ramp = Ramp()
    assert [ramp.raised(count, 4).places(4) for count in (0, 1, 3, 6, 100)] == [1, 2, 3, 4, 4]
    full = ramp.raised(100, 8)
    assert full.cut(NOW).cut(NOW + 0.5).places(8) == 4
    assert full.cut(NOW).cut(NOW + 1.5).places(8) == 2
    assert full.places(3) == 3


def test_alone_one_gets_what_is_free_and_together_each_gets_its_part() -> None:
    def holder(wants: int, places: int = 0, **given: float) -> Holder:
        return Holder(seen=NOW, wants=wants, places=places, **given)  # type: ignore[arg-type]

    assert share(holder(9), [], 4, NOW) == 4
    assert share(holder(9), [holder(2, 2)], 4, NOW) == 2
    assert share(holder(9, 4), [holder(9)], 4, NOW) == 2
    assert share(holder(9), [holder(1, 0, since=NOW - 1), holder(1, 0, since=NOW - 2)], 1, NOW) == 0
    assert share(holder(9, since=NOW - 3), [holder(1, 0, since=NOW - 1), holder(1, 0, since=NOW - 2)], 1, NOW) == 1
    assert share(holder(9, 1, turn=NOW - 1), [holder(1, 0, since=NOW)], 1, NOW) == 0


def test_a_report_is_heard_once_and_a_question_is_answered_every_time() -> None:
    rules, report = Rules(max_concurrency=1, breaker_threshold=9), Report(((Verdict.FAILED, 1),), sent=1)
    first = decide(Politeness(), rules, Ask("a", 1, waiting=1, report=report), NOW)
    again = decide(first.state, rules, Ask("a", 1, waiting=1, report=report), NOW + 1)
    assert (first.fresh, again.fresh) == (True, False)
    assert again.state.breaker.failures == 1
    assert isinstance(again.answer, Grant)


def test_time_never_runs_back_in_the_state_and_a_clock_set_back_takes_it_along() -> None:
    state = Politeness(at=NOW, pause_until=NOW + 10, next_start=NOW + 1, budgets=(Budget(5, 0, NOW + 20),))
    assert on_clock(state, NOW - 1) == state
    back = on_clock(state, NOW - 3600)
    assert (back.at, back.pause_until, back.budgets[0].reset) == (NOW - 3600, NOW - 3590, NOW - 3580)


@given(st.integers(0, 2000))
def test_the_state_survives_its_json(seed: int) -> None:
    rng, rules = random.Random(seed), Rules(windows=(Window(5, 10.0),), per_second=3)
    state, now = Politeness(), NOW
    for number in range(20):
        now += rng.random() * 3
        outcome = Outcome(
            rng.choice(list(Verdict)), rng.choice([200, 429, 503, None]), Heard(5, rng.randrange(5), 4.0), rng.random()
        )
        news = News()
        news.add(outcome, now)
        ask = Ask(rng.choice("abc"), number, waiting=rng.randrange(3), busy=rng.randrange(2), report=news.taken(now))
        state = decide(state, rules, ask, now).state
        assert Politeness.stored(state.stored_form()) == state


def test_news_keep_their_order_and_tell_what_is_left_of_times() -> None:
    news = News()
    for verdict in (Verdict.GOOD, Verdict.GOOD, Verdict.FAILED, Verdict.GOOD):
        news.add(Outcome(verdict, 200), 0.0)
    news.add(Outcome(Verdict.LIMITED, 429, Heard(50, 0, 30.0), 20.0), 0.0)
    assert news
    report = news.taken(5.0)
    assert report.outcomes == ((Verdict.GOOD, 2), (Verdict.FAILED, 1), (Verdict.GOOD, 1), (Verdict.LIMITED, 1))
    assert (report.sent, report.refused, report.pause) == (5, 1, 15.0)
    assert report.heard == (Heard(50, 0, 25.0),)
    assert not news
    assert news.codes == {"200": 4, "429": 1}


def test_people_read_why_nothing_is_sent() -> None:
    rules = Rules(per_second=4)
    told = {
        Wait(0, Cause.BREAKER): "DoorLoop failed too often in a row: nothing is sent to it for another 45 s.",
        Wait(0, Cause.PAUSE): "DoorLoop asked for a pause: the next request may leave in 45 s.",
        Wait(0, Cause.WINDOW, Window(500, 3600)): "DoorLoop allows 500 requests in 60 min, and they are used up: "
        "the next request may leave in 45 s.",
        Wait(0, Cause.RATE): "The ceiling of 4 requests a second leaves no room now: the next request may leave in "
        "45 s.",
    }
    assert {wait: reason(wait, rules, "DoorLoop", 45) for wait in told} == told
    assert [duration(s) for s in (0.2, 90, 600, 9000)] == ["1 s", "90 s", "10 min", "2.5 h"]


def test_the_standing_of_a_state_that_knows_nothing_is_calm() -> None:
    assert breaker_standing(Politeness(), NOW).state == "closed"
    assert rate_standing(Politeness(), Rules(windows=(Window(5, 60),)), NOW) is None


def test_nobody_asks_again_while_the_breaker_is_open() -> None:
    assert decide_retry(BreakerOpen("open", after=1.0), 1, random.Random(1)) is None


ANSWERED, SILENT = Answer("GET", "/x", 500), Answer("GET", "/x")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Transient("x", answer=SILENT), Verdict.FAILED),
        (Transient("x", answer=ANSWERED), Verdict.FAILED),
        (RateLimited("x", after=1.0, answer=Answer("GET", "/x", 429)), Verdict.LIMITED),
        (RateLimited("x", after=1.0, answer=Answer("GET", "/x", 503)), Verdict.FAILED),
        (AuthFailed("x", answer=Answer("GET", "/x", 401)), Verdict.GOOD),
        (Permanent("x", answer=Answer("GET", "/x", 404)), Verdict.GOOD),
        (Permanent("no address", answer=SILENT), Verdict.UNCLEAR),
        (NotData("x", answer=Answer("GET", "/x", 200)), Verdict.UNCLEAR),
    ],
)
def test_an_error_says_something_of_upstreams_health(error: Transient, verdict: Verdict) -> None:
    assert verdict_of(error) is verdict
