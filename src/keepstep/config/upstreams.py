"""What the settings say about each upstream system, and about applications that sign users in."""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import SecretStr

from keepstep.config.settings import Settings
from keepstep.integrations.oauth import Client
from keepstep.integrations.registry import Values
from keepstep.service.host_tokens import HostRules


def values_of(settings: Settings, key: str) -> Values:
    """What an integration is built with. What belongs to an owner is added by whoever lends it."""
    match key:
        case "google_contacts":
            size = settings.google_contacts_page_size
            return Values(settings.google_contacts_base_url, "", size, client=google(settings))
        case "mail":
            return Values(
                settings.gmail_base_url, "", settings.gmail_page_size, client=google(settings),
                private_hosts=settings.mail_private_hosts,
            )  # fmt: skip
        case "erp":
            return Values(
                base_url=settings.erp_base_url or "",
                api_key=settings.erp_password.get_secret_value() if settings.erp_password else "",
                username=settings.erp_username or "",
                page_size=settings.erp_page_size,
                max_concurrency=settings.erp_max_concurrency,
                rate_limit_rps=settings.erp_rate_limit_rps,
            )
        case _:
            assert key == "doorloop", key  # noqa: S101 - there is no other
            return Values(
                base_url=settings.doorloop_base_url,
                api_key=settings.doorloop_api_key.get_secret_value() if settings.doorloop_api_key else "",
                page_size=settings.doorloop_page_size,
                max_concurrency=settings.doorloop_max_concurrency,
                rate_limit_rps=settings.doorloop_rate_limit_rps,
            )


def demonstration(settings: Settings, base_url: str, api_key: str) -> Settings:
    """The same on the embedded database, reading an emulated DoorLoop by itself."""
    changes = {
        "database_url": None,
        "direct_database_url": None,
        "doorloop_base_url": base_url,
        "doorloop_api_key": SecretStr(api_key),
        "allow_manual_backfill": True,
        "auto_sync_enabled": True,
        "auto_sync_interval_minutes": 2,
        "locked": settings.locked | {"DOORLOOP_BASE_URL", "DOORLOOP_API_KEY", "ALLOW_MANUAL_BACKFILL"},
    }
    return settings.model_copy(update=changes)


def with_stored(values: Values, stored: Mapping[str, str]) -> Values:
    """The same with stored credentials."""
    if values.username is None:
        return replace(values, api_key=stored.get("apiKey", ""))
    return replace(values, username=stored.get("username", ""), api_key=stored.get("password", ""))


def google(settings: Settings) -> Client | None:
    """This application as Google knows it; None where it was not told."""
    if not settings.google_client_id:
        return None
    secret = settings.google_client_secret.get_secret_value() if settings.google_client_secret else ""
    return Client(settings.google_client_id, secret)


def erp_given(settings: Settings) -> tuple[str, ...]:
    """What of the ERP's settings only the environment of this process knows."""
    account = {"ERP_USERNAME", "ERP_PASSWORD"} <= settings.locked
    address = "ERP_BASE_URL" in settings.locked and settings.erp_base_url is not None
    return (*(("base_url",) if address else ()), *(("credentials",) if account else ()))


def locked_credentials(settings: Settings) -> dict[str, str]:
    """The variables that give an integration's credentials, where the environment does."""
    given = {"doorloop": "DOORLOOP_API_KEY"} if settings.doorloop_api_key else {}
    return given | ({"erp": "ERP_USERNAME, ERP_PASSWORD"} if "credentials" in erp_given(settings) else {})


def host_rules(settings: Settings) -> HostRules:
    """Whose tokens let users in who signed in elsewhere."""
    return HostRules(
        secret=settings.jwt_secret.get_secret_value() if settings.jwt_secret else "",
        jwks_url=settings.jwt_jwks_url or "",
        issuer=settings.jwt_issuer or "",
        audience="" if settings.jwt_audience == "any" else settings.jwt_audience,
        role_claim=settings.jwt_role_claim,
    )
