"""What routes take: numbers within their bounds, and text that a database can hold."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

BIGGEST = 2**63 - 1
NO_NUL = r"^[^\x00]*$"
LINE = r"^[^\x00-\x1f\x7f]*$"
HOST = r"^[^\x00-\x20\x7f/@?#\\]*$"
_SOME_WORDS = r"^[^\x00]*[^\s\x00][^\x00]*$"
PATTERNS = {
    NO_NUL: "A NUL character cannot be kept",
    LINE: "Write it in one line, without control characters",
    HOST: "Give its name alone, such as imap.example.test",
    _SOME_WORDS: "It must not be empty",
}
"""What is wrong with a text that a pattern refuses: nobody wants to read the pattern."""

Id = Annotated[int, Path(ge=1, le=BIGGEST, examples=[1])]
InPath = Annotated[str, Path(description="Which integration.", examples=["doorloop"])]
Before = Annotated[int | None, Query(ge=1, le=BIGGEST, description="Only what has a smaller id.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Number = Annotated[int, Field(ge=1, le=BIGGEST)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)]
Words = Annotated[str, StringConstraints(max_length=2000, pattern=NO_NUL)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=_SOME_WORDS)]
IntegrationKey = Annotated[str, Query(max_length=200, description="Which integration.", examples=["doorloop"])]
Older = Annotated[
    str, Query(pattern=r"^([1-9][0-9]{0,17})?$", description="Only what has a smaller id; empty: the newest.")
]
OfOwner = Annotated[
    Word | None,
    Query(
        description="Whose: a user's name, an owner's id, or an agent's code; empty: what all share.", examples=["ana"]
    ),
]
OfEntity = Annotated[str | None, Query(max_length=200, pattern=NO_NUL, description="Only what concerns this entity.")]


class Body(BaseModel):
    """A JSON object that a route takes, with camelCase names. An unknown name in it is a mistake, and is told."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)
