"""Gathers the facts for ``keepstep doctor``: this machine, the database, upstream. Changes nothing."""

import platform
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from keepstep.model.integration import Integration
from keepstep.service import doctor
from keepstep.service.core import Service
from keepstep.service.doctor import Finding, Life
from keepstep.service.readiness import SILENCE
from keepstep.service.setup import Advice
from keepstep.store import troubles, vitals
from keepstep.store.db import Database, NoSession
from keepstep.store.migrate import migrations, pending


def look_around(home: Path, warnings: Sequence[Advice]) -> list[Finding]:
    """What can be seen without the database and upstream."""
    existing = next(place for place in (home, *home.parents) if place.exists())
    return [
        doctor.program(sys.version_info[:3], platform.system()),
        *doctor.settings(warnings),
        doctor.space(home, shutil.disk_usage(existing).free),
    ]


async def look_at_database(service: Service) -> list[Finding]:
    """The database, its tables, and what waits in them."""
    async with service.database.connection() as connection:
        facts = await vitals.server(connection)
        found = doctor.database(facts, embedded=service.embedded, now=datetime.now(UTC))
        found += await ways(service.database)
        missing = await pending(connection)
        newer = not missing and await vitals.migrated_to(connection) > migrations()[-1].version
        found.append(doctor.migrations(len(missing), newer=newer))
        if missing:
            return found
        stuck = await vitals.stuck_runs(connection)
        signs = await vitals.signs(connection)
        workers = await vitals.workers(connection, patience=SILENCE.total_seconds())
        wanted = await vitals.is_work_expected(connection)
        refused = [row["answer"] for row in await troubles.undelivered(connection)]
    stored, unreadable = await service.credentials.unreadable()
    letters = (await service.views.dead_letters(limit=1)).count
    return [
        *found,
        doctor.secret_key(unreadable, stored),
        *doctor.life(Life(signs["now"], signs["tick"], workers, wanted)),
        doctor.webhook((await service.preferences.effective()).webhook, refused),
        *doctor.runs(stuck=stuck, letters=letters, held=await service.views.held()),
    ]


async def ways(database: Database) -> list[Finding]:
    """Whether a transaction pooler stands where a session is needed. Raises ``StoreError``."""
    try:
        await database.require_sessions()
    except NoSession as error:
        return [Finding(name="pooler", state="warning", message=error.message, fix=error.fix)]
    return []


async def look_at_upstream(integration: Integration, entities: Sequence[str]) -> list[Finding]:
    """Whether upstream answers, what time it is there, and whether the key may read each entity: a request for each."""
    ping = await integration.ping()
    found = [doctor.upstream(integration.title, ping), *doctor.clock(f"{integration.title}'s", ping.clock_ahead)]
    if not ping.authenticated:
        return found
    checks = {name: await integration.check(name) for name in entities}
    return [*found, *doctor.entities(integration.title, checks)]
