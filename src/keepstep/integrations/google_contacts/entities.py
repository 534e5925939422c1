"""The two entities of Google Contacts and their documented fields.

``connections`` are the people as Google gives them, one column for each field of a ``Person`` that a field mask may
name (People API, discovery document ``people.v1``). ``contacts`` are the same people made plain: what a table of
contacts needs, and only those who can be written to or called.
"""

from collections.abc import Iterable

from keepstep.model.integration import Entity, Field, Kind

PERSON_FIELDS = (
    "addresses", "ageRanges", "biographies", "birthdays", "calendarUrls", "clientData", "coverPhotos", "emailAddresses",
    "events", "externalIds", "genders", "imClients", "interests", "locales", "locations", "memberships", "metadata",
    "miscKeywords", "names", "nicknames", "occupations", "organizations", "phoneNumbers", "photos", "relations",
    "sipAddresses", "skills", "urls", "userDefined",
)  # fmt: skip
"""What is asked for. The same on every request: Google refuses a token that comes with another mask."""
NO_IDENTIFIER = "skipped_no_identifier"
"""Why a person is no contact: neither an e-mail address nor a phone number."""


def _fields(kind: Kind, names: str) -> Iterable[Field]:
    return (Field(name, kind) for name in names.split())


CONNECTIONS = Entity(
    "connections",
    (*_fields(Kind.TEXT, "etag"), *(Field(name, Kind.JSON) for name in PERSON_FIELDS)),
    key="resourceName",
    owned=True,
)

CONTACTS = Entity(
    "contacts",
    (
        *_fields(Kind.TEXT, "displayName givenName middleName familyName honorificPrefix honorificSuffix nickname"),
        *_fields(Kind.TEXT, "primaryEmail primaryPhone primaryPhoneE164"),
        *_fields(Kind.TEXT, "organization jobTitle department photoUrl"),
        *_fields(Kind.BOOLEAN, "photoIsDefault"),
        *_fields(Kind.JSON, "names emails phones organizations addresses photos groups"),
        *_fields(Kind.TEXT, "etag"),
        *_fields(Kind.TIMESTAMP, "updatedAt"),
    ),
    updated_at="updatedAt",
    owned=True,
)

ENTITIES = (CONNECTIONS, CONTACTS)
"""In the order of reading: the contacts are made of what was read of the connections."""
