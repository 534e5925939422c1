"""One IMAP session with a server: opened when it is needed, paced, opened anew when it breaks, read-only throughout.

IMAPClient blocks, so every question is asked in a thread beside the event loop. Asking one twice does no harm, so it is
asked again where the connection broke.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from imapclient import IMAPClient, SocketTimeout

from keepstep.integrations.http import is_loopback, verdict_of
from keepstep.integrations.mail.blocking import beside
from keepstep.integrations.mail.folders import Folder
from keepstep.integrations.mail.imap_answers import Head, State, folder_of, head_of, state_of, words_of
from keepstep.integrations.mail.reach import PublicClient
from keepstep.integrations.mail.refusals import FACTS, named
from keepstep.model.errors import AuthFailed, Permanent, Transient, UpstreamError
from keepstep.reliability.clock import Clock
from keepstep.reliability.pacing import Outcome, Pacing, Verdict
from keepstep.reliability.retry import LONGEST_SLEEP, MAX_ATTEMPTS, decide_retry
from keepstep.reliability.tracing import span

T = TypeVar("T")
Security = Literal["tls", "starttls", "none"]
CHUNK = 500
"""Numbers in one command: servers take no endless lines."""
MOST_FOUND = 80_000
"""Numbers in one answer to a search: imaplib takes no line beyond a million characters."""

_SILENT, MOST_SILENCES = frozenset(("connect-timeout", "answer-timeout")), 2
"""A server that says nothing keeps a worker as long as it is asked: the schedule tries again, when it has the time."""

# At the level of debugging it writes every line of every message into the log.
logging.getLogger("imapclient").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Account:
    """One mailbox and how to get into it: by ``password``, or by a ``token`` for XOAUTH2 that is asked for when needed.

    ``renew``: the token was refused; whether there is a better one. ``security``: ``none`` is for this machine only.
    ``public_only``: the host may be none of the network that Keepstep itself runs in. ``end`` gives back what ``token``
    and ``renew`` hold.
    """

    host: str
    user: str
    port: int = 993
    security: Security = "tls"
    password: str = field(default="", repr=False)
    token: Callable[[], Awaitable[str]] | None = field(default=None, repr=False)
    renew: Callable[[], Awaitable[bool]] | None = field(default=None, repr=False)
    public_only: bool = False
    end: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, and for each piece of an answer."""

    connect: float = 10.0
    silence: float = 60.0


class Session:
    """A conversation with one server about one mailbox; one question at a time."""

    def __init__(
        self, account: Account, *, pacer: Pacing, clock: Clock, rng: random.Random | None = None,
        timeouts: Timeouts | None = None, ssl_context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.account = account
        self.requests = 0
        self._pacer = pacer
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._timeouts = timeouts or Timeouts()
        self._ssl_context = ssl_context
        self._one_at_a_time = asyncio.Lock()
        self._client: IMAPClient | None = None
        self._selected: str | None = None
        self._states: dict[str, State] = {}
        self._secret = account.password
        self._cuts = 0

    # Questions

    async def folders(self, **how: Any) -> list[Folder]:
        """All folders. ``how``: as ``ask`` takes it."""
        found: Sequence[tuple[Any, Any, Any]] = await self.ask("LIST", lambda client: client.list_folders(), **how)
        return [folder for one in found if (folder := folder_of(*one)) is not None]

    async def select(self, folder: Folder) -> State:
        """The folder as it is now."""

        def work(client: IMAPClient) -> State:
            return self._select(client, folder.raw)

        return await self.ask("EXAMINE", work, name=folder.name)

    async def numbers(self, folder: Folder, first: int = 1) -> set[int]:
        """The numbers of the messages that are there, from ``first`` on."""
        exists = self._states[folder.raw].exists
        if exists <= MOST_FOUND or first > 1:
            found = await self.search(folder, ["UID", f"{first}:*"])
            return {uid for uid in found if uid >= first}  # of n:* the last message is a member, whatever n is
        uids: set[int] = set()
        for start in range(1, exists + 1, MOST_FOUND):
            uids.update(await self.search(folder, [f"{start}:{min(start + MOST_FOUND - 1, exists)}"]))
        return uids

    async def among(self, folder: Folder, uids: Sequence[int]) -> set[int]:
        """Which of these numbers are there."""
        found: set[int] = set()
        for some in _chunks(uids):
            found.update(await self.search(folder, ["UID", ",".join(map(str, some))]))
        return found & set(uids)

    async def changed(self, folder: Folder, modseq: int) -> set[int]:
        """The numbers of the messages that changed after ``modseq`` (CONDSTORE)."""
        return set(await self.search(folder, ["MODSEQ", str(modseq + 1)]))

    async def search(self, folder: Folder, criteria: Sequence[str]) -> list[int]:
        """The numbers of the messages that fit."""

        def work(client: IMAPClient) -> list[int]:
            return list(client.search(list(criteria)))

        return await self.ask("SEARCH", work, folder)

    async def heads(self, folder: Folder, uids: Sequence[int]) -> dict[int, Head]:
        """What the server says of these messages; those that are gone are left out."""

        def work(client: IMAPClient) -> dict[int, Head]:
            wanted = ["RFC822.SIZE", "FLAGS", "INTERNALDATE"]
            if client.has_capability("X-GM-EXT-1"):
                wanted += ["X-GM-LABELS", "X-GM-THRID"]
            answers = client.fetch(list(uids), wanted)
            return {uid: head_of(answer) for uid, answer in answers.items() if b"RFC822.SIZE" in answer}

        return await self.ask("FETCH", work, folder)

    async def flags(self, folder: Folder, uids: Sequence[int]) -> dict[int, tuple[str, ...]]:
        """The flags of these messages."""
        found: dict[int, tuple[str, ...]] = {}
        for some in _chunks(uids):

            def work(client: IMAPClient, some: Sequence[int] = some) -> Mapping[int, Mapping[bytes, Any]]:
                answers: Mapping[int, Mapping[bytes, Any]] = client.fetch(list(some), ["FLAGS"])
                return answers

            answers = await self.ask("FETCH", work, folder)
            found.update({uid: words_of(one.get(b"FLAGS")) for uid, one in answers.items() if b"FLAGS" in one})
        return found

    async def messages(self, folder: Folder, uids: Sequence[int]) -> dict[int, bytes]:
        """Whole messages; those that are gone are left out."""

        def work(client: IMAPClient) -> dict[int, bytes]:
            answers = client.fetch(list(uids), ["BODY.PEEK[]"])
            return {uid: one[b"BODY[]"] for uid, one in answers.items() if isinstance(one.get(b"BODY[]"), bytes)}

        return await self.ask("FETCH", work, folder)

    async def beginning(self, folder: Folder, uid: int, most: int) -> tuple[bytes, Any] | None:
        """The header and so many bytes after it, and the structure (BODYSTRUCTURE); None where it is gone."""

        def work(client: IMAPClient) -> tuple[bytes, Any] | None:
            wanted = ["BODY.PEEK[HEADER]", f"BODY.PEEK[TEXT]<0.{most}>", "BODYSTRUCTURE"]
            answer = client.fetch([uid], wanted).get(uid)
            if answer is None or not isinstance(answer.get(b"BODY[HEADER]"), bytes):
                return None
            return answer[b"BODY[HEADER]"] + (answer.get(b"BODY[TEXT]<0>") or b""), answer.get(b"BODYSTRUCTURE")

        return await self.ask("FETCH", work, folder)

    # How a question is asked

    async def ask(
        self,
        command: str,
        work: Callable[[IMAPClient], T],
        folder: Folder | None = None,
        *,
        name: str = "",
        max_attempts: int = MAX_ATTEMPTS,
        patience: float = LONGEST_SLEEP,
    ) -> T:
        """Ask until there is an answer, or an error that asking again does not mend. Raises ``UpstreamError``."""
        attempt, renew = 1, self.account.renew
        async with self._one_at_a_time:
            while True:
                try:
                    return await self._once(command, work, folder, name, patience)
                except AuthFailed:
                    if renew is None or not await renew():
                        raise
                    renew = None
                except UpstreamError as error:
                    most = min(max_attempts, MOST_SILENCES) if error.code in _SILENT else max_attempts
                    delay = decide_retry(error, attempt, self._rng, max_attempts=most)
                    if delay is None:
                        raise
                    await self._clock.sleep(delay)
                    attempt += 1

    async def aclose(self) -> None:
        """End the session; a later question begins a new one."""
        client, self._client, self._selected = self._client, None, None
        if client is not None:
            await beside(lambda: _close(client), interrupt=lambda: _cut(client))
        if self.account.end is not None:
            await self.account.end()

    async def _once(
        self, command: str, work: Callable[[IMAPClient], T], folder: Folder | None, name: str, patience: float
    ) -> T:
        async with self._pacer.turn(patience=patience) as turn:
            if self._client is None:
                await self._prepare()
            try:
                with span("request", outgoing=True, imap__command=command):
                    cuts = self._cuts
                    answer = await beside(
                        lambda: self._perform(command, work, folder, name, cuts), interrupt=self._interrupt
                    )
            except UpstreamError as error:
                clear = isinstance(error, AuthFailed | Permanent) and error.answer is not None
                turn.ended(Outcome(Verdict.GOOD if clear else verdict_of(error)))
                raise
            turn.ended(Outcome(Verdict.GOOD))
            return answer

    async def _prepare(self) -> None:
        """What must be known before a session can be opened."""
        account = self.account
        if account.security == "none" and not is_loopback(account.host):
            raise Permanent.named("mail-in-clear", facts={**FACTS, "host": account.host}, stops_run=True)
        if account.token is not None:
            self._secret = await account.token()
        if not self._secret or any(ord(c) < 32 for c in account.user + self._secret):
            raise AuthFailed.named("mailbox-refused", facts={**FACTS, "host": account.host})

    def _perform(self, command: str, work: Callable[[IMAPClient], T], folder: Folder | None, name: str, cuts: int) -> T:
        """In the thread: open what must be open, and ask."""
        step = "CONNECT" if self._client is None else command
        try:
            client = self._client
            if client is None:
                client = self._connected(cuts)
                step = "LOGIN"
                self._log_in(client)
                step = command
            if folder is not None and self._selected != folder.raw:
                self._select_again(client, folder)
            self.requests += 1
            return work(client)
        except Exception as error:
            told = named(
                error, step, self.account.host, (self._secret, self.account.password),
                folder=folder.name if folder is not None else name, by_token=self.account.token is not None,
            )  # fmt: skip
            if cuts == self._cuts and (step != command or not isinstance(told, Permanent)):
                self._interrupt()
            # `from None`: what is raised there may carry the line that was sent, and with it the password.
            raise told from None

    def _connected(self, cuts: int) -> IMAPClient:
        account, timeouts = self.account, self._timeouts
        context = self._ssl_context or ssl.create_default_context()
        made = PublicClient if account.public_only else IMAPClient
        client = made(
            account.host, account.port, ssl=account.security == "tls",
            ssl_context=context if account.security == "tls" else None,
            timeout=SocketTimeout(timeouts.connect, timeouts.silence),
        )  # fmt: skip
        if cuts != self._cuts:  # whoever waited has gone meanwhile
            _cut(client)
            raise ConnectionAbortedError
        client.folder_encode = False
        client.normalise_times = False
        self._client, self._selected = client, None
        if account.security == "starttls":
            client.starttls(context)
        return client

    def _log_in(self, client: IMAPClient) -> None:
        self.requests += 1
        if self.account.token is not None:
            client.oauth2_login(self.account.user, self._secret)
        elif (self.account.user + self._secret).isascii():
            client.login(self.account.user, self._secret)
        else:  # LOGIN takes no other letters
            client.plain_login(self.account.user, self._secret)
        if client.has_capability("CONDSTORE") and client.has_capability("ENABLE"):
            client.enable("CONDSTORE")

    def _select(self, client: IMAPClient, raw: str) -> State:
        self._selected = None
        said = client.select_folder(raw, readonly=True)
        self._selected, self._states[raw] = raw, state_of(said)
        return self._states[raw]

    def _select_again(self, client: IMAPClient, folder: Folder) -> None:
        """After a break: the numbers must still mean what they meant."""
        before = self._states.get(folder.raw)
        self.requests += 1
        now = self._select(client, folder.raw)
        if before is not None:
            self._states[folder.raw] = before
        if before is not None and before.uidvalidity != now.uidvalidity:
            self._states[folder.raw] = now
            raise Transient.named("connection-broken", facts={**FACTS, "host": self.account.host})

    def _interrupt(self) -> None:
        """Cut the connection: what waits for it ends at once, and the next question opens a new one."""
        self._cuts += 1
        client, self._client, self._selected = self._client, None, None
        if client is not None:
            _cut(client)


def _cut(client: IMAPClient) -> None:
    with contextlib.suppress(Exception):
        client.socket().shutdown(2)
    with contextlib.suppress(Exception):
        client.shutdown()


def _close(client: IMAPClient) -> None:
    with contextlib.suppress(Exception):
        client.socket().settimeout(2.0)
        client.logout()
    _cut(client)


def _chunks(uids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (uids[place : place + CHUNK] for place in range(0, len(uids), CHUNK))
