"""Seeded properties and units."""

from random import Random
from typing import Any

from keepstep.integrations.doorloop.emulator.world import World, encode
from keepstep.integrations.emulation import names

_PROPERTY_TYPES = (
    ("RESIDENTIAL_CONDO", "RESIDENTIAL"),
    ("RESIDENTIAL_MULTI_FAMILY", "RESIDENTIAL"),
    ("RESIDENTIAL_SINGLE_FAMILY", "RESIDENTIAL"),
    ("COMMERCIAL_PARKING", "COMMERCIAL"),
    ("COMMERCIAL_OFFICE", "COMMERCIAL"),
)


def render_property(world: World, slot: int, chance: Random, stamps: dict[str, Any]) -> bytes:
    """One property as it goes over the wire. ``stamps``: id and the created and updated fields."""
    kind, class_ = _PROPERTY_TYPES[chance.randrange(5) if chance.random() < 0.3 else chance.randrange(2)]
    place, house = chance.choice(names.PLACES), chance.choice(names.HOUSES)
    owners = world.owners_of(slot)
    record: dict[str, Any] = {
        "active": chance.random() < 0.95,
        "address": address(chance, exact=True),
        "numActiveUnits": world.active_units[slot] if slot < world.sizes["properties"] else 0,
        "class": class_,
        "name": f"{place} {house} {slot + 1}",
        "type": kind,
        "owners": [
            {"owner": world.id("owners", owner), "ownershipPercentage": 100 if len(owners) == 1 else (60, 40)[n]}
            for n, owner in enumerate(owners)
        ],
        "pictures": _pictures(chance, stamps["id"]) if chance.random() < 0.3 else [],
        "boardMembers": [{"name": full_name(chance), "role": "CHAIR"}] if chance.random() < 0.1 else [],
        "settings": _settings(chance),
    }
    if chance.random() < 0.7:
        record["amenities"] = chance.sample(names.AMENITIES, chance.randrange(4))
    if chance.random() < 0.3:
        record["petsPolicy"] = {
            "cats": {"allowed": True, "maxNumber": 2},
            "smallDogs": {"allowed": chance.random() < 0.5},
        }
    if chance.random() < 0.4:
        record["description"] = text(chance, slot)
    if chance.random() < 0.1:
        record["typeDescription"] = "Carriage house “annex”"
    if world.options.undocumented_fields:
        if chance.random() < 0.2:
            record["timezone"] = "America/New_York"
        if chance.random() < 0.1:
            record["externalIds"] = {
                "legacy": {"system": "ledger-7", "keys": [slot, str(slot)]},
                "tags": ["import", "2023"],
            }
    return encode(record | stamps)


def render_unit(world: World, slot: int, chance: Random, stamps: dict[str, Any]) -> bytes:
    """One unit as it goes over the wire."""
    active = world.unit_is_active(slot) if slot < world.sizes["units"] else True
    record: dict[str, Any] = {
        "active": active,
        "addressSameAsProperty": chance.random() < 0.9,
        "rentalApplicationListing": {"activeListing": chance.random() < 0.1},
        "address": address(chance, exact=False),
        "name": f"{chance.choice(('Unit', 'unit', 'Apt', '#', 'Büro', 'Suite'))} {slot + 1}{chance.choice('ABCD')}",
        "inEviction": chance.random() < 0.02,
    }
    if world.sizes["properties"]:
        home = world.unit_properties[slot] if slot < world.sizes["units"] else slot % world.sizes["properties"]
        record["property"] = world.property_ids[home]
    if chance.random() < 0.9:
        record["beds"] = chance.randrange(5)
        record["baths"] = chance.choice((1, 1, 1.5, 2, 2.5, 3))
    if chance.random() < 0.7:
        record["size"] = chance.randrange(300, 2400)
    if chance.random() < 0.9:
        record["marketRent"] = money(chance, 600, 3400)
    if chance.random() < 0.25:
        record["description"] = text(chance, slot)
    if chance.random() < 0.4:
        record["amenities"] = chance.sample(names.AMENITIES, chance.randrange(3))
    if chance.random() < 0.15:
        record["pictures"] = _pictures(chance, stamps["id"])
    if chance.random() < 0.2:
        record["listing"] = {
            "activeListing": chance.random() < 0.5,
            "dateAvailable": f"2026-{chance.randrange(1, 13):02d}-01",
            "rent": money(chance, 600, 3400),
            "deposit": money(chance, 600, 3400),
            "contact": world.users[0],
            "leaseLength": "1 year",
        }
    if chance.random() < 0.3:
        record["listed"] = None if chance.random() < 0.1 else chance.random() < 0.5
    if world.options.undocumented_fields and chance.random() < 0.1:
        record["batch"] = f"{chance.getrandbits(96):024x}"
    return encode(record | stamps)


def address(chance: Random, *, exact: bool) -> dict[str, Any]:
    """A postal address; an exact one has coordinates."""
    city, state, zip_code, lat, lng = chance.choice(names.CITIES)
    made: dict[str, Any] = {
        "street1": f"{chance.randrange(1, 999)} {chance.choice(names.STREETS)}",
        "city": city,
        "state": state,
        "zip": zip_code,
        "country": "United States",
    }
    if chance.random() < 0.3:
        made["street2"] = chance.choice(("", "Apt 2", "Étage 3", 'c/o "The Office"'))
    if exact:
        made["lat"] = round(lat + chance.random() / 50, 6)
        made["lng"] = round(lng + chance.random() / 50, 6)
    made["isValidAddress"] = chance.random() < 0.9
    return made


def money(chance: Random, low: int, high: int) -> int | float:
    """An amount, whole more often than not: the wire has ints and floats in one field."""
    whole = chance.randrange(low, high)
    return whole if chance.random() < 0.7 else round(whole + chance.randrange(1, 100) / 100, 2)


def text(chance: Random, slot: int) -> str:
    """A note as people write them; now and then a very long one."""
    return names.LONG_NOTE if slot % 101 == 77 else chance.choice(names.NOTES)


def full_name(chance: Random) -> str:
    """A person's invented name."""
    return f"{chance.choice(names.FIRST)} {chance.choice(names.LAST)}"


def _pictures(chance: Random, id_: str) -> list[dict[str, Any]]:
    return [
        {
            "fileId": f"{chance.getrandbits(96):024x}",
            "rank": n,
            "url": f"https://files.example.test/{id_}/{n}.jpg?w=640&h=480",
        }
        for n in range(chance.randrange(1, 4))
    ]


def _settings(chance: Random) -> dict[str, Any]:
    return {
        "managementFees": {"collectManagementFees": chance.random() < 0.5, "feePercent": chance.choice((8, 8.5, 10))},
        "lateFees": {
            "enabled": chance.random() < 0.5,
            "graceDays": chance.randrange(1, 8),
            "types": ["FLAT"],
            "amount": 50,
        },
        "rentersInsurance": {"requireRentersInsurance": chance.random() < 0.5},
        "rentalApplication": {"fee": None, "questions": [{"_id": f"{chance.getrandbits(96):024x}", "text": "Pets?"}]},
        "tenantPortal": {"allowPayments": True, "allowPartial": False, "message": "Welcome — bienvenue 👋"},
    }
