"""The questions that Gmail is asked: each one with its answer decoded, or an error that says what is wrong with it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from keepstep.integrations.call import Call
from keepstep.integrations.http import HttpClient, Response
from keepstep.integrations.mail.gmail.answers import FACTS, classify, of_part
from keepstep.integrations.mail.gmail.batch import CONTENT_TYPE, PATH, Part, parts_of, written
from keepstep.integrations.mail.gmail.wire import (
    HISTORY,
    LIST,
    MESSAGE,
    NO_DRAFTS,
    PROFILE,
    HistoryAnswer,
    ListAnswer,
    Profile,
    RawMessage,
)
from keepstep.model.errors import Answer, NotData, RateLimited, Transient, UpstreamError
from keepstep.reliability.clock import Clock
from keepstep.reliability.retry import LONGEST_SLEEP, MAX_ATTEMPTS, decide_retry

USER = "/gmail/v1/users/me"
MOST_LISTED = 500
T = TypeVar("T")


@dataclass(slots=True)
class Fetched:
    """Messages that were asked for together. ``gone``: those that are not there any more."""

    messages: dict[str, RawMessage] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    requests: int = 0


class GmailApi:
    """One mailbox."""

    def __init__(self, client: HttpClient, clock: Clock, rng: random.Random) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng

    async def profile(
        self, *, max_attempts: int = MAX_ATTEMPTS, patience: float = LONGEST_SLEEP
    ) -> tuple[Profile, Response]:
        """Whose mailbox it is, and where its history is now."""
        response = await self._client.get_page(
            f"{USER}/profile", {}, max_attempts=max_attempts, patience=patience
        )  # fmt: skip
        return self._decoded(PROFILE, response), response

    async def listed(
        self, token: str | None, *, most: int = MOST_LISTED, max_attempts: int = MAX_ATTEMPTS
    ) -> tuple[ListAnswer, Response]:
        """One page of the identifiers of all messages."""
        params: Mapping[str, str | int] = {
            "maxResults": most,
            "q": NO_DRAFTS,
            **({"pageToken": token} if token else {}),
        }
        response = await self._client.get_page(f"{USER}/messages", params, max_attempts=max_attempts)
        answer = self._decoded(LIST, response)
        if answer.messages is None and answer.resultSizeEstimate is None:
            raise self._not_data("wrong-envelope", response, detail="it has no list of messages")
        return answer, response

    async def history(self, start: int, token: str | None) -> tuple[HistoryAnswer, Response]:
        """One page of what has happened since a number. Raises ``ChangesLost`` where that is too long ago."""
        params: Mapping[str, str | int] = {
            "startHistoryId": start, "maxResults": MOST_LISTED, **({"pageToken": token} if token else {}),
        }  # fmt: skip
        response = await self._client.get_page(f"{USER}/history", params)
        return self._decoded(HISTORY, response), response

    async def messages(self, ids: Sequence[str], *, max_attempts: int = MAX_ATTEMPTS) -> Fetched:
        """Whole messages. Those of a batch that were refused for the moment are asked for again."""
        fetched = Fetched()
        left, attempt = list(ids), 1
        while left:
            try:
                batch = written({one: _path(one) for one in left})
                call = Call(PATH, body=batch, headers={"Content-Type": CONTENT_TYPE})
                response = await self._client.send(call, max_attempts=max_attempts)
            except NotData as error:
                if error.code != "answer-too-large" or len(left) == 1:
                    raise
                fetched.requests += 1
                for half in (left[: len(left) // 2], left[len(left) // 2 :]):
                    _merge(fetched, await self.messages(half, max_attempts=max_attempts))
                return fetched
            fetched.requests += response.requests
            again, error_of_one = await self._sort_out(left, response, fetched)
            if error_of_one is not None:
                attempt = 1 if len(again) < len(left) else attempt
                delay = decide_retry(error_of_one, attempt, self._rng, max_attempts=max_attempts)
                if delay is None:
                    raise error_of_one
                await self._clock.sleep(delay)
                attempt += 1
            left = again
        return fetched

    async def _sort_out(
        self, ids: Sequence[str], response: Response, fetched: Fetched
    ) -> tuple[list[str], UpstreamError | None]:
        """Put what came into ``fetched``; gives what must be asked for again, and why."""
        parts = parts_of(response)
        if parts is None:
            raise self._not_data("wrong-envelope", response, detail="it is no whole batch of answers")
        if set(parts) != set(ids):
            raise self._not_data("page-repeats", response, count="a batch", detail="another batch")
        again: list[str] = []
        refused: UpstreamError | None = None
        for one in ids:
            part = parts[one]
            if part.status == 200:
                fetched.messages[one] = self._message(one, part, response)
            elif part.status in (404, 410):
                fetched.gone.append(one)
            elif part.status == 401:
                await self._alone(one, fetched)
            else:
                error = self._error_of(part, one, response)
                if not isinstance(error, RateLimited | Transient):
                    raise error
                again.append(one)
                refused = _longer(refused, error)
        return again, refused

    async def _alone(self, message_id: str, fetched: Fetched) -> None:
        """A token that ends in the middle of a batch: asked for by itself, the message renews it."""
        response = await self._client.get_page(f"{USER}/messages/{message_id}", {"format": "raw"})
        fetched.requests += response.requests
        fetched.messages[message_id] = self._message(message_id, Part(200, {}, response.body), response)

    def _message(self, message_id: str, part: Part, response: Response) -> RawMessage:
        message = self._decoded(MESSAGE, of_part(part, _path(message_id), response))
        if message.id != message_id:
            raise self._not_data("page-repeats", response, count="one message", detail="another one")
        return message

    def _error_of(self, part: Part, message_id: str, response: Response) -> UpstreamError:
        alone = of_part(part, _path(message_id), response)
        error = classify(alone, lambda: self._client.answer_of(alone), self._client.base_url, self._clock.now())
        return error or self._not_data("wrong-envelope", response, detail="a part of it is no answer")

    def _decoded(self, decoder: "msgspec.json.Decoder[T]", response: Response) -> T:
        try:
            return decoder.decode(response.body)
        except (msgspec.ValidationError, RecursionError) as error:
            raise self._not_data("wrong-envelope", response, detail=str(error)[:200]) from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._not_data("json-cut-off", response, count=len(response.body)) from None

    def _not_data(self, code: str, response: Response, **facts: object) -> NotData:
        shown: Answer = self._client.answer_of(response)
        return NotData.named(code, facts={**FACTS, "path": response.path, **facts}, answer=shown)


def _path(message_id: str) -> str:
    return f"{USER}/messages/{message_id}?format=raw"


def _merge(into: Fetched, other: Fetched) -> None:
    into.messages.update(other.messages)
    into.gone += other.gone
    into.requests += other.requests


def _longer(first: UpstreamError | None, other: UpstreamError) -> UpstreamError:
    """Of two refusals the one that asks for the longer wait."""
    waits = [getattr(error, "after", None) or 0.0 for error in (first, other)]
    return other if first is None or waits[1] > waits[0] else first
