"""Settings that are well-formed each, and odd together or for what they are for."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from pydantic import SecretStr

from keepstep.config.rules import minutes_of
from keepstep.config.settings import Settings, quoted
from keepstep.config.variable import Problem
from keepstep.service.sync_types import SEEDS

SHORTEST_SECRET = 16
_SMALL_PAGE = 20
_SHORT_PING = 1.0


def oddities(settings: Settings) -> tuple[Problem, ...]:
    """What will not do what somebody expects of it. None of the sentences holds a secret."""
    return tuple(
        problem
        for look in (_schedule, _requests, _secrets, _sync_types)
        for problem in look(settings)
    )  # fmt: skip


def unknown_entities(settings: Settings, known: Iterable[str]) -> tuple[Problem, ...]:
    """A problem for each name in ``SYNC_ENTITIES`` that no entity in ``known`` has. They are left out of runs."""
    known = tuple(known)
    problems = []
    for name in settings.sync_entities:
        if name in known:
            continue
        close = get_close_matches(name, known, n=1)
        fix = f"Did you mean {close[0]}? " if close else ""
        message = f"SYNC_ENTITIES names {quoted(name)}, which is no entity; it is left out."
        problems.append(Problem("SYNC_ENTITIES", message, f"{fix}Known are {', '.join(known)}."))
    return tuple(problems)


def _sync_types(settings: Settings) -> Iterator[Problem]:
    for name in minutes_of(settings.sync_intervals):
        if name not in SEEDS:
            fix = f"Known are {', '.join(SEEDS)}."
            yield Problem("SYNC_INTERVALS", f"SYNC_INTERVALS names {quoted(name)}, which is no sync type.", fix)


def _schedule(settings: Settings) -> Iterator[Problem]:
    is_off = "AUTO_SYNC_ENABLED" in settings.locked and not settings.auto_sync_enabled
    if is_off and settings.auto_sync_full_at_hour_utc is not None:
        yield Problem(
            "AUTO_SYNC_FULL_AT_HOUR_UTC",
            "AUTO_SYNC_FULL_AT_HOUR_UTC is set, but AUTO_SYNC_ENABLED is false: no nightly full run comes.",
            "Set AUTO_SYNC_ENABLED=true.",
        )
    if settings.auto_sync_enabled and settings.stale_after_hours * 60 < 2 * settings.auto_sync_interval_minutes:
        yield Problem(
            "AUTO_SYNC_INTERVAL_MINUTES",
            f"AUTO_SYNC_INTERVAL_MINUTES is {settings.auto_sync_interval_minutes}: two intervals are longer than "
            f"KEEPSTEP_STALE_AFTER_HOURS ({settings.stale_after_hours:g}), so an alert comes although all is well.",
            "Run more often, or raise KEEPSTEP_STALE_AFTER_HOURS.",
        )


def _requests(settings: Settings) -> Iterator[Problem]:
    size = settings.doorloop_page_size
    if size < _SMALL_PAGE:
        yield Problem(
            "DOORLOOP_PAGE_SIZE",
            f"DOORLOOP_PAGE_SIZE is {size}: 1,000 records take {-(-1000 // size):,} of the 500 requests an hour.",
            "Set DOORLOOP_PAGE_SIZE=100, or more; 1000 is the most.",
        )
    if 0 < settings.ping_every_minutes < _SHORT_PING:
        count = 60 / settings.ping_every_minutes
        yield Problem(
            "KEEPSTEP_PING_EVERY_MINUTES",
            f"KEEPSTEP_PING_EVERY_MINUTES is {settings.ping_every_minutes:g}: {count:,.0f} requests an hour.",
            "Set KEEPSTEP_PING_EVERY_MINUTES=5; every run proves the connection too.",
        )


def _secrets(settings: Settings) -> Iterator[Problem]:
    given: list[tuple[str, SecretStr | None]] = [("ADMIN_SYNC_TOKEN", settings.admin_token)]
    given += [("KEEPSTEP_SECRET_KEY", key) for key in settings.secret_keys[:1]]
    given += [("KEEPSTEP_JWT_SECRET", settings.jwt_secret)]
    for name, secret in given:
        if secret is not None and len(secret.get_secret_value()) < SHORTEST_SECRET:
            yield Problem(
                name, f"{name} has fewer than {SHORTEST_SECRET} characters and could be guessed.",
                f"Make one with: openssl rand -hex 32, and set {name} to it.",
            )  # fmt: skip
