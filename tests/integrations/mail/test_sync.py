"""Mail in step with PostgreSQL: whole runs against a real Dovecot and an emulated Gmail, and a real database."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any

import pytest

from keepstep.integrations.mail.connector import Mail
from keepstep.integrations.mail.entities import MESSAGES
from keepstep.integrations.mail.gmail.connector import Gmail
from keepstep.integrations.mail.gmail.emulator.options import EmulatorOptions
from keepstep.integrations.mail.gmail.emulator.server import GmailEmulator
from keepstep.model.integration import Mode
from keepstep.model.run import Event
from keepstep.service.commands import Commands
from keepstep.service.shapes import RunSummary
from tests.integrations.mail.gmail_account import GmailUpstream
from tests.integrations.mail.truth import connector
from tests.support.dovecot import Mailbox, mail
from tests.support.sync import Listener, Sync, counts_of, entity_of
from tests.support.truth import differences


class MailSync(Sync):
    """Keepstep on one database, with one mailbox."""

    def __init__(self, dsn: str, made: Callable[[], Mail | Gmail]) -> None:
        super().__init__(dsn, None, entities=(MESSAGES,))  # type: ignore[arg-type]
        self.commands = Commands(self.database, self.lent, {"mail": (MESSAGES,)})
        self.key, self.owner = "mail", "anna"
        self._made = made

    def connector(self) -> Any:
        """A connector of its own for one run."""
        return self._made()

    async def run(
        self, *entities: str, listener: Listener = lambda _event: None, **options: Any
    ) -> RunSummary:  # fmt: skip
        """One run of the mailbox's owner to its end: that which was given back, or a new one."""
        self.events = []

        def hear(event: Event) -> None:
            self.events.append(event)
            listener(event)

        return await self.run_queued("messages", listener=hear, **options)

    async def rows(self, entity: str = "messages") -> dict[str, dict[str, Any]]:
        """All rows by key, deleted ones too."""
        return {row["id"]: row for row in await self.sql("SELECT * FROM mail.messages")}

    async def live(self) -> list[dict[str, Any]]:
        """The rows that are not deleted."""
        return [row for row in (await self.rows()).values() if row["_deleted_at"] is None]

    async def assert_same(self, mailbox: Mailbox, *folders: str) -> None:
        """Every message of the server is one live row, and there is no other row."""
        expected = Counter(
            (folder, uid, tuple(sorted(flags)), sha256(raw).hexdigest())
            for folder in folders or ("INBOX",)
            for uid, flags, raw in mailbox.truth(folder)
        )
        found = Counter(
            (row["folder"], row["uid"], tuple(sorted([*row["flags"], *row["labels"]])), row["hash"])
            for row in await self.live()
        )
        assert found == expected

    async def letters(self) -> list[dict[str, Any]]:
        """What could not be applied."""
        return await self.sql("SELECT reason FROM keepstep.dead_letters")


@pytest.fixture
async def imap(dsn: str, mailbox: Mailbox) -> AsyncIterator[MailSync]:
    yield MailSync(dsn, lambda: connector(mailbox, page_size=5))


@pytest.fixture
async def google(dsn: str) -> AsyncIterator[tuple[MailSync, GmailUpstream]]:
    emulator = GmailEmulator(EmulatorOptions(messages=70))
    async with emulator.serve() as url:
        upstream = GmailUpstream(emulator, url)
        try:
            yield MailSync(dsn, lambda: upstream.gmail(page_size=10)), upstream
        finally:
            await upstream.aclose()


async def test_a_mailbox_is_kept_in_step_through_all_that_happens_to_it(imap: MailSync, mailbox: Mailbox) -> None:
    mailbox.create("Archive")
    mailbox.add(*(mail(f"message {n}", f"text {n}") for n in range(12)))
    mailbox.add(b"Subject: nul\x00 \xff\r\n\r\nbroken \x00 \xe9", mail("kept"), folder="Archive")
    folders = ("INBOX", "Archive")

    run = await imap.delta()
    assert counts_of(entity_of(run, "messages")) == {"inserted": 14}
    await imap.assert_same(mailbox, *folders)

    mailbox.flag([1, 2], r"\Seen")
    mailbox.remove([3])
    mailbox.add(mail("new"), folder="Archive")
    run = await imap.delta()
    assert counts_of(entity_of(run, "messages")) == {"inserted": 1, "updated": 2, "deleted": 1}
    await imap.assert_same(mailbox, *folders)

    keys = set(await imap.rows())
    mailbox.renumber()
    run = await imap.delta()
    assert counts_of(entity_of(run, "messages")).keys() <= {"updated", "unchanged"}
    assert set(await imap.rows()) == keys
    await imap.assert_same(mailbox, *folders)

    mailbox.remove([1])
    run = await imap.run(mode=Mode.BACKFILL)
    assert entity_of(run, "messages").completeness == "complete: all 13 records seen"
    assert entity_of(run, "messages").deleted == 1
    await imap.assert_same(mailbox, *folders)
    assert await imap.letters() == []
    assert counts_of(await imap.delta()) == {}


async def test_a_run_that_ends_anywhere_goes_on_without_loss(imap: MailSync, mailbox: Mailbox) -> None:
    mailbox.add(*(mail(f"message {n}") for n in range(23)))

    for mode in (Mode.DELTA, Mode.BACKFILL, Mode.DELTA):
        await _broken_off(imap, mode)
        mailbox.flag([4], f"$Round{mode}")
        await imap.run(mode=mode)
        await imap.delta()
        await imap.assert_same(mailbox)


async def _broken_off(sync: MailSync, mode: Mode) -> None:
    """A run whose process goes after its first page."""
    wrote = asyncio.Event()

    def hear(event: Event) -> None:
        if event.type == "page":
            wrote.set()

    run = asyncio.create_task(sync.run(mode=mode, listener=hear, flush_rows=1))
    waiting = asyncio.create_task(wrote.wait())
    await asyncio.wait({run, waiting}, return_when=asyncio.FIRST_COMPLETED)
    run.cancel()
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await run
    assert run.cancelled()


async def test_a_mailbox_that_was_emptied_is_held_for_a_person(imap: MailSync, mailbox: Mailbox) -> None:
    mailbox.add(*(mail(f"message {n}") for n in range(30)))
    await imap.delta()
    mailbox.remove(range(1, 30))

    run = await imap.delta()

    assert run.result == "held"
    assert len(await imap.live()) == 30


async def test_gmail_is_kept_in_step_through_all_that_happens_to_it(
    google: tuple[MailSync, GmailUpstream],
) -> None:
    sync, upstream = google
    run = await sync.delta()
    assert counts_of(entity_of(run, "messages")) == {"inserted": len(upstream.truth("messages"))}
    assert await _not_in_step(google) == []

    upstream.emulator.change(create=3, label=4, delete=2, trash=1)
    run = await sync.delta()
    assert counts_of(entity_of(run, "messages")) == {"inserted": 3, "updated": 4, "deleted": 3}
    assert await _not_in_step(google) == []

    upstream.emulator.change(create=1, label=1, delete=1)
    upstream.emulator.expire()
    run = await sync.delta()
    counts = counts_of(entity_of(run, "messages"))
    assert (counts["inserted"], counts["updated"], counts["deleted"]) == (1, 1, 1)
    assert [event.type for event in sync.events].count("changes-lost") == 1
    assert await _not_in_step(google) == []
    assert await sync.letters() == []
    assert counts_of(entity_of(await sync.delta(), "messages")) == {}


async def test_a_gmail_run_that_ends_anywhere_goes_on_without_loss(google: tuple[MailSync, GmailUpstream]) -> None:
    sync, upstream = google
    for mode in (Mode.BACKFILL, Mode.DELTA, Mode.BACKFILL):
        await _broken_off(sync, mode)
        upstream.emulator.change(create=12, label=12, delete=1)
        await sync.run(mode=mode)
        await sync.delta()
        assert await _not_in_step(google) == []


async def _not_in_step(google: tuple[MailSync, GmailUpstream]) -> list[str]:
    """What the live rows and the server's messages do not agree on."""
    sync, upstream = google
    return differences(MESSAGES, upstream.truth("messages"), await sync.rows())
