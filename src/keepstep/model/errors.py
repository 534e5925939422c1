"""What went wrong, named by what to do next.

::

    KeepstepError                    has a sentence for people, and a fix where one is known
    ├── UpstreamError                the other system said no; carries the Answer it gave
    │   ├── Transient                try again with backoff (5xx, timeout, broken connection)
    │   ├── RateLimited              try again after the time it names
    │   │   └── BreakerOpen          upstream failed too often in a row: nothing is sent until the breaker tries again
    │   ├── AuthFailed               nobody but a person with the credentials can mend it
    │   │   └── NeedsReconnect       the consent is revoked or expired: its owner must give it again
    │   ├── NotData                  an answer that is not the data (HTML, truncated, wrong envelope, repeating page)
    │   └── Permanent                asking again will give the same answer (403, 404, 405, other 4xx)
    ├── Rejected                     one record that cannot be applied: it becomes a dead letter
    ├── LockHeld                     another run has the connection
    ├── Fenced                       this run lost its lock to another one and must stop at once
    ├── StoreError                   the database or the data directory cannot do it
    ├── BadRequest                   the caller asked for something that does not exist or is not allowed
    ├── NotFound                     what the address names is not there
    ├── Conflict                     it cannot be so as long as something else is: a taken name, a locked setting
    ├── NotSignedIn                  who asks is not known
    ├── NotAllowed                   who asks is known, and may not
    ├── TooManyTries                 signing in failed too often; try again after the time it names
    └── Busy                         this process has no place for one more now
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from keepstep.model.diagnosis import said

_NO_FACTS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Answer:
    """What upstream answered: enough to show a person, never a secret.

    ``snippet`` is at most the first 2 KB of the body, as text.
    """

    method: str
    path: str
    status: int | None = None
    content_type: str = ""
    snippet: str = ""


class KeepstepError(Exception):
    """The root: ``str(error)`` is one plain sentence, ``fix`` another one that says what to do (or is empty).

    ``code`` is the class's own, or that of an entry in ``diagnosis.TABLE``; ``kind`` is always the class's own.
    """

    code: str = "error"

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    @property
    def kind(self) -> str:
        """What to do next, as the class says it."""
        return type(self).code

    @classmethod
    def named(cls, code: str, *, facts: Mapping[str, object] = _NO_FACTS, **more: Any) -> Self:
        """An error in the words that the table has for ``code``. ``more`` is what the class itself takes."""
        words = said(code, **facts)
        error = cls(words.message, fix=words.fix, **more)
        error.code = code
        return error


class UpstreamError(KeepstepError):
    """The upstream system did not give what was asked. ``stops_run``: every other entity would meet it too."""

    code = "upstream"

    def __init__(self, message: str, *, fix: str = "", answer: Answer | None = None, stops_run: bool = False) -> None:
        super().__init__(message, fix=fix)
        self.answer = answer
        self.stops_run = stops_run


class Transient(UpstreamError):
    """Worth another try soon."""

    code = "transient"


class RateLimited(UpstreamError):
    """Upstream wants a pause of ``after`` seconds (None: it did not say)."""

    code = "rate-limited"

    def __init__(self, message: str, *, after: float | None, fix: str = "", answer: Answer | None = None) -> None:
        super().__init__(message, fix=fix, answer=answer, stops_run=True)
        self.after = after


class BreakerOpen(RateLimited):
    """The circuit breaker is open: no request left. ``after`` seconds until it lets one probe through."""

    code = "breaker-open"


class AuthFailed(UpstreamError):
    """The credentials were refused. Never retried."""

    code = "auth-failed"

    def __init__(self, message: str, *, fix: str = "", answer: Answer | None = None) -> None:
        super().__init__(message, fix=fix, answer=answer, stops_run=True)


class NeedsReconnect(AuthFailed):
    """The consent that a person gave is revoked, expired or too narrow. Never retried: that person must act."""

    code = "needs-reconnect"


class NotData(UpstreamError):
    """The answer is not what this endpoint returns; nothing of it was written."""

    code = "not-data"


class Permanent(UpstreamError):
    """Asking again would give the same answer."""

    code = "permanent"


class ChangesLost(UpstreamError):
    """Changes were asked for, and upstream cannot give them: its token is missing, expired or not of this reading.

    It is no failure: whoever reads goes on with a reading of everything. No page came before it, or only such that
    are true by themselves.
    """

    code = "changes-lost"


class Rejected(KeepstepError):
    """One record cannot be applied; the message is the reason that its dead letter shows."""

    code = "rejected"


class LockHeld(KeepstepError):
    """Another run of the same connection is active."""

    code = "lock-held"

    def __init__(self, message: str, *, run_id: str, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.run_id = run_id


class Fenced(KeepstepError):
    """Another worker took this run's lock over; nothing more may be committed under the old one."""

    code = "fenced"


class StoreError(KeepstepError):
    """The database, or the directory that holds the embedded one, is not usable."""

    code = "store"


class BadRequest(KeepstepError):
    """The request names something that does not exist, is malformed, or is not allowed now."""

    code = "bad-request"


class NotFound(KeepstepError):
    """What the address names is not there."""

    code = "not-found"


class Conflict(KeepstepError):
    """It cannot be so as long as something else is."""

    code = "conflict"


class NotSignedIn(KeepstepError):
    """Who asks is not known: no credentials, or none that are valid."""

    code = "not-signed-in"


class NotAllowed(KeepstepError):
    """Who asks may not do this, or may not do it from where they ask."""

    code = "not-allowed"


class TooManyTries(KeepstepError):
    """Signing in failed too often. ``after`` seconds until the next try counts."""

    code = "too-many-tries"

    def __init__(self, message: str, *, after: float, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.after = after


class Busy(KeepstepError):
    """This process has no place for one more now; another one, or this one later, may have."""

    code = "busy"
