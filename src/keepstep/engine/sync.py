"""One entity of one run: read a batch, write it, tell, next."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from keepstep.engine.batches import Batch, batches
from keepstep.engine.mapping import Mapping
from keepstep.engine.sinks import Outcome, Progress, Sink
from keepstep.model.integration import Entity, Integration
from keepstep.model.run import Counts, Policy
from keepstep.reliability.tracing import span


async def sync_entity(
    integration: Integration,
    entity: Entity,
    mapping: Mapping,
    sink: Sink,
    policy: Policy,
    wrote: Callable[[Batch, Counts, Progress], None],
) -> Outcome:
    """Bring one table in step. ``wrote`` hears of every committed batch, and may raise to end the run there."""
    reading, progress = await sink.open()
    while True:
        pages = integration.read(entity, reading)
        async with aclosing(batches(pages, mapping, rows=policy.flush_rows, seconds=policy.flush_seconds)) as source:
            async for batch in source:
                with span("flush", rows=batch.rows, pages=len(batch.pages)):
                    counts = await sink.write(batch, progress)
                wrote(batch, counts, progress)
        outcome = await sink.close(progress)
        if outcome is not None:
            return outcome
        reading = replace(reading, cursor=None)
