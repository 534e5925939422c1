"""Several requests to Google in one (``multipart/mixed``): written and read.

https://developers.google.com/workspace/gmail/api/guides/batch: at most 100 in one, more than 50 are not recommended;
answers come in any order, each with the identifier of its request behind ``response-``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keepstep.integrations.http import Response

PATH = "/batch/gmail/v1"
MOST = 50
BOUNDARY = "keepstep_batch"
CONTENT_TYPE = f"multipart/mixed; boundary={BOUNDARY}"


@dataclass(frozen=True, slots=True)
class Part:
    """One answer among several."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def written(paths: Mapping[str, str]) -> bytes:
    """The body of a batch of GET requests: identifier -> path with its query."""
    parts = [
        f"--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <{name}>\r\n\r\nGET {path}\r\n\r\n"
        for name, path in paths.items()
    ]
    return ("".join(parts) + f"--{BOUNDARY}--\r\n").encode()


def parts_of(response: Response) -> dict[str, Part] | None:
    """The answers by the identifiers of their requests; None where this is no whole batch of answers."""
    boundary = _boundary(response.headers.get("content-type", ""))
    if boundary is None:
        return None
    pieces = (b"\r\n" + response.body).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or pieces[-1][:2] != b"--":
        return None
    found: dict[str, Part] = {}
    for piece in pieces[1:-1]:
        part = _part(piece)
        if part is None or part[0] in found:
            return None
        found[part[0]] = part[1]
    return found


def _boundary(content_type: str) -> bytes | None:
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != "multipart/mixed":
        return None
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "boundary" and value.strip('"'):
            return value.strip('"').encode()
    return None


def _part(piece: bytes) -> tuple[str, Part] | None:
    """One part: its own header, then a whole HTTP answer."""
    outer, _, inner = piece.partition(b"\r\n\r\n")
    head, _, body = inner.partition(b"\r\n\r\n")
    status_line, _, lines = head.partition(b"\r\n")
    words = status_line.split(None, 2)
    name = _headers(outer).get("content-id", "").strip("<>")
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return None
    if not name.startswith("response-"):
        return None
    return name.removeprefix("response-"), Part(int(words[1]), _headers(lines), body)


def _headers(lines: bytes) -> dict[str, str]:
    pairs: Sequence[tuple[str, str, str]] = [
        line.decode("latin-1").partition(":") for line in lines.split(b"\r\n") if b":" in line
    ]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
