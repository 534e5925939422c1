"""The integrations as they are configured now: by the environment, by what people chose, by stored credentials."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from keepstep.integrations.erp.reader import ReportReader
from keepstep.integrations.registry import Registered, Values
from keepstep.integrations.tokens import TokenSet
from keepstep.model.errors import BadRequest, NotFound, StoreError
from keepstep.model.integration import Integration
from keepstep.model.run import Policy
from keepstep.reliability.politeness import Rules
from keepstep.reliability.shared_pacer import SharedPacer
from keepstep.service.documents import Documents
from keepstep.service.owners import OwnerConnections
from keepstep.service.settings import Preferences
from keepstep.service.vault import Credentials
from keepstep.store.db import Database
from keepstep.store.desk import shared_pacer

READERS = 2
"""Processes that read reports, of all runs of this process: one heavy report keeps no other back."""
ADDRESS, PASSWORD, ACCOUNT = "address", "password", "account"
"""Under which names an owner's mailbox stands among the owner's credentials: the first two by IMAP, else the last one,
beside the tokens, which have a name of their own.
"""
Lend = Callable[[str], AbstractAsyncContextManager[tuple[Integration, Policy]]]
"""What a piece of work on an integration gets while it lasts: ``Connectors.lent``."""


@dataclass(frozen=True, slots=True)
class InEffect:
    """What the settings say about one integration."""

    values: Values
    rules: Rules
    policy: Policy


class Connectors:
    """Makes a connector for each use, and lets all of one integration share its limits.

    ``in_effect`` gives what the settings say, with what people chose and the stored credentials (by name); ``own``: an
    owner's, to whom those of the environment are nothing. ``documents`` keeps the reports that are read.
    """

    def __init__(
        self, database: Database, registered: Mapping[str, Registered], preferences: Preferences,
        credentials: Credentials, in_effect: Callable[..., InEffect], owners: OwnerConnections | None = None,
        documents: Documents | None = None,
    ) -> None:  # fmt: skip
        self._database = database
        self._registered = registered
        self._preferences = preferences
        self._credentials = credentials
        self._in_effect = in_effect
        self._owners = owners
        self._pacers: dict[str, SharedPacer] = {}
        self._documents = documents
        self._reader = ReportReader(processes=READERS)

    @asynccontextmanager
    async def lent(self, key: str, owner: str | None = None) -> AsyncIterator[tuple[Integration, Policy]]:
        """A connector for one piece of work, and the numbers that a run of it follows.

        An owner's works with the owner's own credentials and within limits of its own. Raises ``NotFound`` for an
        unknown integration, ``BadRequest`` for one without credentials that can be read, and for one that only owners
        have, without an owner.
        """
        own = None if owner is None or self._owners is None else await self._owners.credentials(key, owner)
        if own is not None and owner is not None:
            async with self._lent_to(key, owner, own) as lent:
                yield lent
            return
        effective, unreadable = await self._effective(key)
        if self._registered[key].per_owner:
            fix = "Ask for the run of an owner: GET /api/admin/owners lists them."
            raise BadRequest(f"{self._registered[key].title} has no account that all share.", fix=fix)
        if not effective.values.usable:
            if unreadable is not None:
                raise BadRequest(unreadable.message, fix=unreadable.fix)
            raise _unusable(self._registered[key], effective.values)
        values = self._with_reports(key, effective.values, owner)
        pacer = self._pacer(key, effective.rules)
        async with aclosing(self._registered[key].build(values, pacer=pacer)) as integration:
            yield integration, effective.policy

    @asynccontextmanager
    async def _lent_to(
        self, key: str, owner: str, own: Mapping[str, str]
    ) -> AsyncIterator[tuple[Integration, Policy]]:  # fmt: skip
        if key not in self._registered:
            raise NotFound(f"There is no integration {key}.", fix=f"Known are: {', '.join(self._registered)}.")
        registered = self._registered[key]
        if not own:
            raise BadRequest(f"{registered.title} is not connected.", fix="Its owner connects the account.")
        effective = self._in_effect(key, await self._preferences.chosen(), own, own=True)
        values, rules = effective.values, effective.rules
        if ADDRESS in own:
            values = replace(values, base_url=own[ADDRESS], api_key=own.get(PASSWORD, ""))
            # Mail servers count connections, not commands: these go over one, each after the answer to the last one.
            rules = replace(rules, max_concurrency=1, per_second=0.0)
        if registered.per_owner and self._owners is not None and PASSWORD not in own:
            # Without a client no consent can be renewed: that is the administrator's to mend, and no owner reconnects.
            if values.client is None:
                raise no_client(registered)
            tokens = self._owners.tokens(key, owner, read=TokenSet.of, write=TokenSet.stored)
            values = replace(values, tokens=tokens)
        if registered.agents:  # another account, and the same upstream
            values = self._with_reports(key, values, owner)
            async with aclosing(registered.build(values, pacer=self._pacer(key, rules))) as integration:
                yield integration, effective.policy
            return
        if self._owners is not None and await self._owners.struggles(key, owner):
            rules = replace(rules, breaker_threshold=1)  # one fault tells enough: the next try is not sat through
        async with (
            aclosing(shared_pacer(self._database, key, rules, title=registered.title, owner=owner)) as pacer,
            aclosing(registered.build(values, pacer=pacer)) as integration,
        ):
            yield integration, effective.policy

    async def is_configured(self, key: str) -> bool:
        """Whether an integration has credentials; of one that only owners have, whether they can give consent.

        Raises ``NotFound``.
        """
        values = (await self._effective(key))[0].values
        return values.client is not None if self._registered[key].per_owner else values.usable

    async def aclose(self) -> None:
        """Give back what the limits hold. Connectors that are lent must have been returned."""
        await self._reader.aclose()
        while self._pacers:
            _, pacer = self._pacers.popitem()
            await pacer.aclose()

    async def _effective(self, key: str) -> tuple[InEffect, StoreError | None]:
        """What is in effect, and why stored credentials are not."""
        if key not in self._registered:
            raise NotFound(f"There is no integration {key}.", fix=f"Known are: {', '.join(self._registered)}.")
        stored, failed = ({}, {}) if key in self._credentials.locked else await self._credentials.all()
        return self._in_effect(key, await self._preferences.chosen(), stored.get(key, {})), failed.get(key)

    def _with_reports(self, key: str, values: Values, owner: str | None) -> Values:
        """What reads reports, of all connectors of this process; and whose they are."""
        if not self._registered[key].agents:
            return values
        keep = None if self._documents is None else partial(self._documents.keep, key)
        return replace(values, agent=owner or "", keep=keep, reader=self._reader)

    def _pacer(self, key: str, rules: Rules) -> SharedPacer:
        if key not in self._pacers:
            self._pacers[key] = shared_pacer(self._database, key, rules, title=self._registered[key].title)
        self._pacers[key].rules = rules
        return self._pacers[key]


def _unusable(registered: Registered, values: Values) -> BadRequest:
    """Why upstream cannot be asked."""
    key = registered.key.upper()
    if values.username is None:
        fix = f"Set {key}_API_KEY, store a key in Keepstep, or try it without an account: keepstep demo"
        return BadRequest(f"{registered.title} has no API key.", fix=fix)
    if not values.base_url:
        return BadRequest(f"{registered.title} has no address.", fix=f"Set {key}_BASE_URL.")
    fix = f"Set {key}_USERNAME and {key}_PASSWORD, or store them in Keepstep."
    return BadRequest(f"{registered.title} has no user name and password.", fix=fix)


def no_client(registered: Registered) -> BadRequest:
    """Keepstep is not known where owners would give their consent."""
    return BadRequest(
        f"{registered.title} cannot be connected: Keepstep has no OAuth client there.",
        fix="An administrator sets GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET.",
    )
