"""A message as Gmail shows it, in each of its formats."""

from base64 import urlsafe_b64encode
from email import message_from_bytes
from email.message import Message as Mime
from hashlib import sha256
from typing import Any

from keepstep.integrations.mail.gmail.emulator.mailbox import Message


def encoded(data: bytes) -> str:
    """Base64 as Gmail writes it: for URLs, with padding."""
    return urlsafe_b64encode(data).decode()


def view(message: Message, form: str, headers: list[str], *, number: type) -> dict[str, Any]:
    """A message. ``form``: full, metadata, minimal, raw; ``number``: how numbers of 64 bits are written."""
    shown: dict[str, Any] = {
        "id": message.id,
        "threadId": message.thread,
        "labelIds": sorted(message.labels),
        "snippet": message.raw.partition(b"\r\n\r\n")[2][:100].decode("utf-8", "replace").strip(),
        "sizeEstimate": len(message.raw),
        "historyId": number(message.history),
        "internalDate": number(int(message.at * 1000)),
    }
    if not shown["labelIds"]:
        del shown["labelIds"]
    if form == "raw":
        return {**shown, "raw": encoded(message.raw)}
    if form == "minimal":
        return shown
    payload = _part(message_from_bytes(message.raw), "", message.id)
    if form == "metadata":
        wanted = {name.lower() for name in headers}
        kept = [header for header in payload["headers"] if not wanted or header["name"].lower() in wanted]
        payload = {"mimeType": payload["mimeType"], "headers": kept}
    return {**shown, "payload": payload}


def attachment(message: Message, attachment_id: str) -> bytes | None:
    """The content of one attachment."""
    for number, part in _leaves(message_from_bytes(message.raw), ""):
        if _attachment_id(message.id, number) == attachment_id:
            return _content(part)
    return None


def _part(part: Mime, number: str, message_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "partId": number,
        "mimeType": part.get_content_type(),
        "filename": part.get_filename() or "",
        "headers": [{"name": name, "value": str(value)} for name, value in part.items()],
    }
    children = part.get_payload() if part.is_multipart() else None
    if isinstance(children, list):
        parts = [_part(child, f"{number}.{n}".lstrip("."), message_id) for n, child in enumerate(children)]
        return {**shown, "body": {"size": 0}, "parts": parts}
    content = _content(part)
    if part.get_filename():
        return {**shown, "body": {"size": len(content), "attachmentId": _attachment_id(message_id, number)}}
    return {**shown, "body": {"size": len(content), **({"data": encoded(content)} if content else {})}}


def _leaves(part: Mime, number: str) -> list[tuple[str, Mime]]:
    children = part.get_payload() if part.is_multipart() else None
    if isinstance(children, list):
        return [leaf for n, child in enumerate(children) for leaf in _leaves(child, f"{number}.{n}".lstrip("."))]
    return [(number, part)]


def _content(part: Mime) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _attachment_id(message_id: str, number: str) -> str:
    return f"ANGjdJ{sha256(f'{message_id} {number}'.encode()).hexdigest()[:40]}"
