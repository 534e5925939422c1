"""The settings of the ERP."""

from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AfterValidator, SecretStr
from pydantic_settings import BaseSettings

from keepstep.config import rules
from keepstep.config.variable import Variable


class ErpSettings(BaseSettings):
    """A part of ``Settings``."""

    erp_base_url: Annotated[
        str | None,
        Variable(
            "ERP_BASE_URL",
            "Where the ERP answers. Without it nothing is asked.",
            "http:// or https:// address",
            "none",
        ),
        AfterValidator(rules.maybe_web_address),
    ] = None
    erp_username: Annotated[
        str | None, Variable("ERP_USERNAME", "The service account that reports are asked for with.", "text", "none")
    ] = None
    erp_password: Annotated[
        SecretStr | None, Variable("ERP_PASSWORD", "Its password. Without both the ERP stays idle.", "text", "none")
    ] = None
    erp_page_size: Annotated[
        int,
        Variable("ERP_PAGE_SIZE", "Rows of a report written in one page.", outside=("default", "nearest")),
        Ge(1),
        Le(5000),
    ] = 1000
    erp_max_concurrency: Annotated[
        int,
        Variable("ERP_MAX_CONCURRENCY", "Requests in flight, all workers together.", outside=("nearest", "nearest")),
        Ge(1),
        Le(64),
    ] = 4
    erp_rate_limit_rps: Annotated[
        float,
        Variable(
            "ERP_RATE_LIMIT_RPS",
            "Requests a second at most, all workers together. A report takes about five.",
            outside=("default", "nearest"),
        ),
        Ge(0.01),
        Le(100000),
    ] = 10.0
