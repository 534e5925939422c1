"""The emulated webhook answers as the real ones do, and what we send is what it shows."""

import json
import subprocess
import urllib.request

import pytest

from keepstep.alerts.channels import Teams
from keepstep.alerts.emulator import TeamsEmulator
from keepstep.alerts.messages import Message
from tests.system.command import SCRIPT

MESSAGE = Message("Something is wrong", "It is.", "attention", (("What to do", "Mend it."),), "https://x.example.test")
HUGE = Message("Large", "é" * 60_000, "warning", (("Name", "ö" * 30_000),) * 30)


@pytest.mark.parametrize("message", [MESSAGE, HUGE], ids=["ordinary", "huge"])
@pytest.mark.parametrize("kind", ["workflow", "connector"])
async def test_what_we_send_is_taken_and_shown(kind: str, message: Message) -> None:
    async with TeamsEmulator().serve() as hook:
        delivery = await Teams(getattr(hook, kind)).deliver(message)

        assert (delivery.delivered, len(hook.shown)) == (True, 1)
        assert hook.shown[0].size < 28 * 1024


@pytest.mark.parametrize("answer", ["throttled", "429", "401", "404", "500", "503", "413", "302", "reset"])
@pytest.mark.parametrize("kind", ["workflow", "connector"])
async def test_everything_else_is_a_failure_in_words_that_hold_no_secret(kind: str, answer: str) -> None:
    async with TeamsEmulator().serve() as hook:
        hook.answer(answer, retry_after="7")
        delivery = await Teams(getattr(hook, kind)).deliver(MESSAGE)

        assert (delivery.delivered, hook.shown) == (False, [])
        assert delivery.message
        assert delivery.fix
        assert hook.signature not in repr(delivery)
        assert delivery.after == (7.0 if answer in ("429", "503") else delivery.after)


def test_the_command_serves_one_and_tells_its_addresses() -> None:
    served = subprocess.Popen([str(SCRIPT), "emulate", "teams", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        assert served.stdout is not None
        told = json.loads(served.stdout.readline())
        posted = urllib.request.Request(told["workflow"], data=b'{"text": "not a card"}', method="POST")  # noqa: S310
        with urllib.request.urlopen(posted, timeout=30) as answer:  # noqa: S310 - our own loopback address
            assert answer.status == 202
        with urllib.request.urlopen(told["control"] + "/messages", timeout=30) as answer:  # noqa: S310
            found = json.loads(answer.read())
    finally:
        served.terminate()
        served.wait(30)

    assert (len(found["messages"]), found["shown"]) == (
        1,
        0,
    )  # taken, and never seen: so Teams does with what is no card
