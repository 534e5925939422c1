"""Which folders of a mailbox are read. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

_LEFT_OUT = frozenset(("\\all", "\\flagged", "\\important", "\\junk", "\\trash", "\\drafts"))
"""Roles (RFC 6154) of folders that hold what nobody wants, or what other folders hold too."""
_ROLES = _LEFT_OUT | {"\\sent", "\\archive"}
_LEFT_OUT_NAMES = frozenset(
    (
        "trash", "deleted", "deleted items", "deleted messages", "junk", "junk e-mail", "junk email", "spam", "drafts",
        "cestino", "posta indesiderata", "bozze", "posta eliminata",
    )
)  # fmt: skip
"""Where a server tells no roles, the usual names do."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder: its name, the name as the server writes it, its attributes in lower case, what parts names."""

    name: str
    raw: str
    attributes: frozenset[str] = frozenset()
    separator: str = "/"

    @property
    def can_be_read(self) -> bool:
        """Whether it holds messages at all."""
        return not self.attributes & {"\\noselect", "\\nonexistent"}


def chosen(listed: Iterable[Folder], wanted: Sequence[str]) -> list[Folder]:
    """The folders to read, the inbox first.

    ``wanted``: names, in which ``*`` stands for anything. Without any: all but spam, bin, drafts, and folders that show
    messages of others once more.
    """
    readable = {folder.name: folder for folder in listed if folder.can_be_read}.values()
    tells_roles = any(folder.attributes & _ROLES for folder in readable)
    kept = [folder for folder in readable if _is_wanted(folder, wanted, tells_roles)]
    return sorted(kept, key=lambda folder: (folder.name.upper() != "INBOX", folder.name))


def _is_wanted(folder: Folder, wanted: Sequence[str], tells_roles: bool) -> bool:
    if wanted:
        return any(_matches(folder.name, pattern) for pattern in wanted)
    if tells_roles:
        return not folder.attributes & _LEFT_OUT
    return folder.name.rpartition(folder.separator)[2].lower() not in _LEFT_OUT_NAMES


def _matches(name: str, pattern: str) -> bool:
    if name.upper() == "INBOX" or pattern.upper() == "INBOX":
        return fnmatchcase(name.upper(), pattern.upper())
    return name == pattern or fnmatchcase(name, pattern)
