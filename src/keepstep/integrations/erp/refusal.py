"""Why a report is refused, and where on it that shows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spot:
    """A place on a report: the page (from 1), the row on it (from 1, None outside the rows), and its box in points from
    the page's upper left corner (x0, top, x1, bottom).
    """

    page: int | None = None
    row: int | None = None
    box: tuple[float, float, float, float] | None = None


NOWHERE = Spot()


class Refused(Exception):
    """A report that is not proven whole and right: nothing of it may be used. ``code`` is an entry of
    ``diagnosis.TABLE``, ``detail`` what fills it in.
    """

    def __init__(self, code: str, detail: str, spot: Spot = NOWHERE) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.spot = spot
