"""A mailbox that a user names leads to the internet, and not into the network that Keepstep runs in."""

import socket
from typing import Any

import pytest

from keepstep.integrations.mail.connector import Mail
from keepstep.integrations.mail.reach import is_public, public_socket
from keepstep.integrations.mail.session import Account, Timeouts
from keepstep.integrations.registry import Values, integration
from keepstep.model.errors import Permanent, UpstreamError
from tests.support.dovecot import PASSWORD, Dovecot


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.10", "0.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1",
        "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "2002:c0a8:101::1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "not an address",
    ],
)  # fmt: skip
def test_addresses_of_private_networks_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1", "2130706433", "0x7f.1", "0"])
def test_this_machine_is_not_connected_to_however_it_is_written(imap_server: Dovecot, host: str) -> None:
    with pytest.raises((Permanent, socket.gaierror)) as refused:  # not every system reads all of them as addresses
        public_socket(host, imap_server.port, 5)

    if isinstance(refused.value, Permanent):
        assert refused.value.code == "mail-host-private"
        assert "KEEPSTEP_MAIL_PRIVATE_HOSTS" in refused.value.fix


async def test_a_name_is_judged_by_what_is_connected_to_each_time(
    imap_server: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that stood for a public address when it was looked at, and stands for this machine at the next look."""
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", imap_server.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: [here])
    account = Account("imap.example.test", "anna", imap_server.port, "tls", PASSWORD, public_only=True)
    client = Mail(account, timeouts=Timeouts(connect=2, silence=2))
    with pytest.raises(UpstreamError) as refused:
        await client.folders()
    await client.aclose()

    assert refused.value.code == "mail-host-private"
    assert "imap.example.test" in refused.value.message
    assert "127.0.0.1" not in refused.value.message


async def test_of_several_addresses_the_private_ones_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Recorded(socket.socket):
        def connect(self, place: Any) -> None:
            asked.append(place[0])
            raise ConnectionRefusedError

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 993)) for host in ("10.0.0.1", "1.1.1.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: found)
    monkeypatch.setattr(socket, "socket", Recorded)
    with pytest.raises(ConnectionRefusedError):
        public_socket("imap.example.test", 993, 1)

    assert asked == ["1.1.1.1"]


async def test_the_registry_lets_an_owner_into_a_private_network_only_where_it_is_allowed(imap_server: Dovecot) -> None:
    address = f"imap://built%40example.test@127.0.0.1:{imap_server.port}/?security=none"
    found = []
    for allowed in (False, True):
        built = integration("mail").build(Values(address, PASSWORD, private_hosts=allowed))
        found.append((await built.ping()).code)
        await built.aclose()

    assert found == ["mail-host-private", ""]


async def test_a_password_may_have_any_letters(imap_server: Dovecot) -> None:
    account = Account("127.0.0.1", "anna@example.test", imap_server.port, "none", "perché così")
    client = Mail(account)
    with pytest.raises(UpstreamError) as refused:
        await client.folders()
    await client.aclose()

    assert refused.value.code == "mailbox-refused"
