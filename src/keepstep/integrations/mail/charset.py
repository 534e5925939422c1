"""Text out of bytes whose charset is said, wrong, unknown or not said at all. Never raises, never gives NUL."""

import codecs
import re

_ALIASES = {
    # What is called Latin 1 or ASCII in mail is what Windows writes; the others are the larger sets of their families.
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
}
_NOT_MEANT = frozenset(("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"))
"""Codecs of Python that no mail means: slow, or full of tricks."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """The text with U+FFFD for what PostgreSQL cannot hold: NUL and lone surrogates."""
    return _UNSTORABLE.sub(REPLACEMENT, text)


def decoded(data: bytes, charset: str | None) -> tuple[str, bool]:
    """The text, and whether the charset that was said is the one that it is in (True where none was said)."""
    codec = _codec(charset)
    honest = charset is None or codec is not None
    if codec is None or codec == "cp1252":
        # Much of what says ASCII or Latin 1, or nothing, is UTF-8, and hardly any other text looks like it.
        try:
            return storable(data.decode("utf-8")), honest
        except UnicodeDecodeError:
            return _single_bytes(data), honest
    try:
        return storable(data.decode(codec)), honest
    except (UnicodeError, ValueError):
        return _best(data, codec), False


def _codec(charset: str | None) -> str | None:
    """Python's name of a charset that it knows and that is meant for text."""
    name = (charset or "").strip().strip("\"'").lower()
    if not name or len(name) > 40 or not name.isascii():
        return None
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    if info.name.replace("-", "_") in _NOT_MEANT or not getattr(info, "_is_text_encoding", True):
        return None
    return _ALIASES.get(name) or _ALIASES.get(info.name, info.name)


def _best(data: bytes, codec: str) -> str:
    """What is not in the charset that it says: UTF-8, or the one it says with some bytes broken, or single bytes."""
    try:
        return storable(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    try:
        loose = data.decode(codec, "replace")
    except (UnicodeError, ValueError):
        return _single_bytes(data)
    foreign = sum(character > "\x7f" for character in loose)
    broken = loose.count(REPLACEMENT)
    return storable(loose) if codec != "utf-8" or foreign > 2 * broken else _single_bytes(data)


def _single_bytes(data: bytes) -> str:
    try:
        return storable(data.decode("cp1252"))
    except UnicodeDecodeError:
        return storable(data.decode("latin-1"))
