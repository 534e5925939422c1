"""What a document is: a file that upstream gave, read as a whole or refused as a whole."""

from dataclasses import dataclass

from keepstep.model.errors import KeepstepError


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it came. ``hash`` is the SHA-256 of its bytes, in hexadecimal digits.

    ``report`` is its entity, ``agent`` whose it is (empty: nobody's). ``error``: why it was refused; None for one that
    was proven. ``page``, ``row`` and ``box`` (x0, top, x1, bottom, in points) say where that shows.
    """

    hash: str
    body: bytes
    report: str
    agent: str = ""
    error: KeepstepError | None = None
    page: int | None = None
    row: int | None = None
    box: tuple[float, float, float, float] | None = None
