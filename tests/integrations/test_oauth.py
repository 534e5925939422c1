"""OAuth 2 against the emulated authorisation server: consent, exchange, renewal by several workers, every refusal."""

import asyncio
import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from keepstep.integrations.emulation.grants import subject
from keepstep.integrations.google_contacts.connector import READ_CONTACTS
from keepstep.integrations.oauth import Consent, account_of
from keepstep.integrations.tokens import Access, TokenSet
from keepstep.model.errors import AuthFailed, KeepstepError, NeedsReconnect, Permanent, RateLimited, Transient
from tests.integrations.google_contacts.account import REDIRECT, GoogleUpstream
from tests.support.clock import HurriedClock
from tests.support.google import google_account
from tests.support.token_store import MemoryStore

SECRETS = ("emulated-client-secret", "ya29.", "1//", "4/")


@pytest.fixture
async def google() -> AsyncIterator[GoogleUpstream]:
    async with google_account(people=3) as google:
        yield google


async def allowed(consent: Consent) -> dict[str, str]:
    """What a browser brings back that opens the consent's address."""
    async with aiohttp.ClientSession() as browser, browser.get(consent.address, allow_redirects=False) as answer:
        assert answer.status == 302, await answer.text()
        target = urlsplit(answer.headers["Location"])
    assert f"{target.scheme}://{target.netloc}{target.path}" == REDIRECT
    return dict(parse_qsl(target.query))


def token_requests(google: GoogleUpstream) -> int:
    return sum(request.path == "/token" for request in google.emulator.requests())


def assert_tells_nothing(error: KeepstepError, log: str, *more: str) -> None:
    """No token, code or secret in anything that is shown."""
    shown = f"{error} {error!r} {error.fix} {getattr(error, 'answer', '')} {log}"
    for secret in (*SECRETS, *more):
        assert secret not in shown


def test_the_consent_address_has_all_that_google_needs_and_a_challenge(google: GoogleUpstream) -> None:
    oauth = google.oauth()

    one, other = oauth.begin(login_hint="anna@example.test"), oauth.begin()

    query = dict(parse_qsl(urlsplit(one.address).query))
    challenge = urlsafe_b64encode(sha256(one.verifier.encode()).digest()).rstrip(b"=").decode()
    assert query == {
        "client_id": "emulated-client", "redirect_uri": REDIRECT, "response_type": "code",
        "scope": f"{READ_CONTACTS} openid", "state": one.state, "code_challenge": challenge,
        "code_challenge_method": "S256", "access_type": "offline", "prompt": "consent",
        "include_granted_scopes": "true", "login_hint": "anna@example.test",
    }  # fmt: skip
    assert 43 <= len(one.verifier) <= 128
    assert (one.state, one.verifier) != (other.state, other.verifier)
    assert one.verifier not in one.address
    assert one.verifier not in repr(one)


async def test_a_consent_becomes_tokens_that_read_the_contacts_of_who_gave_it(google: GoogleUpstream) -> None:
    oauth = google.oauth()
    consent = oauth.begin(login_hint="anna@example.test")
    back = await allowed(consent)

    tokens = await oauth.exchange(oauth.code_of(back, consent.state), consent.verifier)

    assert tokens.refresh_token
    assert tokens.scopes == {READ_CONTACTS, "openid"}
    assert tokens.account == subject("anna@example.test")
    assert tokens.account not in str(tokens.stored())
    assert tokens.expires_at is not None
    assert abs(tokens.expires_at - datetime.now(UTC) - timedelta(seconds=3599)) < timedelta(seconds=60)
    integration = google.google(store=MemoryStore(tokens))
    assert (await integration.ping()).authenticated
    assert google.emulator.requests()[-1].entity == "anna@example.test"


async def test_two_consents_of_one_account_name_the_same_and_another_account_names_another(
    google: GoogleUpstream,
) -> None:
    oauth, named = google.oauth(), []
    for hint in ("anna@example.test", "anna@example.test", "bruno@example.test"):
        consent = oauth.begin(login_hint=hint)
        tokens = await oauth.exchange(oauth.code_of(await allowed(consent), consent.state), consent.verifier)
        named.append(tokens.account)

    assert named[0] == named[1] != named[2]
    assert all(len(one) == 21 and one.isdigit() for one in named)


def id_token(**claims: Any) -> str:
    parts = (json.dumps({"alg": "RS256"}), json.dumps(claims))
    return ".".join([*(urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts), "signature"])


@pytest.mark.parametrize(
    ("token", "account"),
    [
        (id_token(sub="10769150350006150715113082367", aud="us"), "10769150350006150715113082367"),
        (id_token(sub="107", aud=["others", "us"]), "107"),
        (id_token(sub="107", aud="others"), ""),  # said to another application
        (id_token(sub="107"), ""),
        (id_token(aud="us"), ""),
        (id_token(sub=107, aud="us"), ""),
        (id_token(sub="1" * 256, aud="us"), ""),
        (id_token(sub="1\n7", aud="us"), ""),
        ("no.token", ""),
        ("a.b.c", ""),
        ("a.\u00fc.c", ""),
        (id_token(sub="107", aud="us")[:-25] + "..x", ""),
        (17, ""),
        (None, ""),
    ],
)
def test_an_id_token_names_an_account_to_the_client_that_it_is_for(token: object, account: str) -> None:
    assert account_of(token, "us") == account


@pytest.mark.parametrize(
    ("back", "says"),
    [
        ({"code": "4/x", "state": "another"}, "another attempt"),
        ({"code": "4/x"}, "another attempt"),
        ({"error": "access_denied"}, "did not allow"),
        ({"error": "admin_policy_enforced"}, "admin_policy_enforced"),
        ({}, "no code"),
    ],
)
def test_what_is_no_consent_is_said_in_words(google: GoogleUpstream, back: dict[str, str], says: str) -> None:
    consent = google.oauth().begin()
    query = back if "state" in back or back == {"code": "4/x"} else {**back, "state": consent.state}

    with pytest.raises(NeedsReconnect) as raised:
        google.oauth().code_of(query, consent.state)

    assert raised.value.code == "consent-refused"
    assert says in raised.value.message


async def test_a_denied_consent_comes_back_as_one(google: GoogleUpstream) -> None:
    google.emulator.switch(consent="deny")
    consent = google.oauth().begin()

    with pytest.raises(NeedsReconnect):
        google.oauth().code_of(await allowed(consent), consent.state)


async def test_a_consent_without_the_contacts_is_not_enough(google: GoogleUpstream) -> None:
    google.emulator.switch(consent="partial")
    oauth = google.oauth()
    consent = oauth.begin()
    code = oauth.code_of(await allowed(consent), consent.state)

    with pytest.raises(NeedsReconnect) as raised:
        await oauth.exchange(code, consent.verifier)

    assert READ_CONTACTS in raised.value.message


@pytest.mark.parametrize("what", ["code twice", "verifier", "code"])
async def test_a_code_is_good_once_and_with_its_verifier_only(
    google: GoogleUpstream, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="keepstep")
    oauth = google.oauth()
    consent = oauth.begin()
    code = oauth.code_of(await allowed(consent), consent.state)
    verifier = consent.verifier
    if what == "code twice":
        await oauth.exchange(code, verifier)
    elif what == "verifier":
        verifier = oauth.begin().verifier
    else:
        code = "4/made-up"

    with pytest.raises(NeedsReconnect) as raised:
        await oauth.exchange(code, verifier)

    assert_tells_nothing(raised.value, caplog.text, code, verifier)


async def test_a_refresh_keeps_the_refresh_token_that_google_does_not_repeat(google: GoogleUpstream) -> None:
    tokens = google.tokens()

    fresh = await google.oauth().refresh(tokens)

    assert fresh.access_token != tokens.access_token
    assert fresh.refresh_token == tokens.refresh_token


async def test_a_rotated_refresh_token_takes_the_place_of_the_old_one(google: GoogleUpstream) -> None:
    google.emulator.switch(rotate_refresh_tokens=True)
    oauth = google.oauth()

    fresh = await oauth.refresh(google.tokens())

    assert fresh.refresh_token != google.tokens().refresh_token
    assert (await oauth.refresh(fresh)).access_token
    with pytest.raises(NeedsReconnect):
        await oauth.refresh(google.tokens())


@pytest.mark.parametrize(("form", "known"), [("number", True), ("text", True), ("absent", False)])
async def test_the_end_of_an_access_token_is_read_in_every_form(google: GoogleUpstream, form: str, known: bool) -> None:
    google.emulator.switch(expires_in_as=form)

    fresh = await google.oauth().refresh(google.tokens())

    assert (fresh.expires_at is not None) is known
    assert fresh.is_fresh(datetime.now(UTC))


async def test_a_revoked_consent_is_an_error_of_its_own_and_asked_once(
    google: GoogleUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="keepstep")
    google.emulator.revoke()

    with pytest.raises(NeedsReconnect) as raised:
        await google.oauth().refresh(google.tokens())

    assert raised.value.code == "needs-reconnect"
    assert "expired or revoked" in raised.value.message
    assert raised.value.fix
    assert token_requests(google) == 1
    assert_tells_nothing(raised.value, caplog.text)


async def test_a_refresh_token_of_an_application_in_testing_ends_after_seven_days(google: GoogleUpstream) -> None:
    google.emulator.switch(refresh_token_days=7)
    await google.oauth().refresh(google.tokens())
    google.emulator.set_clock(offset_s=7 * 86400 + 1)

    with pytest.raises(NeedsReconnect):
        await google.oauth().refresh(google.tokens())


async def test_a_wrong_client_is_the_administrators_affair_and_nobodys_consent(google: GoogleUpstream) -> None:
    wrong = "another-secret-0123456789"

    with pytest.raises(AuthFailed) as raised:
        await google.oauth(secret=wrong).refresh(google.tokens())

    assert not isinstance(raised.value, NeedsReconnect)
    assert raised.value.code == "oauth-client"
    assert token_requests(google) == 1
    assert_tells_nothing(raised.value, "", wrong)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "503"}, Transient),
        ({"kind": "reset"}, Transient),
        ({"kind": "429", "retry_after": 600}, RateLimited),
        ({"kind": "404"}, Permanent),
    ],
)
async def test_other_failures_of_the_token_endpoint_are_called_what_they_are(
    google: GoogleUpstream, fault: dict[str, Any], kind: type[KeepstepError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="keepstep")
    google.emulator.fault(**fault, path="/token", count=None)

    with pytest.raises(kind) as raised:
        await google.oauth(clock=HurriedClock()).refresh(google.tokens())

    assert type(raised.value) is kind
    assert_tells_nothing(raised.value, caplog.text)


async def test_a_passing_failure_of_the_token_endpoint_is_not_noticed(google: GoogleUpstream) -> None:
    google.emulator.fault("503", path="/token")

    assert (await google.oauth(clock=HurriedClock()).refresh(google.tokens())).access_token


async def test_an_answer_that_is_not_what_it_should_be_shows_nothing_of_itself(google: GoogleUpstream) -> None:
    google.emulator.fault("html", path="/token", count=None)

    with pytest.raises(KeepstepError) as raised:
        await google.oauth().refresh(google.tokens())

    assert "Sign in" not in str(getattr(raised.value, "answer", ""))


async def test_a_consent_that_is_given_back_is_gone_and_may_be_given_back_again(google: GoogleUpstream) -> None:
    oauth = google.oauth()

    await oauth.revoke(google.tokens())
    await oauth.revoke(google.tokens())

    with pytest.raises(NeedsReconnect):
        await oauth.refresh(google.tokens())


async def test_of_many_workers_with_ended_tokens_one_renews_them(google: GoogleUpstream) -> None:
    store = MemoryStore(google.tokens(fresh=False))
    workers = [Access(store, google.oauth(), title="Google Contacts") for _ in range(8)]

    headers = await asyncio.gather(*(worker.headers() for worker in workers for _ in range(3)))

    assert len({header["Authorization"] for header in headers}) == 1
    assert len(store.saved) == google.emulator.grants.refreshed == 1


async def test_tokens_that_somebody_else_renewed_are_taken_from_the_store(google: GoogleUpstream) -> None:
    store = MemoryStore(google.tokens())
    slow, quick = (Access(store, google.oauth(), title="Google Contacts") for _ in range(2))
    before = await slow.headers()
    google.emulator.end_access()
    await quick.headers()
    await quick.renew()

    assert await slow.renew()

    assert await slow.headers() == await quick.headers() != before
    assert google.emulator.grants.refreshed == 1


async def test_an_access_token_that_ends_early_is_renewed_in_the_middle_of_a_reading(google: GoogleUpstream) -> None:
    store = MemoryStore(google.tokens())
    integration = google.google(store=store)
    google.emulator.end_access()

    ping = await integration.ping()

    assert (ping.ok, ping.authenticated) == (True, True)
    assert len(store.saved) == 1
    assert [request.status for request in google.emulator.requests()] == [401, 200, 200]


async def test_a_consent_that_is_gone_is_not_asked_for_again_by_the_same_worker(google: GoogleUpstream) -> None:
    google.emulator.revoke()
    access = Access(MemoryStore(google.tokens(fresh=False)), google.oauth(), title="Google Contacts")

    for _ in range(3):
        with pytest.raises(NeedsReconnect):
            await access.headers()

    assert token_requests(google) == 1


async def test_without_any_tokens_the_owner_must_connect(google: GoogleUpstream) -> None:
    access = Access(MemoryStore(None), google.oauth(), title="Google Contacts")

    with pytest.raises(NeedsReconnect):
        await access.headers()

    assert google.emulator.requests() == []


def test_a_token_set_survives_storage_and_shows_nothing() -> None:
    end = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    tokens = TokenSet("ya29.secret", "1//secret", end, frozenset(("b", "a")))

    assert TokenSet.of(tokens.stored()) == tokens
    assert TokenSet.of({}) == TokenSet("")
    assert "secret" not in repr(tokens)
    assert not tokens.is_fresh(end - timedelta(seconds=30))
    assert tokens.is_fresh(end - timedelta(seconds=90))
