"""The way to a report: log in, ask for it, wait until it is made, fetch it."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from keepstep.integrations.call import Call
from keepstep.integrations.erp.answers import FACTS, E, ReportForgotten, Seen, SessionEnded, named
from keepstep.integrations.http import HttpClient, Response
from keepstep.model.errors import AuthFailed, NotData, Permanent, Transient
from keepstep.reliability.clock import Clock
from keepstep.reliability.retry import LONGEST_SLEEP, MAX_ATTEMPTS
from keepstep.reliability.tracing import span

MADE_WITHIN = 600.0
"""Seconds that the ERP gets to make a report."""
_WAITS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0)
_LOGINS = 3
_ASKED = 3
"""How often one report is asked for where the ERP forgets it meanwhile: it was restarted, or forgets with a session."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A report as it came. ``began``: when it was asked for, by the ERP's clock where it tells; ``requests``: sent on
    the way, retries included; ``expected``: how many bytes the ERP said that it has.
    """

    body: bytes
    response: Response
    began: datetime
    requests: int
    expected: int | None = None


class Job(msgspec.Struct):
    """What the ERP says of a report that it was asked for."""

    status: str
    id: str = ""
    message: str = ""
    bytes: int | None = None


class Errand:
    """Fetches reports under one login; several at once share its session."""

    def __init__(self, client: HttpClient, username: str, password: str, *, base_url: str, clock: Clock) -> None:
        self._client = client
        self._login_form = {"username": username, "password": password}
        self._base_url = base_url
        self._clock = clock
        self._cookie = ""
        self._logging_in = asyncio.Lock()

    async def log_in(self, *, max_attempts: int = MAX_ATTEMPTS, patience: float = LONGEST_SLEEP) -> Response:
        """Begin a session. Raises ``AuthFailed`` where it is refused."""
        call = Call("/login", form=self._login_form)
        response = await self._client.send(call, max_attempts=max_attempts, patience=patience)
        cookie = {name: value for name, value in response.cookies.items() if value}
        if not cookie:
            if response.status < 300:
                raise self._not_data(response, "html-instead-of-data")
            raise self._named(AuthFailed, "login-refused", response)
        for value in cookie.values():
            self._client.conceal(value)
        self._cookie = "; ".join(f"{name}={value}" for name, value in cookie.items())
        return response

    async def fetch(
        self, report: str, agent: str, *, within: float = MADE_WITHIN, max_attempts: int = MAX_ATTEMPTS,
        patience: float = LONGEST_SLEEP,
    ) -> Fetched:  # fmt: skip
        """The report, as it came. Raises ``UpstreamError``."""
        way = _Way(self, max_attempts, patience)
        with span("page", report=report) as told:
            fetched = await self._fetch(way, report, agent, within)
            told.note(requests=fetched.requests)
            return fetched

    async def _fetch(self, way: "_Way", report: str, agent: str, within: float) -> Fetched:
        until = self._clock.monotonic() + within
        asked = 1
        while True:
            try:
                return await self._fetch_once(way, report, agent, within, until)
            except ReportForgotten as error:
                if asked >= min(_ASKED, way.max_attempts) or self._clock.monotonic() >= until:
                    facts = {**FACTS, "path": report, "detail": f"asked for {_times(asked)}, it was never there"}
                    raise Transient.named("report-forgotten", facts=facts, answer=error.answer) from None
            await self._clock.sleep(_WAITS[asked])
            asked += 1

    async def _fetch_once(self, way: "_Way", report: str, agent: str, within: float, until: float) -> Fetched:
        requested = await way.ask(Call("/reports", form={"report": report, "agent": agent}))
        began = requested.date or self._clock.now()
        job = self._job(requested)
        if not job.id:
            raise self._envelope(requested, '"id" is missing')
        ready = await self._made(way, job, report, within, until)
        response = await way.ask(Call(f"/reports/{job.id}/file"))
        return Fetched(response.body, response, began, way.requests, ready.bytes)

    async def _made(self, way: "_Way", job: Job, report: str, within: float, until: float) -> Job:
        """Ask until it is ready."""
        asked = 0
        while True:
            response = await way.ask(Call(f"/reports/{job.id}"))
            state = self._job(response)
            if state.status == "ready":
                return state
            if state.status == "failed":
                detail = state.message[:300] or "it does not say why"
                raise self._named(Transient, "report-failed", response, path=report, detail=detail)
            if self._clock.monotonic() >= until:
                raise self._named(Transient, "report-late", response, path=report, count=round(within))
            await self._clock.sleep(_WAITS[min(asked, len(_WAITS) - 1)])
            asked += 1

    async def ask(self, call: Call, way: "_Way") -> Response:
        """One request of a session, after a login where there is none or it has ended."""
        for _ in range(_LOGINS):
            way.requests += await self._ensure_session(way.max_attempts, way.patience)
            cookie = self._cookie
            try:
                with_session = replace(call, headers={"Cookie": cookie})
                response = await self._client.send(with_session, max_attempts=way.max_attempts, patience=way.patience)
            except SessionEnded as error:
                way.requests += 1
                lost = error
                if self._cookie == cookie:
                    self._cookie = ""
            except ReportForgotten:
                way.requests += 1
                raise
            else:
                way.requests += response.requests
                return response
        raise Permanent.named("session-lost", facts=FACTS, answer=lost.answer, stops_run=True)

    async def _ensure_session(self, max_attempts: int, patience: float) -> int:
        async with self._logging_in:
            if self._cookie:
                return 0
            return (await self.log_in(max_attempts=max_attempts, patience=patience)).requests

    def _job(self, response: Response) -> Job:
        try:
            return msgspec.json.decode(response.body, type=Job)
        except msgspec.ValidationError as error:
            raise self._envelope(response, str(error)) from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._not_data(response, "bad-json", detail=str(error)) from None

    def _envelope(self, response: Response, detail: str) -> NotData:
        return self._not_data(response, "wrong-envelope", detail=detail)

    def _not_data(self, response: Response, code: str, **facts: object) -> NotData:
        return self._named(NotData, code, response, **facts)

    def _named(self, kind: type[E], code: str, response: Response, **facts: object) -> E:
        seen = Seen(response, lambda: self._client.answer_of(response), self._base_url)
        return named(kind, code, seen, **facts)


@dataclass(slots=True)
class _Way:
    """The requests for one report, counted."""

    errand: Errand
    max_attempts: int
    patience: float
    requests: int = 0

    async def ask(self, call: Call) -> Response:
        return await self.errand.ask(call, self)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
