"""What is known of the messages of a folder: which rows there are, by the numbers that the server has for them now.

A message's key is made of its folder and its header, not of its number: numbers change when a server gives a folder a
new UIDVALIDITY, and the rows are to stay the same rows then. Two messages of one folder with the very same header are
told apart by counting. To say which row is gone when a number is gone, the key of every number is kept::

    uids   "1:3,7"                      the numbers, as ranges
    rows   16 + 3 characters for each   its key, and a digest of its flags

That is 19 bytes a message, in the facts of the entity: they commit together with the rows.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from keepstep.model.integration import Json

KEY = 16
_ROW = KEY + 3
_MOST_ALIKE = 1000
_MOST_ALIKE_BEFORE = 64


def identity_of(folder: str, header: bytes) -> bytes:
    """What makes a message the same message when its number has changed."""
    return blake2b(folder.encode("utf-8", "surrogatepass") + b"\0" + header, digest_size=32).digest()


def key_of(identity: bytes, count: int) -> str:
    """The key of the ``count``-th (from 0) of the messages that are alike."""
    return _text(blake2b(b"%d %b" % (count, identity), digest_size=12).digest())


def flags_digest(flags: Iterable[str]) -> str:
    """Tells one set of flags from another."""
    return _text(blake2b("\n".join(sorted(flags)).encode("utf-8", "replace"), digest_size=3).digest())[:3]


def _text(digest: bytes) -> str:
    return urlsafe_b64encode(digest).decode().rstrip("=")


@dataclass(slots=True)
class Known:
    """One folder. ``upto``: what has a higher number has not been read. ``modseq``: the folder's (CONDSTORE) when it
    was last read to its end. ``rows``: key and flags by number. ``orphans``: keys of messages that had a number before
    UIDVALIDITY changed and have not been met since.
    """

    uidvalidity: int = 0
    upto: int = 0
    modseq: int | None = None
    rows: dict[int, str] = field(default_factory=dict)
    orphans: set[str] = field(default_factory=set)
    _taken: set[str] | None = None

    @property
    def size(self) -> int:
        """How many rows there are, those without a number as well."""
        return len(self.rows) + len(self.orphans)

    def renew(self, uidvalidity: int) -> None:
        """The server's numbers have changed: none of them means anything any more."""
        self.orphans |= {row[:KEY] for row in self.rows.values()}
        self.uidvalidity, self.upto, self.modseq = uidvalidity, 0, None
        self.rows, self._taken = {}, set()

    def met(self, uid: int, identity: bytes, flags: Iterable[str]) -> str:
        """A message has been read: its key, which is remembered with its flags."""
        taken = self._keys()
        key = self._key_again(uid, identity)
        if key is None:
            self.forget((uid,))
            key = self._key_from_before(identity)
            key = key or next(key for n in range(len(taken) + 1) if (key := key_of(identity, n)) not in taken)
        taken.add(key)
        self.orphans.discard(key)
        self.rows[uid] = key + flags_digest(flags)
        self.upto = max(self.upto, uid)
        return key

    def key_at(self, uid: int) -> str | None:
        """The key of the row that a number has, if it has one."""
        return self.rows[uid][:KEY] if uid in self.rows else None

    def flags_differ(self, uid: int, flags: Iterable[str]) -> bool:
        """Whether a message has other flags than when it was read."""
        return self.rows[uid][KEY:] != flags_digest(flags)

    def forget(self, uids: Iterable[int]) -> list[str]:
        """These numbers are gone; gives the keys of their rows."""
        keys = [self.rows.pop(uid)[:KEY] for uid in list(uids) if uid in self.rows]
        self._keys().difference_update(keys)
        return keys

    def _key_again(self, uid: int, identity: bytes) -> str | None:
        """The key that a number has already, where it is still the same message."""
        row = self.rows.get(uid)
        if row is None:
            return None
        return next((row[:KEY] for n in range(_MOST_ALIKE) if key_of(identity, n) == row[:KEY]), None)

    def _key_from_before(self, identity: bytes) -> str | None:
        """The key that the message had under its former number."""
        alike = (key_of(identity, n) for n in range(_MOST_ALIKE_BEFORE if self.orphans else 0))
        return next((key for key in alike if key in self.orphans), None)

    def _keys(self) -> set[str]:
        if self._taken is None:
            self._taken = {row[:KEY] for row in self.rows.values()}
        return self._taken

    def stored(self) -> Json:
        """As plain values."""
        uids = sorted(self.rows)
        return {
            "uidvalidity": self.uidvalidity,
            "upto": self.upto,
            "modseq": self.modseq,
            "uids": ranges(uids),
            "rows": "".join(self.rows[uid] for uid in uids),
            "orphans": "".join(sorted(self.orphans)),
        }

    @classmethod
    def of(cls, stored: object) -> "Known":
        """What plain values hold; nothing is known where they make no sense."""
        if not isinstance(stored, Mapping):
            return cls()
        try:
            uids = numbers(str(stored["uids"]))
            rows = _cut(str(stored["rows"]), _ROW)
            modseq = stored["modseq"]
            return cls(
                int(stored["uidvalidity"]),
                int(stored["upto"]),
                None if modseq is None else int(modseq),
                dict(zip(uids, rows, strict=True)),
                set(_cut(str(stored["orphans"]), KEY)),
            )
        except (KeyError, ValueError, TypeError):
            return cls()


def ranges(uids: Sequence[int]) -> str:
    """Ascending numbers as IMAP writes sets of them: ``1:3,7``."""
    pieces: list[str] = []
    start = end = None
    for uid in uids:
        if end is not None and uid == end + 1:
            end = uid
            continue
        if start is not None:
            pieces.append(f"{start}" if start == end else f"{start}:{end}")
        start = end = uid
    if start is not None:
        pieces.append(f"{start}" if start == end else f"{start}:{end}")
    return ",".join(pieces)


def numbers(text: str) -> list[int]:
    """The numbers of a set. Raises ``ValueError``."""
    found: list[int] = []
    for piece in text.split(",") if text else ():
        first, _, last = piece.partition(":")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def _cut(text: str, length: int) -> list[str]:
    if len(text) % length:
        raise ValueError("not a whole number of pieces")
    return [text[place : place + length] for place in range(0, len(text), length)]


class Mailbox:
    """What is known of all folders, as the facts of the entity keep it."""

    def __init__(self, facts: Json) -> None:
        folders = facts.get("folders")
        self._stored: dict[str, object] = dict(folders) if isinstance(folders, Mapping) else {}
        self._open: dict[str, Known] = {}

    @property
    def names(self) -> list[str]:
        """The folders that rows are known of."""
        return sorted({*self._stored, *self._open})

    def folder(self, name: str) -> Known:
        """What is known of a folder; changes to it are kept."""
        if name not in self._open:
            self._open[name] = Known.of(self._stored.get(name))
        return self._open[name]

    def drop(self, name: str) -> list[str]:
        """Forget a folder; gives the keys of its rows."""
        known = self.folder(name)
        self._open.pop(name, None)
        self._stored.pop(name, None)
        return sorted({*known.orphans, *(row[:KEY] for row in known.rows.values())})

    @property
    def size(self) -> int:
        """How many rows there are in all folders."""
        return sum(self.folder(name).size for name in self.names)

    def facts(self) -> Json:
        """As plain values."""
        self._stored.update({name: known.stored() for name, known in self._open.items()})
        return {"folders": dict(self._stored)}
