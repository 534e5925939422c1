"""How Keepstep is set up, as the command line, the API and the page show it: no secret is ever in here."""

from typing import Annotated

from keepstep.service.shapes import Shape, one_of


class SettingLine(Shape):
    """One variable: its value in effect, masked, and where that comes from.

    ``locked``: the environment gave it. ``editable``: it can be changed here when it is not locked; others belong to
    the environment, the schedule or the stored credentials, and ``note`` says to which. ``accepts``: its values, in
    words; ``secret``: it is never shown in full.
    """

    variable: str
    value: str
    source: Annotated[str, one_of("environment", "database", "default")]
    note: str
    locked: bool = False
    editable: bool = False
    secret: bool = False
    meaning: str = ""
    accepts: str = ""


class Advice(Shape):
    """One thing to mend in the settings. ``about`` is a variable's name or an integration's key."""

    about: str
    message: str
    fix: str


class Setup(Shape):
    """Every setting, and what is wrong with them."""

    settings: list[SettingLine]
    warnings: list[Advice]
