"""What records are made of: their keys, and the JSON types of their values."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

_TYPES = {
    ord('"'): "text", ord("{"): "object", ord("["): "list", ord("t"): "boolean", ord("f"): "boolean", ord("n"): "null",
}  # fmt: skip
_RECORD = msgspec.json.Decoder(dict[str, Raw])


def types_of(records: Sequence[Raw]) -> Mapping[str, Mapping[str, int]]:
    """How often each key has a value of each JSON type. A record that cannot be decoded does not count."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        try:
            values = _RECORD.decode(record)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        for key, value in values.items():
            found[key][_TYPES.get(bytes(value).lstrip()[:1].ljust(1)[0], "number")] += 1
    return {key: dict(counts) for key, counts in found.items()}
