"""What the page of one run asks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from keepstep.service.core import Service
from keepstep.service.shapes import HeldDeletions, RunDetail
from keepstep.service.timeline import Track, tracks

LIVE = ("queued", "running", "waiting")
_EVENTS_SHOWN = 500


@dataclass(frozen=True, slots=True)
class RunView:
    """One run. ``held``: its deletions that wait, or waited, for a decision; ``older``: not the newest is shown."""

    run: RunDetail
    tracks: Sequence[Track]
    held: Sequence[HeldDeletions]
    older: bool

    @property
    def live(self) -> bool:
        """Whether it goes on."""
        return self.run.result in LIVE


async def run_view(service: Service, run_id: int, *, before: int | None = None) -> RunView:
    """A run with its newest events, or the newest before one. Raises ``NotFound``."""
    run, waits, held = await asyncio.gather(
        service.views.run_detail(run_id, before=before, limit=_EVENTS_SHOWN),
        service.limits.waits_of_run(run_id),
        service.views.held(state=None, run_id=run_id),
    )
    return RunView(run, tracks(run, waits), held, before is not None)
