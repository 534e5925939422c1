"""An emulated Gmail account for the tests of its connector."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from keepstep.integrations.mail.entities import MESSAGES, Envelope, record_of
from keepstep.integrations.mail.gmail.connector import GOOGLE, Gmail
from keepstep.integrations.mail.gmail.emulator.server import GmailEmulator
from keepstep.integrations.mail.message import parse_message
from keepstep.integrations.oauth import Client, OAuth
from keepstep.integrations.tokens import Access, FixedToken, TokenSet
from keepstep.model.errors import NeedsReconnect, UpstreamError
from keepstep.model.integration import Integration
from keepstep.reliability.clock import Clock
from tests.integrations.upstream import ARMED, FAULTS, Armed, Upstream
from tests.support.token_store import MemoryStore


class GmailUpstream(Upstream):
    """The emulator as the conformance suite sees it: each page of messages is one batch."""

    emulator: GmailEmulator
    many = MESSAGES.name
    armed: ClassVar[Armed] = {
        **ARMED,
        "short pause asked for": {"kind": "usage-limit", "retry_after": 2},
        "server fault": {"kind": "503"},
    }

    def __init__(self, emulator: GmailEmulator, base_url: str) -> None:
        super().__init__(emulator, base_url, emulator.options.access_token)

    def integration(
        self, *, page_size: int = 20, max_concurrency: int = 3, clock: Clock | None = None, secret: str | None = None
    ) -> Integration:
        return self.gmail(page_size=page_size, max_concurrency=max_concurrency, clock=clock, secret=secret)

    def gmail(
        self, *, page_size: int = 20, max_concurrency: int = 3, clock: Clock | None = None, secret: str | None = None,
        **more: Any,
    ) -> Gmail:  # fmt: skip
        """A connector whose tokens are renewed; with a ``secret`` it has that access token and no other."""
        options = self.emulator.options
        oauth = OAuth(
            GOOGLE.at(self.base_url), Client(options.client_id, options.client_secret, "http://127.0.0.1/"), clock=clock
        )
        tokens = TokenSet(self.secret, options.refresh_token, datetime.now(UTC) + timedelta(hours=1), GOOGLE.needed)
        access = Access(MemoryStore(tokens), oauth, title="Gmail", clock=clock)
        made = Gmail(
            credentials=access if secret is None else FixedToken(secret), base_url=self.base_url, page_size=page_size,
            max_concurrency=max_concurrency, rate_limit_rps=0, clock=clock, **more,
        )  # fmt: skip
        self._made += [oauth, made]
        return made

    def truth(self, entity: str) -> list[bytes]:
        return [bytes(record_bytes(one)) for one in self.emulator.truth()]

    def change(self, entity: str) -> set[str]:
        changed = self.emulator.change(create=2, label=2)
        return {*changed["created"], *changed["labelled"]}

    def arm(self, fault: str, *, once: bool = False, after: int = 0) -> None:
        self.emulator.fault(**self.armed[fault], path="batch", count=1 if once else None, after=after)

    def expected(self, fault: str) -> type[UpstreamError]:
        return NeedsReconnect if fault == "credentials refused" else FAULTS[fault]

    def paths(self) -> list[str]:
        """The last word of the path of every request on record."""
        return [request.path.rstrip("/").rpartition("/")[2] for request in self.emulator.requests()]


def record_bytes(one: dict[str, Any]) -> bytes:
    """What the connector must make of a message."""
    labels = set(one["labelIds"])
    flags = [*(["\\Flagged"] if "STARRED" in labels else []), *([] if "UNREAD" in labels else ["\\Seen"])]
    received = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=one["internalDate"])
    envelope = Envelope(None, None, one["threadId"], received, flags, sorted(labels), len(one["raw"]))
    return bytes(record_of(one["id"], parse_message(one["raw"]), envelope))
