"""The settings as they are in effect once people have chosen some of them."""

from collections.abc import Mapping
from datetime import timedelta

from pydantic import SecretStr

from keepstep.alerts.alerter import Arrangement, Channel
from keepstep.alerts.channels import Apprise, Teams
from keepstep.alerts.rules import Thresholds
from keepstep.config import rules
from keepstep.config.display import describe
from keepstep.config.settings import VARIABLES, Settings
from keepstep.dispatch.janitor import Keep
from keepstep.service.settings import Effective
from keepstep.service.setup import SettingLine

_FIELDS = {about.name: field for field, about in VARIABLES.items()}
_BEFORE_A_START = (
    "DATABASE_URL", "KEEPSTEP_DIRECT_DATABASE_URL", "KEEPSTEP_HOME", "KEEPSTEP_HOST", "KEEPSTEP_PORT",
    "KEEPSTEP_SECRET_KEY", "ADMIN_SYNC_TOKEN", "KEEPSTEP_JWT_SECRET", "KEEPSTEP_JWT_JWKS_URL", "KEEPSTEP_JWT_ISSUER",
    "KEEPSTEP_JWT_AUDIENCE", "KEEPSTEP_JWT_ROLE_CLAIM", "KEEPSTEP_ALLOWED_ORIGINS",
)  # fmt: skip
_OF_THE_SCHEDULE = ("AUTO_SYNC_ENABLED", "AUTO_SYNC_INTERVAL_MINUTES", "AUTO_SYNC_FULL_AT_HOUR_UTC", "SYNC_ENTITIES")
_ELSEWHERE = {
    "SYNC_INTERVALS": "People choose with POST /api/sync/intervals/TYPE.",
    **dict.fromkeys(_BEFORE_A_START, "Only the environment can give it, before a start."),
    **dict.fromkeys(("ERP_USERNAME", "ERP_PASSWORD"), "Store them with PUT /api/admin/integrations/erp/credentials."),
    "DOORLOOP_API_KEY": "Store it with PUT /api/admin/integrations/doorloop/credentials.",
    **dict.fromkeys(_OF_THE_SCHEDULE, "It belongs to the schedule: change it with PUT /api/admin/sync/schedule."),
}
"""Variables that are not changed as settings, and where they come from instead."""
EDITABLE = frozenset(_FIELDS) - frozenset(_ELSEWHERE)
_TAKEN = EDITABLE | frozenset(_OF_THE_SCHEDULE)


def in_effect(settings: Settings, chosen: Mapping[str, str]) -> Settings:
    """The settings with what was chosen, where the environment gave nothing. What cannot be taken is left out."""
    usable = {name: text for name, text in chosen.items() if name in _TAKEN and name not in settings.locked}
    taken = Settings.load(usable)
    refused = {problem.variable for problem in taken.problems}
    fields = (_FIELDS[name] for name in usable if name not in refused)
    return settings.model_copy(update={field: getattr(taken, field) for field in fields})


def effective(settings: Settings) -> Effective:
    """Those that what goes on depends on."""
    return Effective(
        allow_backfill=settings.allow_manual_backfill,
        stale_after=timedelta(hours=settings.stale_after_hours),
        webhook=settings.teams_webhook.get_secret_value() if settings.teams_webhook else "",
        ping_every=timedelta(minutes=settings.ping_every_minutes) if settings.ping_every_minutes else None,
        keep=Keep.for_days(
            runs=settings.keep_runs_days,
            events=settings.keep_events_days,
            audit=settings.keep_audit_days,
            documents=settings.keep_documents_days,
        ),
        arrangement=Arrangement(
            thresholds=Thresholds(timedelta(hours=settings.stale_after_hours), settings.alert_dead_letters),
            channels=_channels(settings),
            quiet=rules.quiet_hours(settings.quiet_hours_utc),
            link=f"{public_address(settings)}/systems/integrations",
        ),
    )


def public_address(settings: Settings) -> str:
    """Where people reach the page: what they say, or where it is served."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _channels(settings: Settings) -> tuple[Channel, ...]:
    found: list[Channel] = []
    if settings.teams_webhook:
        found.append(Teams(settings.teams_webhook.get_secret_value()))
    if settings.apprise_urls:
        found.append(Apprise(rules.split(settings.apprise_urls.get_secret_value())))
    return tuple(found)


def refusal(variable: str, text: str) -> tuple[str, str] | None:
    """Why a text is no value of a variable, and what to write instead; None when it is one."""
    if not text.strip():
        return f"{variable} needs a value.", "Give one, or remove the setting to go back to its default."
    for problem in Settings.load({variable: text}).problems:
        if problem.variable == variable:
            return problem.message.partition("; in effect")[0].rstrip(".") + ".", problem.fix
    return None


def is_secret(variable: str) -> bool:
    """Whether a variable holds a secret."""
    annotation = Settings.model_fields[_FIELDS[variable]].annotation
    return "SecretStr" in str(annotation) or annotation is SecretStr


def lines(settings: Settings, chosen: Mapping[str, str]) -> list[SettingLine]:
    """Every variable as it is in effect, masked."""
    return [
        SettingLine(
            variable=line.variable,
            value=line.value,
            source=_source(settings, line.variable, chosen),
            note=line.note or ("" if line.variable in settings.locked else _ELSEWHERE.get(line.variable, "")),
            locked=line.variable in settings.locked,
            editable=line.variable in EDITABLE and line.variable not in settings.locked,
            secret=is_secret(line.variable),
            meaning=line.meaning,
            accepts=line.accepts,
        )
        for line in describe(in_effect(settings, chosen))
    ]


def _source(settings: Settings, variable: str, chosen: Mapping[str, str]) -> str:
    if variable in settings.locked:
        return "environment"
    is_taken = variable in chosen and variable in _TAKEN and refusal(variable, chosen[variable]) is None
    return "database" if is_taken else "default"
