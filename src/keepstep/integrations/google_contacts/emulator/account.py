"""One emulated Google account: its people in the order of their last change, and everything that changes them."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from keepstep.integrations.google_contacts.emulator.options import EmulatorOptions
from keepstep.integrations.google_contacts.emulator.people import (
    People,
    changed,
    encode,
    seeded_at,
    tombstone,
    touched,
)

Which = int | str | Sequence[str]
"""How many people (picked by chance), a share such as ``"1%"``, or their resource names."""


class Account:
    """People by resource name. Every change has a number of its own, which only grows: listings and sync tokens count
    in it.

    ``now`` is the emulator's clock. Methods raise ``ValueError`` in plain words for what is not possible.
    """

    def __init__(self, name: str, options: EmulatorOptions, now: Callable[[], float]) -> None:
        self.name = name
        self._now = now
        self._people = People(
            options.seed, name, no_identifier_percent=options.no_identifier_percent,
            undocumented=options.undocumented_fields,
        )  # fmt: skip
        self._records: dict[str, bytes] = {}
        self._change_of: dict[str, int] = {}
        self._gone: dict[str, bytes] = {}
        self._previous: dict[str, list[str]] = {}
        self._log: list[tuple[int, str]] = []
        self._made = 0
        self._counted = 0
        self._chance = random.Random(f"{options.seed}:{name}:changes")  # noqa: S311 - invented data
        for _ in range(options.people):
            self._create(seeded_at(self._made))

    def __len__(self) -> int:
        return len(self._records)

    @property
    def newest(self) -> int:
        """The number of the last change."""
        return self._counted

    def records(self) -> list[bytes]:
        """Every person as it goes over the wire."""
        return list(self._records.values())

    def names(self) -> list[str]:
        """The resource names of all people."""
        return list(self._records)

    def find(self, name: str) -> dict[str, Any]:
        """One person."""
        if name not in self._records:
            raise ValueError(f"there is no person {name!r}")
        found: dict[str, Any] = msgspec.json.decode(self._records[name])
        return found

    def listing(self, *, after: int = 0, until: int | None = None) -> Iterable[tuple[int, bytes]]:
        """The people in the order of their last change, with its number, from behind one on."""
        for change, name in self._from(after, until):
            record = self._records.get(name)
            if record is not None:
                yield change, record

    def at_place(self, place: int, count: int) -> list[bytes]:
        """A stretch of the listing by places, as an offset counts them: they shift when people go."""
        found = [record for _, record in self.listing()]
        return found[place : place + count]

    def changes(self, *, after: int, until: int | None = None) -> Iterable[tuple[int, bytes]]:
        """Who changed since a change, each once: as it is now, or what is left of it."""
        for change, name in self._from(after, until):
            record = self._records.get(name) or self._gone[name]
            if name in self._previous:
                # Google tells of old names only where changes are asked for.
                person: dict[str, Any] = msgspec.json.decode(record)
                metadata = {**person["metadata"], "previousResourceNames": self._previous[name]}
                record = encode({**person, "metadata": metadata})
            yield change, record

    def change(
        self,
        *,
        create: int = 0,
        update: Which = 0,
        delete: Which = 0,
        strip: Which = 0,
        merge: Sequence[str] = (),
        rename: Which = 0,
        patch: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Change people and say which.

        ``strip`` takes away every e-mail address and phone number. ``merge`` joins the people of these names into a
        new one, ``rename`` gives people another name: both leave the old names in ``previousResourceNames``.
        ``patch`` sets fields by resource name; None takes one away.
        """
        deleted = self._picked(delete)
        for name in deleted:
            self._delete(name)
        updated = self._picked(update)
        for name in updated:
            self._put(changed(self.find(name), self._now(), self._counted))
        stripped = self._picked(strip)
        for name in stripped:
            person = self.find(name)
            left = {key: value for key, value in person.items() if key not in ("emailAddresses", "phoneNumbers")}
            self._put(touched(left, self._now(), self._counted))
        for name, values in (patch or {}).items():
            person = {key: value for key, value in {**self.find(name), **values}.items() if value is not None}
            self._put(touched(person, self._now(), self._counted))
        renamed = {name: self._moved([name]) for name in self._picked(rename)}
        merged = self._moved(list(merge)) if merge else None
        created = [self._create(self._now()) for _ in range(create)]
        return {
            "created": created, "updated": [*updated, *(patch or ())], "deleted": deleted, "stripped": stripped,
            "renamed": renamed, "merged": merged,
        }  # fmt: skip

    def inject(self, raw: bytes, name: str) -> None:
        """Serve any bytes as the person of a name."""
        self._record(name, raw)

    def shift(self, count: int) -> list[str]:
        """Delete the people who stand first in the listing, and create as many at its end: the total stays equal."""
        first = [name for _, name in self._from(0, None) if name in self._records][:count]
        for name in first:
            self._delete(name)
            self._create(self._now())
        return first

    def _from(self, after: int, until: int | None) -> Iterable[tuple[int, str]]:
        """The last change of everybody, in order. Older ones of the same person are no place in a listing."""
        start = bisect_right(self._log, (after, "\U0010ffff"))
        for change, name in self._log[start:]:
            if until is not None and change > until:
                return
            if self._change_of.get(name) == change:
                yield change, name

    def _create(self, at: float) -> str:
        person = self._people.make(self._made, at)
        self._made += 1
        return self._put(person)

    def _put(self, person: dict[str, Any]) -> str:
        name = str(person["resourceName"])
        self._record(name, encode(person))
        return name

    def _record(self, name: str, raw: bytes) -> None:
        self._records.pop(name, None)
        self._records[name] = raw
        self._gone.pop(name, None)
        self._counted += 1
        self._change_of[name] = self._counted
        self._log.append((self._counted, name))

    def _delete(self, name: str) -> None:
        del self._records[name]
        self._gone[name] = encode(tombstone(name))
        self._counted += 1
        self._change_of[name] = self._counted
        self._log.append((self._counted, name))

    def _moved(self, old: list[str]) -> str:
        """A person under a new name, in the place of others. Google tells of the old names with the new one only."""
        people = [self.find(name) for name in old]
        for name in old:
            del self._records[name]
            self._change_of.pop(name)
        fields = {key: value for person in reversed(people) for key, value in person.items()}
        fresh = self._people.make(self._made, self._now())
        self._made += 1
        new = str(fresh["resourceName"])
        self._previous[new] = [*old, *(before for name in old for before in self._previous.pop(name, []))]
        return self._put({**fields, **{field: fresh[field] for field in ("resourceName", "etag", "metadata")}})

    def _picked(self, which: Which) -> list[str]:
        if isinstance(which, Sequence) and not isinstance(which, str):
            if unknown := [name for name in which if name not in self._records]:
                raise ValueError(f"there is no person {unknown[0]!r}")
            return list(which)
        known = list(self._records)
        wanted = _share(which, len(known)) if isinstance(which, str) else which
        if not 0 <= wanted <= len(known):
            raise ValueError(f"there are {len(known)} people, not {wanted}")
        return self._chance.sample(known, wanted)


def _share(text: str, of: int) -> int:
    try:
        return round(of * float(text.removesuffix("%")) / 100) if text.endswith("%") else int(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a number of people nor a share such as '1%'") from None
