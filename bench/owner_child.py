"""One run of an owner, metered; or, for a mailbox, what the standard library's client alone makes of it.

Arguments: ``run INTEGRATION OWNER`` or ``imaplib PORT USER PASSWORD``.
"""

import email
import email.policy
import imaplib
import sys
from typing import Any

from bench.child import metered
from keepstep.app import App
from keepstep.cli.signals import drive
from keepstep.config import Settings
from keepstep.model.integration import Mode
from keepstep.model.run import RunRequest

_AT_ONCE = 100


async def run(key: str, owner: str) -> dict[str, Any]:
    """A delta, which is a full reading where nothing is known yet; what it counted."""
    async with App(Settings.load()).open() as service:
        entities = tuple(entity.name for entity in service.inspection.any(key).entities)
        summary = await service.commands.run(key, RunRequest(entities, Mode.DELTA), owner=owner)
    if summary.result != "succeeded" or summary.dead_lettered:
        raise SystemExit(f"the run ended {summary.result} with {summary.dead_lettered} dead letters: {summary.error}")
    first = summary.entities[0]
    counts = ("rows", "inserted", "updated", "unchanged", "deleted", "requests")
    return {name: getattr(first, name) for name in counts}


def fetch(port: int, user: str, password: str) -> dict[str, Any]:
    """Every message of the inbox, fetched and parsed by the standard library."""
    client, parts = imaplib.IMAP4("127.0.0.1", port), 0
    client.login(user, password)
    client.select("INBOX", readonly=True)
    uids = client.uid("SEARCH", "ALL")[1][0].split()
    for place in range(0, len(uids), _AT_ONCE):
        found = client.uid("FETCH", b",".join(uids[place : place + _AT_ONCE]).decode(), "(FLAGS BODY.PEEK[])")[1]
        for piece in found:
            if isinstance(piece, tuple):
                message = email.message_from_bytes(piece[1], policy=email.policy.default)
                for part in message.walk():
                    if part.get_content_maintype() == "text":
                        parts += len(part.get_content())  # type: ignore[attr-defined]
    client.logout()
    return {"rows": len(uids), "characters": parts}


def main(what: str, *given: str) -> None:
    """Meter it."""
    with metered() as told:
        told |= drive(run(*given)) if what == "run" else fetch(int(given[0]), given[1], given[2])


if __name__ == "__main__":
    main(*sys.argv[1:])
