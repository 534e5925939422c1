"""An emulated mailbox: its messages, their labels, and the history of what happened to them."""

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from keepstep.integrations.mail.gmail.emulator.letters import letter
from keepstep.integrations.mail.gmail.emulator.options import EmulatorOptions

Kind = Literal["messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved"]
FIRST_ID = 0x1900000000000000
SEEDED_UNTIL = 1_780_000_000.0
"""Seeded messages came before this moment (28 May 2026)."""
DAY = 86_400.0


@dataclass(slots=True)
class Message:
    """One message. ``at``: epoch second of its arrival; ``history``: the number of its last change."""

    id: str
    thread: str
    labels: set[str]
    at: float
    raw: bytes
    history: int


@dataclass(frozen=True, slots=True)
class Event:
    """What happened at one number of the history."""

    history: int
    at: float
    kind: Kind
    message: str
    thread: str
    labels: tuple[str, ...] = ()
    now: tuple[str, ...] = field(default=())


class Mailbox:
    """One account's mail, made from the seed. ``switches`` gives the options as they are now, ``now`` the time."""

    def __init__(self, switches: Callable[[], EmulatorOptions], now: Callable[[], float]) -> None:
        self._switches = switches
        self._seeded = options = switches()
        self._now = now
        self._chance = random.Random(options.seed)  # noqa: S311
        self._numbers = itertools.count(1)
        self.messages: dict[str, Message] = {}
        self.events: list[Event] = []
        self.history = 1000
        self.forgotten = 0
        for n in range(options.messages):
            self._arrive(SEEDED_UNTIL - (options.messages - n) * 997.0, silent=True)
        self.forgotten = self.history

    def forget_history(self) -> None:
        """Let everything that happened so far be too long ago to be asked for."""
        self.forgotten = self.history + 1
        self.history += 2

    def is_lost(self, start: int) -> bool:
        """Whether a number is one that the history does not reach back to, or that never was."""
        if start < self.forgotten or start > self.history:
            return True
        days = self._switches().history_days
        oldest = self._now() - days * DAY
        return bool(days) and any(event.history > start and event.at < oldest for event in self.events)

    def since(self, start: int) -> list[Event]:
        """What happened after a number, in order."""
        return [event for event in self.events if event.history > start]

    def change(
        self, *, create: int = 0, label: int | Sequence[str] = 0, delete: int | Sequence[str] = 0,
        trash: int | Sequence[str] = 0, add: Sequence[str] = ("STARRED",), remove: Sequence[str] = ("UNREAD",),
        labels: Sequence[str] = ("INBOX", "UNREAD"), raw: bytes | None = None,
    ) -> dict[str, list[str]]:  # fmt: skip
        """Let messages arrive, be labelled, go to the bin, be deleted for good; gives the ids of each.

        A number takes so many of the newest messages that nothing else was done to.
        """
        done: dict[str, list[str]] = {"labelled": [], "trashed": [], "deleted": [], "created": []}
        free = [one for one in reversed(self.messages) if not {"TRASH", "SPAM", "DRAFT"} & self.messages[one].labels]

        def those(which: int | Sequence[str]) -> list[str]:
            if not isinstance(which, int):
                return [self._known(one) for one in which]
            taken = free[:which]
            del free[:which]
            return taken

        for one in those(label):
            self._relabel(one, set(add), set(remove))
            done["labelled"].append(one)
        for one in those(trash):
            self._relabel(one, {"TRASH"}, {"INBOX"})
            done["trashed"].append(one)
        for one in those(delete):
            gone = self.messages.pop(one)
            self._happened("messagesDeleted", gone)
            done["deleted"].append(one)
        done["created"] = [self._arrive(self._now(), labels=set(labels), raw=raw) for _ in range(create)]
        return done

    def listed(self, wanted: Callable[[set[str]], bool]) -> list[Message]:
        """The messages whose labels are wanted, newest first."""
        found = [message for message in self.messages.values() if wanted(message.labels)]
        return sorted(found, key=lambda message: int(message.id, 16), reverse=True)

    def _known(self, message_id: str) -> str:
        if message_id not in self.messages:
            raise ValueError(f"there is no message {message_id!r}")
        return message_id

    def _arrive(
        self, at: float, *, labels: Iterable[str] | None = None, raw: bytes | None = None, silent: bool = False
    ) -> str:
        number = next(self._numbers)
        chance, options = self._chance, self._seeded
        thread = number if number < 5 or chance.random() < 0.6 else chance.randrange(max(1, number - 20), number)
        if raw is None:
            raw = letter(number, thread, at, chance, odd=options.odd_messages, padding=options.message_bytes)
        given = set(labels) if labels is not None else self._usual_labels()
        id_ = f"{FIRST_ID + number * 0x1000:x}"
        self.history += chance.randrange(1, 20)
        message = Message(id_, f"{FIRST_ID + thread * 0x1000:x}", given, at, raw, self.history)
        self.messages[id_] = message
        if not silent:
            self._happened("messagesAdded", message, moved=False)
        return id_

    def _usual_labels(self) -> set[str]:
        chance = self._chance
        odd = chance.random()
        if odd < 0.05:
            return {chance.choice(("SPAM", "TRASH", "DRAFT"))}
        labels = {"INBOX"} if odd < 0.7 else {"SENT"} if odd < 0.85 else {"Label_7"}
        return labels | ({"UNREAD"} if chance.random() < 0.3 else set()) | {"CATEGORY_PERSONAL"}

    def _relabel(self, message_id: str, add: set[str], remove: set[str]) -> None:
        message = self.messages[message_id]
        added, removed = add - message.labels, remove & message.labels
        message.labels = (message.labels | add) - remove
        if added:
            self._happened("labelsAdded", message, tuple(sorted(added)))
        if removed:
            self._happened("labelsRemoved", message, tuple(sorted(removed)))

    def _happened(self, kind: Kind, message: Message, labels: tuple[str, ...] = (), *, moved: bool = True) -> None:
        if moved:
            self.history += self._chance.randrange(1, 20)
        message.history = self.history
        now = tuple(sorted(message.labels))
        self.events.append(Event(self.history, self._now(), kind, message.id, message.thread, labels, now))

    def truth(self) -> list[dict[str, Any]]:
        """Every message that a reading must give, newest first."""
        left_out = {"SPAM", "TRASH", "DRAFT"}
        return [
            {"id": one.id, "threadId": one.thread, "labelIds": sorted(one.labels), "internalDate": int(one.at * 1000),
             "raw": one.raw}
            for one in self.listed(lambda labels: not labels & left_out)
        ]  # fmt: skip
