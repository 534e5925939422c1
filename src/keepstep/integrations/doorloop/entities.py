"""The five DoorLoop entities and their documented fields.

Names and shapes: the OpenAPI-derived public clients and captured structures; where the two disagree the wire's spelling
is used (``totalBalanceDue``, ``evictionPending``). Anything else that a payload carries is kept as it came.
"""

from collections.abc import Iterable

from keepstep.model.integration import Entity, Field, Kind

_STAMPS = (
    Field("createdAt", Kind.TIMESTAMP),
    Field("updatedAt", Kind.TIMESTAMP),
    Field("createdBy", Kind.TEXT),
    Field("updatedBy", Kind.TEXT),
)


def _fields(kind: Kind, names: str) -> Iterable[Field]:
    return (Field(name, kind) for name in names.split())


def _entity(name: str, *groups: Iterable[Field]) -> Entity:
    fields = tuple(field for group in groups for field in group)
    return Entity(name, (*fields, *_STAMPS), updated_at="updatedAt", can_shift=True)


OWNERS = _entity(
    "owners",
    _fields(Kind.BOOLEAN, "active"),
    _fields(Kind.TEXT, "name firstName lastName fullName companyName e164PhoneMobileNumber languagePreference"),
    _fields(Kind.DATE, "managementStartDate managementEndDate"),
    _fields(Kind.JSON, "emails phones primaryAddress alternateAddress properties portalInfo"),
)

PROPERTIES = _entity(
    "properties",
    _fields(Kind.TEXT, "name type class description typeDescription"),
    _fields(Kind.BOOLEAN, "active"),
    _fields(Kind.INTEGER, "numActiveUnits"),
    _fields(Kind.JSON, "address owners amenities pictures petsPolicy settings boardMembers"),
)

UNITS = _entity(
    "units",
    _fields(Kind.TEXT, "name property description"),
    _fields(Kind.BOOLEAN, "active addressSameAsProperty inEviction listed"),
    _fields(Kind.INTEGER, "beds"),
    _fields(Kind.NUMERIC, "baths size marketRent"),
    _fields(Kind.JSON, "address amenities pictures listing rentalApplicationListing"),
)

LEASES = _entity(
    "leases",
    _fields(Kind.TEXT, "name reference property term status notes"),
    _fields(Kind.DATE, "start end"),
    _fields(Kind.TEXT, "recurringRentFrequency recurringRentStatus"),
    _fields(Kind.NUMERIC, "totalRecurringRent totalRecurringCharges totalRecurringCredits totalRecurringPayments"),
    _fields(Kind.NUMERIC, "totalBalanceDue outstandingBalance currentBalance overdueBalance upcomingBalance"),
    _fields(Kind.NUMERIC, "totalDepositsHeld"),
    _fields(Kind.INTEGER, "expiresInDays"),
    _fields(Kind.BOOLEAN, "rolloverToAtWill evictionPending proofOfInsuranceRequired proofOfInsuranceProvided"),
    _fields(Kind.TEXT, "proofOfInsuranceStatus"),
    _fields(Kind.DATE, "proofOfInsuranceEffectiveDate proofOfInsuranceExpirationDate"),
    _fields(Kind.TIMESTAMP, "proofOfInsuranceProvidedAt"),
    _fields(Kind.DATE, "lastLateFeesProcessedDate"),
    _fields(Kind.JSON, "units renewalInfo settings"),
)

TENANTS = _entity(
    "tenants",
    _fields(Kind.TEXT, "type name fullName firstName middleName lastName companyName"),
    _fields(Kind.TEXT, "e164PhoneMobileNumber gender languagePreference notes stripeCustomerId"),
    _fields(Kind.DATE, "dateOfBirth"),
    _fields(Kind.TIMESTAMP, "acceptedOnTOS"),
    _fields(Kind.JSON, "emails phones prospectInfo portalInfo emergencyContacts pets vehicles dependants"),
)

ENTITIES = (OWNERS, PROPERTIES, UNITS, LEASES, TENANTS)
"""In the order of reading: what others refer to comes first."""
