"""Pages of the two entities, made of the same sheets of people."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from msgspec import Raw

from keepstep.integrations.google_contacts.contact import Unreadable, contact_of
from keepstep.integrations.google_contacts.entities import CONNECTIONS, CONTACTS, NO_IDENTIFIER
from keepstep.integrations.google_contacts.reading import Sheet
from keepstep.model.integration import Page


def connections_page(sheet: Sheet) -> Page:
    """The people as they came."""
    return Page(
        records=sheet.people.records,
        keys=sheet.people.keys,
        number=sheet.number,
        cursor=sheet.cursor,
        last=sheet.last,
        # Of changes Google counts something, but not what a listing holds.
        total=None if sheet.changes else sheet.total,
        high=sheet.high,
        requests=sheet.requests,
        rate_limit=None if sheet.response is None else sheet.response.rate_limit,
        facts=sheet.facts,
        notes=sheet.notes,
        anew=sheet.anew,
        # A reading of everything finds out for itself who is not there any more.
        gone=sheet.people.gone if sheet.changes else (),
    )


def contacts_page(sheet: Sheet) -> Page:
    """The contacts among them. A person that cannot be read stays as it came: its dead letter is to show it."""
    records: list[Raw] = []
    keys: list[str | None] = []
    skipped: list[str] = []
    for record, head in zip(sheet.people.records, sheet.people.heads, strict=True):
        try:
            contact = contact_of(record, _text(head.updated))
        except Unreadable:
            contact = record
        if contact is not None or head.key is None:
            records.append(contact or record)
            keys.append(head.key)
        else:
            skipped.append(head.key)
    reasons = {NO_IDENTIFIER: tuple(skipped)} if skipped else {}
    return replace(connections_page(sheet), records=records, keys=keys, skipped=reasons)


PAGES: Mapping[str, Callable[[Sheet], Page]] = {CONNECTIONS.name: connections_page, CONTACTS.name: contacts_page}
"""How a page of each entity is made of a sheet."""


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
