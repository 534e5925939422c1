"""Where all processes ask for the right to send: one row for each connection, decided about in one transaction."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from keepstep.model.errors import StoreError
from keepstep.reliability.politeness import Ask, Cause, Decision, Rules, Wait
from keepstep.reliability.shared_pacer import Reply, SharedPacer
from keepstep.reliability.standing import rate_standing
from keepstep.store import limits
from keepstep.store.db import Connection, Database, DatabaseAway, explain, lost
from keepstep.store.limits import Sample

PATIENCE = 60.0
"""Seconds for which a database that is away is asked again."""
EVERY = 5.0
"""Seconds between two additions to the totals, and two samples, while nothing special happens."""
WORTH_NOTING = 0.05
"""Seconds of waiting from which on a sample is taken."""
_NEWS = (Cause.BREAKER, Cause.PAUSE)


def shared_pacer(
    database: Database, integration: str, rules: Rules, *, title: str, owner: str | None = None
) -> SharedPacer:
    """The pacer of a connection. Close it with ``aclose``, after what uses it."""
    return SharedPacer(LimitsDesk(database, integration, owner), rules, title=title)


class LimitsDesk:
    """The desk of one connection. It keeps one connection to the database open while it is asked.

    An owner's borrows one for each question, where there is a pool: many owners are served at the same time, for a
    moment each.
    """

    def __init__(self, database: Database, integration: str, owner: str | None = None) -> None:
        self._database = database
        self._integration = integration
        self._owner = owner
        self._row: int | None = None
        self._connection: Connection | None = None
        self._counted = self._sampled = 0.0
        self._cause: Cause | None = None

    async def ask(self, question: Ask, rules: Rules, codes: Counter[str], waited: float) -> Reply:
        """Decide about a question; a database that is away is asked again for a minute. Raises ``StoreError``."""
        loop = asyncio.get_running_loop()
        give_up, pause = loop.time() + PATIENCE, 0.1
        counted = self._to_count(question, codes, loop.time())
        while True:
            asked = loop.time()
            try:
                reply = await self._once(question, rules, counted, waited, asked)
                self._counted = loop.time() if counted else self._counted
                return reply
            except (StoreError, psycopg.Error) as error:
                await self.close()
                passing = isinstance(error, DatabaseAway) or lost(error)
                if not passing or asked + pause > give_up:
                    raise error if isinstance(error, StoreError) else explain(error) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def close(self) -> None:
        """Close the connection to the database."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _once(self, question: Ask, rules: Rules, counted: Counter[str], waited: float, asked: float) -> Reply:
        """One question in one transaction. Its number tells a repeated one, whose report counts once."""
        async with self._lent() as connection:
            row = self._row = self._row or await limits.number_of(connection, self._integration, self._owner)
            async with connection.transaction():
                decision, now = await limits.ask(connection, row, rules, question)
                sample = self._sample(question, decision, rules, waited, now)
                if decision.fresh and sample is not None:
                    await limits.take_down(connection, row, sample)
                if decision.fresh and counted:
                    await limits.count_requests(connection, self._integration, counted)
        self._sampled = now if sample is not None else self._sampled
        self._cause = decision.answer.cause if isinstance(decision.answer, Wait) else None
        return Reply(decision.answer, now, asked, counted, sampled=sample is not None)

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        if self._owner is not None and self._database.has_pool:
            async with self._database.connection() as connection:
                yield connection
            return
        if self._connection is None:
            self._connection = await self._database.open(name="keepstep limits")
            self._connection.prepare_threshold = None  # it may come through a transaction pooler
        yield self._connection

    def _to_count(self, question: Ask, codes: Counter[str], now: float) -> Counter[str]:
        """Now and then, and when there is nothing more to do."""
        over = not question.waiting and not question.busy
        return +codes if over or now >= self._counted + EVERY else Counter()

    def _sample(self, question: Ask, decision: Decision, rules: Rules, waited: float, now: float) -> Sample | None:
        """Now and then when there is something to tell; always when upstream or the breaker says no."""
        waits = decision.answer.cause if isinstance(decision.answer, Wait) else None
        special = question.report.refused or (waits in _NEWS and waits is not self._cause)
        usual = (question.report.heard or waited >= WORTH_NOTING) and now >= self._sampled + EVERY
        if not special and not usual:
            return None
        cause = waits or self._cause
        limit = rate_standing(decision.state, rules, now)
        return Sample(limit, round(waited * 1000), "answer" if cause is None else cause.value)
