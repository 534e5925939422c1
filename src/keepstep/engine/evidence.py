"""What a look at the whole listing says about rows that it did not see: the numbers of ``guard.py``, as they stand."""

from dataclasses import dataclass

from keepstep.engine.guard import Deletions, Proof, are_many, decide, prove
from keepstep.engine.sinks import Progress
from keepstep.model.errors import ChangesLost
from keepstep.model.integration import Entity
from keepstep.model.run import Policy
from keepstep.store.arrays import TextArray
from keepstep.store.db import Connection
from keepstep.store.records import Destination
from keepstep.store.seen import SeenKeys


@dataclass(frozen=True, slots=True)
class Evidence:
    """The end of a look.

    ``missing`` rows it did not see. ``gone`` of them may be deleted: those that no look has seen from number ``since``
    on. ``live``: all live rows, where that matters.
    """

    proof: Proof
    decision: Deletions
    missing: int
    gone: int
    since: int
    live: int


async def weigh(
    connection: Connection,
    seen: SeenKeys,
    destination: Destination | None,
    entity: Entity,
    policy: Policy,
    progress: Progress,
) -> Evidence:
    """Count what this look and those before it did not see, and decide. ``destination``: None where no table is."""
    look = progress.look
    proven = progress.proven if await seen.intact(connection) else 0  # a server crash empties the table of seen keys
    since = proven or look if entity.can_shift else look
    missing = gone = live = 0
    if destination is not None:
        missing = gone = await seen.count_unseen(connection, destination, look)
        if missing:
            live = await destination.live_rows(connection)
            if since < look:
                gone = await seen.count_unseen(connection, destination, since)
    proof = prove(progress.tallies, await seen.distinct(connection, look))
    decision = decide(
        proof, missing=missing, gone=gone, live=live, look=progress.whole_looks + 1, proven_before=proven > 0,
        can_shift=entity.can_shift, percent=policy.drop_percent, floor=policy.drop_floor,
    )  # fmt: skip
    return Evidence(proof, decision, missing, gone, since, live)


async def refuse_many(
    connection: Connection, destination: Destination, policy: Policy, keys: TextArray, *, before: int
) -> None:
    """Raise ``ChangesLost`` where a delta would delete so many rows that a person is to decide.

    Only a full reading, with its proof, can hold deletions. ``before``: what this delta has deleted already.
    """
    gone = before + len(await destination.live_among(connection, keys))
    if gone <= policy.drop_floor:
        return
    live = before + await destination.live_rows(connection)
    if are_many(gone, live, percent=policy.drop_percent, floor=policy.drop_floor):
        facts = {"path": destination.entity.name, "detail": f"{gone} of {live} records are gone at once"}
        raise ChangesLost.named("changes-lost", facts=facts)
