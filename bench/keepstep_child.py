"""What ``keepstep run doorloop leases --mode MODE`` does, metered. Arguments: the mode, a file for a profile."""

import cProfile
import sys
from typing import Any

from bench.child import metered
from keepstep.app import App
from keepstep.cli.signals import drive
from keepstep.config import Settings
from keepstep.model.integration import Mode
from keepstep.model.run import RunRequest


async def run(mode: Mode) -> dict[str, Any]:
    """One run; what it counted."""
    async with App(Settings.load()).open() as service:
        summary = await service.commands.run("doorloop", RunRequest(("leases",), mode))
    leases = summary.entities[0]
    if summary.result != "succeeded" or leases.dead_lettered:
        raise SystemExit(f"the run ended {summary.result} with {leases.dead_lettered} dead letters: {summary.error}")
    return {
        "rows": leases.rows,
        "inserted": leases.inserted,
        "updated": leases.updated,
        "unchanged": leases.unchanged,
        "deleted": leases.deleted,
    }


def main(mode: Mode, profile: str | None) -> None:
    """Meter one run."""
    profiler = cProfile.Profile()
    with metered() as told:
        if profile:
            profiler.enable()
        told |= drive(run(mode))
        profiler.disable()
    if profile:
        profiler.dump_stats(profile)


if __name__ == "__main__":
    main(Mode(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
