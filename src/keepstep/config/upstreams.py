"""What the settings say about each upstream system."""

from keepstep.config.settings import Settings
from keepstep.integrations.oauth import Client
from keepstep.integrations.registry import Values


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
        case _:
            assert key == "doorloop", key  # noqa: S101 - there is no other
            return Values(
                base_url=settings.doorloop_base_url,
                api_key=settings.doorloop_api_key.get_secret_value() if settings.doorloop_api_key else "",
                page_size=settings.doorloop_page_size,
                max_concurrency=settings.doorloop_max_concurrency,
                rate_limit_rps=settings.doorloop_rate_limit_rps,
            )


def google(settings: Settings) -> Client | None:
    """This application as Google knows it; None where it was not told."""
    if not settings.google_client_id:
        return None
    secret = settings.google_client_secret.get_secret_value() if settings.google_client_secret else ""
    return Client(settings.google_client_id, secret)
