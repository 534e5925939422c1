"""A real Dovecot for all tests of this process, and a mailbox of its own for each."""

import itertools
from collections.abc import Iterator

import pytest

from tests.support.dovecot import Dovecot, Mailbox, dovecot

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def imap_server() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture(scope="session")
def plain_imap_server() -> Iterator[Dovecot]:
    """One that knows no modification sequences, so that only the messages themselves tell what has changed."""
    with dovecot(without=("CONDSTORE", "QRESYNC", "ENABLE")) as running:
        yield running


@pytest.fixture(params=["CONDSTORE", "no CONDSTORE"])
def mailbox(request: pytest.FixtureRequest) -> Mailbox:
    chosen: Dovecot = request.getfixturevalue("imap_server" if request.param == "CONDSTORE" else "plain_imap_server")
    return chosen.mailbox(f"user{next(_NUMBERS)}@example.test")
