"""An emulated Google in a process of its own. Argument: JSON with ``accounts`` and how many ``people`` each has.

Prints a line of JSON with its address and the tokens of each account, and ends with its standard input.
"""

import asyncio
import json
import sys

from keepstep.integrations.google_contacts.emulator.options import EmulatorOptions
from keepstep.integrations.google_contacts.emulator.server import GoogleEmulator


async def serve(accounts: list[str], people: int) -> None:
    """Until standard input ends. A line on it is JSON: accounts that are ``silent``, or ``revoked``, from then on."""
    emulator = GoogleEmulator(EmulatorOptions(people=people))
    loop = asyncio.get_running_loop()
    async with emulator.serve() as url:
        tokens = {account: emulator.consent(account) for account in accounts}
        print(json.dumps({"url": url, "tokens": tokens}), flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            emulator.clear_faults()
            for account in order.get("silent", ()):
                emulator.fault("hang", account=account, count=None)
            for account in order.get("revoked", ()):
                emulator.revoke(account)
            print("{}", flush=True)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    asyncio.run(serve(given["accounts"], given["people"]))
