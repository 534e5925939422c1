"""The settings of what belongs to users: how often sync types are read, and who signs in by another application."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import BaseSettings

from keepstep.config import rules
from keepstep.config.variable import Variable


class OwnerSettings(BaseSettings):
    """A part of ``Settings``."""

    sync_intervals: Annotated[
        str,
        Variable(
            "SYNC_INTERVALS",
            "Minutes between two runs of a sync type, where nobody chose an interval.",
            "orders=10,prices=60; 5 to 1440 minutes each",
            "orders=10,customers=15,products=30,prices=60,ddt=20,invoices=20",
        ),
        AfterValidator(rules.intervals),
    ] = ""
    jwt_secret: Annotated[
        SecretStr | None,
        Variable(
            "KEEPSTEP_JWT_SECRET",
            "Lets users in whom another application has signed in: the secret that its tokens (JWT) are signed with.",
            "text",
            "none",
        ),
    ] = None
    jwt_jwks_url: Annotated[
        str | None,
        Variable(
            "KEEPSTEP_JWT_JWKS_URL",
            "The same for tokens signed with a private key: where the public keys are.",
            "http:// or https:// address",
            "none",
        ),
        AfterValidator(rules.maybe_web_address),
    ] = None
    jwt_issuer: Annotated[
        str | None, Variable("KEEPSTEP_JWT_ISSUER", "Only tokens of this issuer are taken.", "text", "any")
    ] = None
    jwt_audience: Annotated[
        str,
        Variable("KEEPSTEP_JWT_AUDIENCE", "Only tokens for this audience are taken; any: all.", "text"),
    ] = "authenticated"
    jwt_role_claim: Annotated[
        str,
        Variable("KEEPSTEP_JWT_ROLE_CLAIM", "The claim that may give a role; else it is user.", "text"),
    ] = "app_metadata.keepstep_role"
    allowed_origins: Annotated[
        tuple[str, ...],
        Variable(
            "KEEPSTEP_ALLOWED_ORIGINS",
            "Pages of other sites that may call the API with a token: where that application runs.",
            "origins such as https://crm.example.com, comma-separated",
            "none",
        ),
        BeforeValidator(rules.origins),
    ] = ()
