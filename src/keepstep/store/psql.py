"""The interactive terminal of PostgreSQL: which one, and how it gets to the database without showing the password."""

import shutil
from urllib.parse import quote, urlencode

import psycopg
from psycopg import conninfo, pq

from keepstep.model.errors import StoreError
from keepstep.store.embedded import locate_psql


def program() -> str:
    """The path of ``psql``: the one that came with the embedded server, else the system's. Raises ``StoreError``."""
    try:
        return str(locate_psql())
    except StoreError:
        if found := shutil.which("psql"):
            return found
        raise


def environment(dsn: str) -> dict[str, str]:
    """The environment variables that lead libpq to a database. Raises ``StoreError``."""
    try:
        options = pq.Conninfo.parse(dsn.encode())
    except psycopg.Error as error:
        raise StoreError(
            f"DATABASE_URL cannot be read: {str(error).strip()}.",
            fix="Write it as postgresql://user:password@host:5432/database.",
        ) from None
    return {o.envvar.decode(): o.val.decode() for o in options if o.val is not None and o.envvar is not None}


def without_password(dsn: str) -> str:
    """The same address, as a URL, without its password. Raises ``StoreError``."""
    environment(dsn)
    parts = {name: str(value) for name, value in conninfo.conninfo_to_dict(dsn).items() if "password" not in name}
    user, database = quote(parts.pop("user", ""), safe=""), quote(parts.pop("dbname", ""), safe="")
    host, port = parts.get("host", ""), parts.get("port", "")
    place = ""
    if host and not host.startswith("/") and "," not in host:
        place = f"[{host}]" if ":" in host else host
        place += f":{port}" if port else ""
        parts = {name: value for name, value in parts.items() if name not in ("host", "port")}
    query = f"?{urlencode(parts, quote_via=quote, safe='')}" if parts else ""
    return f"postgresql://{user}{'@' if user else ''}{place}/{database}{query}"
