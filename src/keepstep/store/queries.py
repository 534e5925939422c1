"""Named queries: static SQL lives in ``store/<table>.sql`` beside its twin ``.py``.

A file is a sequence of queries, each led by ``-- name: the_name`` and a comment that says why it is as it is.
"""

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries(file: str) -> dict[str, bytes]:
    """The queries of ``store/<file>.sql`` by name, as bytes (what psycopg takes for text that is not a literal)."""
    text = resources.files(__package__).joinpath(f"{file}.sql").read_text("utf-8")
    parts = _NAME.split(text)[1:]
    return {name: body.strip().encode() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def query_files() -> list[str]:
    """The names of all query files, sorted."""
    return sorted(f.name[:-4] for f in resources.files(__package__).iterdir() if f.name.endswith(".sql"))
