"""Schedules as people and the environment set them: who wins, what is refused, what is logged."""

from collections.abc import Callable
from typing import Any

import pytest

from keepstep.model.errors import BadRequest, Conflict, NotFound
from keepstep.service.audit import Audit
from keepstep.service.problems import problem
from keepstep.service.schedules import VARIABLES, Given, Schedules, start_line
from keepstep.store.db import Connection, Database
from tests.support.schedules import Stage

DEFAULTS: dict[str, Any] = {
    "enabled": False, "interval_minutes": 10, "full_at_hour_utc": None, "entities": ("owners", "units"),
}  # fmt: skip
Make = Callable[..., Schedules]


@pytest.fixture
def stage(connection: Connection) -> Stage:
    return Stage(connection)


@pytest.fixture
def schedules(database: Database) -> Make:
    """Schedules under an environment that says these things and nothing else."""

    def make(*, missing: str = "", **said: Any) -> Schedules:
        given = Given({**DEFAULTS, **said}, frozenset(said), missing)
        known = {"doorloop": ("owners", "properties", "units")}
        return Schedules(database, Audit(database), known, {"doorloop": given})

    return make


async def test_the_first_start_makes_the_schedule_of_the_defaults(schedules: Make) -> None:
    assert await schedules().settle() == ["[auto-sync] disabled via env"]
    [view] = await schedules().all()
    assert (view.integration, view.owner, view.enabled, view.idle) == ("doorloop", None, False, False)
    assert (view.interval_minutes, view.full_at_hour_utc, view.entities) == (10, None, ["owners", "units"])
    assert (view.next_run, view.upcoming, view.env_locked, view.updated_by) == (None, [], [], "environment")


async def test_what_the_environment_enables_is_due_at_once_and_a_restart_moves_nothing(
    schedules: Make, stage: Stage
) -> None:
    environment = schedules(enabled=True, interval_minutes=15, full_at_hour_utc=5)
    assert await environment.settle() == ["[auto-sync] enabled every 15m; nightly full at UTC hour: 5"]
    view = await environment.get("doorloop")
    assert view.env_locked == ["enabled", "intervalMinutes", "fullAtHourUtc"]
    assert view.next_run is not None
    assert view.next_run <= await stage.now()
    assert view.upcoming[0].at == view.next_run
    assert len(view.upcoming) == 5
    await stage.dispatch()
    before = await stage.times(view.id)
    assert await environment.settle() == ["[auto-sync] enabled every 15m; nightly full at UTC hour: 5"]
    assert await stage.times(view.id) == before


async def test_the_environment_wins_over_people_and_people_over_the_default(schedules: Make) -> None:
    await schedules().set("doorloop", {"interval_minutes": 30, "full_at_hour_utc": 3, "entities": ["units"]}, by="ann")
    await schedules(interval_minutes=20).settle()
    view = await schedules().get("doorloop")
    assert (view.interval_minutes, view.full_at_hour_utc, view.entities) == (20, 3, ["units"])
    await schedules().settle()  # it has fallen silent
    assert (await schedules().get("doorloop")).interval_minutes == 30


async def test_enabled_by_the_environment_once_is_not_enabled_for_ever(schedules: Make) -> None:
    await schedules(enabled=True).settle()
    assert await schedules().settle() == ["[auto-sync] disabled via env"]
    assert (await schedules().get("doorloop")).enabled is False


async def test_a_choice_that_is_no_longer_possible_does_not_count(schedules: Make, stage: Stage) -> None:
    await schedules().set("doorloop", {"entities": ["units"], "interval_minutes": 30}, by="ann")
    await stage.call("UPDATE keepstep.settings SET value = '\"no such entity\"' WHERE name = 'SYNC_ENTITIES'")
    await stage.call("UPDATE keepstep.settings SET value = '\"often\"' WHERE name = 'AUTO_SYNC_INTERVAL_MINUTES'")
    await schedules().settle()
    view = await schedules().get("doorloop")
    assert (view.entities, view.interval_minutes) == (["owners", "units"], 10)


async def test_what_the_environment_set_is_refused_with_the_fix_and_changes_nothing(schedules: Make) -> None:
    environment = schedules(interval_minutes=20)
    await environment.settle()
    with pytest.raises(Conflict, match="intervalMinutes cannot be changed here") as refusal:
        await environment.set("doorloop", {"interval_minutes": 30, "full_at_hour_utc": 4}, by="ann")
    assert refusal.value.fix.lower().startswith("set by environment")
    assert "AUTO_SYNC_INTERVAL_MINUTES" in refusal.value.fix
    assert problem(refusal.value).status == 409
    assert (await environment.get("doorloop")).full_at_hour_utc is None
    same = await environment.set("doorloop", {"interval_minutes": 20, "full_at_hour_utc": 4}, by="ann")
    assert (same.interval_minutes, same.full_at_hour_utc) == (20, 4)


async def test_a_command_without_the_environment_of_the_service_is_refused_too(schedules: Make) -> None:
    await schedules(enabled=True).settle()
    command = schedules()
    assert (await command.get("doorloop")).env_locked == ["enabled"]
    with pytest.raises(Conflict, match="enabled cannot be changed here"):
        await command.pause("doorloop", by="ann")
    assert (await command.resume("doorloop", by="ann")).enabled is True
    await schedules().settle()  # started again, without it
    assert (await command.resume("doorloop", by="ann")).env_locked == []


async def test_the_environment_locks_before_anything_was_started(schedules: Make) -> None:
    with pytest.raises(Conflict):
        await schedules(enabled=True).pause("doorloop", by="ann")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval_minutes", 1), ("interval_minutes", 43_201), ("interval_minutes", 10.5), ("interval_minutes", True),
        ("interval_minutes", "10"), ("interval_minutes", None), ("full_at_hour_utc", 24), ("full_at_hour_utc", -1),
        ("full_at_hour_utc", False), ("enabled", 1), ("enabled", None), ("entities", []), ("entities", ["nosuch"]),
        ("entities", "units"), ("entities", [1]), ("colour", "red"),
    ],
)  # fmt: skip
async def test_a_value_that_cannot_be_is_refused_in_words(schedules: Make, name: str, value: object) -> None:
    with pytest.raises(BadRequest) as refusal:
        await schedules().set("doorloop", {name: value}, by="ann")
    assert refusal.value.fix
    view = await schedules().get("doorloop")
    assert (view.interval_minutes, view.updated_by) == (10, "environment")


async def test_every_change_is_in_the_admin_log(schedules: Make, stage: Stage) -> None:
    await schedules().set("doorloop", {"interval_minutes": 30, "full_at_hour_utc": 3}, by="ann")
    await schedules().resume("doorloop", by="bob")
    await schedules().resume("doorloop", by="bob")
    rows = await stage.all('SELECT "user", action, payload, result FROM keepstep.admin_logs ORDER BY id')
    assert [(row["user"], row["result"]) for row in rows] == [
        ("ann", "intervalMinutes: 10 -> 30; fullAtHourUtc: - -> 3"),
        ("bob", "enabled: false -> true"),
        ("bob", "nothing changed"),
    ]
    assert rows[0]["payload"] == {"integration": "doorloop", "intervalMinutes": 30, "fullAtHourUtc": 3}
    assert {row["action"] for row in rows} == {"schedule.set"}


async def test_paused_is_said_to_be_so_until_it_is_resumed_at_once(schedules: Make, stage: Stage) -> None:
    await schedules().resume("doorloop", by="ann")
    await stage.dispatch()
    view = await schedules().pause("doorloop", by="ann")
    assert (view.enabled, view.next_run) == (False, None)
    assert await schedules().settle() == ["[auto-sync] paused"]
    assert (await schedules().get("doorloop")).updated_by == "ann"
    view = await schedules().resume("doorloop", by="ann")
    assert view.next_run is not None
    assert view.next_run <= await stage.now()
    assert await schedules().settle() == ["[auto-sync] enabled every 10m"]


async def test_without_credentials_it_is_idle_until_there_are_some(schedules: Make, stage: Stage) -> None:
    idle = schedules(enabled=True, missing="DOORLOOP_API_KEY")
    assert await idle.settle() == ["[auto-sync] DOORLOOP_API_KEY missing; auto-sync idle"]
    view = await idle.set("doorloop", {"interval_minutes": 15}, by="ann")
    assert (view.enabled, view.idle, view.next_run) == (True, True, None)
    assert await stage.dispatch() == ([], [])
    await idle.awaken("doorloop")
    view = await idle.get("doorloop")
    assert (view.idle, view.next_run is not None) == (False, True)
    before = await stage.times(view.id)
    await idle.awaken("doorloop")
    assert await stage.times(view.id) == before


async def test_enabled_live_without_credentials_it_is_idle_and_credentials_make_it_due(
    schedules: Make, stage: Stage
) -> None:
    live = schedules(missing="DOORLOOP_API_KEY")
    await live.settle()
    view = await live.resume("doorloop", by="ann")
    assert (view.enabled, view.idle, view.next_run) == (True, True, None)
    assert await stage.dispatch() == ([], [])
    await stage.call("UPDATE keepstep.connections SET credentials = 'x', credentials_set_at = now()")
    await live.awaken("doorloop")
    assert (await live.set("doorloop", {"interval_minutes": 30}, by="ann")).idle is False
    assert len((await stage.dispatch())[0]) == 1


async def test_credentials_in_the_environment_of_the_service_count_for_a_command_beside_it(
    schedules: Make, stage: Stage
) -> None:
    await schedules().settle()
    beside = schedules(missing="DOORLOOP_API_KEY")
    view = await beside.resume("doorloop", by="ann")
    assert (view.idle, view.env_locked) == (False, [])
    await beside.rest("doorloop")
    assert (await beside.get("doorloop")).idle is False


async def test_credentials_in_the_database_are_enough(schedules: Make, stage: Stage) -> None:
    idle = schedules(enabled=True, missing="DOORLOOP_API_KEY")
    await idle.settle()
    await stage.call("UPDATE keepstep.connections SET credentials = 'x', credentials_set_at = now()")
    assert await idle.settle() == ["[auto-sync] enabled every 10m"]
    assert (await stage.dispatch())[0] != []


async def test_schedules_of_owners_stand_beside_the_shared_one(schedules: Make, stage: Stage) -> None:
    await schedules(enabled=True).settle()
    await stage.add(owner="user 1", name="mail", interval=90)
    views = await schedules(enabled=True).all()
    assert [(view.owner, view.name, view.interval_minutes, view.env_locked) for view in views] == [
        (None, "", 10, ["enabled"]),
        ("user 1", "mail", 2, []),
    ]


async def test_an_integration_without_a_schedule_is_not_found(schedules: Make) -> None:
    with pytest.raises(NotFound, match="There is no schedule of nosuch"):
        await schedules().get("nosuch")


async def test_the_last_tick_is_told(schedules: Make, stage: Stage) -> None:
    assert await schedules().last_tick() is None
    await stage.dispatch()
    assert await schedules().last_tick() is not None


def test_the_line_at_a_start_is_word_for_word() -> None:
    enabled = {**DEFAULTS, "enabled": True}
    assert start_line(enabled) == "[auto-sync] enabled every 10m"
    assert (
        start_line({**enabled, "full_at_hour_utc": 0}) == "[auto-sync] enabled every 10m; nightly full at UTC hour: 0"
    )
    assert start_line(DEFAULTS) == "[auto-sync] disabled via env"
    assert start_line(enabled, missing="DOORLOOP_API_KEY") == "[auto-sync] DOORLOOP_API_KEY missing; auto-sync idle"
    assert list(VARIABLES) == list(DEFAULTS)
