"""Pages of people.connections.list, read without any network."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from keepstep.engine.mapping import Mapping
from keepstep.integrations.google_contacts.contact import Unreadable, contact_of
from keepstep.integrations.google_contacts.entities import CONNECTIONS, CONTACTS, PERSON_FIELDS
from keepstep.integrations.google_contacts.envelope import decode_envelope
from keepstep.integrations.google_contacts.people import head_of, sorted_out
from keepstep.integrations.http import Response
from keepstep.model.errors import Answer, NotData
from tests.integrations.google_contacts.persons import deleted, person, raw


def page(body: bytes) -> Any:
    response = Response("GET", "/v1/people/me/connections", 200, {}, body, 0.0)
    return decode_envelope(response, lambda: Answer("GET", response.path, 200))


def contact(**more: Any) -> dict[str, Any]:
    made = contact_of(raw(person(**more)), "2026-11-02T10:15:30.123456Z")
    assert made is not None
    return dict(msgspec.json.decode(made))


def test_a_page_holds_its_people_byte_for_byte() -> None:
    people = [json.dumps(person(f"people/c{n}")).encode() for n in range(3)]
    body = b'{"connections":[' + b", ".join(people) + b'],"nextPageToken":"p2","totalItems":7,"totalPeople":9}'

    found = page(body)

    assert [bytes(record) for record in found.connections] == people
    assert (found.next_page_token, found.next_sync_token, found.total) == ("p2", "", 7)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"nextSyncToken":"s"}', b'{"totalItems":0,"nextSyncToken":"s"}', b'\xef\xbb\xbf{"totalPeople":0}']
)
def test_an_empty_page_needs_no_list(body: bytes) -> None:
    assert page(body).connections == []


def test_a_person_that_is_not_strict_json_does_not_take_its_page_along() -> None:
    good = json.dumps(person("people/c2")).encode()
    odd = b'{"resourceName":"people/c1","etag":"\\ud800"}'
    body = b'{"connections":[' + odd + b"," + good + b'],"nextSyncToken":"s","totalItems":2}'
    bad = b'{"resourceName":"people/c1","names":[{"displayName":NaN}]}'
    worse = body.replace(odd, bad)

    for one in (body, worse):
        found = page(one)
        people = sorted_out(found.connections)

        assert people.keys == ["people/c1", "people/c2"]
        assert bytes(people.records[1]) == good
        assert (found.next_sync_token, found.total) == ("s", 2)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"connections":[{"resourceName":"people/c1"', "json-cut-off"),
        (b'{"connections":[{}]]', "bad-json"),
        (b"[]", "wrong-envelope"),
        (b'{"connections":null}', "wrong-envelope"),
        (b'{"connections":{}}', "wrong-envelope"),
        (b'{"contacts":[]}', "wrong-envelope"),
        (b'{"totalItems":-1}', "wrong-envelope"),
        (b'{"nextPageToken":5}', "wrong-envelope"),
        (b'{"error":{"code":400}}', "wrong-envelope"),
    ],
)
def test_what_is_no_page_is_not_data(body: bytes, code: str) -> None:
    with pytest.raises(NotData) as raised:
        page(body)

    assert raised.value.code == code
    assert raised.value.fix


def test_the_head_says_when_a_person_changed_in_any_of_its_sources() -> None:
    sources = [
        {"type": "CONTACT", "updateTime": "2026-11-02T10:15:30.123456Z"},
        {"type": "PROFILE", "updateTime": "2026-11-03T00:00:00.123456789Z"},
        {"type": "ACCOUNT"}, {"updateTime": "soon"}, {"updateTime": 5}, "?",
    ]  # fmt: skip

    head = head_of(raw(person(metadata={"sources": sources})))

    assert head.updated == datetime(2026, 11, 3, 0, 0, 0, 123456, UTC)
    assert not head.deleted


@pytest.mark.parametrize("name", [None, 5, "", ["people/c1"], "a\x00b"])
def test_a_person_without_a_usable_name_has_no_key(name: object) -> None:
    assert head_of(raw(person(resourceName=name))).key is None


@pytest.mark.parametrize("metadata", [None, 5, "x", [], {"sources": 5}, {"previousResourceNames": "people/c9"}])
def test_odd_metadata_never_stops_a_page(metadata: object) -> None:
    head = head_of(raw({**person(), "metadata": metadata}))

    assert (head.key, head.deleted, head.previous, head.updated) == ("people/c1", False, (), None)


def test_a_person_that_cannot_be_read_keeps_its_key() -> None:
    assert head_of(Raw(b'{"resourceName":"people/c7","names":[{"displayName":\xff}]}')).key == "people/c7"
    assert head_of(Raw(b"?")).key is None


def test_deleted_people_are_no_records_but_gone() -> None:
    people = sorted_out([raw(person("people/c1")), raw(deleted("people/c2")), raw(deleted("people/c3"))])

    assert people.keys == ["people/c1"]
    assert people.gone == ("people/c2", "people/c3")


def test_the_old_names_of_a_merged_person_are_gone() -> None:
    merged = person("people/c9", metadata={"previousResourceNames": ["people/c1", "people/c2", "people/c9", 5]})
    left = {"resourceName": "people/c4", "metadata": {"deleted": True, "previousResourceNames": ["people/c3"]}}

    people = sorted_out([raw(merged), raw(left)])

    assert people.keys == ["people/c9"]
    assert people.gone == ("people/c1", "people/c2", "people/c4", "people/c3")


def test_a_name_that_the_same_page_gives_to_somebody_is_not_gone() -> None:
    merged = person("people/c9", metadata={"previousResourceNames": ["people/c1"]})

    people = sorted_out([raw(deleted("people/c1")), raw(merged), raw(person("people/c1"))])

    assert people.keys == ["people/c9", "people/c1"]
    assert people.gone == ()


def test_a_contact_has_every_address_and_number_with_the_primary_one_first() -> None:
    made = contact(
        emailAddresses=[
            {"value": "home@example.test", "type": "home"},
            {"metadata": {"primary": True, "source": {"type": "CONTACT"}}, "value": "work@example.test"},
            {"value": "  "}, {"type": "other"}, "?",
        ],
        phoneNumbers=[{"value": "333 1234567", "canonicalForm": "+393331234567"}, {"value": "06 5555"}],
    )  # fmt: skip

    assert made["emails"] == [
        {"value": "work@example.test", "primary": True, "source": "CONTACT"},
        {"value": "home@example.test", "type": "home", "primary": False},
    ]
    assert [phone["value"] for phone in made["phones"]] == ["333 1234567", "06 5555"]
    assert (made["primaryEmail"], made["primaryPhone"]) == ("work@example.test", "333 1234567")
    assert made["primaryPhoneE164"] == "+393331234567"


def test_a_contact_has_name_organisation_photo_and_groups() -> None:
    made = contact(
        organizations=[{"name": "Old"}, {"metadata": {"primary": True}, "name": "Rossi srl", "title": "CEO"}],
        photos=[{"metadata": {"primary": True}, "url": "https://photos.example.test/1", "default": True}],
        memberships=[
            {"contactGroupMembership": {"contactGroupResourceName": "contactGroups/myContacts"}},
            {"domainMembership": {"inViewerDomain": True}},
        ],
        nicknames=[{"value": "Super"}],
    )

    assert (made["id"], made["displayName"], made["givenName"], made["nickname"]) == (
        "people/c1", "Mario Rossi", "Mario", "Super",
    )  # fmt: skip
    assert (made["organization"], made["jobTitle"]) == ("Rossi srl", "CEO")
    assert (made["photoUrl"], made["photoIsDefault"]) == ("https://photos.example.test/1", True)
    assert made["groups"] == ["contactGroups/myContacts"]
    assert made["updatedAt"] == "2026-11-02T10:15:30.123456Z"


@pytest.mark.parametrize("emails", [None, [], "mario@example.test", [{"type": "work"}], [{"value": ""}], [5]])
def test_who_has_neither_address_nor_number_is_no_contact(emails: object) -> None:
    assert contact_of(raw(person(emailAddresses=emails)), None) is None


def test_a_phone_number_is_identifier_enough() -> None:
    assert contact(emailAddresses=None, phoneNumbers=[{"value": "1"}])["primaryPhone"] == "1"


def test_a_person_that_is_no_object_is_unreadable() -> None:
    for record in (b"5", b'{"a":NaN}', b"[" * 5000):
        with pytest.raises(Unreadable):
            contact_of(Raw(record), None)


def test_every_field_of_a_contact_and_of_a_person_has_a_column() -> None:
    everything = person(
        **{name: [{"value": "x"}] for name in PERSON_FIELDS if name not in ("metadata", "names", "emailAddresses")}
    )
    made = contact_of(raw(everything), "2026-11-02T10:15:30Z")
    assert made is not None

    for entity, record in ((CONNECTIONS, raw(everything)), (CONTACTS, made)):
        mapping = Mapping(entity)
        row = mapping.row(record, b"\x00" * 20)

        assert isinstance(row, bytes), (entity.name, row)
        assert b",{}," in row, entity.name  # nothing is left for _extra
