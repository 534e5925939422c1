"""The Google Contacts connector against the emulator, over HTTP."""

from tests.integrations.conformance import Conformance


class TestGoogleContacts(Conformance):
    """Google Contacts passes the suite of all integrations."""
