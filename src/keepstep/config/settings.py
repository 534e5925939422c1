"""The settings, one field a variable, and how the environment becomes them."""

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, cast

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from keepstep.config import rules
from keepstep.config.erp_settings import ErpSettings
from keepstep.config.google_settings import GoogleSettings
from keepstep.config.owner_settings import OwnerSettings
from keepstep.config.variable import Problem, Variable

DEFAULT_ENTITIES = ("owners", "properties", "units", "leases", "tenants")


class Settings(ErpSettings, GoogleSettings, OwnerSettings):
    """Every setting, checked. Make it with ``Settings.load()``.

    ``locked`` holds the variables that the environment gave: they can't be edited on the page. An empty or blank one
    counts as not given. ``problems`` is in the order of the fields.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, allow_inf_nan=False
    )

    database_url: Annotated[
        SecretStr | None,
        Variable(
            "DATABASE_URL",
            "The database to keep in step: any PostgreSQL 14 or newer.",
            "postgresql:// address",
            "embedded PostgreSQL",
        ),
        AfterValidator(rules.database),
    ] = None
    direct_database_url: Annotated[
        SecretStr | None,
        Variable(
            "KEEPSTEP_DIRECT_DATABASE_URL",
            "The same database past a transaction pooler that DATABASE_URL names.",
            "postgresql:// address",
            "that of DATABASE_URL",
        ),
        AfterValidator(rules.database),
    ] = None
    home: Annotated[
        Path,
        Variable("KEEPSTEP_HOME", "Directory of the embedded database, its secrets and its logs.", "path", ".keepstep"),
        BeforeValidator(rules.directory),
    ] = Path(".keepstep")
    host: Annotated[
        str,
        Variable("KEEPSTEP_HOST", "Address that the web server listens on.", "host name or address"),
        AfterValidator(rules.host),
    ] = "127.0.0.1"
    port: Annotated[
        int, Variable("KEEPSTEP_PORT", "Port of the web server; 0 takes any free one."), Ge(0), Le(65535)
    ] = 8787
    secret_key: Annotated[
        SecretStr | None,
        Variable(
            "KEEPSTEP_SECRET_KEY",
            "Encrypts stored credentials. Several keys, the newest first, rotate it.",
            "keys, comma-separated",
            "one generated in KEEPSTEP_HOME",
        ),
        AfterValidator(rules.keys),
    ] = None
    admin_token: Annotated[
        SecretStr | None,
        Variable(
            "ADMIN_SYNC_TOKEN",
            "Bearer token with the admin role; `keepstep token` prints it.",
            "printable characters",
            "one generated in KEEPSTEP_HOME",
        ),
        AfterValidator(rules.token),
    ] = None
    doorloop_base_url: Annotated[
        str,
        Variable("DOORLOOP_BASE_URL", "Where DoorLoop's API answers.", "http:// or https:// address"),
        AfterValidator(rules.web_address),
    ] = "https://app.doorloop.com/api"
    doorloop_api_key: Annotated[
        SecretStr | None,
        Variable("DOORLOOP_API_KEY", "DoorLoop's API key. Without one the integration stays idle.", "text", "none"),
    ] = None
    doorloop_page_size: Annotated[
        int,
        Variable("DOORLOOP_PAGE_SIZE", "Records asked for in one request.", outside=("default", "nearest")),
        Ge(1),
        Le(1000),
    ] = 100
    doorloop_max_concurrency: Annotated[
        int,
        Variable(
            "DOORLOOP_MAX_CONCURRENCY", "Requests in flight, all workers together.", outside=("nearest", "nearest")
        ),
        Ge(1),
        Le(64),
    ] = 2
    doorloop_rate_limit_rps: Annotated[
        float,
        Variable(
            "DOORLOOP_RATE_LIMIT_RPS",
            "Requests a second at most, all workers together. DoorLoop's own limits still apply below it.",
            outside=("default", "nearest"),
        ),
        Ge(0.01),
        Le(100000),
    ] = 4.0
    auto_sync_enabled: Annotated[
        bool, Variable("AUTO_SYNC_ENABLED", "Turns the DoorLoop schedule on.", "true or false")
    ] = False
    auto_sync_interval_minutes: Annotated[
        int,
        Variable("AUTO_SYNC_INTERVAL_MINUTES", "Minutes between two scheduled runs.", outside=("nearest", "nearest")),
        Ge(2),
        Le(43200),
    ] = 10
    auto_sync_full_at_hour_utc: Annotated[
        int | None,
        Variable("AUTO_SYNC_FULL_AT_HOUR_UTC", "Hour (UTC) of the nightly full run.", absent="no nightly full run"),
        Ge(0),
        Le(23),
    ] = None
    sync_entities: Annotated[
        tuple[str, ...],
        Variable("SYNC_ENTITIES", "What the schedule, and a run without names, reads.", "names, comma-separated"),
        BeforeValidator(rules.names),
    ] = DEFAULT_ENTITIES
    teams_webhook: Annotated[
        SecretStr | None,
        Variable(
            "INTEGRATIONS_TEAMS_WEBHOOK",
            "Where alerts go: a Teams Workflows (or legacy connector) address.",
            "http:// or https:// address",
            "none",
        ),
        AfterValidator(rules.webhook),
    ] = None
    apprise_urls: Annotated[
        SecretStr | None,
        Variable(
            "KEEPSTEP_APPRISE_URLS",
            "Where alerts go besides: addresses of Apprise (mail, Slack and more), which comes with keepstep[apprise].",
            "addresses, comma-separated",
            "none",
        ),
    ] = None
    public_url: Annotated[
        str | None,
        Variable(
            "KEEPSTEP_PUBLIC_URL",
            "Where people reach the page: the link in alerts.",
            "http:// or https:// address",
            "the address that it is served at",
        ),
        AfterValidator(rules.maybe_web_address),
    ] = None
    quiet_hours_utc: Annotated[
        str,
        Variable(
            "KEEPSTEP_QUIET_HOURS_UTC",
            "Hours in which only critical alerts are sent; the others wait and come together.",
            "two hours of the day (UTC), such as 22-6",
            "none",
        ),
        AfterValidator(rules.hours),
    ] = ""
    alert_dead_letters: Annotated[
        int,
        Variable("KEEPSTEP_ALERT_DEAD_LETTERS", "Alert when a connection has more open dead letters."),
        Ge(0),
        Le(1000000000),
    ] = 100
    keep_runs_days: Annotated[
        int, Variable("KEEPSTEP_KEEP_RUNS_DAYS", "Days that runs are kept, with their last words."), Ge(1), Le(3650)
    ] = 180
    keep_events_days: Annotated[
        int, Variable("KEEPSTEP_KEEP_EVENTS_DAYS", "Days that the log of every page is kept."), Ge(1), Le(3650)
    ] = 30
    keep_audit_days: Annotated[
        int, Variable("KEEPSTEP_KEEP_AUDIT_DAYS", "Days that the audit log and ended alerts are kept."), Ge(1), Le(3650)
    ] = 365
    keep_documents_days: Annotated[
        int, Variable("KEEPSTEP_KEEP_DOCUMENTS_DAYS", "Days that documents of upstream are kept."), Ge(1), Le(3650)
    ] = 90
    allow_manual_backfill: Annotated[
        bool, Variable("ALLOW_MANUAL_BACKFILL", "Whether people may start a full run by hand.", "true or false")
    ] = True
    stale_after_hours: Annotated[
        float,
        Variable("KEEPSTEP_STALE_AFTER_HOURS", "Alert when a connection has had no successful run for so long."),
        Ge(0.1),
        Le(8760),
    ] = 12.0
    ping_every_minutes: Annotated[
        float,
        Variable(
            "KEEPSTEP_PING_EVERY_MINUTES",
            "Minutes between two pings of a connection; 0 turns them off.",
            outside=("default", "nearest"),
        ),
        Ge(0),
        Le(1440),
    ] = 5.0
    schema_policy: Annotated[
        str,
        Variable(
            "KEEPSTEP_SCHEMA_POLICY",
            "What becomes of undocumented fields: a column of their own, kept in _extra, or the entity stops.",
            "evolve, keep or stop; for one entity: leases=evolve",
        ),
        AfterValidator(rules.schema_policy),
    ] = "keep"
    breaker_threshold: Annotated[
        int,
        Variable(
            "KEEPSTEP_BREAKER_THRESHOLD",
            "Failures in a row after which no request is sent for a while.",
            outside=("default", "nearest"),
        ),
        Ge(1),
        Le(1000),
    ] = 5
    breaker_cooldown_s: Annotated[
        float,
        Variable("KEEPSTEP_BREAKER_COOLDOWN_S", "Seconds of that pause.", outside=("default", "nearest")),
        Ge(0),
        Le(86400),
    ] = 60.0
    drop_guard_percent: Annotated[
        int,
        Variable(
            "KEEPSTEP_DROP_GUARD_PERCENT", "A full run that would delete more than this share of the live rows is held."
        ),
        Ge(0),
        Le(100),
    ] = 50
    drop_guard_floor: Annotated[
        int,
        Variable("KEEPSTEP_DROP_GUARD_FLOOR", "The drop guard never acts on this many deletions or fewer."),
        Ge(0),
        Le(1000000000),
    ] = 20

    locked: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the environment (or the mapping given instead of it). Never raises for what stands in it."""
        environ = os.environ if environ is None else environ
        given = {field: environ[v.name] for field, v in VARIABLES.items() if environ.get(v.name, "").strip()}
        problems = {field: _unreadable(field) for field, text in given.items() if not _is_text(text)}
        values: dict[str, Any] = {
            # What is wrong with a key, doctor explains; a password is what it is.
            field: text if field in ("doorloop_api_key", "erp_password") else text.strip()
            for field, text in given.items()
            if field not in problems
        }
        while True:
            try:
                checked = cls(**values)
                break
            except ValidationError as error:
                for detail in error.errors(include_url=False):
                    field = str(detail["loc"][0])
                    problems[field], values[field] = _replace(field, given[field].strip(), detail)
                values = {field: value for field, value in values.items() if value is not None}
        return checked.model_copy(
            update={
                "locked": frozenset(VARIABLES[field].name for field in given),
                "problems": (*(problems[field] for field in VARIABLES if field in problems), *_misspelt(environ)),
            }
        )

    @property
    def secret_keys(self) -> tuple[SecretStr, ...]:
        """The keys of ``KEEPSTEP_SECRET_KEY``, the one to encrypt with first; empty when none was given."""
        given = self.secret_key.get_secret_value() if self.secret_key else ""
        return tuple(SecretStr(key) for key in rules.split(given))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load`` hands over: the library's own reader refuses everything at the first bad value."""
        return (init_settings,)


_LAST = GoogleSettings.model_fields.keys() | OwnerSettings.model_fields.keys() | ErpSettings.model_fields.keys()
VARIABLES: dict[str, Variable] = {
    name: about
    for name, field in sorted(Settings.model_fields.items(), key=lambda one: one[0] in _LAST)
    for about in field.metadata
    if isinstance(about, Variable)
}
NAMES = tuple(variable.name for variable in VARIABLES.values())
"""Every environment variable that Keepstep reads."""


def plain(value: object) -> str:
    """A value as one would write it in the environment."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(value)
        case _:
            return str(value)


def default_text(field: str) -> str:
    """The default of a field in words."""
    return VARIABLES[field].absent or plain(Settings.model_fields[field].get_default())


def _range(info: FieldInfo) -> tuple[float, float] | None:
    low = [mark.ge for mark in info.metadata if isinstance(mark, Ge)]
    high = [mark.le for mark in info.metadata if isinstance(mark, Le)]
    return (cast(float, low[0]), cast(float, high[0])) if low and high else None


def accepts(field: str) -> str:
    """What may stand in a field's variable, in words."""
    limits = _range(Settings.model_fields[field])
    return f"{limits[0]:.15g} to {limits[1]:.15g}" if limits else VARIABLES[field].accepts


def _replace(field: str, text: str, detail: ErrorDetails) -> tuple[Problem, Any]:
    """What to say of a refused value, and what to take instead (None: the default)."""
    about, kind, limits = VARIABLES[field], detail["type"], _range(Settings.model_fields[field])
    instead: float | None = None
    if kind == "refused":
        reason, fix = detail["ctx"]["reason"], detail["ctx"]["fix"]
    elif limits and kind in ("greater_than_equal", "less_than_equal"):
        low = kind == "greater_than_equal"
        limit = limits[0] if low else limits[1]
        if about.outside[0 if low else 1] == "nearest":
            instead = limit
        reason, fix = (
            f"is {text if len(text) <= 16 else 'a long number'}, {'less' if low else 'more'} than {limit:.15g}",
            f"Give a number from {accepts(field)}.",
        )
    elif limits:
        whole = "a number" if Settings.model_fields[field].annotation is float else "a whole number"
        reason, fix = f"is {quoted(text)}, not {whole}", f"Give {whole} from {accepts(field)}."
    elif about.accepts == "true or false":
        reason, fix = f"is {quoted(text)}, neither true nor false", "Write true or false."
    else:
        reason, fix = "cannot be read", f"Give {accepts(field)}."
    taken = f"{instead:.15g}" if instead is not None else default_text(field)
    return Problem(about.name, f"{about.name} {reason}; in effect: {taken}.", fix), instead


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _unreadable(field: str) -> Problem:
    name = VARIABLES[field].name
    return Problem(name, f"{name} is not readable text; in effect: {default_text(field)}.", "Write it in UTF-8.")


def _misspelt(environ: Mapping[str, str]) -> Iterable[Problem]:
    for name in sorted(environ):
        if name in NAMES or not name.upper().startswith(
            ("KEEPSTEP_", "DOORLOOP_", "AUTO_SYNC_", "SYNC_ENT", "SYNC_INT", "ADMIN_SYNC_", "GOOGLE_C", "ERP_")
        ):
            continue
        if close := get_close_matches(name.upper(), NAMES, n=1, cutoff=0.88):
            yield Problem(name, f"{name} is not a setting of Keepstep; it is ignored.", f"Did you mean {close[0]}?")


def quoted(text: str) -> str:
    """A value, unless it is too long to be shown."""
    # A long value may be a key pasted into the wrong variable.
    return ascii(text) if len(text) <= 16 else f"a value of {len(text)} characters"
