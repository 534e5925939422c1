"""The service as one value: what ``app`` builds and every front end is handed."""

from dataclasses import dataclass, field

from keepstep.service.accounts import Accounts
from keepstep.service.agents import Agents
from keepstep.service.alerts import Alerts
from keepstep.service.audit import Audit
from keepstep.service.auto_sync import AutoSync
from keepstep.service.commands import Commands
from keepstep.service.connectors import Connectors
from keepstep.service.consent import Consents
from keepstep.service.documents import Documents
from keepstep.service.errors_view import Errors
from keepstep.service.feed import Feed
from keepstep.service.health_history import HealthHistory
from keepstep.service.inspection import Inspection
from keepstep.service.limits import Limits
from keepstep.service.owners import OwnerConnections
from keepstep.service.pinger import Pinger
from keepstep.service.schedules import Schedules
from keepstep.service.schema import Schemas
from keepstep.service.settings import Preferences
from keepstep.service.status import Overview
from keepstep.service.sync_types import SyncTypes
from keepstep.service.vault import Credentials
from keepstep.service.views import Views
from keepstep.store.db import Database


@dataclass(frozen=True, slots=True)
class Service:
    """An open Keepstep. ``dsn`` is how psql gets to the database."""

    commands: Commands
    views: Views
    accounts: Accounts
    audit: Audit
    credentials: Credentials
    documents: Documents
    connectors: Connectors
    schedules: Schedules
    auto_sync: AutoSync
    sync_types: SyncTypes
    agents: Agents
    owners: OwnerConnections
    consents: Consents
    preferences: Preferences
    limits: Limits
    pinger: Pinger
    overview: Overview
    inspection: Inspection
    schemas: Schemas
    errors: Errors
    alerts: Alerts
    health_history: HealthHistory
    feed: Feed
    database: Database
    dsn: str = field(repr=False)
    embedded: bool
