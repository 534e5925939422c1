"""What users and tokens may be called."""

import re

from keepstep.model.errors import BadRequest

_NAME = re.compile(r"[^\W_][\w.@+-]{0,99}")


def is_name(text: str) -> bool:
    """Whether this can be a name at all."""
    return _NAME.fullmatch(text) is not None


def checked_name(text: str) -> str:
    """The name, without spaces around it. Raises ``BadRequest``."""
    name = text.strip()
    if not is_name(name):
        raise BadRequest(
            "That cannot be a name.", fix="Use 1 to 100 letters, digits and . _ @ + - and begin with a letter or digit."
        )
    return name
