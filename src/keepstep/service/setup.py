"""How Keepstep is set up, as the command line, the API and the page show it: no secret is ever in here."""

from keepstep.service.shapes import Shape


class SettingLine(Shape, frozen=True, kw_only=True):
    """One variable: its value in effect, masked, and whether the environment gave it (``source``)."""

    variable: str
    value: str
    source: str
    note: str


class Advice(Shape, frozen=True, kw_only=True):
    """One thing to mend in the settings. ``about`` is a variable's name or an integration's key."""

    about: str
    message: str
    fix: str


class Setup(Shape, frozen=True, kw_only=True):
    """Every setting, and what is wrong with them."""

    settings: list[SettingLine]
    warnings: list[Advice]
