"""The service as one value: what ``app`` builds and every front end is handed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keepstep.model.integration import Integration
from keepstep.service.commands import Commands
from keepstep.service.views import Views
from keepstep.store.db import Database


@dataclass(frozen=True, slots=True)
class Service:
    """An open Keepstep. ``integrations`` holds the configured ones by key; ``dsn`` is how psql gets to the database."""

    commands: Commands
    views: Views
    integrations: Mapping[str, Integration]
    database: Database
    dsn: str = field(repr=False)
    embedded: bool
