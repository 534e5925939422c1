"""What is said of one environment variable, and of one that could not be taken as given."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that could not be taken as given. Both sentences are for people and hold no secret."""

    variable: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Variable:
    """What is said of one environment variable.

    ``absent`` names the default where it is not a plain value; ``accepts`` what may stand in it where no range says so.
    ``outside``: what replaces a number outside its range, on the low and on the high side.
    """

    name: str
    meaning: str
    accepts: str = ""
    absent: str = ""
    outside: tuple[Literal["nearest", "default"], Literal["nearest", "default"]] = ("default", "default")
