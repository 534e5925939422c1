"""What the pages that list something ask: a part of it, and what there is to filter by."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keepstep.service.audit import AuditEntry
from keepstep.service.core import Service
from keepstep.service.setup import Advice, SettingLine
from keepstep.service.shapes import DeadLetterSummary, RunSummary

LISTED = 50
_ELSEWHERE = "Given elsewhere"
_SETTINGS = {
    "DoorLoop": ("DOORLOOP_",),
    "Runs": ("ALLOW_MANUAL_", "KEEPSTEP_DROP_", "KEEPSTEP_BREAKER_", "KEEPSTEP_SCHEMA_", "KEEPSTEP_PING_"),
    "Alerts": (
        "INTEGRATIONS_", "KEEPSTEP_APPRISE_", "KEEPSTEP_ALERT_", "KEEPSTEP_STALE_", "KEEPSTEP_QUIET_",
        "KEEPSTEP_PUBLIC_",
    ),
    "How long things are kept": ("KEEPSTEP_KEEP_",),
    "Google and mail": ("GOOGLE_", "GMAIL_", "KEEPSTEP_MAIL_"),
    "The ERP": ("ERP_",),
}  # fmt: skip
"""What settings belong together, by how their names begin. Those that cannot be changed here come last."""


@dataclass(frozen=True, slots=True)
class LettersList:
    """Dead letters. ``count``: all that match; ``kinds``, ``entities``, ``states``: how many there are of each."""

    letters: Sequence[DeadLetterSummary]
    count: int
    entities: Mapping[str, int]
    kinds: Mapping[str, int]
    states: Mapping[str, int]
    more: bool


@dataclass(frozen=True, slots=True)
class RunsList:
    """Runs."""

    runs: Sequence[RunSummary]
    entities: Sequence[str]
    more: bool


@dataclass(frozen=True, slots=True)
class ActsList:
    """What people did."""

    acts: Sequence[AuditEntry]
    users: Sequence[str]
    actions: Sequence[str]
    more: bool


@dataclass(frozen=True, slots=True)
class SettingsList:
    """Settings, those together that belong together, and what is wrong with them."""

    groups: Mapping[str, Sequence[SettingLine]]
    warnings: Sequence[Advice]


async def letters(service: Service, *, entity: str, kind: str, state: str, before: int | None) -> LettersList:
    """Dead letters, newest first. An empty filter is none; ``state`` may be ``all``."""
    wanted = None if state == "all" else state
    page, tally = await asyncio.gather(
        service.views.dead_letters(
            entity=entity or None, reason=kind or None, state=wanted, before=before, limit=LISTED + 1
        ),
        service.views.letters_tally(),
    )
    return LettersList(
        letters=page.items[:LISTED], count=page.count, more=len(page.items) > LISTED,
        entities=_sums((one.entity, one.n) for one in tally if wanted in (None, one.state) and kind in ("", one.kind)),
        kinds=_sums((one.kind, one.n) for one in tally if wanted in (None, one.state) and entity in ("", one.entity)),
        states=_sums((one.state, one.n) for one in tally if entity in ("", one.entity) and kind in ("", one.kind)),
    )  # fmt: skip


async def runs(service: Service, *, entity: str, result: str, before: int | None) -> RunsList:
    """Runs, newest first. An empty filter is none."""
    found = await service.views.runs(entity=entity or None, result=result or None, before=before, limit=LISTED + 1)
    known = {one.name for integration in service.inspection.shared.values() for one in integration.entities}
    return RunsList(found[:LISTED], sorted(known), len(found) > LISTED)


async def acts(service: Service, *, user: str, action: str, before: int | None) -> ActsList:
    """What people did, newest first. An empty filter is none."""
    found, (users, actions) = await asyncio.gather(
        service.audit.newest(user=user or None, action=action or None, before=before, limit=LISTED + 1),
        service.audit.names(),
    )
    return ActsList(found[:LISTED], users, actions, len(found) > LISTED)


async def settings(service: Service) -> SettingsList:
    """Every setting, secrets masked."""
    setup = await service.preferences.setup()
    groups: dict[str, list[SettingLine]] = {name: [] for name in (*_SETTINGS, _ELSEWHERE)}
    for line in setup.settings:
        begins = (name for name, prefixes in _SETTINGS.items() if line.variable.startswith(prefixes))
        is_here = line.editable or line.locked
        groups[next(begins, _ELSEWHERE) if is_here else _ELSEWHERE].append(line)
    return SettingsList({name: lines for name, lines in groups.items() if lines}, setup.warnings)


def _sums(counts: Iterable[tuple[str, int]]) -> Mapping[str, int]:
    sums: Counter[str] = Counter()
    for name, count in counts:
        sums[name] += count
    return dict(sorted(sums.items()))
