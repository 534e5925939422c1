"""The usual mistakes in the ERP's settings, found without asking the ERP."""

from collections.abc import Iterator

from keepstep.integrations.http import is_loopback, split_url


def config_warnings(base_url: str, username: str, password: str) -> list[tuple[str, str]]:
    """Pairs of a problem and what to do about it, each one sentence; never with a secret in it."""
    return [*_address(base_url, is_meant=bool(username or password)), *_account(username, password)]


def _address(base_url: str, *, is_meant: bool) -> Iterator[tuple[str, str]]:
    if not base_url:
        if is_meant:
            yield "ERP_BASE_URL is missing: nothing is asked.", "Set it to the address at which people sign in."
        return
    parts = split_url(base_url.strip())
    host = parts.hostname or ""
    if parts.scheme == "http" and host and not is_loopback(host):
        fix = "Write https:// where the ERP takes it."
        yield "ERP_BASE_URL uses http: anybody on the way could read the password and the reports.", fix
    if parts.path.rstrip("/").endswith("/login"):
        yield "ERP_BASE_URL ends with /login.", "Leave /login out: it is added."


def _account(username: str, password: str) -> Iterator[tuple[str, str]]:
    if username and not password:
        yield "ERP_USERNAME is set, but ERP_PASSWORD is not.", "Set both."
    if password and not username:
        yield "ERP_PASSWORD is set, but ERP_USERNAME is not.", "Set both."
    if password != password.strip():
        yield "ERP_PASSWORD begins or ends with a blank.", "Leave it out, unless the password has one."
