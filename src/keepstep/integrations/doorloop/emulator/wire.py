"""How records look when they leave: compact as kept, or pretty-printed, with shuffled keys, with a field that never
repeats.
"""

import json
import random

import msgspec

from keepstep.integrations.doorloop.emulator.options import EmulatorOptions

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def dressed(records: list[bytes], options: EmulatorOptions, serial: int) -> list[bytes]:
    """The records of answer number ``serial`` as the switches want them; untouched, at no cost, where none is on.

    A record that is no JSON mapping leaves as it is.
    """
    if not (options.volatile_field or options.shuffle_keys or options.pretty):
        return records
    chance = random.Random(serial)  # noqa: S311
    return [_dressed(record, options, serial, chance) for record in records]


def _dressed(record: bytes, options: EmulatorOptions, serial: int, chance: random.Random) -> bytes:
    if options.volatile_field and record.startswith(b"{") and record.endswith(b"}") and len(record) > 2:
        record = b'%b,"lastViewedToken":"%d-%d"}' % (record[:-1], serial, chance.getrandbits(32))
    try:
        if options.shuffle_keys:
            record = _shuffled(record, chance)
        if options.pretty:
            record = msgspec.json.format(record, indent=2)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return record
    return record


def _shuffled(record: bytes, chance: random.Random) -> bytes:
    """Another order of keys, nested mappings included. Values keep their very bytes: no number is read and written."""
    if not record.startswith(b"{"):
        return record
    pairs = list(_fields.decode(record).items())
    chance.shuffle(pairs)
    return b"{%b}" % b",".join(
        b"%b:%b" % (json.dumps(name, ensure_ascii=False).encode(), _shuffled(bytes(value), chance))
        for name, value in pairs
    )
