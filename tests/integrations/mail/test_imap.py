"""A mailbox on a real Dovecot, with and without CONDSTORE: after every run the rows are what the server has."""

from email.message import EmailMessage

import pytest

from keepstep.integrations.mail.connector import Mail
from keepstep.integrations.mail.message import Limits
from keepstep.model.errors import ChangesLost
from keepstep.model.integration import Mode, Reading
from tests.integrations.mail.truth import Table, connector
from tests.integrations.upstream import opened
from tests.support.dovecot import Mailbox, mail


def some(count: int, begin: int = 0) -> list[bytes]:
    """So many different messages."""
    return [mail(f"message {n}") for n in range(begin, begin + count)]


async def test_a_full_reading_gives_every_message_once(mailbox: Mailbox) -> None:
    mailbox.create("Archive", "Sent")
    mailbox.add(*some(25), flags=r"(\Seen)")
    mailbox.add(*some(7, 100), folder="Archive")
    client, table = connector(mailbox, page_size=10), Table()

    pages = await table.sync(client, Mode.BACKFILL)

    table.compare(mailbox, "INBOX", "Archive", "Sent")
    assert [(page.part, page.number, len(page.records), page.total) for page in pages] == [
        (0, 1, 10, 25), (0, 2, 10, 25), (0, 3, 5, 25), (1, 1, 7, 7), (2, 1, 0, 0),
    ]  # fmt: skip
    assert [page.last for page in pages] == [False, False, False, False, True]
    assert sum(page.requests for page in pages) == client.requests
    await client.aclose()


async def test_a_delta_brings_what_came_changed_and_went(mailbox: Mailbox) -> None:
    mailbox.add(*some(20))
    client, table = connector(mailbox), Table()
    await table.sync(client)
    table.compare(mailbox)
    mailbox.add(*some(3, 50))
    mailbox.flag([2, 3], r"\Seen $Work")
    mailbox.remove([5, 6])

    await table.sync(client)

    table.compare(mailbox)
    assert (table.inserted, table.updated, table.unchanged, len(table.deleted)) == (3, 2, 0, 2)
    mailbox.flag([2], r"\Seen", add=False)
    await table.sync(client)
    table.compare(mailbox)
    assert (table.inserted, table.updated) == (0, 1)
    await client.aclose()


async def test_a_delta_with_nothing_new_fetches_nothing(mailbox: Mailbox) -> None:
    mailbox.create("Archive")
    mailbox.add(*some(5))
    client, table = connector(mailbox), Table()
    await table.sync(client)
    before = client.requests

    pages = await table.sync(client)

    assert not any(page.records or page.gone for page in pages)
    assert pages[-1].last
    # The list of folders and a look at each; without CONDSTORE the flags of the one that is not empty.
    assert client.requests - before <= 4
    await client.aclose()


async def test_new_numbers_for_a_folder_lose_no_message_double_none_and_keep_the_rows(mailbox: Mailbox) -> None:
    mailbox.create("Archive")
    mailbox.add(*some(12))
    mailbox.add(*some(3, 70), folder="Archive")
    mailbox.remove([1, 4])
    client, table = connector(mailbox, page_size=5), Table()
    await table.sync(client)
    keys = {row["id"] for row in table.live}
    await client.aclose()

    mailbox.renumber()
    mailbox.add(*some(2, 90))
    mailbox.remove([3])
    await table.sync(client)

    table.compare(mailbox, "INBOX", "Archive")
    assert len(keys & {row["id"] for row in table.live}) == 12
    assert (table.inserted, len(table.deleted)) == (2, 1)
    assert any("UIDVALIDITY" in note for note in table.notes)
    await client.aclose()


async def test_messages_that_are_exactly_alike_stay_as_many_as_they_are(mailbox: Mailbox) -> None:
    same = mail("the same")
    mailbox.add(same, same, same)
    client, table = connector(mailbox), Table()
    await table.sync(client)
    table.compare(mailbox)
    mailbox.remove([1])
    mailbox.add(same)
    await table.sync(client)
    table.compare(mailbox)
    await client.aclose()

    mailbox.renumber()
    await table.sync(client)

    table.compare(mailbox)
    await client.aclose()


async def test_a_delta_that_breaks_off_goes_on_without_loss(mailbox: Mailbox) -> None:
    mailbox.create("Archive")
    mailbox.add(*some(12))
    mailbox.add(*some(8, 30), folder="Archive")
    for broken_after in range(1, 5):
        client, table = connector(mailbox, page_size=5), Table()
        await table.sync(client, crash_after=broken_after)
        mailbox.flag([1], f"$Round{broken_after}")

        await table.sync(client)
        await table.sync(client)

        table.compare(mailbox, "INBOX", "Archive")
        await client.aclose()


async def test_a_full_reading_goes_on_from_every_page_with_the_rest(mailbox: Mailbox) -> None:
    mailbox.create("Archive")
    mailbox.add(*some(12))
    mailbox.add(*some(8, 30), folder="Archive")
    client, table = connector(mailbox, page_size=5), Table()
    whole = await table.sync(client, Mode.BACKFILL)
    for broken_after in range(1, len(whole)):
        table = Table()
        first = await table.sync(client, Mode.BACKFILL, crash_after=broken_after)

        rest = await table.sync(client, Mode.BACKFILL)

        assert [p.keys for p in [*first, *rest]] == [p.keys for p in whole]
        assert [(p.part, p.total) for p in [*first, *rest]] == [(p.part, p.total) for p in whole]
        table.compare(mailbox, "INBOX", "Archive")
    await client.aclose()


async def test_a_full_reading_begins_again_when_the_numbers_changed_while_it_was_interrupted(mailbox: Mailbox) -> None:
    mailbox.create("Archive")
    mailbox.add(*some(12))
    mailbox.add(*some(12, 20), folder="Archive")
    client, table = connector(mailbox, page_size=5), Table()
    await table.sync(client, Mode.BACKFILL, crash_after=4)
    await client.aclose()
    mailbox.renumber("Archive")
    mailbox.remove([2], "Archive")

    pages = await table.sync(client, Mode.BACKFILL)

    assert [page.anew for page in pages] == [True] + [False] * (len(pages) - 1)
    table.compare(mailbox, "INBOX", "Archive")
    await table.sync(client)
    table.compare(mailbox, "INBOX", "Archive")
    await client.aclose()


async def test_messages_that_go_while_everything_is_read_are_no_hindrance(mailbox: Mailbox) -> None:
    mailbox.add(*some(12))
    client, table = connector(mailbox, page_size=5), Table()
    await table.sync(client)
    pages = []
    async with opened(client, client.entities[0], Reading(Mode.BACKFILL, facts=table.facts)) as reading:
        async for page in reading:
            if not pages:
                mailbox.remove([7, 8, 12])
            pages.append(page)

    came = {key for page in pages for key in page.keys}
    gone = {key for page in pages for keys in page.skipped.values() for key in keys}
    assert (len(came), len(gone), pages[0].total) == (9, 3, 12)
    assert gone < table.rows.keys()
    await client.aclose()


async def test_a_full_reading_finds_what_is_gone_and_a_delta_afterwards_has_nothing_to_say(mailbox: Mailbox) -> None:
    mailbox.add(*some(6))
    client, table = connector(mailbox), Table()
    await table.sync(client, Mode.BACKFILL)
    mailbox.remove([2, 3])

    await table.sync(client, Mode.BACKFILL)
    table.compare(mailbox)
    await table.sync(client)

    table.compare(mailbox)
    assert (table.inserted, table.updated) == (0, 0)
    await client.aclose()


async def test_a_mailbox_that_is_suddenly_empty_is_left_to_a_full_run(mailbox: Mailbox) -> None:
    mailbox.add(*some(30))
    client, table = connector(mailbox), Table()
    await table.sync(client)
    mailbox.remove(range(1, 30))

    with pytest.raises(ChangesLost, match="more than half"):
        await read_all_changes(client, table)
    await table.sync(client)

    table.compare(mailbox)
    await table.sync(client)
    assert not table.notes
    await client.aclose()


async def test_new_numbers_with_most_messages_gone_are_left_to_a_full_run(mailbox: Mailbox) -> None:
    mailbox.add(*some(30))
    client, table = connector(mailbox), Table()
    await table.sync(client)
    await client.aclose()
    mailbox.remove(range(1, 30))
    mailbox.renumber()

    with pytest.raises(ChangesLost, match="more than half"):
        await read_all_changes(client, table)
    await table.sync(client)

    table.compare(mailbox)
    await table.sync(client)
    assert not table.notes
    await client.aclose()


async def read_all_changes(client: Mail, table: Table) -> None:
    """A delta, as it is before the engine does anything about its end."""
    async with opened(client, client.entities[0], Reading(Mode.DELTA, facts=table.facts)) as pages:
        async for page in pages:
            assert not page.gone


async def test_a_folder_that_is_gone_takes_its_rows_with_it(mailbox: Mailbox) -> None:
    mailbox.create("Old")
    mailbox.add(*some(5))
    mailbox.add(*some(3, 30), folder="Old")
    client, table = connector(mailbox), Table()
    await table.sync(client)
    with mailbox.session(None) as other:
        other.delete('"Old"')

    await table.sync(client)

    table.compare(mailbox)
    assert len(table.deleted) == 3
    await client.aclose()


async def test_only_the_folders_that_are_chosen_are_read(mailbox: Mailbox) -> None:
    mailbox.create("Work/2025", "Work/2026", "Trash", "Perch&AOk-")
    for folder in ("INBOX", "Work/2025", "Work/2026", "Trash", "Perch&AOk-"):
        mailbox.add(mail(f"in {folder.replace('/', ' ').replace('&', '')}"), folder=folder)
    table = Table()
    usual, chosen = connector(mailbox), connector(mailbox, folders=["inbox", "Work/*"])

    await table.sync(usual)
    assert sorted(row["folder"] for row in table.live) == ["INBOX", "Perché", "Work/2025", "Work/2026"]

    await table.sync(chosen)
    assert sorted(row["folder"] for row in table.live) == ["INBOX", "Work/2025", "Work/2026"]
    await usual.aclose()
    await chosen.aclose()


async def test_a_message_beyond_the_size_limit_comes_with_its_header_beginning_and_attachments(
    mailbox: Mailbox,
) -> None:
    large = EmailMessage()
    large["Subject"] = "large"
    large["Message-ID"] = "<large@example.test>"
    large.set_content("The text comes first.\n")
    large.add_attachment(b"x" * 300_000, maintype="application", subtype="pdf", filename="plan.pdf")
    mailbox.add(large.as_bytes().replace(b"\n", b"\r\n"), mail("small"))
    client, table = connector(mailbox, limits=Limits(message_bytes=50_000)), Table()

    await table.sync(client)

    rows = {row["subject"]: row for row in table.live}
    assert rows["small"]["hash"]
    row = rows["large"]
    assert (row["truncated"], row["hash"], row["text"]) == (True, None, "The text comes first.")
    (attachment,) = row["attachments"]
    assert (attachment["filename"], attachment["mimeType"]) == ("plan.pdf", "application/pdf")
    assert abs(attachment["size"] - 300_000) < 100
    assert "is too large to be read whole" in row["defects"]
    keys = {row["id"] for row in table.live}
    await client.aclose()

    generous = connector(mailbox)
    await table.sync(generous, Mode.BACKFILL)
    table.compare(mailbox)
    assert {row["id"] for row in table.live} == keys
    await generous.aclose()


async def test_broken_messages_arrive_like_others(mailbox: Mailbox) -> None:
    mailbox.add(
        b"no header at all",
        b"Subject: \xe9\xff\r\n\r\nbytes \xe9",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=nope\r\n\r\nhi",
        b"\r\n\r\n",
    )
    client, table = connector(mailbox), Table()

    await table.sync(client)

    table.compare(mailbox)
    assert len(table.live) == 4
    await client.aclose()


async def test_dates_flags_and_threads_are_there(mailbox: Mailbox) -> None:
    mailbox.add(
        mail("first"),
        mail("second", In_Reply_To="<first@example.test>", References="<first@example.test>"),
        flags=r"(\Seen \Flagged Invoice)",
        at='"21-Nov-2026 08:00:00 +0200"',
    )
    client, table = connector(mailbox), Table()

    await table.sync(client)

    second = next(row for row in table.live if row["subject"] == "second")
    assert (second["receivedAt"], second["sentAt"]) == ("2026-11-21T06:00:00Z", "2026-11-20T10:15:30Z")
    assert (second["flags"], second["labels"], second["seen"]) == (["\\Flagged", "\\Seen"], ["Invoice"], True)
    assert {row["threadId"] for row in table.live} == {"first@example.test"}
    await client.aclose()


async def test_reading_leaves_no_trace_in_the_mailbox(mailbox: Mailbox) -> None:
    mailbox.add(*some(3))
    before = mailbox.truth()
    client, table = connector(mailbox), Table()

    await table.sync(client, Mode.BACKFILL)
    await table.sync(client)

    assert mailbox.truth() == before
    assert not any(row["seen"] for row in table.live)
    await client.aclose()
