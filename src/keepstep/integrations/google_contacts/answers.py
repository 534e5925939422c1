"""What each answer of the People API means: one table from status, reason and beginning of the body to an error.

Facts: Google's errors are ``google.rpc.Status`` in JSON, with reasons in ``details[]`` (``google.rpc.ErrorInfo``). An
expired sync token comes as 400 with the reason ``EXPIRED_SYNC_TOKEN`` (so says the wire) or as 410 (so say Google's
samples). The first page of a full reading has a quota of its own, answered with 429 and without ``Retry-After``.
"""

from collections.abc import Mapping
from types import MappingProxyType

DOCS = "https://developers.google.com/people/api/rest/v1/people.connections/list"
DEFAULT_BASE_URL = "https://people.googleapis.com"
FACTS: Mapping[str, object] = MappingProxyType(
    {
        "title": "Google Contacts",
        "url_setting": "GOOGLE_CONTACTS_BASE_URL",
        "use_url": f"Set GOOGLE_CONTACTS_BASE_URL={DEFAULT_BASE_URL}.",
        "key_setting": "the connection to Google",
        "size_setting": "GOOGLE_CONTACTS_PAGE_SIZE",
        "entities_setting": "the entities of the connection",
        "integration": "google_contacts",
    }
)
"""What the texts of every fault of Google Contacts are filled in with."""
