"""The settings of what is read from Google accounts, each user's own."""

from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AfterValidator, SecretStr
from pydantic_settings import BaseSettings

from keepstep.config import rules
from keepstep.config.variable import Variable


class GoogleSettings(BaseSettings):
    """A part of ``Settings``."""

    google_client_id: Annotated[
        str | None,
        Variable(
            "GOOGLE_CLIENT_ID", "The OAuth client with which users connect their Google accounts.", "text", "none"
        ),
    ] = None
    google_client_secret: Annotated[
        SecretStr | None, Variable("GOOGLE_CLIENT_SECRET", "That client's secret.", "text", "none")
    ] = None
    google_contacts_base_url: Annotated[
        str,
        Variable(
            "GOOGLE_CONTACTS_BASE_URL",
            "Where the People API answers. Another address than Google's is an emulator's, OAuth endpoints included.",
            "http:// or https:// address",
        ),
        AfterValidator(rules.web_address),
    ] = "https://people.googleapis.com"
    google_contacts_page_size: Annotated[
        int,
        Variable("GOOGLE_CONTACTS_PAGE_SIZE", "People asked for in one request.", outside=("default", "nearest")),
        Ge(1),
        Le(1000),
    ] = 1000
