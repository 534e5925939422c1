"""``python -m bench.accounts``: one owner's account from its first reading on, a mailbox and contacts, small and large.

The mailbox is a real Dovecot's, the contacts are an emulated Google's, each run is a process of its own. A mailbox is
also read by Python's own client, which fetches and parses every message and keeps nothing. What is to be seen: that a
reading takes time and room in step with the account, and that one with nothing new takes next to none.
"""

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from tests.support.dovecot import PASSWORD, Dovecot, Mailbox, dovecot

from bench.child import run_child
from bench.dispatch import home
from bench.fairness import google
from bench.report import about, machine
from bench.stage import Server, server
from keepstep.app import App
from keepstep.config import Settings
from keepstep.integrations.google_contacts.emulator.options import EmulatorOptions
from keepstep.integrations.tokens import TokenSet
from keepstep.service.core import Service

OWNER = "ana"
MOST_MB, MOST_GROWTH = 200, 1.3
"""Of memory, and by how much a record of the large account may cost more time than one of the small one."""
_WORDS = ["consegna", "domani", "mattina", "documenti", "allegati", "fattura", "mese", "scorso", "pratica", "più"]


@dataclass(frozen=True, slots=True)
class Line:
    """One run. Seconds and bytes; ``records`` is what the account has."""

    what: str
    records: int
    told: dict[str, Any]
    wal: int
    server_cpu: float

    def row(self) -> str:
        """Of the table."""
        seconds, cpu = self.told["seconds"], self.told["cpu"]
        each = 1e6 / self.records
        return (
            f"| {self.what} | {self.records:,} | {seconds:.2f} | {self.records / seconds:,.0f} | {cpu * each:.0f} "
            f"| {self.server_cpu * each:.0f} | {self.wal / self.records:,.0f} | {self.told['peak_rss'] / 1e6:.0f} |"
        )


def main() -> int:
    """Measure and print; 1 when a large account costs more than in step, or too much memory."""
    parser = argparse.ArgumentParser(prog="python -m bench.accounts", description=__doc__)
    parser.add_argument("--messages", type=int, nargs="*", default=[2_000, 20_000], help="sizes of mailboxes")
    parser.add_argument("--people", type=int, nargs="*", default=[2_000, 20_000], help="sizes of contacts")
    options = parser.parse_args()
    print(about(machine()), file=sys.stderr)
    print("| what | records | s | a second | CPU us each | PostgreSQL us each | WAL bytes each | memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    kept = True
    with home() as directory, server(directory / "home") as place:
        for measure, sizes in ((mailbox, options.messages), (contacts, options.people)):
            first = [measure(place, directory, size) for size in sizes]
            kept &= all(line.told["peak_rss"] < MOST_MB * 1e6 for line in first)
            kept &= all(_each(line) < MOST_GROWTH * _each(first[0]) for line in first)
    return int(not kept)


def _each(line: Line) -> float:
    return float(line.told["seconds"]) / line.records


def mailbox(place: Server, directory: Path, size: int) -> Line:
    """A mailbox of so many messages; gives its first reading."""
    with dovecot() as imap, account(place, directory, f"mail_{size}", KEEPSTEP_MAIL_PRIVATE_HOSTS="true") as way:
        box = imap.mailbox("ana@example.test")
        fill(imap, box, size)
        address = f"imap://ana%40example.test@127.0.0.1:{imap.port}/INBOX?security=none"
        way.connect(lambda service: service.owners.connect(
            "mail", OWNER, {"address": address, "password": PASSWORD}, by="bench"))  # fmt: skip
        told = run_child("owner_child", ["imaplib", str(imap.port), box.user, PASSWORD], {})
        print(Line("mail, Python's own client alone", size, told, 0, 0).row(), flush=True)
        first = way.run("mail, first reading", "mail", size)
        way.run("mail, nothing new", "mail", size)
        box.flag(box.uids()[: size // 100], r"\Seen")
        way.run("mail, flags of one in a hundred changed", "mail", size)
    return first


def contacts(place: Server, directory: Path, size: int) -> Line:
    """So many contacts; gives their first reading."""
    options = EmulatorOptions()
    with google([OWNER], people=size) as upstream, account(
        place, directory, f"contacts_{size}", GOOGLE_CONTACTS_BASE_URL=upstream.url, GOOGLE_CLIENT_ID=options.client_id,
        GOOGLE_CLIENT_SECRET=options.client_secret,
    ) as way:  # fmt: skip
        way.connect(lambda service: service.owners.tokens(
            "google_contacts", OWNER, read=TokenSet.of, write=TokenSet.stored
        ).put(TokenSet(**upstream.tokens[OWNER]), by="bench"))  # fmt: skip
        first = way.run("contacts, first reading", "google_contacts", size)
        way.run("contacts, nothing new", "google_contacts", size)
    return first


class Way:
    """To the runs of one account, in a database of its own."""

    def __init__(self, place: Server, database: str, environment: dict[str, str]) -> None:
        self._place = place
        self._database = database
        self._environment = environment

    def connect(self, give: Callable[[Service], Any]) -> None:
        """Give credentials."""

        async def connected() -> None:
            async with App(Settings.load(self._environment)).open() as service:
                await give(service)

        asyncio.run(connected())

    def run(self, what: str, integration: str, records: int) -> Line:
        """One run, metered and printed."""
        self._place.settle(self._database)
        wal, cpu = self._place.wal_position(), self._place.cpu_seconds()
        told = run_child("owner_child", ["run", integration, OWNER], self._environment)
        wal, cpu = self._place.wal_position() - wal, self._place.cpu_seconds() - cpu
        line = Line(what, records, told, wal, cpu)
        print(line.row(), flush=True)
        return line


@contextmanager
def account(place: Server, directory: Path, database: str, **environment: str) -> Iterator[Way]:
    """A database for one account, which is dropped at the end."""
    place.create(database)
    given = {"DATABASE_URL": place.dsn(database), "KEEPSTEP_HOME": str(directory / "keepstep"), **environment}
    yield Way(place, database, given)
    place.drop(database)


def fill(imap: Dovecot, box: Mailbox, size: int) -> None:
    """Lay messages into the mailbox's folder, as a delivery does."""
    with box.session():
        pass  # Dovecot makes the folder
    chance = random.Random(size)
    for number in range(size):
        path = box.place / "cur" / f"1790000000.M{number}P1.bench:2,{'S' if number % 3 else ''}"
        path.write_bytes(message(number, chance))
        os.chown(path, imap.user.owner, -1)


def message(number: int, chance: random.Random) -> bytes:
    """Plain ones, ones with HTML beside the text, and one in ten with an attachment."""
    made = EmailMessage()
    made["From"] = f"Cliente {number % 97} <cliente{number % 97}@example.test>"
    made["To"], made["Subject"] = "ana@example.test", f"Pratica {number // 4}: {' '.join(chance.choices(_WORDS, k=4))}"
    made["Date"] = format_datetime(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number))
    made["Message-ID"] = f"<{number}@example.test>"
    if number % 4:
        made["References"] = f"<{number - number % 4}@example.test>"
    text = "\n".join(" ".join(chance.choices(_WORDS, k=12)) for _ in range(chance.randint(3, 40)))
    made.set_content(text)
    if number % 2:
        made.add_alternative(f"<html><body><p>{text}</p></body></html>", subtype="html")
    if number % 10 == 0:
        made.add_attachment(chance.randbytes(20_000), maintype="application", subtype="pdf", filename="ordine.pdf")
    return made.as_bytes().replace(b"\n", b"\r\n")


if __name__ == "__main__":
    sys.exit(main())
