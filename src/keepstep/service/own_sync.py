"""What a page shows of one's own auto-sync: how it is set, how it does, and what the last runs brought."""

from dataclasses import dataclass

from keepstep.model.schedule import Identity
from keepstep.service.auto_sync import Config, Kind
from keepstep.service.core import Service
from keepstep.service.owner_lines import OwnerLine
from keepstep.service.shapes import RunSummary

_LIVE = ("queued", "running", "waiting")
_COUNTED = "contacts"
"""The entity whose records people count; its source beside it would count them twice."""
_RUNS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class OwnRun:
    """A run with what people count: ``synced`` records, and those that came and were ``skipped``."""

    run: RunSummary
    synced: int
    skipped: int

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.run.result in _LIVE


@dataclass(frozen=True, slots=True)
class OwnSync:
    """``line`` is None until something was set or connected; ``there``: whether Keepstep has the integration."""

    kind: Kind
    there: bool
    config: Config
    line: OwnerLine | None
    runs: list[OwnRun]

    @property
    def state(self) -> str:
        """That of the connection."""
        return self.line.state if self.line else "needs-connecting"

    @property
    def live(self) -> OwnRun | None:
        """The run that has not ended, if there is one."""
        return next((run for run in self.runs if run.live), None)

    @property
    def last(self) -> OwnRun | None:
        """The newest run that ended well, its deletions perhaps waiting for an administrator."""
        return next((run for run in self.runs if run.run.result in ("succeeded", "held")), None)

    @property
    def held(self) -> OwnRun | None:
        """The run whose deletions an administrator has to decide, if there is one."""
        return next((run for run in self.runs if run.run.result == "held"), None)


async def own_sync(service: Service, kind: Kind, who: Identity) -> OwnSync:
    """The auto-sync of the one who looks, and of nobody else."""
    lines = [line for line in await service.owners.of(who.owner) if line.integration == kind.integration]
    runs = await service.owners.history(kind.integration, who.owner, limit=_RUNS_SHOWN)
    return OwnSync(
        kind, kind.integration in service.auto_sync.entities, await service.auto_sync.get(kind, who),
        lines[0] if lines else None, [_counted(run) for run in runs],
    )  # fmt: skip


def _counted(run: RunSummary) -> OwnRun:
    chosen = [entity for entity in run.entities if entity.entity == _COUNTED] or run.entities
    skipped = sum(count for entity in chosen for count in entity.skipped.values())
    return OwnRun(run, sum(entity.rows for entity in chosen), skipped)
