"""Seeded tenants and owners."""

from random import Random
from typing import Any

from keepstep.integrations.doorloop.emulator.places import address, text
from keepstep.integrations.doorloop.emulator.world import World, encode
from keepstep.integrations.emulation import names

_PROSPECT_STATUSES = ("NEW", "APPLICATION_SENT", "APPLICATION_SUBMITTED", "CLOSED_MOVED_IN", "CLOSED_LOST")


def render_tenant(world: World, slot: int, chance: Random, stamps: dict[str, Any]) -> bytes:
    """One tenant as it goes over the wire."""
    first, last = chance.choice(names.FIRST), chance.choice(names.LAST)
    name = f"{first} {last}"
    mail = f"tenant{slot + 1}@example.test"
    prospect = chance.random() < 0.15
    record: dict[str, Any] = {
        "emails": _emails(chance, mail),
        "phones": _phones(chance, slot),
        "firstName": first,
        "lastName": last,
        "name": name,
        "fullName": name,
        "languagePreference": "en-US",
        "type": "PROSPECT_TENANT" if prospect else "LEASE_TENANT",
        "emergencyContacts": [_contact(chance)] if chance.random() < 0.2 else [],
        "prospectInfo": {
            "status": chance.choice(_PROSPECT_STATUSES) if prospect else "CLOSED_MOVED_IN",
            "interests": _interests(world, chance),
        },
        "portalInfo": _portal(chance, mail),
    }
    if chance.random() < 0.1:
        record["middleName"] = chance.choice(("Lee", "M.", "Æ", "de"))
    if chance.random() < 0.6:
        record["e164PhoneMobileNumber"] = f"+1937555{slot % 10000:04d}"
    if chance.random() < 0.4:
        record["dateOfBirth"] = (
            f"{chance.randrange(1940, 2007)}-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}"
        )
    if chance.random() < 0.2:
        record["gender"] = chance.choice(("FEMALE", "MALE", "OTHER"))
    if chance.random() < 0.08:
        record["companyName"] = chance.choice((*names.COMPANIES, ""))
    if chance.random() < 0.15:
        record["pets"] = [{"_id": f"{chance.getrandbits(96):024x}", "type": "CAT", "name": "Mićo 🐈", "weight": 4.5}]
    if chance.random() < 0.2:
        record["vehicles"] = [{"make": "Fjord", "model": 'T"1"', "year": 2019, "licensePlate": "AB\\12"}]
    if chance.random() < 0.1:
        record["dependants"] = [] if chance.random() < 0.3 else [{"firstName": "Ivo", "relationship": "son"}]
    if chance.random() < 0.25:
        record["notes"] = None if chance.random() < 0.05 else text(chance, slot)
    if chance.random() < 0.4:
        record["acceptedOnTOS"] = stamps["createdAt"]
    if chance.random() < 0.3:
        record["stripeCustomerId"] = f"cus_{chance.getrandbits(64):016x}"
    if world.options.undocumented_fields:
        if chance.random() < 0.2:
            record["intercomContactId"] = f"{chance.getrandbits(96):024x}"
        if chance.random() < 0.1:
            record["primaryAddress"] = address(chance, exact=False)
        if chance.random() < 0.05:
            record["screeningService"] = {
                "provider": "acme",
                "checks": [{"kind": "credit", "score": 712.5}, None, True],
            }
    return encode(record | stamps)


def render_owner(world: World, slot: int, chance: Random, stamps: dict[str, Any]) -> bytes:
    """One owner as it goes over the wire: a person, or a company without first and last name."""
    mail = f"owner{slot + 1}@example.test"
    record: dict[str, Any] = {
        "active": chance.random() < 0.92,
        "emails": _emails(chance, mail),
        "phones": _phones(chance, slot),
    }
    if chance.random() < 0.5:
        company = chance.choice(names.COMPANIES)
        record |= {"name": company, "companyName": company}
    else:
        first, last = chance.choice(names.FIRST), chance.choice(names.LAST)
        record |= {"firstName": first, "lastName": last, "name": f"{first} {last}", "fullName": f"{first} {last}"}
    owned = world.owned[slot] if slot < world.sizes["owners"] else ()
    record |= {
        "languagePreference": "en-US",
        "portalInfo": _portal(chance, mail),
        "properties": [world.property_ids[home] for home in owned],
    }
    if chance.random() < 0.5:
        record["e164PhoneMobileNumber"] = f"+1614555{slot % 10000:04d}"
    if chance.random() < 0.6:
        record["primaryAddress"] = address(chance, exact=chance.random() < 0.5)
    if chance.random() < 0.2:
        record["alternateAddress"] = {} if chance.random() < 0.5 else address(chance, exact=False)
    if chance.random() < 0.7:
        record["managementStartDate"] = f"{chance.randrange(2018, 2026)}-{chance.randrange(1, 13):02d}-01"
        if chance.random() < 0.3:
            record["managementEndDate"] = f"2027-{chance.randrange(1, 13):02d}-28"
    if world.options.undocumented_fields:
        if chance.random() < 0.2:
            record["jobTitle"] = chance.choice(("Managing partner", "Gérante", ""))
        if chance.random() < 0.15:
            record["outgoingEPay"] = {
                "enabled": False,
                "accounts": [{"_id": f"{chance.getrandbits(96):024x}", "last4": "0042"}],
            }
        if chance.random() < 0.1:
            record["notes"] = text(chance, slot)
    return encode(record | stamps)


def _emails(chance: Random, mail: str) -> list[dict[str, str]]:
    if chance.random() < 0.05:
        return [{"type": "Primary"}]
    found = [{"type": "Primary", "address": mail}]
    return [*found, {"type": "Work", "address": f"work.{mail}"}] if chance.random() < 0.1 else found


def _phones(chance: Random, slot: int) -> list[dict[str, str]]:
    if chance.random() < 0.15:
        return [{"type": "Mobile"}] if chance.random() < 0.8 else []
    line = slot % 10000
    formats = (f"937-555-{line:04d}", f"(937) 555-{line:04d}", f"937555{line:04d}", f"+1 937 555 {line:04d}")
    return [{"type": chance.choice(("Mobile", "Mobile", "Home")), "number": chance.choice(formats)}]


def _contact(chance: Random) -> dict[str, Any]:
    return {
        "_id": f"{chance.getrandbits(96):024x}",
        "name": "Łucja Ångström",
        "relationship": "aunt",
        "phone": "614-555-0100",
    }


def _interests(world: World, chance: Random) -> list[dict[str, str]]:
    if not (world.sizes["units"] and world.sizes["properties"]) or chance.random() < 0.1:
        return []
    unit = chance.randrange(world.sizes["units"])
    return [{"property": world.property_ids[world.unit_properties[unit]], "unit": world.unit_ids[unit]}]


def _portal(chance: Random, mail: str) -> dict[str, Any]:
    portal: dict[str, Any] = {"loginEmail": mail, "emailValidationStatus": "valid"} if chance.random() < 0.8 else {}
    if chance.random() < 0.8:
        portal["allowAccess"] = chance.random() < 0.7
    if chance.random() < 0.9:
        portal["status"] = chance.choice(("ACTIVE", "INACTIVE", "INVITED"))
    if chance.random() < 0.4:
        portal["lastSeenAt"] = "2026-02-11T09:15:00.250Z"
    if chance.random() < 0.2:
        portal["invitationLastSentAt"] = "2025-09-01T12:00:00.000Z"
    return portal
