"""The mail connector: one mailbox, read by IMAP."""

import random
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from imapclient import IMAPClient

from keepstep.integrations import probing
from keepstep.integrations.http import without_credentials
from keepstep.integrations.mail.entities import MESSAGES
from keepstep.integrations.mail.folders import Folder, chosen
from keepstep.integrations.mail.message import Limits
from keepstep.integrations.mail.reading import MailboxReading
from keepstep.integrations.mail.refusals import FACTS
from keepstep.integrations.mail.session import Account, Session, Timeouts
from keepstep.integrations.probing import PING_PATIENCE, Seen, failed_check, good_check
from keepstep.model.errors import Permanent, UpstreamError
from keepstep.model.integration import Check, Entity, Mode, Page, Ping, Reading
from keepstep.reliability.clock import Clock, SystemClock
from keepstep.reliability.pacing import Pacer, Pacing

MOST_A_PAGE = 500


class Mail:
    """One mailbox on an IMAP server.

    ``folders``: names, in which ``*`` stands for anything; none means the usual ones (``folders.chosen``).
    ``limits``: how much of a message is taken. ``base_url``: the address that it was given as. Only reads: no flag is
    set, no message moved.
    """

    key: str = "mail"
    title: str = "Mail"
    entities: tuple[Entity, ...] = (MESSAGES,)

    def __init__(
        self,
        account: Account,
        *,
        folders: Sequence[str] = (),
        limits: Limits | None = None,
        page_size: int = 100,
        pacer: Pacing | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        base_url: str = "",
    ) -> None:
        self.base_url = without_credentials(base_url) or _address(account)
        self.page_size = min(max(page_size, 1), MOST_A_PAGE)
        self._folders = tuple(folders)
        self._limits = limits or Limits()
        self._clock = clock or SystemClock()
        self._session = Session(
            account,
            # One connection can ask one question at a time, and mail servers allow few connections.
            pacer=pacer or Pacer(max_concurrency=1, per_second=None, clock=self._clock),
            clock=self._clock,
            rng=rng,
            timeouts=timeouts,
            ssl_context=ssl_context,
        )

    @property
    def requests(self) -> int:
        """How many commands have been sent."""
        return self._session.requests

    async def read(self, entity: Entity, reading: Reading) -> AsyncGenerator[Page, None]:
        """Give the pages, folder after folder. Raises ``UpstreamError``. Close it when stopping early."""
        pages = MailboxReading(
            self._session, reading, wanted=self._folders, limits=self._limits, page_size=self.page_size,
            clock=self._clock,
        ).pages()  # fmt: skip
        async with aclosing(pages):
            async for page in pages:
                yield page

    async def ping(self) -> Ping:
        """Log in and ask for the inbox. Never raises for what upstream does."""

        async def look() -> Seen:
            return Seen("The mail server answers and lets us in.", await self._count("INBOX"))

        ping = await probing.ping(look, base_url=self.base_url, facts=FACTS, clock=self._clock)
        return replace(ping, rate_limit=None)  # a mail server has none that it could tell of

    async def folders(self) -> tuple[str, ...]:
        """Log in, and name the folders that a reading takes. Asks once, as somebody waits. Raises ``UpstreamError``."""
        found = chosen(await self._session.folders(max_attempts=1, patience=PING_PATIENCE), self._folders)
        if not found:
            facts = {**FACTS, "host": self._session.account.host, "path": ", ".join(self._folders) or "the mailbox"}
            raise Permanent.named("folder-refused", facts={**facts, "detail": "there is no such folder"})
        return tuple(folder.name for folder in found)

    async def check(self, endpoint: str, *, page_size: int = 1) -> Check:
        """Say in words what ``messages``, or one folder, holds. Never raises for what upstream does."""
        name = endpoint.strip().strip("/")
        if not name or any(ord(c) < 32 for c in name):
            return Check(None, endpoint, (), None, "This is not the name of a folder.", False, "Try messages or INBOX.")
        try:
            folders = chosen(await self._session.folders(), self._folders if name == MESSAGES.name else (name,))
            if not folders:
                fix = "Try messages, or one of the folders that the mail program shows."
                return Check(None, name, (), None, f"The mailbox has no folder {name}.", False, fix)
            return await self._look(name, folders, max(1, page_size))
        except UpstreamError as error:
            return failed_check(error, name)

    async def aclose(self) -> None:
        """Log out."""
        await self._session.aclose()

    async def _look(self, name: str, folders: Sequence[Folder], size: int) -> Check:
        count = sum([(await self._session.select(folder)).exists for folder in folders])
        reading = MailboxReading(
            self._session, Reading(Mode.BACKFILL), wanted=[folder.name for folder in folders], limits=self._limits,
            page_size=size, clock=self._clock,
        ).pages()  # fmt: skip
        async with aclosing(reading):
            async for page in reading:
                if page.records or page.last:
                    break
        message = f"There are {count} messages in {len(folders)} folders: {', '.join(f.name for f in folders[:10])}."
        return good_check(name, None, page.records, count, message)

    async def _count(self, name: str) -> int:
        def work(client: IMAPClient) -> int:
            return int(client.folder_status(name, ["MESSAGES"]).get(b"MESSAGES", 0))

        return await self._session.ask("STATUS", work, name=name, max_attempts=1, patience=PING_PATIENCE)


def _address(account: Account) -> str:
    scheme = "imaps" if account.security == "tls" else "imap"
    host = f"[{account.host}]" if ":" in account.host else account.host
    return f"{scheme}://{host}:{account.port}"
