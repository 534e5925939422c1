"""A table of messages as the engine would keep it, to be compared with what a mail server has."""

import json
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from keepstep.integrations.mail.connector import Mail
from keepstep.integrations.mail.session import Account
from keepstep.model.errors import ChangesLost
from keepstep.model.integration import Entity, Json, Mode, Page, Reading
from tests.integrations.upstream import opened
from tests.support.dovecot import PASSWORD, Mailbox


def connector(mailbox: Mailbox, **more: Any) -> Mail:
    """A connector to a mailbox on the loopback."""
    account = Account("127.0.0.1", mailbox.user, mailbox.port, "none", PASSWORD)
    return Mail(account, **more)


class Table:
    """Rows by key; what is gone is marked. Facts and cursor are kept with every page, as the engine does."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.deleted: set[str] = set()
        self.facts: Json = {}
        self.cursor: Json | None = None
        self.inserted = self.updated = self.unchanged = 0
        self.notes: list[str] = []

    async def sync(self, mail: Mail, mode: Mode = Mode.DELTA, *, crash_after: int | None = None) -> list[Page]:
        """One run. ``crash_after`` so many pages it ends; the next one goes on from there."""
        self.inserted = self.updated = self.unchanged = 0
        self.notes = []
        pages: list[Page] = []
        resumed = self.cursor is not None
        # As a cursor is stored: in JSON.
        cursor = json.loads(json.dumps(self.cursor)) if self.cursor is not None else None
        facts = json.loads(json.dumps(self.facts))
        try:
            async with opened(mail, _messages(mail), Reading(mode, cursor=cursor, facts=facts)) as reading:
                async for page in reading:
                    pages.append(page)
                    self._keep(page)
                    resumed = resumed and not page.anew
                    if crash_after is not None and len(pages) == crash_after:
                        return pages
        except ChangesLost as lost:  # the engine reads everything then
            self.cursor = None
            full = await self.sync(mail, Mode.BACKFILL)
            self.notes.append(lost.message)
            return full
        self.cursor = None
        if mode is Mode.BACKFILL and not resumed:
            self._delete_unseen(pages)
        return pages

    def _delete_unseen(self, pages: Sequence[Page]) -> None:
        """What the last look did not see is deleted, where it provably saw everything."""
        begun = max((n for n, page in enumerate(pages) if page.anew), default=0)
        look = pages[begun:]
        seen = {key for page in look for key in (*page.keys, *(k for keys in page.skipped.values() for k in keys))}
        totals = {page.part: page.total for page in look}
        assert len(seen) == sum(total or 0 for total in totals.values())
        self.deleted |= self.rows.keys() - {key for page in look for key in page.keys}

    def _keep(self, page: Page) -> None:
        assert None not in page.keys
        assert len(set(page.keys)) == len(page.keys)
        assert not set(page.gone) & set(page.keys)
        self.deleted |= set(page.gone) & self.rows.keys()
        for key, record in zip(page.keys, page.records, strict=True):
            row = json.loads(bytes(record))
            assert row["id"] == key
            if key not in self.rows or key in self.deleted:
                self.inserted += 1
            elif self.rows[key] == row:
                self.unchanged += 1
            else:
                self.updated += 1
            assert key is not None
            self.rows[key] = row
            self.deleted.discard(key)
        self.cursor = page.cursor
        if page.facts is not None:
            self.facts = page.facts
        self.notes += page.notes

    @property
    def live(self) -> list[dict[str, Any]]:
        """The rows that are not deleted."""
        return [row for key, row in self.rows.items() if key not in self.deleted]

    def compare(self, mailbox: Mailbox, *folders: str) -> None:
        """Every message of the server is one live row with its number, flags and content, and there is no other row."""
        expected = Counter(
            (folder, uid, tuple(sorted(flags)), sha256(raw).hexdigest())
            for folder in folders or ("INBOX",)
            for uid, flags, raw in mailbox.truth(folder)
        )
        found = Counter(
            (row["folder"], row["uid"], tuple(sorted([*row["flags"], *row["labels"]])), row["hash"])
            for row in self.live
        )
        assert found == expected


def _messages(mail: Mail) -> Entity:
    (entity,) = mail.entities
    return entity
