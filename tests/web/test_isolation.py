"""Nobody but an administrator reaches what belongs to another user: every route is walked with the other one's ids."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepstep.model.schedule import Role
from keepstep.web.security import Door, doors
from tests.support.host import SECRET, bearer, token
from tests.support.site import Served, served

ANA, BEN = "ana-5d0c71f2-owner", "ben-88ab90e1-owner"
WHAT_IS_ANAS = "anas-own-words"
STREAM = "/api/admin/sync/logs/stream"
SEEN_BY_ADMINS = {"/api/admin/users", "/api/admin/tokens"}


class Stage:
    """A site with what belongs to Ana on it, and clients of others."""

    def __init__(self, site: Served) -> None:
        self.site = site
        self.run = self.letter = self.user = 0

    async def prepare(self) -> None:
        """Ana has a connection, a schedule, a failed and a held run, events, dead letters, errors, an alert, acts."""
        site = self.site
        for owner in (ANA, BEN):
            answer = await site.nobody.put(
                "/api/logos-vision/auto-sync/config", json={"enabled": True, "interval_hours": 6, "workspace_id": "ws"},
                headers=self.header(owner, Role.USER),
            )  # fmt: skip
            assert answer.status_code == 200, answer.text
            await site.service.owners.connect("doorloop", owner, {"apiKey": f"key-of-{owner}"}, by=owner)
        await site.sql("INSERT INTO keepstep.connections (integration) VALUES ('doorloop') ON CONFLICT DO NOTHING")
        [row] = await site.sql(f"""
            WITH mine AS (SELECT id FROM keepstep.connections WHERE owner_id = '{ANA}' AND integration = 'doorloop'),
            run AS (
                INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, actor, entities, state, started_at,
                                           finished_at, error)
                SELECT id, 'backfill', false, 'manual', '{ANA}', '{{owners}}', 'held', now(), now(),
                       '{{"code": "transient", "kind": "transient", "message": "{WHAT_IS_ANAS}", "fix": ""}}' FROM mine
                RETURNING id, connection_id
            ), entity AS (
                INSERT INTO keepstep.run_entities (run_id, entity, position, state)
                SELECT id, 'owners', 1, 'held' FROM run
            ), event AS (
                INSERT INTO keepstep.events (connection_id, run_id, type, level, entity, msg)
                SELECT connection_id, id, 'run-failed', 'error', 'owners', '{WHAT_IS_ANAS}' FROM run
            ), held AS (
                INSERT INTO keepstep.held_deletions (run_id, entity, connection_id, live_rows, delete_rows, table_state)
                SELECT id, 'owners', connection_id, 10, 9, '{WHAT_IS_ANAS}' FROM run
            ), grouped AS (
                INSERT INTO keepstep.error_groups (connection_id, fingerprint, code, message, fix, run_ids)
                SELECT connection_id, 'f', 'transient', '{WHAT_IS_ANAS}', '', ARRAY[id] FROM run
            ), alert AS (
                INSERT INTO keepstep.alerts (connection_id, rule, severity, title, detail, impact, fix, since)
                SELECT connection_id, 'reconnect', 'warning', '{WHAT_IS_ANAS}', '', '', '', now() FROM run
            ), letter AS (
                INSERT INTO keepstep.dead_letters (connection_id, entity, record_key, kind, reason, payload,
                                                   payload_hash, run_id)
                SELECT connection_id, 'owners', 'key', 'value', '{WHAT_IS_ANAS}', '{WHAT_IS_ANAS}', 'hash', id FROM run
                RETURNING id
            ) SELECT run.id AS run, letter.id AS letter FROM run, letter""")
        await site.sql("INSERT INTO keepstep.held_keys (run_id, entity, key) VALUES (%s, 'owners', %s)",
                       row["run"], WHAT_IS_ANAS)  # fmt: skip
        [user] = await site.sql("SELECT id FROM keepstep.users WHERE owner_id = %s", ANA)
        self.run, self.letter, self.user = row["run"], row["letter"], user["id"]

    @staticmethod
    def header(owner: str, role: Role) -> dict[str, str]:
        return bearer(token(subject=owner, app_metadata={"keepstep_role": role.value}))

    def path(self, door: Door) -> str:
        """The address with Ana's ids in it."""
        known = {
            "run_id": self.run,
            "letter_id": self.letter,
            "letter_id:int": self.letter,
            "user_id": self.user,
            "token_id": 1,
            "integration": "doorloop",
            "variable": "KEEPSTEP_STALE_AFTER_HOURS",
            "type": "orders",
        }
        return re.sub(r"\{([^}]*)\}", lambda found: str(known.get(found[1], "1")), door.path)

    def bodies(self, door: Door) -> list[dict[str, Any]]:
        """What is sent, with Ana's ids wherever one can stand."""
        owned = {"integration": "doorloop", "owner": ANA}
        return {
            "/api/admin/sync/dlq/requeue": [{"id": self.letter}, {"ids": [self.letter]}, {"all": True}],
            "/api/admin/sync/dlq/discard": [{"ids": [self.letter], "reason": "x"}, {"entity": "owners", "reason": "x"}],
            "/api/admin/sync/runs/{run_id}/held": [{"action": "approve", "reason": "x"},
                                                   {"action": "discard", "reason": "x"}],
            "/api/logos-vision/auto-sync/config": [{"workspace_id": ANA, "enabled": False}],
            "/api/admin/owners/pause": [{**owned, "reason": "x"}],
            "/api/admin/owners/resume": [owned],
            "/api/admin/owners/run": [owned],
            "/api/connections/mail/imap": [{"address": "x@example.test", "password": "x", "host": "127.0.0.1"}],
            "/api/admin/sync/run": [{"entities": ["owners"], "mode": "delta"}],
        }.get(door.path, [{}])  # fmt: skip

    def queries(self, door: Door) -> list[dict[str, str]]:
        """What stands behind the question mark."""
        mine = {"runId": str(self.run), "before": str(self.run + 1000), "entity": "owners"}
        if door.path.startswith("/api/connections/"):
            return [{}, mine, {"user": ANA}]
        return [{}, mine, {"workspace_id": ANA}, {"search": ANA}] if door.method == "GET" else [{}]

    async def all_of_anas(self) -> dict[str, Any]:
        """Everything that belongs to Ana, as the tables hold it."""
        found = {}
        for table in ("runs", "events", "dead_letters", "held_deletions", "schedules", "error_groups", "alerts"):
            found[table] = await self.site.sql(
                f"SELECT * FROM keepstep.{table} WHERE connection_id IN"
                f" (SELECT id FROM keepstep.connections WHERE owner_id = '{ANA}') ORDER BY 1"
            )
        found["connections"] = await self.site.sql("SELECT * FROM keepstep.connections WHERE owner_id = %s", ANA)
        found["users"] = await self.site.sql("SELECT id, name, role FROM keepstep.users WHERE owner_id = %s", ANA)
        return found


@pytest.fixture
async def stage(dsn: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with served(dsn, tmp_path, KEEPSTEP_JWT_SECRET=SECRET, DOORLOOP_API_KEY="k" * 30,
                      DOORLOOP_BASE_URL="http://127.0.0.1:9/api") as site:  # fmt: skip
        stage = Stage(site)
        await stage.prepare()
        yield stage


@pytest.mark.parametrize("role", [Role.USER, Role.OPERATOR])  # what a viewer may is a part of what an operator may
async def test_no_route_gives_or_changes_what_belongs_to_another_user(stage: Stage, role: Role) -> None:
    before, tried = await stage.all_of_anas(), 0
    header = stage.header(BEN, role)
    for door in doors(stage.site.app):
        if door.role is None or door.path == STREAM:
            continue
        for query in stage.queries(door):
            for body in stage.bodies(door) if door.method in ("POST", "PUT", "PATCH") else [None]:
                answer = await stage.site.nobody.request(
                    door.method, stage.path(door), params=query, json=body, headers=header, follow_redirects=False
                )
                assert answer.status_code < 500, (door, query, body, answer.text)
                echoed = 1 if ANA in query.values() else 0  # what was asked may be said again
                text = answer.text.replace(ANA, "", echoed)
                assert WHAT_IS_ANAS not in text, (door, query, body, answer.text[:2000])
                assert ANA not in text or door.path in SEEN_BY_ADMINS, (door, query, body, answer.text[:2000])
                tried += 1
    assert tried > 150
    assert await stage.all_of_anas() == before


async def test_whoever_it_belongs_to_sees_it_and_so_does_an_administrator(stage: Stage) -> None:
    own = stage.header(ANA, Role.USER)
    sync = "/api/admin/sync"
    for path in (f"{sync}/runs", f"{sync}/runs/{stage.run}", f"{sync}/dlq", f"{sync}/dlq/{stage.letter}",
                 f"{sync}/logs"):  # fmt: skip
        for client, headers in ((stage.site.nobody, own), (stage.site.admin, {})):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 200, (path, answer.text)
            assert WHAT_IS_ANAS in answer.text, path
    for path in (f"{sync}/held", f"{sync}/errors", "/api/admin/alerts"):
        assert WHAT_IS_ANAS in (await stage.site.admin.get(path)).text, path
        assert (await stage.site.nobody.get(path, headers=own)).status_code == 403, path


async def test_a_user_sees_nothing_that_is_shared(stage: Stage) -> None:
    await shared_event(stage, "of the company")
    answers = {
        role: (await stage.site.nobody.get("/api/admin/sync/logs", headers=stage.header(BEN, role))).text
        for role in (Role.USER, Role.VIEWER)
    }

    assert ("of the company" in answers[Role.USER], "of the company" in answers[Role.VIEWER]) == (False, True)


async def shared_event(stage: Stage, words: str, owner: str | None = None) -> None:
    async with stage.site.connection() as connection, connection.transaction():
        await connection.execute(
            "WITH run AS (INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state,"
            " started_at, finished_at) SELECT id, 'delta', false, 'manual', '{}', 'succeeded', now(), now()"
            " FROM keepstep.connections WHERE owner_id IS NOT DISTINCT FROM %s AND integration = 'doorloop'"
            " RETURNING id, connection_id)"
            " INSERT INTO keepstep.events (connection_id, run_id, type, level, msg)"
            " SELECT connection_id, id, 'note', 'info', %s FROM run",
            [owner, words],
        )
        await connection.execute("SELECT pg_notify('keepstep', '')")


@asynccontextmanager
async def listening(
    stage: Stage, headers: dict[str, str], params: dict[str, str] | None = None, last: str = ""
) -> AsyncIterator["asyncio.Queue[str]"]:
    """What a browser hears, line by line; the first is where it stands."""
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen(answer: httpx.Response) -> None:
        async for one in answer.aiter_lines():
            await heard.put(one)

    more = {"last-event-id": last} if last else {}
    async with stage.site.nobody.stream("GET", STREAM, params=params, headers={**headers, **more}) as answer:
        assert answer.status_code == 200
        listener = asyncio.create_task(listen(answer))
        try:
            while not (await asyncio.wait_for(heard.get(), 20)).startswith("id:"):
                pass
            yield heard
        finally:
            listener.cancel()


async def until(heard: "asyncio.Queue[str]", words: str) -> str:
    """Everything that is heard until something is."""
    all_of_it = ""
    async with asyncio.timeout(20):
        while words not in all_of_it:
            all_of_it += await heard.get() + "\n"
    return all_of_it


@pytest.mark.parametrize("role", [Role.USER, Role.VIEWER, Role.OPERATOR])
async def test_the_live_log_tells_nobody_of_another_users_runs(stage: Stage, role: Role) -> None:
    header = stage.header(BEN, role)
    async with listening(stage, header) as heard, listening(stage, header, {"runId": str(stage.run)}) as filtered:
        await shared_event(stage, WHAT_IS_ANAS, ANA)
        await shared_event(stage, "of the company")
        await shared_event(stage, "bens own", BEN)
        told = await until(heard, "bens own")
    async with listening(stage, header, last="1") as heard:
        await shared_event(stage, WHAT_IS_ANAS, ANA)
        await shared_event(stage, "bens last", BEN)
        caught_up = await until(heard, "bens last")

    assert WHAT_IS_ANAS not in told + caught_up
    assert ("of the company" in told) == (role is not Role.USER)
    assert all("data:" not in filtered.get_nowait() for _ in range(filtered.qsize()))


async def test_the_live_log_tells_a_user_of_their_own_and_an_administrator_of_all(stage: Stage) -> None:
    admin = {"authorization": stage.site.admin.headers["authorization"]}
    async with listening(stage, stage.header(ANA, Role.USER)) as own, listening(stage, admin) as everything:
        await shared_event(stage, WHAT_IS_ANAS, ANA)
        await shared_event(stage, "bens own", BEN)
        await until(everything, "bens own")
        assert WHAT_IS_ANAS in await until(own, WHAT_IS_ANAS)
