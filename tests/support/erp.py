"""A Keepstep beside an emulated ERP, in this process: what its tests ask and do."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keepstep.always_on import working
from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.integrations.erp.emulator.server import ErpEmulator
from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.model.integration import snake_case
from tests.support.site import Served, served
from tests.support.workers import until

PER_AGENT = tuple(name for name, layout in LAYOUTS.items() if layout.per_agent)
SHARED = tuple(name for name, layout in LAYOUTS.items() if not layout.per_agent)
SMALL = {"customers": 12, "orders": 9, "ddt": 7, "invoices": 8, "products": 12, "prices": 14, "polls": 0}


class Office:
    """A Keepstep that serves, and its ERP."""

    def __init__(self, site: Served, emulator: ErpEmulator) -> None:
        self.site = site
        self.emulator = emulator

    async def add(self, *codes: str) -> None:
        """Agents by hand."""
        await self.site.sql("INSERT INTO keepstep.agents (code) SELECT unnest(%s::text[])", list(codes))

    async def rows(self, report: str, agent: str = "", columns: str = "*") -> list[dict[str, Any]]:
        """The rows of a table that are one agent's, in the order of their keys; of a shared one all."""
        whose = f"owner_id = '{agent}'" if LAYOUTS[report].per_agent else "true"
        async with self.site.connection() as connection, connection.transaction():
            await connection.execute("SELECT set_config('keepstep.owner', %s, true)", [agent])
            query = f"SELECT {columns} FROM erp.{report} WHERE {whose} ORDER BY id"
            return await (await connection.execute(query.encode())).fetchall()

    async def there(self, report: str) -> bool:
        """Whether the table is there yet."""
        return (await self.site.sql(f"SELECT to_regclass('erp.{report}') IS NOT NULL AS found"))[0]["found"] is True

    async def in_step(self, report: str, agent: str = "") -> bool:
        """Whether the live rows are those of the ERP, cell by cell, decimals as they are printed."""
        if not await self.there(report):
            return False
        layout = LAYOUTS[report]
        wanted = {
            layout.key_of(row): {snake_case(name): str(value) for name, value in row.items()}
            for row in self.emulator.rows(report, agent if layout.per_agent else "")
        }
        columns = [snake_case(column.field) for column in layout.columns]
        live = [row for row in await self.rows(report, agent) if row["_deleted_at"] is None]
        return {row["id"]: {name: str(row[name]) for name in columns} for row in live} == wanted

    async def all_in_step(self, agents: Sequence[str]) -> bool:
        """Whether every table is."""
        for report in LAYOUTS:
            for agent in agents if LAYOUTS[report].per_agent else ("",):
                if not await self.in_step(report, agent):
                    return False
        return True

    async def runs(self, agent: str | None = None, *, entity: str | None = None) -> list[dict[str, Any]]:
        """The runs of an agent's connection (of the shared one where none is named), oldest first."""
        return await self.site.sql(
            "SELECT r.id, r.state, r.mode, r.trigger, r.entities, r.error, e.rows, e.deleted, e.error AS entity_error"
            " FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id"
            " LEFT JOIN keepstep.run_entities e ON e.run_id = r.id"
            " WHERE c.integration = 'erp' AND c.owner_id IS NOT DISTINCT FROM %s::text"
            " AND (%s::text IS NULL OR %s = ANY (r.entities)) ORDER BY r.id",
            agent, entity, entity,
        )  # fmt: skip

    async def idle(self) -> None:
        """Wait until nothing is queued or runs."""

        async def done() -> bool:
            rows = await self.site.sql(  # one statement: what is due becomes a run in one transaction
                "SELECT (SELECT count(*) FROM keepstep.runs WHERE state IN ('queued', 'running', 'waiting'))"
                " + (SELECT count(*) FROM keepstep.schedule_times WHERE due_at <= now()) AS n"
            )
            return bool(rows[0]["n"] == 0)

        await until(done)

    async def run_now(self, report: str, agent: str | None = None) -> dict[str, Any]:
        """Read a type now, and wait for the end of all that was queued."""
        answer = await self.site.admin.post(f"/api/sync/run/{report}", json={} if agent is None else {"agent": agent})
        assert answer.status_code == 202, answer.text
        told: dict[str, Any] = answer.json()

        async def over() -> bool:
            rows = await self.site.sql(
                "SELECT count(*) AS n FROM keepstep.runs WHERE id = ANY (%s) AND finished_at IS NULL", told["runIds"]
            )
            return bool(rows[0]["n"] == 0)

        await until(over)
        return told


@asynccontextmanager
async def office(dsn: str, home: Path, **options: Any) -> AsyncIterator[Office]:
    """Keepstep beside an emulated ERP; nothing works yet."""
    environment = options.pop("environment", {})
    emulator = ErpEmulator(EmulatorOptions(**{**SMALL, **options}))
    async with emulator.serve() as base_url:
        given = {
            "ERP_BASE_URL": base_url, "ERP_USERNAME": emulator.options.username,
            "ERP_PASSWORD": emulator.options.password, "ERP_RATE_LIMIT_RPS": "100000", "ERP_PAGE_SIZE": "50",
            "KEEPSTEP_BREAKER_THRESHOLD": "1000", **environment,
        }  # fmt: skip
        async with served(dsn, home, **{name: value for name, value in given.items() if value}) as site:
            yield Office(site, emulator)


@asynccontextmanager
async def at_work(office: Office, *, concurrency: int = 4) -> AsyncIterator[Office]:
    """The same while schedules are dispatched and runs performed."""
    async with working(office.site.service, concurrency=concurrency):
        yield office
