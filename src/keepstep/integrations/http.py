"""The one HTTP client: paced, retried, size-limited, and unable to tell a secret."""

import ipaddress
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from keepstep.integrations.call import Call, Credentials
from keepstep.integrations.failures import name_failure, worth_another_try
from keepstep.model.errors import Answer, AuthFailed, NotData, Permanent, RateLimited, Transient, UpstreamError
from keepstep.model.integration import RateLimit
from keepstep.reliability.clock import Clock
from keepstep.reliability.pacing import Heard, Outcome, Pacing, Verdict
from keepstep.reliability.rate_headers import http_date, parse_rate_headers
from keepstep.reliability.retry import LONGEST_SLEEP, MAX_ATTEMPTS, decide_retry
from keepstep.reliability.tracing import span

SNIPPET_BYTES = 2048
MAX_BODY = 256 * 1024 * 1024
_OPAQUE_PARAMS = frozenset({"syncToken", "pageToken"})
"""What traces need not know: long, and of no meaning to people."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, without a byte arriving, and for one whole answer."""

    connect: float = 10.0
    silence: float = 60.0
    total: float = 600.0


@dataclass(frozen=True, slots=True)
class Response:
    """One whole answer; header names are lower case. ``requests`` counts the attempts it took."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: float
    rate_limit: RateLimit | None = None
    retry_after: float | None = None
    requests: int = 1
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def date(self) -> datetime | None:
        """Upstream's clock when it answered."""
        return http_date(self.headers.get("date", ""))

    @property
    def content_type(self) -> str:
        """The media type alone, lower case, or empty."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


Classify = Callable[[Response, Callable[[], Answer]], UpstreamError | None]
"""What an answer means: None for data, else the error to raise. The callable gives what that error may show."""


class HttpClient:
    """Requests to one upstream.

    ``secrets`` are masked in everything that leaves here as text. ``size_fix`` is the sentence that tells how to get
    smaller answers. Redirects are not followed, so that credentials go to no other host: they are answers to classify.
    The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name is used, except for loopback; ``~/.netrc`` is not read.
    ``credentials``: where they are not simply among the ``headers``.
    """

    def __init__(
        self,
        base_url: str,
        *,
        title: str,
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        pacer: Pacing,
        classify: Classify,
        clock: Clock,
        base_url_setting: str,
        size_fix: str,
        rng: random.Random | None = None,
        timeouts: Timeouts | None = None,
        max_body: int = MAX_BODY,
        credentials: Credentials | None = None,
    ) -> None:
        self.base_url = base_url
        self.requests = 0
        self._title = title
        self._headers = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", **headers}
        self._own_secrets = frozenset(filter(None, secrets))
        self._credentials = credentials
        self._pacer = pacer
        self._classify = classify
        self._clock = clock
        self._base_url_setting = base_url_setting
        self._size_fix = size_fix
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._timeouts = timeouts or Timeouts()
        self._max_body = max_body
        self._proxy = environment_proxy(base_url)
        self._session: aiohttp.ClientSession | None = None

    async def get_page(
        self,
        path: str,
        params: Mapping[str, str | int],
        *,
        max_attempts: int = MAX_ATTEMPTS,
        patience: float = LONGEST_SLEEP,
    ) -> Response:
        """Ask until an answer is data, or an error is one that asking again does not mend. Raises ``UpstreamError``.

        ``patience``: seconds to wait at most for our own limits to let a request go.
        """
        with span("page", url__path=path) as told:
            told.note(**{f"param__{name}": value for name, value in params.items() if name not in _OPAQUE_PARAMS})
            response = await self.send(Call(path, params), max_attempts=max_attempts, patience=patience)
            told.note(requests=response.requests)
            return response

    async def send(self, call: Call, *, max_attempts: int = MAX_ATTEMPTS, patience: float = LONGEST_SLEEP) -> Response:
        """The same for any request. It must be one that may arrive twice."""
        return await self._until_data(call, max_attempts, patience)

    def conceal(self, secret: str) -> None:
        """Mask one more secret from now on: one that upstream has given."""
        self._own_secrets |= frozenset(filter(None, (secret,)))

    async def _until_data(self, call: Call, max_attempts: int, patience: float) -> Response:
        attempt = 1
        sent = _Sent()
        renewed = False
        while True:
            proof = await self._proof()
            try:
                response = await self._once(call, proof, sent, patience)
            except _StaleConnection:
                continue
            except UpstreamError as error:
                if not renewed and _is_refusal(error) and await self._renew():
                    renewed, sent.stale = True, False
                    continue
                delay = decide_retry(error, attempt, self._rng, max_attempts=max_attempts)
                if delay is None:
                    raise
                await self._clock.sleep(delay)
                attempt += 1
                sent.stale = False
            else:
                return replace(response, requests=sent.count)

    async def _proof(self) -> Mapping[str, str]:
        return {} if self._credentials is None else await self._credentials.headers()

    async def _renew(self) -> bool:
        return self._credentials is not None and await self._credentials.renew()

    async def aclose(self) -> None:
        """Close all connections; a later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def masked(self, text: str) -> str:
        """The text with every secret blotted out, at its length so that nothing moves."""
        for secret in self._secrets:
            text = text.replace(secret, "*" * len(secret))
        return text

    @property
    def _secrets(self) -> Sequence[str]:
        changing = () if self._credentials is None else self._credentials.secrets
        return sorted({*self._own_secrets, *filter(None, changing)}, key=len, reverse=True)

    async def _once(self, call: Call, proof: Mapping[str, str], sent: "_Sent", patience: float) -> Response:
        async with self._pacer.turn(patience=patience) as turn:
            before = sent.count
            sent.may_leave()
            try:
                with span("request", outgoing=True, http__request__method=call.method, url__path=call.path) as told:
                    response = await self._exchange(call, proof, sent)
                    told.note(http__response__status_code=response.status)
                error = self._classify(response, lambda: self.answer_of(response))
                turn.ended(self._outcome(response, error))
            except UpstreamError as error:
                turn.ended(Outcome(verdict_of(error), code=error.answer.status if error.answer else None))
                raise
            finally:
                self.requests += sent.count - before
        if error is not None:
            raise error
        return response

    def _outcome(self, response: Response, error: UpstreamError | None) -> Outcome:
        limit, heard = response.rate_limit, None
        if limit is not None:
            reset_in = None if limit.reset is None else (limit.reset - self._clock.now()).total_seconds()
            heard = Heard(limit.limit, limit.remaining, None if reset_in is None else max(reset_in, 0.0))
        verdict = Verdict.GOOD if error is None else verdict_of(error)
        after = error.after if isinstance(error, RateLimited) else None
        return Outcome(verdict, response.status, heard, after)

    async def _exchange(self, call: Call, proof: Mapping[str, str], sent: "_Sent") -> Response:
        started = self._clock.monotonic()
        try:
            asked = self._open_session().request(
                call.method,
                self.base_url.rstrip("/") + call.path,
                params=call.params,
                data=call.form if call.body is None else call.body,
                headers={**proof, **call.headers},
                allow_redirects=False,
                proxy=self._proxy,
                middlewares=(sent,),
            )
            async with asked as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                cookies = {name: morsel.value for name, morsel in answer.cookies.items()}
                body = await self._body(answer, call)
                status = answer.status
        except _StaleConnection:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # `from None`: an aiohttp error can carry the request's headers, and with them the credentials.
            raise self._named(error, call) from None
        rates = parse_rate_headers(headers, self._clock.now())
        return Response(
            method=call.method,
            path=call.path,
            status=status,
            headers=headers,
            body=body,
            elapsed=self._clock.monotonic() - started,
            rate_limit=rates.rate_limit,
            retry_after=rates.retry_after,
            cookies=cookies,
        )

    async def _body(self, answer: aiohttp.ClientResponse, call: Call) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_body:
                answer.close()
                facts = {"count": self._max_body // (1024 * 1024), "advice": self._size_fix}
                raise NotData.named(
                    "answer-too-large",
                    facts={"title": self._title, "path": call.path, **facts},
                    answer=Answer(call.method, call.path, answer.status, answer.content_type),
                )
        return b"".join(chunks)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            t = self._timeouts
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._pacer.max_concurrency),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=t.total, connect=t.connect, sock_read=t.silence),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=1024 * 1024,
            )
        return self._session

    def answer_of(self, response: Response) -> Answer:
        """What may be shown of an answer."""
        # Cut after masking, and with room, so that no secret is halved at the edge.
        room = SNIPPET_BYTES + max((len(s.encode()) for s in self._secrets), default=0)
        text = self.masked(response.body[:room].decode("utf-8", "replace")).replace("\x00", "")
        snippet = text.encode()[:SNIPPET_BYTES].decode("utf-8", "ignore")
        return Answer(response.method, response.path, response.status, response.content_type, snippet)

    def _named(self, error: Exception, call: Call) -> UpstreamError:
        """The connection's failure in words."""
        code, detail = name_failure(error)
        kind = Transient if worth_another_try(code) else Permanent
        facts = {"title": self._title, "host": self.masked(self._host()), "detail": self.masked(detail)}
        facts["url_setting"] = self._base_url_setting
        return kind.named(code, facts=facts, answer=Answer(call.method, call.path), stops_run=True)

    def _host(self) -> str:
        return split_url(self.base_url).netloc.rpartition("@")[2] or self.base_url


def _is_refusal(error: UpstreamError) -> bool:
    return isinstance(error, AuthFailed) and error.answer is not None and error.answer.status == 401


class _StaleConnection(Exception):
    """A kept-open connection turned out to be closed by upstream: nothing can be concluded of its health."""


class _Sent:
    """Counts how often a request goes over the wire.

    aiohttp asks again by itself where a kept-open connection turns out to be closed: upstream may count that one too,
    so it needs a turn of its own.
    """

    def __init__(self) -> None:
        self.count = 0
        self.stale = False
        self._fresh = False

    def may_leave(self) -> None:
        """A turn has come: one request may leave."""
        self._fresh = True

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if not self._fresh:
            if self.stale:  # twice in a row is no accident
                raise aiohttp.ServerDisconnectedError
            self.stale = True
            raise _StaleConnection
        self._fresh = False
        self.count += 1
        return await handler(request)


def verdict_of(error: UpstreamError) -> Verdict:
    """What a failed request says of upstream's health. A clear refusal is an answer as good as any."""
    status = error.answer.status if error.answer is not None else None
    match error:
        case RateLimited() if status is not None and status >= 500:
            return Verdict.FAILED
        case RateLimited():
            return Verdict.LIMITED
        case Transient():
            return Verdict.FAILED
        case AuthFailed() | Permanent() if status is not None:
            return Verdict.GOOD
        case _:
            return Verdict.UNCLEAR


def split_url(url: str) -> SplitResult:
    """The parts of an address; of something that is none, empty parts."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return urlsplit("")
    return parts


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def environment_proxy(url: str) -> str | None:
    """The proxy that the environment names for this address, or None."""
    parts = split_url(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def without_credentials(url: str) -> str:
    """The address without ``user:password@``."""
    parts = split_url(url)
    return url if "@" not in parts.netloc else urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
