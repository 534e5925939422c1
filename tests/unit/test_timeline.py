"""A run in time: what the page says of each flush, and of what it waited for."""

from datetime import UTC, datetime, timedelta
from typing import Any

from keepstep.service.limits import RateSample
from keepstep.service.shapes import EntityRun, LoggedEvent, RunDetail
from keepstep.service.timeline import Flush, Pause, tracks

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def entity(name: str, state: str = "succeeded") -> EntityRun:
    return EntityRun(
        entity=name, state=state, rows=0, inserted=0, updated=0, unchanged=0, deleted=0, dead_lettered=0, pages=0,
        requests=0, total=None, resumed=False, completeness=None, error=None, report=None,
    )  # fmt: skip


def event(number: int, seconds: float, kind: str, of: str | None = None, **data: Any) -> LoggedEvent:
    page = number if kind == "page" else None
    return LoggedEvent(
        id=number, run_id=7, ts=at(seconds), type=kind, level="info", entity=of, page=page, rows=page, msg=kind,
        data=data,
    )  # fmt: skip


def run(*events: LoggedEvent, entities: tuple[str, ...] = ("owners", "leases"), **changes: Any) -> RunDetail:
    given: dict[str, Any] = {
        "run_id": 7, "integration": "doorloop", "owner": None,
        "created_at": NOW, "planned_at": None, "started_at": NOW,
        "finished_at": at(100), "due_at": None, "entity": ",".join(entities), "mode": "backfill", "rows": 0,
        "inserted": 0, "updated": 0, "unchanged": 0, "deleted": 0, "dead_lettered": 0, "requests": 0,
        "duration_ms": None, "result": "succeeded", "error": None, "dry_run": False, "trigger": "manual",
        "caught_up": False, "actor": None, "entities": [entity(name) for name in entities], "pages": [],
        "events": list(events), "events_before": None,
    }  # fmt: skip
    return RunDetail(**{**given, **changes})


def sample(seconds: float, waited_ms: int, cause: str) -> RateSample:
    return RateSample(ts=at(seconds), limit=None, remaining=None, reset=None, waited_ms=waited_ms, cause=cause)


def page(number: int, seconds: float, of: str, **data: Any) -> LoggedEvent:
    return event(number, seconds, "page", of, **{"pages": 1, "batchRows": 100, "requests": 1, **data})


def flushes(*events: LoggedEvent, waits: tuple[RateSample, ...] = ()) -> list[Flush]:
    return [flush for track in tracks(run(*events), waits) for flush in track.flushes]


def test_each_flush_stands_with_its_entity_and_took_as_long_as_nothing_else_was_told() -> None:
    owners, leases = tracks(
        run(
            event(1, 1, "run-started"), page(2, 3, "owners"), page(3, 7, "owners"),
            event(4, 7.5, "entity-finished", "owners"), page(5, 9, "leases"),
        ), (),
    )  # fmt: skip
    assert [flush.seconds for flush in owners.flushes] == [2, 4]
    assert [flush.seconds for flush in leases.flushes] == [1.5]


def test_more_requests_than_pages_are_said() -> None:
    assert [one.extra for one in flushes(page(1, 1, "owners", pages=3, requests=5), page(2, 2, "owners"))] == [2, 0]


def test_a_wait_is_told_with_the_flush_that_it_delayed_and_why() -> None:
    waits = (sample(1.5, 2400, "window"), sample(2.5, 150, "retry-after"), sample(3.5, 900, "answer"))
    found = flushes(*(page(n, n, "owners") for n in (1, 2, 3, 4)), waits=waits)
    assert [one.waited for one in found] == ["", "2.4 s for the vendor's limit", "upstream asked for a pause", "0.9 s"]


def test_a_pause_stands_with_the_entity_under_way_until_the_run_goes_on() -> None:
    owners, leases = tracks(
        run(
            page(1, 1, "owners"), event(2, 2, "entity-finished", "owners"),
            event(3, 3, "run-waiting", message="It asked for a pause."), event(4, 33, "run-resumed"),
            page(5, 34, "leases"),
        ), (),
    )  # fmt: skip
    assert [type(step) for step in owners.steps] == [Flush]
    assert leases.steps[0] == Pause(3, at(3), at(33), True, "It asked for a pause.")
    assert leases.flushes[0].seconds == 1


def test_a_pause_that_is_not_over_lasts_until_the_run_is_due() -> None:
    waiting = run(
        page(1, 1, "owners"), event(2, 2, "run-waiting", message="Wait."), finished_at=None, due_at=at(60),
        result="waiting",
    )  # fmt: skip
    assert tracks(waiting, ())[0].steps[-1] == Pause(2, at(2), at(60), False, "Wait.")


def test_the_picture_is_as_high_as_the_rows_and_what_is_rare_can_be_seen() -> None:
    [track] = tracks(
        run(
            page(1, 1, "owners", batchRows=1000, unchanged=999, deadLettered=1),
            page(2, 2, "owners", batchRows=500, inserted=500), entities=("owners",),
        ), (),
    )  # fmt: skip
    kinds = {(bar.x // 100, bar.kind): bar.height for bar in track.bars}
    assert set(kinds) == {(0, "unchanged"), (0, "dead_lettered"), (1, "inserted")}
    assert kinds[0, "unchanged"] > 80
    assert kinds[0, "dead_lettered"] == 3
    assert kinds[1, "inserted"] == 44
    assert all(bar.y >= 0 and bar.y + bar.height <= 100 for bar in track.bars)


def test_a_run_that_has_not_begun_has_nothing_to_show() -> None:
    assert tracks(run(entities=(), started_at=None, result="queued"), ()) == []
    assert [track.bars for track in tracks(run(), ())] == [[], []]
