"""A mailbox as one address, and what is built of it."""

import pytest

from keepstep.integrations.mail.address import address_of, config_warnings, is_imap, place_of
from keepstep.integrations.mail.connector import Mail
from keepstep.integrations.mail.gmail.connector import GOOGLE, Gmail, provider_for
from keepstep.integrations.mail.message import Limits
from keepstep.integrations.registry import Values, integration
from tests.support.dovecot import PASSWORD, Dovecot, mail


def test_an_address_says_how_to_get_to_the_mailbox_and_what_to_read() -> None:
    place = place_of(
        "imap://anna%40example.test@mail.example.test:1430/INBOX,Clients%2F*,Perch%C3%A9?attachment_bytes=1000"
    )

    assert (place.host, place.port, place.user) == ("mail.example.test", 1430, "anna@example.test")
    assert (place.security, place.folders) == ("starttls", ("INBOX", "Clients/*", "Perché"))
    assert place.limits == Limits(attachment_bytes=1000)


@pytest.mark.parametrize(
    ("address", "port", "security"),
    [
        ("imaps://a@b.example.test", 993, "tls"),
        ("imap://a@b.example.test", 143, "starttls"),
        ("imap://a@127.0.0.1?security=none", 143, "none"),
        ("imaps://a@b.example.test?security=none", 993, "tls"),
        ("imap://a@b.example.test?security=sometimes", 143, "starttls"),
    ],
)
def test_encryption_is_left_out_only_where_it_is_asked_for(address: str, port: int, security: str) -> None:
    place = place_of(address)

    assert (place.port, place.security, place.folders) == (port, security, ())


@pytest.mark.parametrize(
    "address",
    [
        "imaps://anna%40example.test@imap.example.test:993/",
        "imap://anna@mail.example.test:1430/INBOX,Clients%2F*,Perch%C3%A9,a%2Cb",
        "imap://anna@[::1]:143/?security=none",
        "imaps://anna%2Fb%3A@imap.example.test:993/?attachment_bytes=1000",
    ],
)
def test_an_address_that_is_put_together_says_what_went_into_it(address: str) -> None:
    place = place_of(address)
    again = address_of(
        place.user, place.host, port=place.port, security=place.security, folders=place.folders, limits=place.limits
    )

    assert (again, place_of(again)) == (address, place)


def test_limits_stay_within_bounds() -> None:
    limits = place_of("imaps://a@b/?message_bytes=999999999999&text_characters=x&parts=0").limits

    assert limits == Limits(message_bytes=64 * 1024 * 1024, parts=1)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("imaps://imap.example.test", "lacks its user"),
        ("imaps://anna:secret@imap.example.test", "has a password in it"),
        ("imap://anna@imap.example.test?security=none", "without encryption"),
        ("imaps://anna@imap.example.test?colour=red", "says colour"),
        ("https://mail.example.test", "not Google's"),
        ("http://gmail.googleapis.com", "uses http"),
        ("https://gmail.googleapis.com/gmail/v1", "has a path"),
    ],
)
def test_mistakes_in_an_address_are_named_without_a_secret(address: str, says: str) -> None:
    ((problem, fix),) = config_warnings(address)

    assert says in problem
    assert fix
    assert "secret" not in problem + fix


@pytest.mark.parametrize(
    "address", ["imaps://a%40b@c.example.test", "https://gmail.googleapis.com", "http://127.0.0.1:9092"]
)
def test_a_good_address_has_no_mistakes(address: str) -> None:
    assert config_warnings(address) == []


async def test_the_registry_builds_what_the_address_asks_for(imap_server: Dovecot) -> None:
    mailbox = imap_server.mailbox("built@example.test")
    mailbox.add(mail("one"))
    registered = integration("mail")
    address = f"imap://built%40example.test@127.0.0.1:{imap_server.port}/?security=none"
    imap = registered.build(Values(address, PASSWORD, private_hosts=True))
    gmail = registered.build(Values(registered.default_base_url, "token"))

    ping = await imap.ping()

    assert (ping.ok, ping.sample_count) == (True, 1)
    assert isinstance(imap, Mail)
    assert isinstance(gmail, Gmail)
    assert "built%40" not in imap.base_url
    assert not is_imap(gmail.base_url)
    await imap.aclose()
    await gmail.aclose()


def test_consent_is_given_at_google_or_at_the_emulator() -> None:
    assert provider_for("https://gmail.googleapis.com") is GOOGLE
    assert provider_for("http://127.0.0.1:9092").token_url == "http://127.0.0.1:9092/token"
