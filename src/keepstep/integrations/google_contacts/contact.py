"""A person made plain: the record of the entity ``contacts``.

Nothing is guessed and nothing is altered: every value is one that Google gave. Of several names, addresses or numbers
the one that Google marks as primary comes first and also stands in a column of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

Entry = Mapping[str, Any]

_DECODER = msgspec.json.Decoder(dict[str, Any])
_NAMES = ("displayName", "givenName", "middleName", "familyName", "honorificPrefix", "honorificSuffix")


class Unreadable(ValueError):
    """The bytes of a person are not those of a JSON object."""


def contact_of(record: Raw, updated_at: str | None) -> Raw | None:
    """The contact of a person; None: it has neither e-mail address nor phone number. Raises ``Unreadable``."""
    try:
        person = _DECODER.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    emails = [_value(entry, "value", "type", "displayName") for entry in _entries(person, "emailAddresses", "value")]
    phones = [_value(entry, "value", "canonicalForm", "type") for entry in _entries(person, "phoneNumbers", "value")]
    if not emails and not phones:
        return None
    name = _first(_entries(person, "names"))
    organization = _first(_entries(person, "organizations"))
    photos = list(_entries(person, "photos", "url"))
    photo = _first(iter(photos))
    contact = {
        "id": person.get("resourceName"),
        **{field: name.get(field) for field in _NAMES},
        "nickname": _first(_entries(person, "nicknames", "value")).get("value"),
        "primaryEmail": emails[0]["value"] if emails else None,
        "primaryPhone": phones[0]["value"] if phones else None,
        "primaryPhoneE164": phones[0].get("canonicalForm") if phones else None,
        "organization": organization.get("name"),
        "jobTitle": organization.get("title"),
        "department": organization.get("department"),
        "photoUrl": photo.get("url"),
        "photoIsDefault": photo.get("default") is True if photo else None,
        "names": [_value(entry, *_NAMES) for entry in _entries(person, "names")],
        "emails": emails,
        "phones": phones,
        "organizations": [
            _value(entry, "name", "title", "department", "type", "current")
            for entry in _entries(person, "organizations")
        ],
        "addresses": [
            _value(entry, "formattedValue", "type", "streetAddress", "city", "region", "postalCode", "countryCode")
            for entry in _entries(person, "addresses")
        ],
        "photos": [_value(entry, "url", "default") for entry in photos],
        "groups": list(_groups(person)),
        "etag": person.get("etag"),
        "updatedAt": updated_at,
    }
    return Raw(msgspec.json.encode({field: value for field, value in contact.items() if value not in (None, [])}))


def _entries(person: Entry, field: str, needed: str | None = None) -> Iterator[Entry]:
    """The objects of a list, the primary one first; those without a text in ``needed`` say nothing and are left out."""
    found = person.get(field)
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    if needed is not None:
        entries = [entry for entry in entries if isinstance(entry.get(needed), str) and entry[needed].strip()]
    return iter(sorted(entries, key=lambda entry: not _is_primary(entry)))


def _is_primary(entry: Entry) -> bool:
    metadata = entry.get("metadata")
    return isinstance(metadata, dict) and metadata.get("primary") is True


def _first(entries: Iterator[Entry]) -> Entry:
    return next(entries, {})


def _value(entry: Entry, *fields: str) -> dict[str, Any]:
    """What is kept of an entry: its fields that are there, whether it is the primary one, and where it comes from."""
    kept = {field: entry[field] for field in fields if entry.get(field) is not None}
    metadata = entry.get("metadata")
    source = metadata.get("source") if isinstance(metadata, dict) else None
    kept["primary"] = _is_primary(entry)
    if isinstance(source, dict) and isinstance(source.get("type"), str):
        kept["source"] = source["type"]
    return kept


def _groups(person: Entry) -> Iterator[str]:
    memberships: Sequence[Entry] = list(_entries(person, "memberships"))
    for membership in memberships:
        group = membership.get("contactGroupMembership")
        name = group.get("contactGroupResourceName") if isinstance(group, dict) else None
        if isinstance(name, str):
            yield name
