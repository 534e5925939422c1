"""The settings of what belongs to users: how often sync types are read, and who signs in by another application."""

from typing import Annotated

from pydantic import AfterValidator
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
