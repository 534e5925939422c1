"""Invented people, as the People API gives them: some with everything, some with hardly a name, some without a name."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from keepstep.integrations.emulation import names

_FIRST_CHANGE = datetime(2026, 1, 5, 8, 0, tzinfo=UTC).timestamp()
_SECONDS_APART = 61.5
_PHONE_TYPES = ("mobile", "home", "work", "main", "other")
_TITLES = ("CEO", "Property Manager", "Contabile", "Plumber", "Notaio", "Teacher", "CTO & co-founder")


def encode(value: Any) -> bytes:
    """JSON as it goes over the wire."""
    return msgspec.json.encode(value)


def timestamp(epoch: float) -> str:
    """An epoch second as Google writes it, in microseconds."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def seeded_at(number: int) -> float:
    """When the seeded person of a number last changed."""
    return _FIRST_CHANGE + number * _SECONDS_APART


def name_of(account: str, number: int) -> str:
    """The resource name of a person: different in every account, as Google's are."""
    chance = random.Random(f"{account}:{number}:name")  # noqa: S311 - invented data
    return f"people/c{chance.randrange(10**17, 10**18)}{number % 10**6:06d}"


class People:
    """The seeded people of one account. The same number always gives the same person."""

    def __init__(self, seed: int, account: str, *, no_identifier_percent: float, undocumented: bool) -> None:
        self._seed = seed
        self._account = account
        self._no_identifier = no_identifier_percent / 100
        self._undocumented = undocumented

    def make(self, number: int, at: float) -> dict[str, Any]:
        """The person of a number, changed at an epoch second."""
        chance = random.Random(f"{self._seed}:{self._account}:{number}")  # noqa: S311 - invented data
        source = {"type": "CONTACT", "id": f"{chance.randrange(16**12):016x}"}
        person: dict[str, Any] = {
            "resourceName": name_of(self._account, number),
            "etag": _etag(chance),
            "metadata": {
                "sources": [{**source, "etag": f"#{chance.randrange(10**8)}=", "updateTime": timestamp(at)}],
                "objectType": "PERSON",
            },
        }
        first, last = chance.choice(names.FIRST), chance.choice(names.LAST)
        if chance.random() < 0.95:
            shown, sorted_by = f"{first} {last}", f"{last}, {first}"
            parts = {"familyName": last, "givenName": first, "displayNameLastFirst": sorted_by}
            person["names"] = [_entry(source, True, displayName=shown, **parts, unstructuredName=shown)]
        if chance.random() >= self._no_identifier:
            self._reachable(person, source, chance, number)
        self._more(person, source, chance, number)
        return person

    def _reachable(self, person: dict[str, Any], source: dict[str, Any], chance: random.Random, number: int) -> None:
        emails, phones = chance.choices(((1, 0), (1, 1), (2, 1), (0, 1), (0, 2), (3, 3)), (30, 35, 12, 15, 6, 2))[0]
        if emails:
            primary = chance.randrange(emails)
            person["emailAddresses"] = [
                _entry(source, n == primary, value=f"p{number}.{n}@example.test", **_typed(chance, ("home", "work")))
                for n in range(emails)
            ]
        if phones:
            person["phoneNumbers"] = [self._phone(source, chance, first=n == 0) for n in range(phones)]

    def _phone(self, source: dict[str, Any], chance: random.Random, *, first: bool) -> dict[str, Any]:
        digits = f"333 {chance.randrange(10**7):07d}"
        canonical = {"canonicalForm": "+39" + digits.replace(" ", "")} if chance.random() < 0.8 else {}
        return _entry(source, first, value=digits, **canonical, **_typed(chance, _PHONE_TYPES))

    def _more(self, person: dict[str, Any], source: dict[str, Any], chance: random.Random, number: int) -> None:
        rare: tuple[tuple[float, str, Callable[[], list[dict[str, Any]]]], ...] = (
            (0.4, "organizations", lambda: [
                _entry(source, True, name=chance.choice(names.COMPANIES), title=chance.choice(_TITLES), type="work")]),
            (0.6, "photos", lambda: [_entry(source, True, url=f"https://photos.example.test/{number}=s100",
                                            **({"default": True} if chance.random() < 0.5 else {}))]),
            (0.9, "memberships", lambda: [_entry(source, False, contactGroupMembership={
                "contactGroupId": "myContacts", "contactGroupResourceName": "contactGroups/myContacts"})]),
            (0.1, "nicknames", lambda: [_entry(source, True, value=chance.choice(names.FIRST))]),
            (0.1, "birthdays", lambda: [_entry(source, True, date={"month": 2, "day": 1 + number % 28})]),
            (0.1, "biographies", lambda: [_entry(source, True, value=chance.choice(names.NOTES),
                                                 contentType="TEXT_PLAIN")]),
            (0.2, "addresses", lambda: [self._address(source, chance)]),
            (0.05, "userDefined", lambda: [_entry(source, True, key="codice", value=str(number))]),
            (0.05, "urls", lambda: [_entry(source, True, value=f"https://example.test/{number}", type="homePage")]),
        )  # fmt: skip
        for share, field, made in rare:
            if chance.random() < share:
                person[field] = made()
        if self._undocumented and chance.random() < 0.05:
            person["contactScore"] = round(chance.random(), 4)

    def _address(self, source: dict[str, Any], chance: random.Random) -> dict[str, Any]:
        city, region, code, *_ = chance.choice(names.CITIES)
        street = f"{chance.randrange(1, 300)} {chance.choice(names.STREETS)}"
        return _entry(
            source, True, formattedValue=f"{street}\n{city}, {region} {code}", type="home", formattedType="Home",
            streetAddress=street, city=city, region=region, postalCode=code, countryCode="US",
        )  # fmt: skip


def changed(person: dict[str, Any], at: float, count: int) -> dict[str, Any]:
    """A person after its owner gave it a new note."""
    chance = random.Random(f"{person['resourceName']}:{count}")  # noqa: S311 - invented data
    note = f'Changed {count}: "{chance.randrange(10**6)}" ✏️'
    return touched({**person, "biographies": [{"value": note, "contentType": "TEXT_PLAIN"}]}, at, count)


def touched(person: dict[str, Any], at: float, count: int) -> dict[str, Any]:
    """A person with another etag and update time."""
    metadata = person.get("metadata", {})
    sources = [{**source, "updateTime": timestamp(at)} for source in metadata.get("sources", [])]
    etag = _etag(random.Random(f"{person['resourceName']}:{count}:etag"))  # noqa: S311 - invented data
    return {**person, "etag": etag, "metadata": {**metadata, "sources": sources}}


def tombstone(name: str, previous: list[str] | None = None) -> dict[str, Any]:
    """What is left of a deleted person."""
    before = {"previousResourceNames": previous} if previous else {}
    return {"resourceName": name, "metadata": {"deleted": True, "objectType": "PERSON", **before}}


def _entry(source: dict[str, Any], primary: bool, **values: Any) -> dict[str, Any]:
    metadata = {"primary": True, "source": source} if primary else {"source": source}
    return {"metadata": metadata, **values}


def _typed(chance: random.Random, types: tuple[str, ...]) -> dict[str, Any]:
    kind = chance.choice(types)
    return {"type": kind, "formattedType": kind.title()} if chance.random() < 0.8 else {}


def _etag(chance: random.Random) -> str:
    return f"%EgUBAi43PRoEAQIFByIM{chance.randrange(16**12):012x}"
