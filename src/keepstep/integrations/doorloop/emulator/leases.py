"""Seeded leases, by the million: each is one format operation over fragments that were rendered once."""

import itertools
from collections.abc import Sequence
from random import Random
from typing import Any

from keepstep.integrations.doorloop.emulator.places import full_name, money
from keepstep.integrations.doorloop.emulator.world import (
    DAYS,
    SEED_END,
    World,
    day_number,
    encode,
    json_text,
    timestamp,
)
from keepstep.integrations.emulation import names

_TERMS = (182, 365, 365, 365, 365, 730, 365, 0)
_PAIRS: Sequence[str] = ["".join(pair) for pair in itertools.product("0123456789abcdefghijklmnopqrstuvwxyz", repeat=2)]
_TODAY = day_number(SEED_END)
_ENDED = '"end":"%s","term":"Fixed",'
_AT_WILL = '"term":"AtWill",'
_RENTED = {False: '"recurringRentStatus":"EXPIRED",', True: '"recurringRentStatus":"ACTIVE",'}


class LeaseRenderer:
    """Renders leases of one world. Everything in a lease is drawn from the bits given with it."""

    def __init__(self, world: World) -> None:
        chance = Random(f"{world.options.seed}:lease fragments")  # noqa: S311
        self._world = world
        self._names = [encode(_tenants(chance)) for _ in range(1024)]
        self._moneys = [_moneys(chance) for _ in range(1024)]
        self._rests = [_rest(chance) for _ in range(1024)]
        self._bys = [_by(chance, world.users) for _ in range(16)]
        self._notes = [_note(note) for note in names.NOTES if note]
        self._extras = [_extra(chance) if world.options.undocumented_fields else b"" for _ in range(64)]
        self._homes = _homes(world)

    def render_all(self, count: int) -> list[bytes]:
        """All seeded leases, in the order of their slots."""
        draw = Random(f"{self._world.options.seed}:leases").getrandbits  # noqa: S311
        created, render, tail = self._world.created, self.render, self._world.id("leases", 0)[8:18]
        leases = []
        for slot in range(count):
            second = created("leases", slot)
            low, high = draw(60), draw(60)
            updated = second + ((SEED_END - second) * (low & 0xFFFFF) >> 20)
            id_ = f"{second:08x}{tail}{slot:06x}"
            leases.append(render(slot, id_, second, timestamp(updated, 512 + (high >> 52)), low, high))
        return leases

    def render(self, slot: int, id_: str, created: int, updated: str, low: int, high: int) -> bytes:
        """One lease as it goes over the wire. ``created`` is an epoch second; ``low`` and ``high`` are 60 random
        bits each.
        """
        first = day_number(created) + (low & 31)
        length = _TERMS[low >> 5 & 7]
        last = first + length
        active = length == 0 or last >= _TODAY
        notes = b""
        if not low >> 20 & 7:
            notes = self._notes[(low >> 23 & 255) % len(self._notes)] if low >> 31 & 511 else _LONG_NOTES
        # What may hold more than ASCII is joined as bytes: one such character makes a whole text four times as wide.
        where = (
            f'{self._homes[(slot * 31 + (high >> 16)) % len(self._homes)]}"start":"{DAYS[first]}",'
            f"{_ENDED % DAYS[last] if length else _AT_WILL}{_RENTED[active] if low >> 40 & 1 else ''}"
            f'"reference":"{_PAIRS[low >> 41 & 1023]}{_PAIRS[high & 1023]}{_PAIRS[slot % 1296]}","name":'
        )
        amounts = (
            f',"status":"{"ACTIVE" if active else "INACTIVE"}",{self._moneys[high >> 26 & 1023]}'
            f'"expiresInDays":{last - _TODAY if length else 0},'
        )
        rest = (
            f'{self._rests[high >> 38 & 1023]}"id":"{id_}","createdAt":"{timestamp(created, high & 511)}",'
            f'"updatedAt":"{updated}"{self._bys[low >> 56]}}}'
        )
        name, extra = self._names[high >> 15 & 1023], self._extras[low >> 8 & 63]
        return b"".join((where.encode(), name, amounts.encode(), notes, extra, rest.encode()))


def _note(text: str) -> bytes:
    return b'"notes":%b,' % encode(text)


_LONG_NOTES = _note(names.LONG_NOTE)


def _homes(world: World) -> Sequence[str]:
    """Per unit, the fields that say where a lease is; in an account without units, what is left of them."""
    homes = [
        f'{{"units":["{unit}"],' + (f'"property":"{world.property_ids[home]}",' if home >= 0 else "")
        for unit, home in zip(world.unit_ids, world.unit_properties, strict=True)
    ]
    return homes or [f'{{"units":[],"property":"{home}",' for home in world.property_ids] or ['{"units":[],']


def _tenants(chance: Random) -> str:
    return f"{full_name(chance)} & {full_name(chance)}" if chance.random() < 0.4 else full_name(chance)


def _by(chance: Random, users: Sequence[str]) -> str:
    """Who made and who changed a lease; rows that the system made name nobody."""
    if chance.random() < 0.3:
        return ""
    return f',"createdBy":"{chance.choice(users)}","updatedBy":"{chance.choice(users)}"'


def _moneys(chance: Random) -> str:
    rent, due = money(chance, 600, 3400), money(chance, 1, 4000) if chance.random() < 0.4 else 0
    values: dict[str, Any] = (
        {"totalRecurringRent": rent, "recurringRentFrequency": "Monthly"} if chance.random() < 0.7 else {}
    )
    values |= {
        "totalRecurringCharges": money(chance, 0, 200) if chance.random() < 0.2 else 0,
        "totalRecurringCredits": 0,
        "totalRecurringPayments": 0,
        "totalBalanceDue": due,
        "outstandingBalance": due,
        "overdueBalance": due if chance.random() < 0.8 else 0,
        "currentBalance": -25.5 if chance.random() < 0.03 else 0,
        "upcomingBalance": rent if chance.random() < 0.1 else 0,
        "totalDepositsHeld": rent,
    }
    return json_text(values)[1:-1] + ","


def _rest(chance: Random) -> str:
    insured = chance.random() < 0.15
    values: dict[str, Any] = {
        "proofOfInsuranceRequired": chance.random() < 0.6,
        "proofOfInsuranceStatus": "ACTIVE" if insured else "NO_INSURANCE",
    }
    if insured:
        values |= {
            "proofOfInsuranceProvided": True,
            "proofOfInsuranceProvidedAt": f"2026-01-{chance.randrange(1, 29):02d}T16:20:00.250Z",
            "proofOfInsuranceEffectiveDate": f"2026-01-{chance.randrange(1, 29):02d}",
            "proofOfInsuranceExpirationDate": f"2027-01-{chance.randrange(1, 29):02d}",
        }
    if chance.random() < 0.7:
        values["rolloverToAtWill"] = chance.random() < 0.8
    if chance.random() < 0.05:
        values["evictionPending"] = None if chance.random() < 0.2 else chance.random() < 0.7
    if chance.random() < 0.3:
        values["lastLateFeesProcessedDate"] = f"2026-05-{chance.randrange(1, 29):02d}"
    values["renewalInfo"] = {"renewalStage": "NOT_STARTED", "renewalHistory": [], "offers": []}
    if chance.random() < 0.1:
        values["renewalInfo"] |= {
            "renewalStage": "NOT_RENEWING",
            "notRenewingNoticeDate": f"2026-04-{chance.randrange(1, 29):02d}",
            "markedAsNotRenewingAt": f"2026-04-{chance.randrange(1, 29):02d}T08:00:00.000Z",
        }
    values["settings"] = {"rentersInsurance": {"requireRentersInsurance": chance.random() < 0.5}}
    return json_text(values)[1:-1] + ","


def _extra(chance: Random) -> bytes:
    """Fields that no document mentions: most leases have none."""
    if chance.random() < 0.9:
        return b""
    values: dict[str, Any] = {"batch": f"{chance.getrandbits(96):024x}"}
    if chance.random() < 0.5:
        values["customFields"] = [
            {"_id": f"{chance.getrandbits(96):024x}", "label": "Clé", "value": {"n": 1.5, "ok": None}}
        ]
    return encode(values)[1:-1] + b","
