"""What the emulated Gmail API answers to one request, or to a batch of them: decided here without any network."""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.mail.gmail.emulator import answers
from keepstep.integrations.mail.gmail.emulator.commands import EmulatorCommands
from keepstep.integrations.mail.gmail.emulator.mailbox import Event, Message
from keepstep.integrations.mail.gmail.emulator.units import COSTS
from keepstep.integrations.mail.gmail.emulator.views import attachment, encoded, view

BASE = "/gmail/v1/users/"
BATCH_PATHS = ("/batch/gmail/v1", "/batch")
KINDS = ("messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved")
_TYPES = {
    "messageAdded": "messagesAdded", "messageDeleted": "messagesDeleted", "labelAdded": "labelsAdded",
    "labelRemoved": "labelsRemoved",
}  # fmt: skip
_HIDDEN = frozenset(("SPAM", "TRASH"))


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. ``many``: every value of each parameter."""

    method: str
    path: str
    many: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, method: str, target: str) -> "Asked":
        """A request as its first line has it."""
        parts = urlsplit(target)
        many: dict[str, list[str]] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            many.setdefault(name, []).append(value)
        return cls(method, parts.path, many)

    def one(self, name: str) -> str | None:
        """The first value of a parameter."""
        return next(iter(self.many.get(name, ())), None)


class Api:
    """The answers of one emulated mailbox."""

    def __init__(self, commands: EmulatorCommands) -> None:
        self._commands = commands
        self._serials = itertools.count(1)

    def answer(self, asked: Asked, token: str) -> Answer:
        """One request."""
        grant = self._commands.grants.of_access(token)
        if grant is None:
            return answers.error(401, "Request had invalid authentication credentials.", "authError")
        if not grant.scopes & self._commands.grants.scopes:
            return answers.error(403, "Request had insufficient authentication scopes.", "insufficientPermissions")
        user, _, rest = asked.path.removeprefix(BASE).partition("/")
        if not asked.path.startswith(BASE) or user not in ("me", self._commands.options.account):
            return answers.not_found()
        if asked.method != "GET":
            return answers.error(403, "The emulator only reads.", "forbidden")
        return self._made(rest, asked)

    def batch(self, body: bytes, content_type: str, token: str) -> Answer:
        """Several requests in one; each is answered by itself."""
        calls = _calls(body, content_type)
        options = self._commands.options
        if calls is None:
            return answers.error(400, "Failed to parse batch request.", "badRequest")
        if len(calls) > options.batch_max:
            return answers.error(400, f"The batch request exceeded {options.batch_max} calls.", "invalidArgument")
        done: list[tuple[str, Answer]] = []
        for place, (name, asked) in enumerate(calls):
            limit = options.batch_throttled_after
            done.append((name, self._throttled(1.0) if limit and place >= limit else self.answer(asked, token)))
        if options.batch_order == "shuffled":
            random.Random(next(self._serials)).shuffle(done)  # noqa: S311
        boundary = f"batch_emulated{next(self._serials)}"
        parts = b"".join(_written(name, answer, boundary) for name, answer in done)
        return Answer(200, parts + f"--{boundary}--\r\n".encode(), f"multipart/mixed; boundary={boundary}")

    def _made(self, rest: str, asked: Asked) -> Answer:
        makers: Mapping[str, tuple[str, Callable[[Asked], Answer]]] = {
            "profile": ("profile", lambda _: self._profile()),
            "messages": ("list", self._list),
            "history": ("history", self._history),
            "labels": ("labels", lambda _: self._labels()),
        }
        pieces = rest.split("/")
        cost, make = makers.get(rest, ("", None))
        if make is None and pieces[0] == "messages" and len(pieces) == 2:
            cost, make = "get", lambda asked: self._get(pieces[1], asked)
        elif make is None and pieces[0] == "messages" and len(pieces) == 4 and pieces[2] == "attachments":
            cost, make = "attachment", lambda _: self._attachment(pieces[1], pieces[3])
        if make is None:
            return answers.not_found()
        options = self._commands.options
        wait = self._commands.units.admit(
            COSTS[options.unit_costs][cost], options.units_per_minute, options.quota_window_scale
        )
        if wait is not None:
            return self._throttled(wait)
        answer = make(asked)
        return replace(answer, body=msgspec.json.format(answer.body, indent=2)) if options.pretty else answer

    def _throttled(self, seconds: float) -> Answer:
        options = self._commands.options
        return answers.throttled(
            int(options.throttle_as), options.throttle_reason, options.throttle_hint, seconds, self._commands.now()
        )

    @property
    def _number(self) -> type:
        return str if self._commands.options.int64_as == "text" else int

    def _profile(self) -> Answer:
        mailbox = self._commands.mailbox
        return answers.as_json(
            {
                "emailAddress": self._commands.options.account,
                "messagesTotal": len(mailbox.messages),
                "threadsTotal": len({message.thread for message in mailbox.messages.values()}),
                "historyId": self._number(mailbox.history),
            }
        )

    def _list(self, asked: Asked) -> Answer:
        most = _most(asked)
        if most is None:
            return answers.error(400, "Invalid value for maxResults.", "invalidArgument")
        wanted = set(asked.many.get("labelIds", ()))
        words = (asked.one("q") or "").split()
        unwanted = set() if asked.one("includeSpamTrash") == "true" else set(_HIDDEN)
        unwanted |= {label for word, label in (("-in:drafts", "DRAFT"), ("-in:chats", "CHAT")) if word in words}
        found = self._commands.mailbox.listed(lambda labels: wanted <= labels and not labels & unwanted)
        token = asked.one("pageToken")
        if token is not None:
            if not token.isdecimal():
                return answers.error(400, "Invalid pageToken", "invalidArgument")
            found = [message for message in found if int(message.id, 16) < int(token)]
        page = found[:most]
        answer: dict[str, Any] = {"resultSizeEstimate": min(len(found), 201)}
        if page:
            answer["messages"] = [{"id": message.id, "threadId": message.thread} for message in page]
        if len(found) > most:
            answer["nextPageToken"] = str(int(page[-1].id, 16))
        return answers.as_json(answer)

    def _get(self, message_id: str, asked: Asked) -> Answer:
        message = self._commands.mailbox.messages.get(message_id)
        form = asked.one("format") or "full"
        if message is None:
            return answers.not_found()
        if form not in ("full", "metadata", "minimal", "raw"):
            return answers.error(400, "Invalid value for format.", "invalidArgument")
        headers = list(asked.many.get("metadataHeaders", ()))
        return answers.as_json(view(message, form, headers, number=self._number))

    def _attachment(self, message_id: str, attachment_id: str) -> Answer:
        message: Message | None = self._commands.mailbox.messages.get(message_id)
        content = None if message is None else attachment(message, attachment_id)
        if content is None:
            return answers.not_found()
        return answers.as_json({"size": len(content), "data": encoded(content)})

    def _labels(self) -> Answer:
        names = sorted({label for message in self._commands.mailbox.messages.values() for label in message.labels})
        kinds = {True: "user", False: "system"}
        return answers.as_json(
            {"labels": [{"id": name, "name": name, "type": kinds[name.startswith("Label_")]} for name in names]}
        )

    def _history(self, asked: Asked) -> Answer:
        mailbox, start = self._commands.mailbox, asked.one("startHistoryId") or ""
        if not start.isdecimal():
            return answers.error(400, "Invalid startHistoryId", "invalidArgument")
        if mailbox.is_lost(int(start)):
            if self._commands.options.history_lost_as == "400":
                return answers.error(400, "Invalid historyId", "invalidArgument")
            return answers.not_found()
        most = _most(asked)
        if most is None:
            return answers.error(400, "Invalid value for maxResults.", "invalidArgument")
        kinds = {_TYPES[name] for name in asked.many.get("historyTypes", ()) if name in _TYPES} or set(KINDS)
        label, token = asked.one("labelId"), asked.one("pageToken")
        events = [
            event
            for event in mailbox.since(int(start))
            if event.kind in kinds
            and (label is None or label in (*event.now, *event.labels))
            and (token is None or (token.isdecimal() and event.history > int(token)))
        ]
        answer: dict[str, Any] = {"historyId": self._number(mailbox.history)}
        if page := events[:most]:
            answer["history"] = [self._record(event) for event in page]
        if len(events) > most:
            answer["nextPageToken"] = str(page[-1].history)
        return answers.as_json(answer)

    def _record(self, event: Event) -> dict[str, Any]:
        ref = {"id": event.message, "threadId": event.thread}
        told: dict[str, Any] = {"message": {**ref, **({"labelIds": list(event.now)} if event.now else {})}}
        if event.labels:
            told["labelIds"] = list(event.labels)
        return {"id": self._number(event.history), "messages": [ref], event.kind: [told]}


def _most(asked: Asked) -> int | None:
    """How many a page may have; None where what was asked for is no number of them."""
    given = asked.one("maxResults") or "100"
    return min(int(given), 500) if given.isdecimal() and int(given) > 0 else None


def _calls(body: bytes, content_type: str) -> list[tuple[str, Asked]] | None:
    """The requests of a batch, with their identifiers; None where it is none."""
    _, _, boundary = content_type.partition("boundary=")
    if not content_type.startswith("multipart/mixed") or not boundary:
        return None
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.strip().strip('"').encode())
    if len(pieces) < 2 or pieces[-1][:2] != b"--":
        return None
    calls: list[tuple[str, Asked]] = []
    for piece in pieces[1:-1]:
        outer, _, inner = piece.strip(b"\r\n").partition(b"\r\n\r\n")
        lines = [line.partition(b":") for line in outer.split(b"\r\n")]
        names = [value.strip(b" <>") for name, _, value in lines if name.strip().lower() == b"content-id"]
        words = inner.split(b"\r\n", 1)[0].decode("latin-1").split()
        if len(words) < 2:
            return None
        calls.append((b"".join(names[:1]).decode("latin-1"), Asked.of(words[0], words[1])))
    return calls


def _written(name: str, answer: Answer, boundary: str) -> bytes:
    """One answer of a batch."""
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    head = f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-{name}>\r\n\r\n"
    return f"{head}HTTP/1.1 {answer.status} -\r\n{lines}\r\n".encode() + answer.body + b"\r\n"
