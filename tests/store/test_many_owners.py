"""What looks at the owners finds what it looks for, however many others there are: told by plans, not by a watch."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.support import crowd

from keepstep.store import accounts, admin, alerts, owners, vitals
from keepstep.store.db import Connection
from keepstep.store.queries import queries

OWNERS, SHOWN = 4000, 50
NOTHING = {
    "integration": None, "owner": None, "state": None, "failing": False, "search": None, "after": None, "limit": SHOWN,
    "users": False, "among": None,
}  # fmt: skip


@pytest.fixture
async def connection(connection: Connection) -> AsyncIterator[Connection]:
    """One to a database in which there are some thousand owners, and one connection that all share."""
    await crowd.gather(connection, OWNERS)
    await connection.execute("INSERT INTO keepstep.connections (integration) VALUES ('doorloop')")
    await connection.execute("VACUUM (ANALYZE)")
    yield connection


async def rows_read(connection: Connection, file: str, name: str, values: dict[str, Any]) -> dict[str, int]:
    """How many rows of each table a query has looked at, those that it left out included."""
    statement = b"EXPLAIN (ANALYZE, FORMAT JSON) " + queries(file)[name]
    row = await (await connection.execute(statement, values, prepare=False)).fetchone()
    assert row is not None
    found: dict[str, int] = {}
    for node in _nodes(row["QUERY PLAN"][0]["Plan"]):
        table = node.get("Relation Name")
        if table is not None:
            seen = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            found[table] = found.get(table, 0) + round(seen * node["Actual Loops"])
    return found


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


async def far(connection: Connection) -> int:
    """The owner before the last page."""
    order = "SELECT id FROM keepstep.connections WHERE owner_id IS NOT NULL ORDER BY integration DESC, owner_id DESC"
    row = await (await connection.execute(f"{order} OFFSET {SHOWN} LIMIT 1".encode())).fetchone()
    assert row is not None
    return int(row["id"])


async def test_a_page_of_the_list_reads_what_it_shows_and_a_page_far_behind_does_too(connection: Connection) -> None:
    for chosen in ({}, {"after": await far(connection)}, {"integration": "mail"}, {"state": "connected"}):
        read = await rows_read(connection, "owners", "list", {**NOTHING, **chosen})
        assert max(read.values()) <= 2 * SHOWN, (chosen, json.dumps(read))


async def test_those_with_whom_something_is_the_matter_are_found_without_the_others(connection: Connection) -> None:
    for chosen in ({"state": "needs-reconnect"}, {"state": "paused"}, {"state": "needs-connecting"}):
        read = await rows_read(connection, "owners", "list", {**NOTHING, **chosen})
        assert read["connections"] <= OWNERS // 20, (chosen, json.dumps(read))


async def test_who_is_searched_for_is_found_without_looking_at_the_others(connection: Connection) -> None:
    for search, most in (("user 777 of", 12), ("nobody at all", 0)):
        sought = {"search": search, "integration": None, "most": 2000}
        read = await rows_read(connection, "owners", "sought", sought)
        assert read["users"] + read["connections"] <= most, (search, json.dumps(read))
    [found] = await owners.select(connection, search="user 777 of")
    read = await rows_read(connection, "owners", "list", {**NOTHING, "among": [found["id"]]})
    assert max(read.values()) == 1, json.dumps(read)


async def test_a_search_of_two_letters_looks_at_each_owner_once_and_at_no_schedule_of_others(
    connection: Connection,
) -> None:
    read = await rows_read(connection, "owners", "list", {**NOTHING, "search": "\u00df\u00df"})
    assert read["schedules"] + read["schedule_times"] + read["owner_standing"] == 0
    assert read["connections"] + read["users"] <= 2 * OWNERS + SHOWN


async def test_a_search_finds_the_same_however_many_it_finds(connection: Connection) -> None:
    """One letter, few by their groups of letters, and so many that the list is walked: each against plain SQL."""
    plain = (
        "SELECT count(*) AS n FROM keepstep.connections c LEFT JOIN keepstep.users u USING (owner_id)"
        " WHERE c.owner_id IS NOT NULL AND (%(integration)s::text IS NULL OR c.integration = %(integration)s) AND"
        " (c.owner_id ILIKE %(like)s OR c.workspace ILIKE %(like)s OR u.name ILIKE %(like)s)"
    )
    for search in ("7", "user 7", "TEAM 13", "workspace 12", "example", "0\u00df", "r 13 of team"):
        for integration in (None, "mail"):
            given = {"like": f"%{search}%", "integration": integration}
            row = await (await connection.execute(plain.encode(), given)).fetchone()
            found: list[int] = []
            while page := await owners.select(
                connection, search=search, integration=integration, after=found[-1] if found else None, limit=499
            ):
                found += [line["id"] for line in page]
            assert row is not None
            assert len(found) == len(set(found)) == row["n"], search


async def test_owners_are_found_by_a_part_of_their_name_their_id_and_their_workspace(connection: Connection) -> None:
    [named] = await owners.select(connection, search="USER 777 of")
    [by_id] = await owners.select(connection, search=named["owner"][3:30].upper())
    at_work = await owners.select(connection, search=named["workspace"], limit=500)

    assert by_id["id"] == named["id"]
    assert named["id"] in {row["id"] for row in at_work}
    assert await owners.select(connection, search="nobody") == []


async def test_the_list_page_by_page_is_everybody_once(connection: Connection) -> None:
    found: list[int] = []
    while page := await owners.select(connection, after=found[-1] if found else None, limit=777):
        found += [row["id"] for row in page]
    assert len(found) == len(set(found)) == OWNERS


async def test_states_are_counted_without_reading_the_owners(connection: Connection) -> None:
    plan = str(
        await (await connection.execute(b"EXPLAIN " + queries("owners")["counts"], {"integration": None})).fetchall()
    )
    assert "Index Only Scan using connections_states" in plan


async def test_the_alerter_looks_at_those_with_whom_something_is_the_matter(connection: Connection) -> None:
    read = await rows_read(connection, "alerts", "facts", {"patience": 3600.0})
    pings = await rows_read(connection, "alerts", "pings", {})
    facts = await alerts.facts(connection, patience=3600.0)

    assert max(read.values()) <= OWNERS // 20, json.dumps(read)
    assert pings["connections"] == 1
    assert len([row for row in facts if row["owner_id"]]) < OWNERS // 20


async def test_a_thousand_alerts_that_stand_as_they_stood_are_not_written_again(connection: Connection) -> None:
    ids = [row["id"] for row in await owners.select(connection, limit=1000)]
    words = {"severity": "warning", "title": "t", "detail": "d", "impact": "i", "fix": "f"}
    now = "2026-03-01T10:00:00+00:00"
    standing = [{"connection": number, "rule": "reconnect", "since": now, **words} for number in ids]
    await alerts.begin(connection, standing)
    places = "SELECT array_agg(ctid ORDER BY id) AS places, array_agg(xmax::text) AS locks FROM keepstep.alerts"
    before = await (await connection.execute(places)).fetchone()
    await alerts.begin(connection, standing)
    after = await (await connection.execute(places)).fetchone()
    await alerts.begin(connection, [{**standing[0], "detail": "another"}])
    told = await (await connection.execute("SELECT detail, count(*) AS n FROM keepstep.alerts GROUP BY 1")).fetchall()

    assert before == after
    assert {row["detail"]: row["n"] for row in told} == {"d": 999, "another": 1}


async def test_the_shared_connection_is_found_among_all_the_others(connection: Connection) -> None:
    found = await rows_read(connection, "status", "connection", {"integration": "doorloop"})
    limits = await rows_read(connection, "limits", "current", {"integration": "mail", "owner": None})

    assert found == {"connections": 1}
    assert max(limits.values()) <= 1


async def test_breakers_are_counted_and_only_those_that_are_open_are_told_one_by_one(connection: Connection) -> None:
    opened = '{"breaker": {"failures": 5, "opened_at": 1790000000.0, "reopens_at": 1790000060.0}}'
    await connection.execute(
        "UPDATE keepstep.limits SET state = %s::jsonb WHERE connection_id IN ("
        " SELECT id FROM keepstep.connections WHERE integration = 'mail' ORDER BY id LIMIT 3)", [opened],
    )  # fmt: skip
    rows = await vitals.grouped(connection, "limits")
    counts: dict[tuple[str, bool], int] = {}
    for row in rows:
        key = (row["integration"], "reopens_at" in row["state"])
        counts[key] = counts.get(key, 0) + row["connections"]

    assert counts == {
        ("doorloop", False): 1, ("google_contacts", False): OWNERS // 2, ("mail", False): OWNERS // 2 - 3,
        ("mail", True): 3,
    }  # fmt: skip


async def test_users_are_listed_page_by_page_by_name_and_searched(connection: Connection) -> None:
    names: list[str] = []
    after = None
    while page := await accounts.users(connection, search=None, after=after, limit=1000):
        names += [row["name"] for row in page]
        after = page[-1]["id"]
    [found] = await accounts.users(connection, search="USER 777 of", after=None, limit=10)

    assert len(set(names)) == OWNERS == await accounts.count_users(connection)
    assert names == sorted(names, key=str.lower)
    assert found["name"].startswith("user 777 of")


async def test_what_people_did_is_filtered_by_the_names_of_the_newest_acts(connection: Connection) -> None:
    await connection.execute(
        'INSERT INTO keepstep.admin_logs ("user", action, payload, result)'
        " VALUES ('otto', 'owner.pause', '{}', 'done')"
    )
    users, actions = await admin.names(connection)

    assert "otto" in users
    assert len(users) <= 1000 < OWNERS
    assert actions == ["auto-sync.set", "owner.pause"]
