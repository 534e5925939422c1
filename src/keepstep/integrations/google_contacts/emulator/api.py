"""What the emulated People API answers to one request: decided here without any network."""

import itertools
from collections.abc import Mapping

import msgspec

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.google_contacts.emulator import answers
from keepstep.integrations.google_contacts.emulator.account import Account
from keepstep.integrations.google_contacts.emulator.commands import EmulatorCommands
from keepstep.integrations.google_contacts.emulator.people import encode
from keepstep.integrations.google_contacts.emulator.quotas import Refusal
from keepstep.integrations.google_contacts.emulator.tokens import (
    PageToken,
    SyncToken,
    page_token,
    sealed,
    sync_token,
)

PATH = "/v1/people/me/connections"
DAY = 86400.0
FIELDS = frozenset(
    (
        "addresses", "ageRanges", "biographies", "birthdays", "calendarUrls", "clientData", "coverPhotos",
        "emailAddresses", "events", "externalIds", "genders", "imClients", "interests", "locales", "locations",
        "memberships", "metadata", "miscKeywords", "names", "nicknames", "occupations", "organizations",
        "phoneNumbers", "photos", "relations", "sipAddresses", "skills", "urls", "userDefined",
    )
)  # fmt: skip
"""What ``personFields`` may name (people.v1)."""
_SORTS = ("LAST_MODIFIED_ASCENDING", "LAST_MODIFIED_DESCENDING", "FIRST_NAME_ASCENDING", "LAST_NAME_ASCENDING")
_UNMATCHED = "Request parameters must match the ones of the call that gave the token."


def page_of(query: Mapping[str, str]) -> int:
    """The number of the page that is asked for."""
    token = page_token(query.get("pageToken", "")) if query.get("pageToken") else None
    return 1 if token is None else token.number


class Api:
    """The connections of whoever asks."""

    def __init__(self, commands: EmulatorCommands) -> None:
        self._commands = commands

    def answer(self, method: str, path: str, query: Mapping[str, str], authorization: str) -> Answer:
        """The answer to one request. ``authorization`` is its header."""
        if path != PATH:
            return answers.error(404, f"Method not found: {path}")
        if method != "GET":
            return answers.error(405, "The method is not allowed here.", status="METHOD_NOT_ALLOWED")
        scheme, _, token = authorization.partition(" ")
        grant = self._commands.grants.of_access(token.strip()) if scheme.lower() == "bearer" else None
        if grant is None:
            words = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            return answers.error(401, words)
        if not grant.scopes & self._commands.grants.scopes:
            words = "Request had insufficient authentication scopes."
            return answers.error(403, words, reason="ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        account = self._commands.account(grant.account)
        return self._refused(query, account) or self._listing(query, account)

    def _refused(self, query: Mapping[str, str], account: Account) -> Answer | None:
        """Why a request is no good, or comes too often."""
        options = self._commands.options
        mask = [name for name in query.get("personFields", "").split(",") if name]
        if not mask:
            return answers.error(400, "personFields mask is required.")
        if unknown := [name for name in mask if name not in FIELDS]:
            return answers.error(400, f"Invalid personFields mask path: {unknown[0]!r}.")
        size = query.get("pageSize", "0")
        if not size.isdecimal() or (int(size) > options.max_page_size and options.page_size_over_max == "reject"):
            return answers.error(400, f"pageSize lies between 0 and {options.max_page_size}.")
        sort = query.get("sortOrder", _SORTS[0])
        if sort not in _SORTS:
            return answers.error(400, f"Invalid sortOrder {sort!r}.")
        if _syncs(query) and sort != _SORTS[0]:
            return answers.error(400, "sortOrder is only supported where sync is not requested.")
        return self._limited(query, account)

    def _limited(self, query: Mapping[str, str], account: Account) -> Answer | None:
        options = self._commands.options
        refusal = self._commands.quotas.admit(account.name, "read", options.read_quota, options.quota_window_scale)
        first = _syncs(query) and not query.get("syncToken") and not query.get("pageToken")
        if refusal is None and first:
            limit, scale = options.first_page_quota, options.quota_window_scale
            refusal = self._commands.quotas.admit(account.name, "first page of a full sync", limit, scale)
        return None if refusal is None else self._quota_error(refusal)

    def _quota_error(self, refusal: Refusal) -> Answer:
        hint, now = self._commands.options.quota_hint, self._commands.now()
        metadata = {"service": "people.googleapis.com", "quota_limit": "CriticalReadsPerMinutePerProjectPerUser"}
        if hint == "window-start":
            metadata["window_start_time"] = str(int(now + refusal.seconds))
        words = (
            "Quota exceeded for quota metric 'Critical read requests (Contact and Profile Reads)' and limit "
            f"'Critical read requests (Contact and Profile Reads) per minute per user': {refusal.scope}."
        )
        headers = {"Retry-After": str(max(1, round(refusal.seconds)))} if hint == "retry-after" else {}
        return answers.error(429, words, reason="RATE_LIMIT_EXCEEDED", metadata=metadata, headers=headers)

    def _listing(self, query: Mapping[str, str], account: Account) -> Answer:
        options, now = self._commands.options, self._commands.now()
        params = _params(query)
        since = None
        if query.get("syncToken"):
            since = sync_token(query["syncToken"])
            if since is None or since.account != account.name:
                return answers.error(400, "Sync token is invalid.")
            if self._commands.is_expired(since):
                return answers.expired(options.expired_as)
            if since.params != params and options.param_mismatch == "reject":
                return answers.error(400, f"Sync token mismatch: {_UNMATCHED}")
        place = PageToken(account.name, since.change if since else 0, 0, 1, account.newest,
                          since.full_at if since else now, params, query.get("syncToken", ""))  # fmt: skip
        if query.get("pageToken"):
            found = page_token(query["pageToken"])
            if found is None or found.account != account.name or found.since != query.get("syncToken", ""):
                return answers.error(400, "Page token is invalid.")
            if found.params != params and options.param_mismatch == "reject":
                return answers.error(400, f"Page token mismatch: {_UNMATCHED}")
            place = found
        return self._page(query, account, place, changes=since is not None)

    def _page(self, query: Mapping[str, str], account: Account, place: PageToken, *, changes: bool) -> Answer:
        options = self._commands.options
        size = min(int(query.get("pageSize", "0")) or options.default_page_size, options.max_page_size)
        if changes:
            found = list(itertools.islice(account.changes(after=place.after), size + 1))
        elif options.paging == "offset":
            found = [(0, record) for record in account.at_place(place.place, size + 1)]
        else:
            found = list(itertools.islice(account.listing(after=place.after), size + 1))
        shown, more = found[:size], len(found) > size
        body: dict[str, object] = {}
        if shown:
            mask = set(query["personFields"].split(","))
            body["connections"] = [_masked(record, mask) for _, record in shown]
        return self._closed(body, account, place, shown, query, more=more)

    def _closed(
        self, body: dict[str, object], account: Account, place: PageToken, shown: list[tuple[int, bytes]],
        query: Mapping[str, str], *, more: bool,
    ) -> Answer:  # fmt: skip
        options = self._commands.options
        if more:
            body["nextPageToken"] = sealed(
                PageToken(place.account, shown[-1][0], place.place + len(shown), place.number + 1, place.began,
                          place.full_at, place.params, place.since)
            )  # fmt: skip
        elif _syncs(query):
            change = place.began if options.changes_since == "first-page" else account.newest
            body["nextSyncToken"] = sealed(SyncToken(account.name, change, place.full_at, place.params))
        if options.totals in ("both", "people"):
            body["totalPeople"] = len(account)
        if options.totals in ("both", "items"):
            body["totalItems"] = len(account)
        return Answer(200, msgspec.json.format(encode(body), indent=2) if options.pretty else encode(body))


def _syncs(query: Mapping[str, str]) -> bool:
    return query.get("requestSyncToken", "").lower() == "true" or bool(query.get("syncToken"))


def _params(query: Mapping[str, str]) -> str:
    """What must be the same on every request of a reading and of those that go on from it."""
    kept = ("personFields", "pageSize", "requestSyncToken", "sortOrder", "sources")
    return "&".join(f"{name}={query[name]}" for name in kept if name in query)


def _masked(record: bytes, mask: set[str]) -> msgspec.Raw:
    """A person with the fields that were asked for. One that has no others goes out byte for byte."""
    try:
        person = msgspec.json.decode(record, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return msgspec.Raw(record)
    unwanted = [name for name in person if name in FIELDS and name not in mask]
    if not unwanted:
        return msgspec.Raw(record)
    return msgspec.Raw(encode({name: value for name, value in person.items() if name not in unwanted}))
