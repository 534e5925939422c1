"""The usual mistakes in the settings of Google Contacts, found without asking Google."""

from collections.abc import Iterator

from keepstep.integrations.google_contacts.answers import USE_DEFAULT_URL
from keepstep.integrations.http import is_loopback, split_url
from keepstep.integrations.oauth import Client

CLIENT_END = ".apps.googleusercontent.com"


def config_warnings(base_url: str, client: Client | None) -> list[tuple[str, str]]:
    """Pairs of a problem and what to do about it, each one sentence; never with a secret in it."""
    return [*_address(base_url), *_client(base_url, client)]


def _address(base_url: str) -> Iterator[tuple[str, str]]:
    parts = split_url(base_url)
    host = parts.hostname or ""
    if is_loopback(host):
        return
    if host != "people.googleapis.com":
        leads = f"GOOGLE_CONTACTS_BASE_URL leads to {host or 'no host'}, which is not Google's People API."
        yield leads, USE_DEFAULT_URL
    elif parts.scheme != "https":
        yield "GOOGLE_CONTACTS_BASE_URL uses http; Google answers only https.", USE_DEFAULT_URL
    elif parts.path.strip("/"):
        yield "GOOGLE_CONTACTS_BASE_URL has a path; Google's address has none.", USE_DEFAULT_URL


def _client(base_url: str, client: Client | None) -> Iterator[tuple[str, str]]:
    if client is None:
        return
    if not client.secret:
        both = "Set both, from the same client in Google's console."
        yield "GOOGLE_CLIENT_ID is set, but GOOGLE_CLIENT_SECRET is not.", both
    at_google = not is_loopback(split_url(base_url).hostname or "")
    if at_google and not client.id.endswith(CLIENT_END):
        yield "GOOGLE_CLIENT_ID is not the id of an OAuth client.", f"Copy the client id, which ends in {CLIENT_END}."
